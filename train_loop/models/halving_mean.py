# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Half the resolution, of odd sides too, by means and without padding."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="train_loop")
class HalvingMean(tf.keras.layers.Layer):
  """Averages 2 x 2 pixels into one, and 3 x 3 if a side is odd.

  A side of n pixels becomes floor(n / 2), at least 1. Windows begin at every
  second pixel; of an odd side they are 3 long and share their ends, so that 7
  pixels become 3 and each is counted. With padding they would become 4, and the
  convolutions that follow would compute 16 pixels instead of 9.

  Where a side is not known when a graph is traced, it counts as even, and of an
  odd one the last pixel is left out.

  Input: [batch, height, width, channels] floating.
  Output: [batch, max(1, height // 2), max(1, width // 2), channels], in the
    compute dtype.
  """

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Averages each window."""
    windows = [
      2 if side is None else min(side, 2 + side % 2)
      for side in inputs.shape[1:3]
    ]
    return tf.nn.avg_pool2d(inputs, windows, 2, "VALID")

  def compute_output_shape(
    self, input_shape: Sequence[int | None]
  ) -> tuple[int | None, ...]:
    """Half of the height and of the width, rounded down."""
    batch, height, width, channels = input_shape
    return batch, _half(height), _half(width), channels


def _half(side: int | None) -> int | None:
  return None if side is None else max(1, side // 2)
