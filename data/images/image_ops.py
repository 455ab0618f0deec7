# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The operations of AutoAugment and related methods, on whole batches.

Each image has its own amount. Images have one or three channels, and a batch
may be empty. Colours are equal to Pillow's, bit for bit. Geometry takes the
nearest pixel, as the papers' programs do, and `FILL` outside the image.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

# Black, like Pillow in the papers, torchvision and this package's random crop.
FILL = 0

# Pillow's luma, in parts of 65,536.
_LUMA = (19595, 38470, 7471)


def shear_x(images: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
  """Replaces pixel (x, y) by the one at (x + slope * y, y).

  Args:
    images: [batch, height, width, channels] uint8.
    slopes: [batch] float64.

  Returns:
    The images, shape and dtype unchanged.
  """
  zero, one = tf.zeros_like(slopes), tf.ones_like(slopes)
  return _sampled(images, [one, slopes, zero], [zero, one, zero])


def shear_y(images: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
  """Replaces pixel (x, y) by the one at (x, y + slope * x); see `shear_x`."""
  zero, one = tf.zeros_like(slopes), tf.ones_like(slopes)
  return _sampled(images, [one, zero, zero], [slopes, one, zero])


def translate_x(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
  """Moves each image to the right by its [batch] float64 pixels."""
  zero, one = tf.zeros_like(pixels), tf.ones_like(pixels)
  return _sampled(images, [one, zero, -pixels], [zero, one, zero])


def translate_y(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
  """Moves each image down by its [batch] float64 pixels."""
  zero, one = tf.zeros_like(pixels), tf.ones_like(pixels)
  return _sampled(images, [one, zero, zero], [zero, one, -pixels])


def rotate(images: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
  """Rotates each image about its centre, counterclockwise.

  Args:
    images: [batch, height, width, channels] uint8.
    degrees: [batch] float64.

  Returns:
    The images, shape and dtype unchanged.
  """
  centre_x, centre_y = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
  radians = degrees * (math.pi / 180)
  cos, sin = tf.cos(radians), tf.sin(radians)
  return _sampled(
    images,
    [cos, -sin, centre_x - cos * centre_x + sin * centre_y],
    [sin, cos, centre_y - sin * centre_x - cos * centre_y],
  )


def brightness(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
  """Computes factor * image, as Pillow's ImageEnhance.Brightness.

  Args:
    images: [batch, height, width, channels] uint8.
    factors: [batch], at least 0; 1 is the identity.

  Returns:
    The images, shape and dtype unchanged.
  """
  return _blended(tf.constant(0.0), tf.cast(images, tf.float32), factors)


def color(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
  """Computes grey + factor * (image - grey), as Pillow's ImageEnhance.Color.

  Args and Returns are those of `brightness`. Images of one channel do not
  change.
  """
  values = tf.cast(images, tf.float32)
  return _blended(_luma(values), values, factors)


def contrast(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
  """Computes mean + factor * (image - mean), as ImageEnhance.Contrast.

  The mean is that of the image's luma, rounded. Args and Returns are those of
  `brightness`.
  """
  values = tf.cast(images, tf.float32)
  # In whole numbers, so that the order of the sum does not matter.
  luma = tf.cast(_luma(values)[..., 0], tf.int32)
  sums = tf.cast(tf.reduce_sum(luma, axis=[1, 2]), tf.int64)
  pixels = images.shape[1] * images.shape[2]
  means = (2 * sums + pixels) // (2 * pixels)
  return _blended(_per_image(tf.cast(means, tf.float32)), values, factors)


def sharpness(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
  """Computes smooth + factor * (image - smooth), as ImageEnhance.Sharpness.

  Smooth is the rounded mean of 3 x 3 pixels, in which the middle one counts
  five times. The outermost pixels do not change. Args and Returns are those of
  `brightness`.
  """
  values = tf.cast(images, tf.float32)
  kernel = np.ones([3, 3, images.shape[-1], 1], np.float32)
  kernel[1, 1] = 5.0
  # Sums of whole numbers: float32 holds them exactly.
  sums = tf.nn.depthwise_conv2d(values, kernel, [1, 1, 1, 1], "SAME")
  blended = _blended(tf.floor(sums / 13.0 + 0.5), values, factors)
  is_inner = np.zeros([*images.shape[1:3], 1], bool)
  is_inner[1:-1, 1:-1] = True
  return tf.where(is_inner, blended, images)


def posterize(images: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
  """Keeps the highest bits of each value, as Pillow's ImageOps.posterize.

  Args:
    images: [batch, height, width, channels] uint8.
    bits: [batch] whole numbers in 0..8; 8 is the identity.

  Returns:
    The images, shape and dtype unchanged.
  """
  masks = 256 - tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32))
  masks = _per_image(tf.cast(masks, tf.uint8))
  return tf.bitwise.bitwise_and(images, masks)


def solarize(images: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
  """Inverts values at or above the threshold, as ImageOps.solarize.

  Args:
    images: [batch, height, width, channels] uint8.
    thresholds: [batch] float in [0, 256]; 256 is the identity.

  Returns:
    The images, shape and dtype unchanged.
  """
  thresholds = tf.cast(tf.math.ceil(thresholds), tf.int32)
  # tf.where, a branch for each pixel, would take ten times as long.
  flips = tf.cast(tf.where(thresholds < 256, 255, 0), tf.uint8)
  lowest = tf.cast(tf.minimum(thresholds, 255), tf.uint8)
  reached = tf.cast(images >= _per_image(lowest), tf.uint8)
  return tf.bitwise.bitwise_xor(images, reached * _per_image(flips))


def autocontrast(images: tf.Tensor) -> tf.Tensor:
  """Stretches each channel to 0..255, as Pillow's ImageOps.autocontrast.

  Args:
    images: [batch, height, width, channels] uint8.

  Returns:
    The images, shape and dtype unchanged.
  """
  low = tf.cast(tf.reduce_min(images, axis=[1, 2]), tf.float64)
  high = tf.cast(tf.reduce_max(images, axis=[1, 2]), tf.float64)
  spans = high > low
  scale = 255.0 / tf.maximum(high - low, 1.0)
  scale = tf.where(spans, scale, tf.ones_like(scale))
  offset = tf.where(spans, low * scale, tf.zeros_like(scale))
  rows = tf.cast(_as_rows(images), tf.float64)
  # In Pillow's order, to round as it does; the cast truncates, as Pillow's.
  stretched = rows * _per_channel(scale, images) - _per_channel(offset, images)
  return tf.reshape(tf.cast(stretched, tf.uint8), tf.shape(images))


def equalize(images: tf.Tensor) -> tf.Tensor:
  """Makes each channel's values equally frequent, as ImageOps.equalize.

  Args:
    images: [batch, height, width, channels] uint8.

  Returns:
    The images, shape and dtype unchanged.
  """
  batch, channels = tf.shape(images)[0], images.shape[-1]
  size = batch * channels * 256
  # The place of each value in one flat table of 256 entries per channel.
  tables = tf.reshape(tf.range(0, size, 256), [batch, channels])
  places = tf.cast(_as_rows(images), tf.int32) + _per_channel(tables, images)
  counts = tf.math.bincount(
    tf.reshape(places, [-1]), minlength=size, maxlength=size
  )
  counts = tf.reshape(counts, [batch, channels, 256])
  equal = tf.reshape(_equal_values(counts), [-1])
  return tf.reshape(
    tf.gather_nd(equal, places[..., tf.newaxis]), tf.shape(images)
  )


def _equal_values(counts: tf.Tensor) -> tf.Tensor:
  """Returns Pillow's table of new values, from the counts of the old.

  Args:
    counts: [batch, channels, 256] int32.

  Returns:
    [batch, channels, 256] uint8.
  """
  values = tf.range(256)
  brightest = tf.reduce_max(tf.where(counts > 0, values, 0), axis=-1)
  last = tf.gather(counts, brightest, batch_dims=2)
  step = (tf.reduce_sum(counts, axis=-1) - last) // 255
  step = step[..., tf.newaxis]
  darker = tf.cumsum(counts, axis=-1, exclusive=True)
  equal = (step // 2 + darker) // tf.maximum(step, 1)
  # With less than a pixel per step the image does not change.
  return tf.cast(tf.where(step > 0, tf.minimum(equal, 255), values), tf.uint8)


def _per_image(amounts: tf.Tensor) -> tf.Tensor:
  """Reshapes [batch] to [batch, 1, 1, 1]."""
  return amounts[:, tf.newaxis, tf.newaxis, tf.newaxis]


def _as_rows(images: tf.Tensor) -> tf.Tensor:
  """Reshapes to [batch, height, width * channels]: long rows broadcast fast."""
  _, height, width, channels = images.shape
  return tf.reshape(images, [-1, height, width * channels])


def _per_channel(amounts: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
  """Repeats [batch, channels] for a whole row of `_as_rows`."""
  return tf.tile(amounts, [1, images.shape[2]])[:, tf.newaxis]


def _sampled(
  images: tf.Tensor, to_x: list[tf.Tensor], to_y: list[tf.Tensor]
) -> tf.Tensor:
  """Takes the pixel nearest to (to_x . (x, y, 1), to_y . (x, y, 1))."""
  zero = tf.zeros_like(to_x[0])
  transforms = tf.stack([*to_x, *to_y, zero, zero], axis=1)
  return tf.raw_ops.ImageProjectiveTransformV3(
    images=images,
    transforms=tf.cast(transforms, tf.float32),
    output_shape=images.shape[1:3],
    fill_value=tf.constant(FILL, tf.float32),
    interpolation="NEAREST",
    fill_mode="CONSTANT",
  )


def _blended(
  degenerate: tf.Tensor, values: tf.Tensor, factors: tf.Tensor
) -> tf.Tensor:
  """Blends as Pillow's Image.blend: clipped, then truncated."""
  factors = _per_image(tf.cast(factors, tf.float32))
  blended = degenerate + factors * (values - degenerate)
  return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)


def _luma(values: tf.Tensor) -> tf.Tensor:
  """Converts to grey as Pillow does; float32, with all channels kept."""
  channels = values.shape[-1]
  if channels == 1:
    return values
  weights = tf.tile(
    tf.constant(_LUMA, tf.float32)[:, tf.newaxis], [1, channels]
  )
  # Whole numbers below 2^24: float32 holds every sum exactly.
  sums = tf.matmul(values, weights)
  return tf.floor((sums + 32768.0) / 65536.0)
