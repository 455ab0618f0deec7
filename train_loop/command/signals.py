# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns SIGTERM and Ctrl-C into an orderly end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupted(BaseException):
  """A signal ends the command while there is nothing to save.

  Attributes:
    signum: the signal.
  """

  def __init__(self, signum: int) -> None:
    super().__init__(f"stopped by {_NAMES.get(signal.Signals(signum), signum)}")
    self.signum = signum


def raise_interrupted() -> None:
  """From now on SIGTERM and Ctrl-C raise `Interrupted`."""
  for signum in _NAMES:
    signal.signal(signum, _interrupt)


def answer_as_sigterm(name: str) -> None:
  """From now on another signal is answered as SIGTERM is.

  Args:
    name: such as "USR1".
  """

  def forward(signum: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)

  signal.signal(signal.Signals[f"SIG{name}"], forward)


@contextlib.contextmanager
def by_default() -> Iterator[None]:
  """Lets a signal end the process at once: C++ code that waits answers none."""
  previous = {signum: signal.getsignal(signum) for signum in _NAMES}
  for signum in _NAMES:
    signal.signal(signum, signal.SIG_DFL)
  try:
    yield
  finally:
    for signum, handler in previous.items():
      signal.signal(signum, handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
  raise Interrupted(signum)


class StopRequest:
  """While it is entered, a signal asks the loop to save and stop.

  A second Ctrl-C does not wait for that; any other second signal is answered
  by the save that has begun.

  Attributes:
    signum: the signal that was received, or None.
  """

  def __init__(self) -> None:
    self.signum: int | None = None
    self._previous: dict[int, Any] = {}

  def __call__(self) -> bool:
    """Returns whether a signal was received."""
    return self.signum is not None

  def __enter__(self) -> StopRequest:
    for signum in _NAMES:
      self._previous[signum] = signal.signal(signum, self._note)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    for signum, handler in self._previous.items():
      # Once stopped, nothing is left to be done but to leave.
      signal.signal(signum, signal.SIG_DFL if self() else handler)

  def _note(self, signum: int, frame: FrameType | None) -> None:
    if signum == self.signum == signal.SIGINT:
      raise Interrupted(signum)
    if self.signum is None:
      self.signum = signum
