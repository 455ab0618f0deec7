# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""RandAugment and TrivialAugment against Pillow, an example at a time."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from data.images import augment, auto_augment
from tests import pillow_ops
from tests.splitmix import python_below, python_bits

pytestmark = pytest.mark.any_keras

RAND_AUGMENT, TRIVIAL_AUGMENT = 5, 6
# Of sizes for which no pixel falls just between two others, nor at a magnitude
# of 9.9; at 10 a rotation by 30 degrees has such pixels.
SHAPES = [(33, 17, 3), (33, 17, 1)]
WIDE_SHAPES = [(17, 17, 3), (17, 17, 1)]

NAMES = (
  "identity",
  "shear_x",
  "shear_y",
  "translate_x",
  "translate_y",
  "rotate",
  "brightness",
  "color",
  "contrast",
  "sharpness",
  "posterize",
  "solarize",
  "autocontrast",
  "equalize",
)

RANDOM = functools.partial(auto_augment.rand_augment, num_layers=2, magnitude=9)
POLICIES = {
  "rand_augment": RANDOM,
  "trivial_augment_wide": auto_augment.trivial_augment_wide,
}
every_policy = pytest.mark.parametrize(
  "policy", POLICIES.values(), ids=POLICIES
)


def batch(shape, count) -> np.ndarray:
  """Noise about a ramp, so that histograms are not flat."""
  random = np.random.default_rng(0)
  ramp = np.linspace(20, 150, shape[1])[:, np.newaxis]
  return (ramp + random.integers(0, 90, (count, *shape))).astype(np.uint8)


def keys_of(count: int) -> tf.Tensor:
  numbers = tf.range(count, dtype=tf.int64)
  return augment.example_keys(3, numbers // 10, numbers % 10)


def rand_augment_amount(
  name: str, shape: tuple[int, ...], part: float, sign: int
) -> float:
  """What the operation gets at a part of its range; the paper's ranges."""
  return {
    "shear_x": sign * part * 0.3,
    "shear_y": sign * part * 0.3,
    "translate_x": sign * part * shape[1] * 150 / 331,
    "translate_y": sign * part * shape[0] * 150 / 331,
    "rotate": sign * part * 30,
    "posterize": 8 - round(part * 4),
    "solarize": 256 - part * 256,
  }.get(name, 1 + sign * part * 0.9)


def trivial_augment_amount(name: str, part: float, sign: int) -> float:
  """The same in the wide space."""
  return {
    "shear_x": sign * part * 0.99,
    "shear_y": sign * part * 0.99,
    "translate_x": sign * part * 32,
    "translate_y": sign * part * 32,
    "rotate": sign * part * 135,
    "posterize": 8 - round(part * 6),
    "solarize": 256 - part * 256,
  }.get(name, 1 + sign * part * 0.99)


def draw(bits: int) -> tuple[str, int]:
  """The operation and the direction."""
  return NAMES[python_below(14, bits, 0)], 2 * python_below(2, bits, 1) - 1


@pytest.mark.parametrize("magnitude", [0, 3.5, 9, 9.9])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_rand_augment_agrees_with_pillow(shape, num_layers, magnitude):
  images, keys = batch(shape, 150), keys_of(150)
  made = auto_augment.rand_augment(
    tf.constant(images), keys, num_layers=num_layers, magnitude=magnitude
  )
  assert made.dtype == tf.uint8
  expected, seen = [], set()
  for image, key in zip(images, keys.numpy().tolist()):
    for layer in range(num_layers):
      name, sign = draw(python_bits(key, RAND_AUGMENT, layer))
      amount = rand_augment_amount(name, shape, magnitude / 10, sign)
      image = pillow_ops.applied(name, image, amount)
      seen.add((name, sign))
    expected.append(image)
  np.testing.assert_array_equal(made, expected)
  assert seen == {(name, sign) for name in NAMES for sign in (-1, 1)}


@pytest.mark.parametrize("shape", WIDE_SHAPES)
def test_trivial_augment_wide_agrees_with_pillow(shape):
  images, keys = batch(shape, 600), keys_of(600)
  made = auto_augment.trivial_augment_wide(tf.constant(images), keys)
  assert made.dtype == tf.uint8
  expected, names, parts = [], set(), set()
  for image, key in zip(images, keys.numpy().tolist()):
    bits = python_bits(key, TRIVIAL_AUGMENT)
    (name, sign), part = draw(bits), python_below(31, bits, 2) / 30
    amount = trivial_augment_amount(name, part, sign)
    expected.append(pillow_ops.applied(name, image, amount))
    names.add((name, sign))
    parts.add(part)
  np.testing.assert_array_equal(made, expected)
  assert names == {(name, sign) for name in NAMES for sign in (-1, 1)}
  assert len(parts) == 31


def test_operations_are_the_papers_fourteen():
  assert sorted(auto_augment.OPERATIONS) == sorted(NAMES)


def test_operations_are_equally_frequent():
  # At no magnitude an image changes by autocontrast and equalize alone.
  count = 7000
  images = np.tile(np.arange(50, 82, dtype=np.uint8), [count, 32, 1])[
    ..., np.newaxis
  ]
  made = auto_augment.rand_augment(
    tf.constant(images), keys_of(count), num_layers=1, magnitude=0
  )
  share = np.mean(np.any(made != images, axis=(1, 2, 3)))
  assert abs(share - 2 / 14) < 5 * math.sqrt(2 / 14 * 12 / 14 / count)


def test_translations_are_uniform_and_go_both_ways():
  # A white line: the black at one of its ends tells a translation's pixels.
  count = 7000
  images = np.full([count, 1, 128, 1], 255, np.uint8)
  made = auto_augment.trivial_augment_wide(images, keys_of(count)).numpy()
  black = made[:, 0, :, 0] == 0
  left, right = (np.argmin(side, axis=1) for side in (black, black[:, ::-1]))
  pixels = (left - right)[(left > 0) != (right > 0)]
  # Rotations leave black on both sides, vertical shears more than 32 pixels.
  pixels = pixels[np.abs(pixels) <= 32]
  assert pixels.min() == -32 and pixels.max() == 32
  counts = np.bincount(np.abs(pixels), minlength=33)[1:]
  # 30 strengths, rounded to 32 pixels: two of them are left out.
  assert np.count_nonzero(counts) == 30
  expected = count / 14 / 31
  assert abs(counts.sum() - 30 * expected) < 5 * math.sqrt(30 * expected)
  assert abs(pixels.mean()) < 5 * 32 / math.sqrt(3 * len(pixels))


def test_no_layers_are_the_identity():
  images = tf.constant(batch((8, 8, 3), 10))
  made = auto_augment.rand_augment(
    images, keys_of(10), num_layers=0, magnitude=9
  )
  assert made is images


@every_policy
def test_the_rest_of_the_batch_makes_no_difference(policy):
  images, keys = tf.constant(batch((16, 16, 3), 100)), keys_of(100)
  whole = policy(images, keys)
  for chosen in ([5], [63, 0, 17], list(range(20, 99))):
    part = policy(tf.gather(images, chosen), tf.gather(keys, chosen))
    np.testing.assert_array_equal(part, tf.gather(whole, chosen))


@every_policy
@pytest.mark.parametrize("channels", [1, 3])
def test_graph_gives_the_eager_images_at_any_batch_size(policy, channels):
  signature = [
    tf.TensorSpec([None, 16, 16, channels], tf.uint8),
    tf.TensorSpec([None], tf.uint64),
  ]
  compiled = tf.function(policy, input_signature=signature)
  for count in (0, 1, 200):
    images, keys = batch((16, 16, channels), count), keys_of(count)
    np.testing.assert_array_equal(
      compiled(images, keys), policy(tf.constant(images), keys)
    )


@every_policy
def test_the_static_shape_stays(policy):
  for count in (None, 32):
    images = tf.TensorSpec([count, 16, 16, 3], tf.uint8)
    keys = tf.TensorSpec([count], tf.uint64)
    traced = tf.function(policy).get_concrete_function(images, keys)
    assert traced.output_shapes.as_list() == [count, 16, 16, 3]


@every_policy
def test_each_key_has_its_own_result_and_keeps_it(policy):
  images = np.repeat(batch((16, 16, 3), 1), 200, axis=0)
  first, again = policy(images, keys_of(200)), policy(images, keys_of(200))
  np.testing.assert_array_equal(first, again)
  results = {image.tobytes() for image in first.numpy()}
  assert len(results) > 80
