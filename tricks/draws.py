# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random numbers that eager mode, graph mode and XLA agree on.

They are stateless, and made from integers of the Philox algorithm. The floats
of stateless_uniform, and any algorithm that it chooses itself, differ under
XLA; stateless_gamma, stateless_shuffle and index_shuffle have no XLA kernel.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def random_permutation(size: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Draws a permutation of range(size).

  Args:
    size: int32 scalar.
    seed: [2] int32.

  Returns:
    [size] int32.
  """
  return tf.argsort(_random_bits([size], seed), stable=True)


def uniform(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
  """Draws numbers uniform in (0, 1): midpoints of 2^32 equal parts of it.

  Args:
    shape: of the result.
    seed: [2] int32.

  Returns:
    float64 of that shape; neither 0 nor 1 occurs.
  """
  bits = tf.cast(_random_bits(shape, seed), tf.float64)
  return (bits + 2.0**31 + 0.5) / 2.0**32


def split_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
  """Derives `number` independent seeds, [number, 2] int32, from one."""
  return tf.random.split(seed, number, alg="philox")


def _random_bits(shape: list[Any], seed: tf.Tensor) -> tf.Tensor:
  return tf.random.stateless_uniform(
    shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
  )
