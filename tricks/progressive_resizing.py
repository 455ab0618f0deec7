# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progressive resizing: smaller images first, resized on the device.

By two matrix products, since `tf.image.resize` with `antialias` has no kernel
for a GPU or XLA.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


# Keeps AutoGraph off: there is no Python control flow on tensors to convert.
@tf.autograph.experimental.do_not_convert
def resized(images: tf.Tensor, image_size: int | None) -> tf.Tensor:
  """Resizes images to a new height and keeps their aspect ratio.

  x' = R·x·Cᵀ for each channel: R sums rows of pixels, C columns. Equals
  `tf.image.resize` with `antialias`.

  Args:
    images: [batch, height, width, channels] float32.
    image_size: the new height, >= 1; None is the identity.

  Returns:
    [batch, image_size, image_size * width / height, channels] float32.

  Raises:
    ValueError: image_size is out of its range.

  Reference: Tan and Le 2021, EfficientNetV2, section 4 (progressive learning).
  """
  if image_size is None or image_size == images.shape[1]:
    return images
  if not image_size >= 1:
    raise ValueError(f"image_size must be >= 1, got {image_size}")
  _, height, width, _ = images.shape
  new_width = max(1, round(image_size * width / height))
  rows = resize_weights(height, image_size)
  columns = resize_weights(width, new_width)
  images = tf.einsum("yh,bhwc->bywc", rows, images)
  return tf.einsum("xw,bywc->byxc", columns, images)


def resize_weights(size: int, new_size: int) -> np.ndarray:
  """Returns the weights by which a row of pixels becomes a shorter one.

  Args:
    size: pixels of the row.
    new_size: pixels of the new row.

  Returns:
    [new_size, size] float32; rows sum to 1.
  """
  with tf.init_scope():  # Eagerly, even while a graph is traced.
    unit_rows = tf.eye(size)[..., tf.newaxis]
    weights = tf.image.resize(unit_rows, [new_size, size], antialias=True)
    return weights[..., 0].numpy()
