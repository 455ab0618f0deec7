# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the layer that halves the resolution."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from train_loop.models.halving_mean import HalvingMean


def halved(images: np.ndarray) -> np.ndarray:
  """The mean of each window, from the description alone."""
  for axis in (1, 2):
    side = images.shape[axis]
    length = min(side, 3 if side % 2 else 2)
    starts = range(0, side - length + 1, 2)
    images = np.stack(
      [np.take(images, range(s, s + length), axis).mean(axis) for s in starts],
      axis,
    )
  return images


def random_images(height: int, width: int) -> np.ndarray:
  shape = (2, height, width, 3)
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("height", [1, 4, 7])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_each_pixel_is_the_mean_of_its_window(height, width, jit_compile):
  images = random_images(height, width)
  layer = HalvingMean()
  found = tf.function(layer, jit_compile=jit_compile)(images)
  np.testing.assert_allclose(found, halved(images), rtol=1e-5, atol=1e-6)
  assert found.shape == layer.compute_output_shape(images.shape)
  assert found.shape[1:3] == (max(1, height // 2), max(1, width // 2))


@pytest.mark.parametrize("side", [6, 7])
def test_a_network_for_any_size_sees_the_size_that_it_gets(side):
  images = tf.keras.Input([None, None, 3])
  model = tf.keras.Model(images, HalvingMean()(images))
  assert tuple(model.output_shape) == (None, None, None, 3)
  values = random_images(side, side)
  np.testing.assert_allclose(model(values), halved(values), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_stays_half(dtype):
  layer = HalvingMean(dtype=dtype)
  values = random_images(7, 7)
  assert layer(values).dtype == dtype.removeprefix("mixed_")
  np.testing.assert_allclose(
    tf.cast(layer(values), tf.float32), halved(values), atol=0.03
  )


def test_it_is_read_back_from_its_config():
  layer = tf.keras.layers.deserialize(
    tf.keras.layers.serialize(HalvingMean(name="pool"))
  )
  assert isinstance(layer, HalvingMean)
  assert layer.name == "pool"
