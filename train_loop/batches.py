# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A caller's dataset as batches of one size."""

from __future__ import annotations

from typing import Callable, Union

import tensorflow as tf

from train_loop import config as config_lib
from train_loop.step import Batch

# A dataset of one epoch, or a function from a step to the endless dataset.
TrainData = Union[tf.data.Dataset, Callable[[int], tf.data.Dataset]]

# Batches that are ready before the step asks for them.
_BATCHES_AHEAD = 4


def padded_batches(
  dataset: tf.data.Dataset, batch_size: int
) -> tf.data.Dataset:
  """Makes batches of one size; zeros fill the last one, and a mask marks them.

  Args:
    dataset: batches of `image` and `label`, of any sizes.
    batch_size: examples in each batch.

  Returns:
    Batches of `image`, `label` and `mask`, [batch_size] bool: false for the
    zeros.
  """

  def pad(batch: Batch) -> Batch:
    count = tf.shape(batch["label"])[0]

    def fill(values: tf.Tensor) -> tf.Tensor:
      tail = [[0, 0]] * (values.shape.rank - 1)
      padded = tf.pad(values, [[0, batch_size - count], *tail])
      return tf.ensure_shape(padded, [batch_size, *values.shape[1:]])

    return {
      "image": fill(batch["image"]),
      "label": fill(batch["label"]),
      "mask": tf.range(batch_size) < count,
    }

  if _batch_size(dataset) != batch_size:
    dataset = dataset.rebatch(batch_size)
  return dataset.map(pad).prefetch(_BATCHES_AHEAD)


def train_batches(
  dataset: TrainData, config: config_lib.TrainConfig, start_step: int
) -> tf.data.Dataset:
  """Returns endless batches, all full, from `start_step` on."""
  if callable(dataset):
    return dataset(start_step)
  batch_size = config.loop.global_batch_size
  dataset = dataset.repeat()
  if _batch_size(dataset) != batch_size:
    dataset = dataset.rebatch(batch_size, drop_remainder=True)
  return dataset.skip(start_step).prefetch(_BATCHES_AHEAD)


def _batch_size(dataset: tf.data.Dataset) -> int | None:
  return dataset.element_spec["label"].shape[0]
