# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns SIGTERM and Ctrl-C into a request that the loop answers in its time."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
  """While it is entered, the first signal asks to stop; a second one kills.

  Attributes:
    signum: the signal that came, or None.
  """

  def __init__(self) -> None:
    self.signum: int | None = None
    self._previous: dict[int, Any] = {}

  def __call__(self) -> bool:
    """Returns whether a signal has come."""
    return self.signum is not None

  def __enter__(self) -> StopRequest:
    for signum in (signal.SIGTERM, signal.SIGINT):
      self._previous[signum] = signal.signal(signum, self._note)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self._restore()

  def _note(self, signum: int, frame: FrameType | None) -> None:
    self.signum = signum
    self._restore()

  def _restore(self) -> None:
    for signum, handler in self._previous.items():
      signal.signal(signum, handler)
