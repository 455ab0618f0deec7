# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The operations against Pillow, NumPy and TensorFlow Addons."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from data.images import image_ops
from tests import pillow_ops

COUNT = 42
# Few and many pixels for equalize's 256 steps. Of odd size, as no pixel that
# rotates by a multiple of 45 degrees then falls just between two others.
SHAPES = [(9, 7, 3), (33, 17, 3), (61, 47, 3), (9, 7, 1), (33, 17, 1)]

FACTORS = np.linspace(0, 2, COUNT)
AMOUNTS = {
  "shear_x": np.linspace(-0.99, 0.99, COUNT),
  "shear_y": np.linspace(-0.99, 0.99, COUNT),
  "translate_x": np.linspace(-40, 40, COUNT),
  "translate_y": np.linspace(-40, 40, COUNT),
  "rotate": np.linspace(-135, 135, COUNT),
  "brightness": FACTORS,
  "color": FACTORS,
  "contrast": FACTORS,
  "sharpness": FACTORS,
  "posterize": 1 + np.arange(COUNT) % 8,
  "solarize": np.linspace(0, 256, COUNT),
}
WITHOUT_AMOUNT = ("autocontrast", "equalize")
NAMES = (*AMOUNTS, *WITHOUT_AMOUNT)
IDENTITIES = {
  "brightness": 1,
  "color": 1,
  "contrast": 1,
  "sharpness": 1,
  "posterize": 8,
  "solarize": 256,
}


def batch(shape) -> np.ndarray:
  """Noise, and what is special to some operation."""
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (COUNT, *shape), np.uint8)
  images[1], images[2], images[3] = 0, 7, 255
  images[4] = images[4] // 2 * 255  # Wraps: all even values.
  images[5] = 100 + images[5] // 20  # Low contrast.
  images[6] = images[6] // 200 * 255  # Two values.
  images[7, ..., 0] = 30  # One flat channel.
  images[8] = images[8] ** 2 // 2  # Uneven.
  images[9] = np.linspace(0, 255, shape[1])[:, np.newaxis]  # A ramp.
  return images


def applied(name: str, images, amounts=None) -> tf.Tensor:
  operation = getattr(image_ops, name)
  images = tf.constant(images)
  if name in WITHOUT_AMOUNT:
    return operation(images)
  amounts = AMOUNTS[name] if amounts is None else amounts
  return operation(images, tf.constant(amounts, tf.float64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_pillow_and_numpy(name, shape):
  images = batch(shape)
  made = applied(name, images)
  assert made.dtype == tf.uint8
  amounts = AMOUNTS.get(name, [0] * COUNT)
  expected = [
    pillow_ops.applied(name, image, amount)
    for image, amount in zip(images, amounts)
  ]
  np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("name", NAMES)
def test_images_change(name):
  images = batch((33, 17, 3))
  changed = np.any(applied(name, images) != images, axis=(1, 2, 3))
  assert np.count_nonzero(changed) >= COUNT // 4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", AMOUNTS)
def test_no_amount_is_the_identity(name, shape):
  images = batch(shape)
  amounts = np.full(COUNT, IDENTITIES.get(name, 0))
  np.testing.assert_array_equal(applied(name, images, amounts), images)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_graph_gives_the_eager_images_at_any_batch_size(name, channels):
  signature = [
    tf.TensorSpec([None, 33, 17, channels], tf.uint8),
    tf.TensorSpec([None], tf.float64),
  ]
  compiled = tf.function(
    lambda images, amounts: (
      getattr(image_ops, name)(images)
      if name in WITHOUT_AMOUNT
      else getattr(image_ops, name)(images, amounts)
    ),
    input_signature=signature,
  )
  images = batch((33, 17, channels))
  amounts = np.asarray(AMOUNTS.get(name, np.zeros(COUNT)), float)
  whole = applied(name, images)
  for part in (slice(0), slice(7, 8), slice(3, COUNT)):
    made = compiled(images[part], amounts[part])
    assert made.shape == images[part].shape
    np.testing.assert_array_equal(made, whole[part])


def test_a_quarter_turn_is_exact():
  for size in (8, 9):
    images = batch((size, size, 3))
    for turns in range(-2, 3):
      turned = applied("rotate", images, np.full(COUNT, 90.0 * turns))
      expected = np.rot90(images, turns, axes=(1, 2))
      np.testing.assert_array_equal(turned, expected)


def test_whole_pixels_shift_right_and_down():
  images = batch((9, 7, 3))
  right = applied("translate_x", images, np.full(COUNT, 2.0)).numpy()
  np.testing.assert_array_equal(right[:, :, 2:], images[:, :, :-2])
  down = applied("translate_y", images, np.full(COUNT, 2.0)).numpy()
  np.testing.assert_array_equal(down[:, 2:], images[:, :-2])
  assert image_ops.FILL == 0
  assert not right[:, :, :2].any() and not down[:, :2].any()


def addons_image():
  if not tf.__version__.startswith("2.15."):
    pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
  return pytest.importorskip("tensorflow_addons").image


@pytest.mark.parametrize("shape", [(9, 7, 3), (33, 17, 1)])
def test_rotate_and_translate_equal_tensorflow_addons(shape):
  addons, images = addons_image(), batch(shape)
  degrees = AMOUNTS["rotate"]
  expected = addons.rotate(images, np.radians(degrees))
  np.testing.assert_array_equal(applied("rotate", images), expected)
  for axis, name in enumerate(("translate_x", "translate_y")):
    vectors = np.zeros([COUNT, 2], np.float32)
    vectors[:, axis] = AMOUNTS[name]
    expected = addons.translate(images, vectors)
    np.testing.assert_array_equal(applied(name, images), expected)


@pytest.mark.parametrize("name", ["shear_x", "shear_y"])
def test_shear_equals_tensorflow_addons(name):
  addons, images = addons_image(), batch((8, 10, 3))
  made = applied(name, images)
  for image, slope, ours in zip(images, AMOUNTS[name], made):
    expected = getattr(addons, name)(image, float(slope), 0)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("shape", [(33, 17, 3), (61, 47, 1), (8, 8, 3)])
def test_equalize_equals_tensorflow_addons(shape):
  addons, images = addons_image(), batch(shape)
  np.testing.assert_array_equal(
    applied("equalize", images), addons.equalize(images)
  )


def test_amounts_are_each_images_own():
  images = np.repeat(batch((33, 17, 3))[:1], 2, axis=0)
  for name, amounts in AMOUNTS.items():
    first, second = applied(name, images, amounts[[0, COUNT // 3]]).numpy()
    assert np.any(first != second), name
