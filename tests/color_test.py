# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Colour augmentation against NumPy, one step and one example at a time."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from data.images import augment, color
from tests.splitmix import python_uniform

# Pixels that four divides, two divides and neither does.
SHAPES = [(8, 8, 3), (6, 7, 3), (5, 9, 3), (8, 8, 1), (5, 9, 1)]

PAPER = functools.partial(color.augment_color, color_jitter=0.4, pca_noise=0.1)
COLOR = 4

RGB_TO_YIQ = np.array(
  [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
)
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)


def batch(shape, count=64) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def keys_of(count: int) -> tf.Tensor:
  numbers = tf.range(count, dtype=tf.int64)
  return augment.example_keys(3, numbers // 10, numbers % 10)


def python_normal(key: int, number: int) -> float:
  radius = math.sqrt(-2 * math.log(1 - python_uniform(key, COLOR, 3, number)))
  return radius * math.cos(2 * math.pi * python_uniform(key, COLOR, 4, number))


def jittered(
  image: np.ndarray,
  key: int,
  color_jitter: float,
  to_yiq: np.ndarray = RGB_TO_YIQ,
  to_rgb: np.ndarray = YIQ_TO_RGB,
) -> np.ndarray:
  """MXNet's augmenters one after the other, in float."""
  brightness, saturation, hue = (
    1 + color_jitter * (2 * python_uniform(key, COLOR, number) - 1)
    for number in range(3)
  )
  image = image * brightness
  if image.shape[-1] == 1:
    return image
  grey = np.sum(image * [0.299, 0.587, 0.114], axis=-1, keepdims=True)
  image = image * saturation + grey * (1 - saturation)
  u, w = math.cos((hue - 1) * math.pi), math.sin((hue - 1) * math.pi)
  turn = np.array([[1, 0, 0], [0, u, -w], [0, w, u]])
  return image @ (to_rgb @ turn @ to_yiq).T


def noise_of(key: int, pca_noise: float) -> np.ndarray:
  """AlexNet's noise as MXNet's LightingAug has it."""
  eigenvalues = np.array([55.46, 4.794, 1.148])
  eigenvectors = np.array(
    [
      [-0.5675, 0.7192, 0.4009],
      [-0.5808, -0.0045, -0.8140],
      [-0.5836, -0.6948, 0.4203],
    ]
  )
  alpha = [pca_noise * python_normal(key, number) for number in range(3)]
  return np.dot(eigenvectors * alpha, eigenvalues)


@pytest.mark.parametrize("pca_noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("color_jitter", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_numpy(shape, color_jitter, pca_noise):
  if shape[-1] == 1:
    pca_noise = 0.0
  images, keys = batch(shape), keys_of(64)
  made = color.augment_color(
    tf.constant(images), keys, color_jitter=color_jitter, pca_noise=pca_noise
  )
  assert made.dtype == tf.uint8
  assert made.shape == images.shape
  expected = []
  for image, key in zip(images.astype(float), keys.numpy().tolist()):
    image = jittered(image, key, color_jitter)
    expected.append(image + (noise_of(key, pca_noise) if pca_noise else 0))
  # float32 may fall on the other side of a half, once in some ten thousand.
  exact = np.clip(expected, 0, 255)
  np.testing.assert_allclose(made, exact, rtol=0, atol=0.501)


def test_agrees_with_mxnets_own_matrices():
  # MXNet prints YIQ and its inverse with three decimals each, so the product
  # of the two is not quite the identity.
  to_yiq = [[0.299, 0.587, 0.114], [0.596, -0.274, -0.321]]
  to_yiq = np.array([*to_yiq, [0.211, -0.523, 0.311]])
  to_rgb = [[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.107, 1.705]]
  images, keys = batch((8, 8, 3)), keys_of(64)
  made = color.augment_color(images, keys, color_jitter=0.4)
  expected = [
    jittered(image, key, 0.4, to_yiq, np.array(to_rgb))
    for image, key in zip(images, keys.numpy().tolist())
  ]
  np.testing.assert_allclose(made, np.clip(expected, 0, 255), atol=1.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_off_is_the_identity(shape):
  images = tf.constant(batch(shape))
  assert color.augment_color(images, keys_of(64)) is images
  # Almost off goes the whole way, and arrives at the same.
  almost = color.augment_color(images, keys_of(64), color_jitter=1e-9)
  np.testing.assert_array_equal(almost, images)


def test_grey_stays_grey_under_jitter():
  grey = np.repeat(batch((8, 8, 1)), 3, axis=-1)
  made = color.augment_color(grey, keys_of(64), color_jitter=0.4).numpy()
  assert np.ptp(made.astype(int), axis=-1).max() <= 1
  single = color.augment_color(grey[..., :1], keys_of(64), color_jitter=0.4)
  np.testing.assert_allclose(made[..., :1], single.numpy(), atol=1)


def test_values_are_clipped_not_wrapped():
  images = np.stack([np.zeros([8, 8, 3]), np.full([8, 8, 3], 255)])
  images = np.repeat(images.astype(np.uint8), 500, axis=0)
  made = color.augment_color(images, keys_of(1000), pca_noise=1.0).numpy()
  # Noise goes either way; clipping leaves the half that points inwards.
  assert 0.4 < np.mean(made[:500] == 0) < 0.6
  assert 0.4 < np.mean(made[500:] == 255) < 0.6
  assert made[:500].max() < 255 and made[500:].min() > 0


COUNT = 20_000


def drawn_coefficients(color_jitter: float) -> np.ndarray:
  """Brightness, saturation and hue as one pixel's colour tells them."""
  pixel = np.array([140, 100, 60])
  images = np.full([COUNT, 2, 2, 3], pixel, np.uint8)
  made = color.augment_color(images, keys_of(COUNT), color_jitter=color_jitter)
  luma, *chroma = RGB_TO_YIQ @ pixel
  lumas, *chromas = RGB_TO_YIQ @ made.numpy()[:, 0, 0].T
  brightness = lumas / luma
  before, after = complex(*chroma), chromas[0] + 1j * chromas[1]
  saturation = np.abs(after) / abs(before) / brightness
  return np.stack(
    [brightness, saturation, 1 + np.angle(after / before) / np.pi]
  )


@pytest.mark.parametrize("color_jitter", [0.2, 0.4])
def test_coefficients_are_uniform_and_drawn_apart(color_jitter):
  coefficients = drawn_coefficients(color_jitter)
  deviation = color_jitter / math.sqrt(3)
  error = deviation / math.sqrt(COUNT)
  np.testing.assert_allclose(coefficients.mean(1), 1, atol=5 * error + 0.002)
  np.testing.assert_allclose(coefficients.std(1), deviation, rtol=0.03)
  # A pixel's colour in whole numbers tells the coefficients to some percent.
  np.testing.assert_allclose(coefficients.min(1), 1 - color_jitter, atol=0.04)
  np.testing.assert_allclose(coefficients.max(1), 1 + color_jitter, atol=0.04)
  correlations = np.corrcoef(coefficients) - np.eye(3)
  assert np.abs(correlations).max() < 5 / math.sqrt(COUNT)


def test_noise_has_the_principal_components_deviations():
  images = np.full([COUNT, 2, 2, 3], 128, np.uint8)
  made = color.augment_color(images, keys_of(COUNT), pca_noise=1.0).numpy()
  assert np.ptp(made, axis=(1, 2)).max() == 0
  offsets = made[:, 0, 0].astype(float) - 128
  _, vectors = np.linalg.eigh(np.cov(offsets.T))
  components = offsets @ vectors[:, ::-1]
  # Rounding to whole numbers adds a variance of 1/12.
  expected = np.sqrt(np.square([55.46, 4.794, 1.148]) + 1 / 12)
  np.testing.assert_allclose(components.std(0), expected, rtol=0.03)
  np.testing.assert_allclose(components.mean(0) / expected, 0, atol=0.04)


@pytest.mark.parametrize("shape", SHAPES)
def test_graph_gives_the_eager_images(shape):
  images, keys = tf.constant(batch(shape, 500)), keys_of(500)
  whole = functools.partial(
    color.augment_color, color_jitter=0.4, pca_noise=0.1 * (shape[-1] == 3)
  )
  eager = whole(images, keys)
  np.testing.assert_array_equal(eager, tf.function(whole)(images, keys))
  # XLA adds in another order.
  xla = tf.function(whole, jit_compile=True)(images, keys)
  difference = np.abs(xla.numpy().astype(int) - eager.numpy())
  assert difference.max() <= 1 and difference.mean() < 1e-4


def test_the_rest_of_the_batch_makes_no_difference():
  images, keys = tf.constant(batch((8, 8, 3))), keys_of(64)
  whole = PAPER(images, keys)
  for chosen in ([5], [63, 0, 17], list(range(20, 60))):
    part = PAPER(tf.gather(images, chosen), tf.gather(keys, chosen))
    np.testing.assert_array_equal(part, tf.gather(whole, chosen))


def test_a_batch_of_any_size_works_in_one_graph():
  signature = [
    tf.TensorSpec([None, 8, 8, 3], tf.uint8),
    tf.TensorSpec([None], tf.uint64),
  ]
  compiled = tf.function(PAPER, input_signature=signature)
  for count in (0, 1, 7):
    images, keys = batch((8, 8, 3), count), keys_of(count)
    np.testing.assert_array_equal(
      compiled(images, keys), PAPER(tf.constant(images), keys)
    )


def test_each_key_has_its_own_colours_and_keeps_them():
  images, keys = np.full([100, 1, 1, 3], [140, 100, 60], np.uint8), keys_of(100)
  first, again = PAPER(images, keys).numpy(), PAPER(images, keys).numpy()
  np.testing.assert_array_equal(first, again)
  assert len(np.unique(first.reshape(100, 3), axis=0)) > 95
