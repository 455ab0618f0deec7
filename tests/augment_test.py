# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentation against NumPy, an example at a time."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from data.images import augment
from tests.splitmix import python_below, python_bits, python_uniform

# With the defaults that are not flags.
random_erasing = functools.partial(
  augment.random_erasing,
  erasing_area=(0.02, 0.4),
  erasing_aspect=(0.3, 3.3),
  erasing_fill=(0,),
)
SHAPES = [(8, 8, 1), (5, 9, 3), (28, 28, 1)]


def batch(shape=(8, 8, 1), count=64, low=1) -> np.ndarray:
  random = np.random.default_rng(0)
  return random.integers(low, 256, (count, *shape)).astype(np.uint8)


def keys_of(count: int, seed: int = 3) -> tf.Tensor:
  numbers = tf.range(count, dtype=tf.int64)
  return augment.example_keys(seed, numbers // 10, numbers % 10)


def test_keys_are_those_of_seed_epoch_and_index():
  expected = [python_bits(3, i // 10, i % 10) for i in range(40)]
  assert keys_of(40).numpy().tolist() == expected


def flips_of(count: int) -> np.ndarray:
  """Some images flipped, others not."""
  return np.arange(count) % 3 == 1


def cropped_and_flipped(
  images: np.ndarray, keys: tf.Tensor, pad_crop: int, flipped: np.ndarray
) -> np.ndarray:
  """The definition, an example at a time: pad, cut, mirror."""
  _, height, width, _ = images.shape
  made = []
  for image, key, flip in zip(images, keys.numpy().tolist(), flipped):
    margin = (pad_crop, pad_crop)
    padded = np.pad(image, (margin, margin, (0, 0)))
    top = python_below(2 * pad_crop + 1, key, 1)
    left = python_below(2 * pad_crop + 1, key, 2)
    crop = padded[top : top + height, left : left + width]
    made.append(crop[:, ::-1] if flip else crop)
  return np.stack(made)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pad_crop", [0, 1, 4, 11])
@pytest.mark.parametrize("shape", SHAPES)
def test_crop_and_flip_agree_with_numpy(shape, pad_crop, flip):
  images, keys = batch(shape), keys_of(64)
  flipped = flips_of(64) & flip
  got = augment.crop_and_flip(
    images,
    keys,
    pad_crop=pad_crop,
    flipped=tf.constant(flipped) if flip else None,
  )
  assert got.dtype == tf.uint8
  expected = cropped_and_flipped(images, keys, pad_crop, flipped)
  np.testing.assert_array_equal(got, expected)


def test_an_example_is_flipped_in_every_other_epoch():
  count, seed = 1000, 3
  indices = tf.range(count, dtype=tf.int64)
  flips = [
    augment.alternating_flips(seed, tf.fill([count], epoch), indices).numpy()
    for epoch in range(4)
  ]
  coins = [python_bits(python_bits(seed, i), 0) >> 63 for i in range(count)]
  np.testing.assert_array_equal(flips[0], np.bool_(coins))
  np.testing.assert_array_equal(flips[1], ~flips[0])
  np.testing.assert_array_equal(flips[2:], flips[:2])
  assert abs(np.mean(flips[0]) - 0.5) < 5 * 0.5 / math.sqrt(count)


def test_each_shift_is_as_frequent():
  count, pad_crop = 20_000, 2
  # One bright pixel in the middle tells the shift.
  images = np.zeros([count, 5, 5, 1], np.uint8)
  images[:, 2, 2] = 1
  cropped = augment.crop_and_flip(images, keys_of(count), pad_crop=pad_crop)
  counts = np.sum(cropped, axis=0).ravel()
  assert counts.sum() == count
  chi_square = ((counts - count / 25) ** 2 / (count / 25)).sum()
  assert abs(chi_square - 24) / math.sqrt(2 * 24) < 5


ERASING = {
  "as published": {},
  "large": {"erasing_area": (0.6, 1.0), "erasing_aspect": (0.2, 5.0)},
  "grey": {"erasing_fill": 128},
  "one size": {"erasing_area": (0.25, 0.25), "erasing_aspect": (1.0, 1.0)},
}


def python_box(
  key: int, height: int, width: int, *, erasing_area, erasing_aspect
) -> tuple[int, int, int, int]:
  """Top, left, height and width, as Zhong's algorithm 1 draws them."""
  for attempt in range(10):
    low, high = erasing_area
    area = low + (high - low) * python_uniform(key, 3, 3, attempt)
    area *= height * width
    low, high = erasing_aspect
    aspect = low + (high - low) * python_uniform(key, 3, 4, attempt)
    rows = round(math.sqrt(area * aspect))
    columns = round(math.sqrt(area / aspect))
    if rows <= height and columns <= width:
      top = python_below(height - rows + 1, key, 3, 1)
      left = python_below(width - columns + 1, key, 3, 2)
      return top, left, rows, columns
  return 0, 0, 0, 0


@pytest.mark.parametrize("options", ERASING)
@pytest.mark.parametrize("erasing_probability", [0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_erasing_agrees_with_numpy(shape, erasing_probability, options):
  options = ERASING[options]
  images, keys = batch(shape), keys_of(64)
  got = random_erasing(
    images, keys, erasing_probability=erasing_probability, **options
  )
  assert got.dtype == tf.uint8
  expected = images.copy()
  ranges = {"erasing_area": (0.02, 0.4), "erasing_aspect": (0.3, 3.3)}
  ranges.update({name: options[name] for name in ranges if name in options})
  for image, key in zip(expected, keys.numpy().tolist()):
    if python_uniform(key, 3, 0) < erasing_probability:
      top, left, rows, columns = python_box(key, *shape[:2], **ranges)
      image[top : top + rows, left : left + columns] = options.get(
        "erasing_fill", 0
      )
  np.testing.assert_array_equal(got, expected)


def erased_masks(count=4000, shape=(32, 32, 1), **options) -> np.ndarray:
  images = np.full([count, *shape], 9, np.uint8)
  erased = random_erasing(images, keys_of(count), **options)
  return np.asarray(erased)[..., 0] == 0


def test_erasing_erases_one_rectangle_in_its_ranges():
  for mask in erased_masks(500, erasing_probability=1.0):
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert mask.sum() == height * width
    # Rounded to whole pixels, each side is off by half a pixel at most.
    assert (height + 0.5) * (width + 0.5) >= 0.02 * 32 * 32
    assert (height - 0.5) * (width - 0.5) <= 0.4 * 32 * 32
    assert (height + 0.5) / (width - 0.5) >= 0.3
    assert (height - 0.5) / (width + 0.5) <= 3.3


@pytest.mark.parametrize("erasing_probability", [0.1, 0.5, 1.0])
def test_erasing_has_its_probability(erasing_probability):
  masks = erased_masks(erasing_probability=erasing_probability)
  share = masks.any((1, 2)).mean()
  deviation = math.sqrt(erasing_probability * (1 - erasing_probability) / 4000)
  assert abs(share - erasing_probability) <= 5 * deviation


def test_erasing_comes_everywhere_alike():
  # The mean mask is symmetrical: no corner is favoured.
  mean = erased_masks(erasing_probability=1.0).mean(0)
  for mirrored in (mean[::-1], mean[:, ::-1]):
    np.testing.assert_allclose(mean, mirrored, atol=0.05)
  assert mean.min() > 0.001


def test_erasing_fills_each_channel_with_its_own_value():
  images = tf.zeros([20, 8, 8, 3], tf.uint8)
  options = {"erasing_area": (1.0, 1.0), "erasing_aspect": (1.0, 1.0)}
  erased = random_erasing(
    images,
    keys_of(20),
    erasing_probability=1.0,
    erasing_fill=(10, 20, 30),
    **options,
  )
  assert erased.shape == images.shape
  assert np.unique(erased.numpy().reshape(-1, 3), axis=0).tolist() == [
    [10, 20, 30]
  ]


def test_erasing_equals_tensorflow_addons_cutout():
  if not tf.__version__.startswith("2.15."):
    pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
  addons = pytest.importorskip("tensorflow_addons")
  images, keys = batch((16, 16, 3)), keys_of(64)
  ranges = {"erasing_area": (0.25, 0.25), "erasing_aspect": (1.0, 1.0)}
  erased = random_erasing(
    images, keys, erasing_probability=1.0, erasing_fill=(7,), **ranges
  )
  boxes = [python_box(key, 16, 16, **ranges) for key in keys.numpy().tolist()]
  # Addons places a rectangle by its middle.
  middles = [(top + 4, left + 4) for top, left, _, _ in boxes]
  expected = addons.image.cutout(images, (8, 8), middles, 7)
  np.testing.assert_array_equal(erased, expected)


def test_off_is_the_identity():
  images, keys = tf.constant(batch()), keys_of(64)
  assert augment.crop_and_flip(images, keys) is images
  assert augment.crop_and_flip(images, keys, pad_crop=0) is images
  erased = random_erasing(images, keys, erasing_probability=0)
  assert erased is images


ALL = functools.partial(
  random_erasing, erasing_probability=0.5, erasing_fill=(7,)
)


def everything(images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  # Of the key, so that a part of a batch is flipped as the whole.
  flipped = tf.bitwise.right_shift(keys, tf.constant(63, tf.uint64)) == 1
  images = augment.crop_and_flip(images, keys, pad_crop=2, flipped=flipped)
  return ALL(images, keys)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_give_the_eager_images(jit_compile):
  images, keys = tf.constant(batch((9, 7, 3), 500)), keys_of(500)
  compiled = tf.function(everything, jit_compile=jit_compile)
  np.testing.assert_array_equal(
    everything(images, keys), compiled(images, keys)
  )


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.int32])
def test_other_types_keep_their_type(dtype):
  images, keys = batch(), keys_of(64)
  made = everything(tf.cast(images, dtype), keys)
  assert made.dtype == dtype
  np.testing.assert_array_equal(
    tf.cast(made, tf.uint8), everything(tf.constant(images), keys)
  )


def test_the_rest_of_the_batch_makes_no_difference():
  images, keys = tf.constant(batch()), keys_of(64)
  whole = everything(images, keys)
  for chosen in ([5], [63, 0, 17], list(range(20, 60))):
    part = everything(tf.gather(images, chosen), tf.gather(keys, chosen))
    np.testing.assert_array_equal(part, tf.gather(whole, chosen))


def test_seed_epoch_and_index_each_make_a_difference():
  def made(seed: int, epoch: int, index: int) -> bytes:
    keys = augment.example_keys(
      seed, tf.constant([epoch], tf.int64), tf.constant([index], tf.int64)
    )
    images = tf.constant(batch((16, 16, 1), 1))
    return augment.crop_and_flip(images, keys, pad_crop=8).numpy().tobytes()

  variants = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]
  assert len({made(*variant) for variant in variants}) == len(variants)
  assert made(0, 0, 0) == made(0, 0, 0)


def test_crop_flip_and_erasing_are_drawn_apart():
  count = 20_000
  numbers = tf.range(count, dtype=tf.int64)
  keys = augment.example_keys(3, tf.zeros_like(numbers), numbers)
  flipped = augment.alternating_flips(3, tf.zeros_like(numbers), numbers)
  centred = np.zeros([count, 3, 3, 1], np.uint8)
  centred[:, 1, 1] = 1
  cropped = augment.crop_and_flip(centred, keys, pad_crop=1).numpy()
  row, column = (cropped[..., 0].any(axis).argmax(1) for axis in (2, 1))
  erased = ~random_erasing(
    np.ones([count, 8, 8, 1], np.uint8), keys, erasing_probability=0.5
  ).numpy().all((1, 2, 3))
  drawn = [np.asarray(flipped), row, column, erased]
  correlations = np.corrcoef(drawn) - np.eye(4)
  assert np.abs(correlations).max() < 5 / math.sqrt(count)
