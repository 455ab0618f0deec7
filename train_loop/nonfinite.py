# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What follows a step whose gradient is not finite: stop, skip or go back.

Such a step changes nothing. If float16's loss scale can be lowered, that is the
remedy, and the step counts as none of these. All hosts of a run see the same
gradients, and so decide the same.
"""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf
from absl import logging

from train_loop import budget
from train_loop import config as config_lib
from train_loop.failures import Diverged
from train_loop.state import TrainState
from train_loop.workdir import checkpoints, flight_recorder


class Guard:
  """Looks between two calls of run_steps whether a step was lost.

  Attributes:
    order_offset: how many batches of the data were left out so far.
  """

  def __init__(
    self,
    state: TrainState,
    config: config_lib.TrainConfig,
    saver: checkpoints.Checkpoints,
    workdir: str | os.PathLike[str],
  ) -> None:
    """Prepares for the worst: with rollback there is always a checkpoint."""
    self._state = state
    self._config = config
    self._saver = saver
    self._workdir = workdir
    self._total = int(state.lost.total.numpy())
    self.order_offset = int(state.lost.order_offset.numpy())
    self._restored: int | None = None
    if config.loop.on_nonfinite == "rollback" and not state.step.numpy():
      saver.save()

  def went_back(self, length: budget.PlannedLength) -> bool:
    """Acts if a step was lost in the last call.

    Args:
      length: of the run, with the schedule of the call.

    Returns:
      Whether the state is that of an earlier step again, and the batches have
      to begin at another place.

    Raises:
      Diverged: the run must end; its flight data are written.
    """
    lost, loop = self._state.lost, self._config.loop
    step = int(lost.fatal_step.numpy())
    if step < 0:
      self._tell_skipped()
      return False
    # The steps of the call after this one changed nothing.
    self._state.step.assign(step)
    rate = float(length.schedule(tf.constant(step, tf.int64)))
    flight = flight_recorder.record(
      self._workdir,
      self._state,
      self._saver,
      seed=loop.seed,
      learning_rate=rate,
      image_size=length.image_size_at(step),
    )
    where = f"; flight data in {flight}" if flight else ""
    trouble = f"the gradient of step {step} is not finite"
    if loop.on_nonfinite == "skip":
      trouble += f", nor of the {loop.max_skipped_steps} before it"
    rollbacks = int(lost.rollbacks.numpy())
    if loop.on_nonfinite == "rollback":
      if rollbacks < loop.max_rollbacks and self._go_back(step):
        logging.warning(
          "%s: back to step %d, and on with the data after it (rollback %d of "
          "%d)%s",
          trouble,
          int(self._state.step.numpy()),
          rollbacks + 1,
          loop.max_rollbacks,
          where,
        )
        return True
      trouble += f" after {rollbacks} rollback{'' if rollbacks == 1 else 's'}"
    raise Diverged(
      f"diverged: {trouble}, at learning rate {rate:.4g}; lower "
      f"base_learning_rate, lengthen warmup, or set clip_global_norm{where}",
      step=step,
      flight=flight,
    )

  def _tell_skipped(self) -> None:
    """Logs how many steps of the last call were lost, if any."""
    lost = self._state.lost
    total = int(lost.total.numpy())
    if total > self._total:
      count = total - self._total
      logging.warning(
        "%d step%s skipped before step %d, for the gradient was not finite",
        count,
        "" if count == 1 else "s",
        int(self._state.step.numpy()),
      )
      self._total = total

  def _go_back(self, step: int) -> bool:
    """Restores the last good checkpoint, with the data order moved on.

    If the run was there before and no step came between, an older one is
    preferred.

    Returns:
      Whether there was one.
    """
    lost, timetable = self._state.lost, self._state.timetable
    rollbacks = int(lost.rollbacks.numpy())
    elapsed = None if timetable is None else timetable.elapsed.numpy()
    next_place = step + 1 + self.order_offset
    again = step == self._restored
    found = again and self._restore_finite(step)
    if not found and not self._restore_finite(step + 1):
      return False
    self._restored = int(self._state.step.numpy())
    # A start right after this would go on from one of them.
    self._saver.forget_later()
    self.order_offset = next_place - self._restored
    lost.order_offset.assign(self.order_offset)
    lost.rollbacks.assign(rollbacks + 1)
    if timetable is not None:  # Time does not go back.
      timetable.elapsed.assign(elapsed)
    lost.in_a_row.assign(0)
    lost.fatal_step.assign(-1)
    self._total = int(lost.total.numpy())
    return True

  def _restore_finite(self, before: int) -> bool:
    """Restores the last checkpoint before a step whose weights are finite.

    Returns:
      Whether there was one.
    """
    weights = [*self._state.parameters, *self._state.statistics]
    while self._saver.restore_latest(before=before):
      if all(np.isfinite(v.numpy()).all() for v in weights):
        return True
      before = int(self._state.step.numpy())
    return False
