# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trace of some steps, which TensorBoard's page Profile shows."""

from __future__ import annotations

import contextlib
import os

import tensorflow as tf
from absl import logging

from train_loop.scalars import scalar


class Profile:
  """Traces the steps from one to another, each of them a call of its own.

  Without steps it does nothing.
  """

  def __init__(
    self,
    steps: tuple[int, ...],
    folder: str | os.PathLike[str],
    *,
    writes: bool,
  ) -> None:
    """Notes what is to be traced.

    Args:
      steps: the first one, and the one after the last; or none.
      folder: TensorBoard's of a run; gets plugins/profile.
      writes: whether this host traces: it takes each step alone anyway.
    """
    self._first, self._end = steps or (-1, -1)
    self._folder = os.fspath(folder)
    self._writes = writes
    self._runs = False

  def start(self, step: int) -> None:
    """Says so if a run starts at a step after which nothing is traced."""
    if self._first >= 0 and self._end <= step:
      logging.warning(
        "profile_steps=%d,%d traces nothing: the run goes on from step %d",
        *(self._first, self._end, step),
      )

  def covers(self, step: int) -> bool:
    """Returns whether a step is traced."""
    return self._first <= step < self._end

  def stops(self, step: int) -> list[int]:
    """Returns the step, if any, at which a call from `step` on must end."""
    if self.covers(step):
      return [step + 1]
    return [self._first] if step < self._first else []

  def traced(self, step: int) -> contextlib.AbstractContextManager[object]:
    """Returns the context of a call that begins at a step."""
    if not (self._writes and self.covers(step)):
      return contextlib.nullcontext()
    if not self._runs:
      tf.profiler.experimental.start(self._folder)
      self._runs = True
    return tf.profiler.experimental.Trace(
      "train", step_num=int(scalar(step)), _r=1
    )

  def after(self, step: int) -> None:
    """Writes the trace, if the step that comes next is not part of it."""
    if self._runs and not self.covers(step):
      self.close()

  def close(self) -> None:
    """Writes the trace, also of a run that ends early."""
    if self._runs:
      self._runs = False
      tf.profiler.experimental.stop()
      logging.info(
        "the trace of profile_steps is in %s: pip install xprof, and see "
        "TensorBoard's page Profile",
        os.path.join(self._folder, "plugins", "profile"),
      )
