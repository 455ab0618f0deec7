# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The first batch of a run, before and after mixup or CutMix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

import tricks
from train_loop import config as config_lib
from train_loop import step as step_lib
from train_loop.config import ConfigError
from train_loop.failures import input_failures
from train_loop.state import TrainState


class FirstBatch(NamedTuple):
  """A replica's share of a batch.

  Attributes:
    images: [batch, height, width, channels], augmented.
    targets: [batch, K] float32, smoothed.
    mixed_images: as the network sees them, of the same shape, or smaller with
      progressive_image_sizes.
    mixed_targets: [batch, K] float32, what the loss compares with.
  """

  images: np.ndarray
  targets: np.ndarray
  mixed_images: np.ndarray
  mixed_targets: np.ndarray


def of_one_replica(
  state: TrainState, dataset: tf.data.Dataset, config: config_lib.TrainConfig
) -> FirstBatch:
  """Returns the first replica's share of the first batch as training sees it.

  Call it under the scope of the strategy that trains.

  Args:
    state: the run's; its step decides what mixup draws.
    dataset: the run's batches from that step on.
    config: the hyperparameters.

  Raises:
    ConfigError: the dataset is empty.
    InputFailed: the dataset raised an error.
  """
  strategy = tf.distribute.get_strategy()
  size = config.loop.global_batch_size // strategy.num_replicas_in_sync
  height = config.loop.image_size_at(int(state.step.numpy()))

  def mix(batch: step_lib.Batch) -> tuple[tf.Tensor, tf.Tensor]:
    images, targets = step_lib.mixed_batch(
      batch, state.step, state.num_classes, config
    )
    return tricks.resized(images, height), targets

  with input_failures(range(1)):
    batch = next(iter(dataset), None)
    if batch is None:
      raise ConfigError(
        "train_dataset must hold at least one example, got none"
      )
    first = {name: values[:size] for name, values in batch.items()}
    mixed = strategy.run(mix, args=(first,))
  images, targets = (
    strategy.experimental_local_results(values)[0].numpy() for values in mixed
  )
  plain = step_lib.dense_targets(first["label"], state.num_classes, config)
  return FirstBatch(first["image"].numpy(), plain.numpy(), images, targets)
