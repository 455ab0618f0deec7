# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""BatchNorm's statistics of the weights that SWA averages.

The statistics that training followed are those of each step's weights, and
their average is not what the averaged weights see. So they are taken anew, from
training images: the mean over batches of each batch's mean and variance, as
`torch.optim.swa_utils.update_bn` takes it (Izmailov et al. 2018, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from train_loop import config as config_lib
from train_loop import distribution, evaluation
from train_loop.state import TrainState
from train_loop.step import Batch
from tricks import keras_compat

# More images change the statistics no more (Wu and Johnson 2021, "Rethinking
# 'Batch' in BatchNorm", section 3).
EXAMPLES = 10_000


class Renewal:
  """Takes the statistics of the averages anew."""

  def __init__(
    self,
    state: TrainState,
    config: config_lib.TrainConfig,
    batches: Callable[[], tf.data.Dataset],
  ) -> None:
    """Prepares it; under the scope of the strategy that trains.

    Args:
      state: the run's.
      config: the hyperparameters.
      batches: returns the training batches from step 0 on.
    """
    self._state = state
    self._loop, settings = config.loop, config.regularization
    self._parts = config.optimizer.accumulate_steps
    every = settings.swa_every_steps
    # At this step the average is of one step's weights, whose statistics are
    # known; 0 if nothing is averaged.
    self._first = 0
    if settings.swa_steps:
      self._first = config.loop.total_steps - (
        (settings.swa_steps - 1) // every * every
      )
    self._batches = batches
    self._moved = _statistics(state) if settings.swa_steps else []
    self._sums = [
      tf.Variable(tf.zeros_like(v), trainable=False) for v, _ in self._moved
    ]
    self._add = tf.function(self._added)
    self._swap = evaluation.make_swap_averages(state)

  def __call__(self, step: int) -> None:
    """Takes them anew if by this step several weights are averaged."""
    if not self._moved or step <= self._first:
      return
    batch = self._loop.global_batch_size
    most = min(EXAMPLES, self._loop.examples_per_epoch)
    batches = self._batches().take(math.ceil(most / batch))
    # Dropout's draws are training's: taken back, so that none is left out.
    counters = [tf.identity(v.read_value()) for v in self._state.counters]
    self._swap()
    for total in self._sums:
      total.assign(tf.zeros_like(total))
    count = 0
    for each in distribution.distributed(batches):
      self._add(each)
      count += self._parts
    for (variable, momentum), total in zip(self._moved, self._sums):
      variable.assign(total.read_value() / ((1.0 - momentum) * count))
    self._swap()
    for variable, value in zip(self._state.counters, counters):
      variable.assign(value)

  @keras_compat.unconverted
  def _added(self, batch: Any) -> None:
    tf.distribute.get_strategy().run(self._add_of_replica, args=(batch,))

  @keras_compat.unconverted
  def _add_of_replica(self, batch: Batch) -> None:
    """Adds to the sums what each micro-batch moves the statistics by."""
    replica = tf.distribute.get_replica_context()
    images = tf.cast(batch["image"], tf.float32)
    for part in tf.split(images, self._parts):
      for variable, _ in self._moved:
        variable.assign(tf.zeros_like(variable))
      self._state.model(part, training=True)
      moved = [variable.read_value() for variable, _ in self._moved]
      for total, value in zip(self._sums, replica.all_reduce("MEAN", moved)):
        total.assign_add(value)


def _statistics(state: TrainState) -> list[tuple[tf.Variable, float]]:
  """Returns the moving statistics that training moves, and their momentum."""
  trained = {id(v) for v in state.statistics}
  found = []
  for layer in keras_compat.flat_layers(state.model):
    momentum = getattr(layer, "momentum", 1.0)
    moving = [
      getattr(layer, name, None) for name in ("moving_mean", "moving_variance")
    ]
    if any(v is None for v in moving) or not momentum < 1.0:
      continue
    variables = keras_compat.tf_variables(moving)
    found += [(v, float(momentum)) for v in variables if id(v) in trained]
  return found
