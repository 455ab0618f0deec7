# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""RandAugment and TrivialAugment: a random operation for each example.

The operation that an example gets, and its strength, are functions of the
example's key alone. A batch is divided by operation, so that each operation
runs on its own examples only. Images stay uint8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from data.images import image_ops
from data.images.random_bits import Purpose, below, random_bits

# RandAugment's largest magnitude, at which each operation is at its strongest.
MAX_MAGNITUDE = 10

# The number of TrivialAugment's strengths, from none to the strongest.
_NUM_STRENGTHS = 31


class _Ranges(NamedTuple):
  """The strongest form of each operation."""

  shear: float  # slope
  translate: tuple[float, float]  # pixels, down and to the right
  rotate: float  # degrees
  enhance: float  # factor away from 1
  posterize: int  # bits dropped


# From images, strengths and ranges to images. A strength is float64 in [-1, 1]:
# a part of the range, and its sign is the direction if there are two.
_Operation = Callable[[tf.Tensor, tf.Tensor, _Ranges], tf.Tensor]

_OPERATIONS: dict[str, _Operation] = {
  "identity": lambda images, _, __: images,
  "shear_x": lambda images, strengths, ranges: image_ops.shear_x(
    images, strengths * ranges.shear
  ),
  "shear_y": lambda images, strengths, ranges: image_ops.shear_y(
    images, strengths * ranges.shear
  ),
  "translate_x": lambda images, strengths, ranges: image_ops.translate_x(
    images, strengths * ranges.translate[1]
  ),
  "translate_y": lambda images, strengths, ranges: image_ops.translate_y(
    images, strengths * ranges.translate[0]
  ),
  "rotate": lambda images, strengths, ranges: image_ops.rotate(
    images, strengths * ranges.rotate
  ),
  "brightness": lambda images, strengths, ranges: image_ops.brightness(
    images, 1.0 + strengths * ranges.enhance
  ),
  "color": lambda images, strengths, ranges: image_ops.color(
    images, 1.0 + strengths * ranges.enhance
  ),
  "contrast": lambda images, strengths, ranges: image_ops.contrast(
    images, 1.0 + strengths * ranges.enhance
  ),
  "sharpness": lambda images, strengths, ranges: image_ops.sharpness(
    images, 1.0 + strengths * ranges.enhance
  ),
  "posterize": lambda images, strengths, ranges: image_ops.posterize(
    images, 8.0 - tf.round(tf.abs(strengths) * ranges.posterize)
  ),
  "solarize": lambda images, strengths, _: image_ops.solarize(
    images, 256.0 - tf.abs(strengths) * 256.0
  ),
  "autocontrast": lambda images, _, __: image_ops.autocontrast(images),
  "equalize": lambda images, _, __: image_ops.equalize(images),
}

OPERATIONS = tuple(_OPERATIONS)


def rand_augment(
  images: tf.Tensor, keys: tf.Tensor, *, num_layers: int, magnitude: float
) -> tf.Tensor:
  """Applies `num_layers` random operations of one magnitude to each image.

  In every layer the 14 `OPERATIONS` are equally likely. The magnitude is on the
  paper's scale, which ends at 10. There the slope of a shear is 0.3, a
  translation is 150 / 331 of the image, a rotation 30 degrees; the factor of
  brightness, color, contrast and sharpness is 0.1 or 1.9, posterize keeps 4
  bits, and solarize inverts all. Operations with two directions take either
  one. (torchvision's magnitudes end at 30, so that its 9 is 3 here.)

  Args:
    images: [batch, height, width, channels] uint8, channels 1 or 3; color is
      the identity on one channel.
    keys: [batch] uint64, from `augment.example_keys`.
    num_layers: at least 0; the paper's for ResNet-50 is 2; 0 is the identity.
    magnitude: in [0, 10]; the paper's for ResNet-50 is 9.

  Returns:
    The images, shape and dtype unchanged.

  Reference: Cubuk et al. 2019, RandAugment: Practical automated data
    augmentation with a reduced search space.
  """
  height, width = images.shape[1], images.shape[2]
  ranges = _Ranges(
    shear=0.3,
    translate=(height * 150 / 331, width * 150 / 331),
    rotate=30.0,
    enhance=0.9,
    posterize=4,
  )
  for layer in range(num_layers):
    bits = random_bits(keys, Purpose.RAND_AUGMENT, layer)
    strengths = _signs(random_bits(bits, 1)) * (magnitude / MAX_MAGNITUDE)
    images = _applied(images, random_bits(bits, 0), strengths, ranges)
  return images


def trivial_augment_wide(images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  """Applies one random operation of a random strength to each image.

  The 14 `OPERATIONS` are equally likely, and so are the 31 strengths m / 30,
  m = 0..30. At the largest strength the slope of a shear is 0.99, a translation
  is 32 pixels, a rotation 135 degrees; the factor of brightness, color,
  contrast and sharpness is 0.01 or 1.99, posterize keeps 2 bits, and solarize
  inverts all. Operations with two directions take either one.

  Args:
    images: [batch, height, width, channels] uint8, channels 1 or 3; color is
      the identity on one channel.
    keys: [batch] uint64, from `augment.example_keys`.

  Returns:
    The images, shape and dtype unchanged.

  Reference: Müller and Hutter 2021, TrivialAugment: Tuning-free Yet
    State-of-the-Art Data Augmentation, the wide augmentation space.
  """
  ranges = _Ranges(
    shear=0.99, translate=(32, 32), rotate=135.0, enhance=0.99, posterize=6
  )
  bits = random_bits(keys, Purpose.TRIVIAL_AUGMENT)
  strengths = below(_NUM_STRENGTHS, random_bits(bits, 2))
  strengths = tf.cast(strengths, tf.float64) / (_NUM_STRENGTHS - 1)
  strengths *= _signs(random_bits(bits, 1))
  return _applied(images, random_bits(bits, 0), strengths, ranges)


def _signs(bits: tf.Tensor) -> tf.Tensor:
  """Returns -1 or 1, equally likely, as float64."""
  return tf.cast(2 * below(2, bits) - 1, tf.float64)


def _applied(
  images: tf.Tensor, bits: tf.Tensor, strengths: tf.Tensor, ranges: _Ranges
) -> tf.Tensor:
  """Applies to each image the operation that its bits choose.

  Args:
    images: [batch, height, width, channels] uint8.
    bits: [batch] uint64.
    strengths: [batch] float64 in [-1, 1].
    ranges: the operations at strength 1.

  Returns:
    The images, shape and dtype unchanged.
  """
  chosen = below(len(_OPERATIONS), bits)
  # Each operation runs only on the examples that get it. (A map over examples
  # with tf.switch_case does the same, but takes several times as long on small
  # images.)
  groups = tf.dynamic_partition(
    tf.range(tf.size(chosen)), chosen, len(_OPERATIONS)
  )
  made = [
    operation(tf.gather(images, group), tf.gather(strengths, group), ranges)
    for operation, group in zip(_OPERATIONS.values(), groups)
  ]
  return tf.ensure_shape(tf.dynamic_stitch(groups, made), images.shape)
