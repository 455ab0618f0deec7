# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads a `tf.data.Dataset` in the graph, as a training loop does."""

from __future__ import annotations

from typing import Callable

import tensorflow as tf


def reader(dataset: tf.data.Dataset) -> Callable[[int], None]:
  """Returns a function that reads a number of batches of a dataset."""
  iterator = iter(dataset)

  @tf.function
  def read(batches: tf.Tensor) -> tf.Tensor:
    last = tf.constant(0, tf.int32)
    for _ in tf.range(batches):
      # Uses each batch, so that TensorFlow cannot leave it out.
      last += tf.size(tf.nest.flatten(next(iterator))[0])
    return last

  def run(batches: int) -> None:
    read(tf.constant(batches)).numpy()

  return run
