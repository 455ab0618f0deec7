# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random crop, flip and erasing, on a whole batch at once.

An example's augmentation is a function of its key, and the key is a function of
`(seed, epoch, index)`. It does not depend on the batch that the example is in,
or on the thread that prepares it. Images stay uint8. `data.Augmentation` holds
the defaults, and checks the ranges.
"""

from __future__ import annotations

import tensorflow as tf

from data.images.random_bits import (
  Integer,
  Purpose,
  below,
  between,
  random_bits,
  uniform,
)

_ERASING_ATTEMPTS = 10


def example_keys(
  seed: Integer, epochs: tf.Tensor, indices: tf.Tensor
) -> tf.Tensor:
  """Returns the key of each example, which decides its augmentation.

  Args:
    seed: the run's seed, in [0, 2^63).
    epochs: [batch] integers.
    indices: [batch] integers, the examples' places in their source.

  Returns:
    The keys, [batch] uint64.
  """
  return random_bits(seed, epochs, indices)


def alternating_flips(
  seed: Integer, epochs: tf.Tensor, indices: tf.Tensor
) -> tf.Tensor:
  """Decides which examples are flipped: each in every other epoch.

  A coin decides whether an example is flipped in the first epoch. So the
  network sees both sides of it in any two epochs; with a coin in every epoch it
  would see the same side twice half of the time.

  Args:
    seed: the run's seed, in [0, 2^63).
    epochs: [batch] integers.
    indices: [batch] integers, the examples' places in their source.

  Returns:
    [batch] bool, true for about half of the examples of an epoch.

  Reference: Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU
    (arXiv 2404.00498), alternating flip.
  """
  coins = below(2, random_bits(random_bits(seed, indices), Purpose.FLIP))
  return (tf.cast(epochs, tf.int32) + coins) % 2 == 1


def crop_and_flip(
  images: tf.Tensor,
  keys: tf.Tensor,
  *,
  pad_crop: int = 0,
  flipped: tf.Tensor | None = None,
) -> tf.Tensor:
  """Shifts each image by up to `pad_crop` pixels, then flips some images.

  Pads with `pad_crop` zeros on each side, crops the image's own size at a
  random place, then flips the images of `flipped` from left to right.

  Args:
    images: [batch, height, width, channels], any dtype.
    keys: [batch] uint64, from `example_keys`.
    pad_crop: pixels, at least 0; 0 does not crop.
    flipped: [batch] bool, the images to flip; None flips none.

  Returns:
    The images, shape and dtype unchanged.

  Reference: He et al. 2015, Deep Residual Learning for Image Recognition,
    section 4.2.
  """
  height, width = images.shape[1], images.shape[2]
  columns = tf.range(width)[tf.newaxis]
  if flipped is not None:
    mirrored = width - 1 - columns
    columns = tf.where(flipped[:, tf.newaxis], mirrored, columns)
  if pad_crop:
    margin = [pad_crop, pad_crop]
    images = tf.pad(images, [[0, 0], margin, margin, [0, 0]])
    top = below(2 * pad_crop + 1, random_bits(keys, Purpose.CROP_ROW))
    left = below(2 * pad_crop + 1, random_bits(keys, Purpose.CROP_COLUMN))
    rows = tf.range(height)[tf.newaxis] + top[:, tf.newaxis]
    columns = columns + left[:, tf.newaxis]
    images = tf.gather(images, rows, batch_dims=1)
  if pad_crop or flipped is not None:
    # Columns are gathered as rows: twice as fast as pixel by pixel.
    images = tf.transpose(images, [0, 2, 1, 3])
    images = tf.gather(images, columns, batch_dims=1)
    images = tf.transpose(images, [0, 2, 1, 3])
  return images


def random_erasing(
  images: tf.Tensor,
  keys: tf.Tensor,
  *,
  erasing_probability: float,
  erasing_area: tuple[float, float],
  erasing_aspect: tuple[float, float],
  erasing_fill: tuple[int, ...],
) -> tf.Tensor:
  """Fills a random rectangle of some images.

  With probability `erasing_probability`: area = U(erasing_area) * height *
  width, aspect = U(erasing_aspect), h = round(sqrt(area * aspect)), w =
  round(sqrt(area / aspect)), at a uniformly random place. The first of
  ten such draws that fits into the image is taken; if none fits, nothing is
  erased.

  Args:
    images: [batch, height, width, channels], any dtype.
    keys: [batch] uint64, from `example_keys`.
    erasing_probability: in [0, 1]; 0 is the identity.
    erasing_area: the smallest and the largest part of the image, in (0, 1].
    erasing_aspect: the smallest and the largest height / width, above 0.
    erasing_fill: the rectangle's value, or one per channel; 0..255.

  Returns:
    The images, shape and dtype unchanged.

  Reference: Zhong et al. 2017, Random Erasing Data Augmentation, algorithm 1.
  """
  if erasing_probability == 0:
    return images
  height, width = images.shape[1], images.shape[2]
  chosen = uniform(random_bits(keys, Purpose.ERASE, 0)) < erasing_probability
  box_height, box_width = _box_sizes(
    keys,
    height,
    width,
    erasing_area=erasing_area,
    erasing_aspect=erasing_aspect,
  )
  top = below(height - box_height + 1, random_bits(keys, Purpose.ERASE, 1))
  left = below(width - box_width + 1, random_bits(keys, Purpose.ERASE, 2))
  rows = tf.range(height) - top[:, tf.newaxis]
  columns = tf.range(width) - left[:, tf.newaxis]
  in_rows = (rows >= 0) & (rows < box_height[:, tf.newaxis])
  in_columns = (columns >= 0) & (columns < box_width[:, tf.newaxis])
  in_rows &= chosen[:, tf.newaxis]
  erased = in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :]
  return tf.where(
    erased[..., tf.newaxis], tf.cast(erasing_fill, images.dtype), images
  )


def _box_sizes(
  keys: tf.Tensor,
  height: int,
  width: int,
  *,
  erasing_area: tuple[float, float],
  erasing_aspect: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns height and width of the first draw that fits, or 0: [batch]."""
  attempts = tf.range(_ERASING_ATTEMPTS, dtype=tf.int64)
  keys = keys[:, tf.newaxis]
  area = between(erasing_area, random_bits(keys, Purpose.ERASE, 3, attempts))
  aspect = between(
    erasing_aspect, random_bits(keys, Purpose.ERASE, 4, attempts)
  )
  area *= height * width
  box_height = tf.cast(tf.round(tf.sqrt(area * aspect)), tf.int32)
  box_width = tf.cast(tf.round(tf.sqrt(area / aspect)), tf.int32)
  fits = (box_height <= height) & (box_width <= width)
  first = tf.argmax(fits, axis=1)[:, tf.newaxis]

  def pick(sizes: tf.Tensor) -> tf.Tensor:
    sizes = tf.where(fits, sizes, 0)
    return tf.gather(sizes, first, batch_dims=1)[:, 0]

  return pick(box_height), pick(box_width)
