# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How fast a run would train if it never waited for its input.

Some steps of the run's own graph are timed on a constant batch, of zeros; all
that they have changed is put back, so that the run goes on with the same bits.
"""

from __future__ import annotations

import math
import time
from typing import Any

import tensorflow as tf

from train_loop import distribution
from train_loop.bottleneck import Stopwatch
from train_loop.run_steps import RunSteps
from train_loop.state import TrainState

# About so long the steps take, and at most this part of the time of the run.
_SECONDS, _PART = 0.3, 0.005
# To read and write the state takes a second for so many bytes, at most.
_BYTES_PER_SECOND = 1e9


def steps_worth_it(
  watch: Stopwatch, state: TrainState, image_size: int | None
) -> int:
  """Returns how many steps are to be timed: 0 if it is done, or too early.

  Args:
    watch: the run's.
    state: the run's.
    image_size: the height of the images.
  """
  seconds = watch.step_seconds(image_size)
  if seconds is None or image_size in watch.ceilings:
    return 0
  steps = max(2, math.ceil(_SECONDS / seconds))
  left = _PART * watch.seconds - (steps + 1) * seconds
  if left < 0.0:
    return 0
  size = sum(v.shape.num_elements() * v.dtype.size for v in _variables(state))
  return steps if size <= left * _BYTES_PER_SECOND else 0


def step_seconds(
  state: TrainState, run_steps: RunSteps, batch_spec: Any, steps: int
) -> float:
  """Returns the seconds of a step on a constant batch; changes nothing.

  Args:
    state: the run's.
    run_steps: the run's, traced already.
    batch_spec: the element_spec of its batches, before they are distributed.
    steps: the number of steps that are timed, after one that is not.
  """
  zeros = tf.nest.map_structure(
    lambda spec: tf.zeros(spec.shape, spec.dtype), batch_spec
  )
  batches = tf.data.Dataset.from_tensors(zeros).repeat()
  iterator = iter(distribution.distributed(batches))
  before = [(v, v.numpy()) for v in _variables(state)]
  try:
    run_steps(iterator, tf.constant(1, tf.int64))
    state.step.numpy()
    start = time.perf_counter()
    run_steps(iterator, tf.constant(steps, tf.int64))
    state.step.numpy()  # Waits for the device.
    return (time.perf_counter() - start) / steps
  finally:
    for variable, value in before:
      variable.assign(value)


def _variables(state: TrainState) -> list[tf.Variable]:
  """Returns all that a step may change."""
  found = [state.lost.fatal_step]
  for item in tf.nest.flatten(state.checkpoint_items()):
    found += item.variables if isinstance(item, tf.Module) else [item]
  return found
