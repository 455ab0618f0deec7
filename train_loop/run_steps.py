# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many training steps in one call of a graph that is traced once."""

from __future__ import annotations

from typing import Any, Callable

import tensorflow as tf

from train_loop import config as config_lib
from train_loop.state import TrainState
from train_loop.step import Batch, Schedule, train_step
from train_loop.variables import assign_all
from tricks.keras_compat import unconverted

# From an iterator and a number of steps to the seconds that were waited.
RunSteps = Callable[[Any, tf.Tensor], tf.Tensor]


class OneTrace:
  """Refuses the second trace of a `tf.function`, and says what changed.

  TensorFlow traces silently, and each trace costs seconds. Call this inside the
  traced function: it then runs once per trace.
  """

  def __init__(self, name: str) -> None:
    self._name = name
    self._first: dict[str, str] | None = None

  @unconverted
  def __call__(self, **arguments: Any) -> None:
    """Remembers the arguments' specs; raises a TypeError the second time."""
    specs = {name: str(spec) for name, spec in arguments.items()}
    if self._first is None:
      self._first = specs
      return
    changes = [
      f"{name} was {self._first[name]} and is {spec}"
      for name, spec in specs.items()
      if spec != self._first[name]
    ]
    raise TypeError(
      f"{self._name} was traced again: "
      + ("; ".join(changes) or "a captured Python object changed")
      + ". Give every batch of a run the same keys, shapes and dtypes"
    )


def make_run_steps(
  state: TrainState,
  config: config_lib.TrainConfig,
  *,
  schedule: Schedule,
  teacher: tf.keras.Model | None = None,
  image_size: int | None = None,
) -> RunSteps:
  """Returns `run_steps(iterator, num_steps)`: many steps in one graph call.

  Args:
    state: the run's variables.
    config: the hyperparameters.
    schedule: from the step to the learning rate.
    teacher: for distillation.
    image_size: the height that images are resized to; None leaves them.

  Returns:
    A `tf.function` of an iterator over (distributed) global batches and of the
    number of steps, a scalar integer tensor. It returns the seconds in which it
    waited for batches, a float64 scalar; what that tells, `bottleneck` says.
  """
  strategy = tf.distribute.get_strategy()
  one_trace = OneTrace("run_steps")
  skips = config.loop.on_nonfinite == "skip"
  most = config.loop.max_skipped_steps if skips else 0

  @unconverted
  def replica_step(batch: Batch) -> None:
    step, remedy_left = state.step.read_value(), state.remedy_left()
    counters = [v.read_value() for v in state.counters]
    metrics = train_step(
      state,
      batch,
      config,
      schedule=schedule,
      teacher=teacher,
      image_size=image_size,
    )
    state.window.add(metrics)
    finite = metrics["finite"]
    lost = tf.logical_not(tf.logical_or(finite, remedy_left))
    state.lost.add(step, finite=finite, lost=lost, most=most)
    if counters:
      tf.cond(lost, lambda: assign_all(state.counters, counters), lambda: None)

  if config.precision.jit_compile and not tf.distribute.has_strategy():
    # On one device XLA compiles the whole step, so that a GPU does not wait for
    # the update's many small operations.
    replica_step = tf.function(replica_step, jit_compile=True)

  @tf.function
  def run_steps(iterator: Any, num_steps: tf.Tensor) -> tf.Tensor:
    one_trace(
      batch=iterator.element_spec,
      num_steps=tf.TensorSpec.from_tensor(num_steps),
    )
    waited = tf.constant(0.0, tf.float64)
    for _ in tf.range(num_steps):
      start = tf.timestamp()
      with tf.control_dependencies([start]):
        batch = next(iterator)
      with tf.control_dependencies(tf.nest.flatten(batch, True)):
        waited += tf.timestamp() - start
      strategy.run(replica_step, args=(batch,))
    return waited

  return run_steps
