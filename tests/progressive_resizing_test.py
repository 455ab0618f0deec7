# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of progressive resizing against TensorFlow and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import resized
from tricks.progressive_resizing import resize_weights

SIZES = [((28, 28, 1), 20), ((30, 45, 3), 12), ((9, 6, 3), 15), ((8, 8, 1), 8)]


def pixels(shape):
  rng = np.random.default_rng(0)
  return rng.uniform(0.0, 255.0, [2, *shape]).astype(np.float32)


@pytest.mark.parametrize("mode", modes.MODES)
@pytest.mark.parametrize("shape, image_size", SIZES)
def test_images_are_resized_as_tensorflow_resizes_them(shape, image_size, mode):
  images = pixels(shape)
  size = [image_size, image_size * shape[1] // shape[0]]
  expected = tf.image.resize(images, size, antialias=True)
  found = modes.run(lambda x: resized(x, image_size), mode, images)
  np.testing.assert_allclose(found, expected, atol=1e-3)


def test_half_the_size_is_a_triangle_filter():
  # Twice as wide as a new pixel on each side, and cut at the border.
  weights = np.array([1.0, 3.0, 3.0, 1.0])
  expected = np.zeros([4, 8])
  for new in range(4):
    for offset, weight in zip(range(-1, 3), weights):
      if 0 <= 2 * new + offset < 8:
        expected[new, 2 * new + offset] = weight
  expected /= expected.sum(axis=1, keepdims=True)
  np.testing.assert_allclose(resize_weights(8, 4), expected, rtol=1e-6)


@pytest.mark.parametrize("image_size", [None, 8])
def test_the_size_that_images_have_is_the_identity(image_size):
  images = tf.constant(pixels((8, 6, 1)))
  assert resized(images, image_size) is images


@pytest.mark.parametrize("image_size", [0, -1, math.nan])
def test_image_size_out_of_range_is_named(image_size):
  with pytest.raises(
    ValueError, match=f"image_size must be >= 1, got {image_size}"
  ):
    resized(tf.constant(pixels((8, 6, 1))), image_size)
