# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of CutMix against a NumPy reference that pastes pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import cutmix
from tricks.cutmix import paste, sample_box

SEEDS = np.array([[s, 5 - s] for s in range(60)], np.int32)


def batch(size=6, height=9, width=7, num_classes=5):
  """Images whose pixels all tell the example, with its target."""
  images = np.zeros([size, height, width, 1], np.uint8)
  images += np.arange(size, dtype=np.uint8)[:, None, None, None]
  return images, np.eye(num_classes, dtype=np.float32)[
    np.arange(size) % num_classes
  ]


@pytest.mark.parametrize(
  "box", [(0, 0, 9, 7), (2, 1, 6, 4), (0, 3, 1, 7), (4, 4, 4, 4)]
)
@pytest.mark.parametrize("mode", modes.MODES)
def test_paste_replaces_the_box_and_its_share_of_the_target(box, mode):
  images, targets = batch()
  permutation = [3, 1, 0, 5, 4, 2]
  found_images, found_targets = modes.run(
    lambda x, y, b, j: paste(x, y, box=b, permutation=j),
    mode,
    images,
    targets,
    np.int32(box),
    np.int32(permutation),
  )
  top, left, bottom, right = box
  for i, j in enumerate(permutation):
    image, left_over = images[i].astype(np.float32), 0
    for row in range(9):
      for column in range(7):
        if top <= row < bottom and left <= column < right:
          image[row, column] = images[j, row, column]
        else:
          left_over += 1
    lam = left_over / 63
    np.testing.assert_array_equal(found_images[i], image)
    np.testing.assert_allclose(
      found_targets[i], lam * targets[i] + (1 - lam) * targets[j], atol=1e-6
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_targets_tell_the_exact_share_of_pixels(alpha):
  images, _ = batch()
  targets = np.eye(6, dtype=np.float32)  # Example i is of class i.
  step = tf.function(lambda s: cutmix(images, targets, alpha=alpha, seed=s))
  shares = []
  for seed in SEEDS:
    mixed, mixed_targets = step(tf.constant(seed))
    for i in range(6):
      pixels = [(mixed[i].numpy() == j).mean() for j in range(6)]
      np.testing.assert_allclose(mixed_targets[i], pixels, atol=1e-6)
    shares.append(mixed_targets.numpy().max(axis=1).min())
  assert len(set(shares)) > 10


def test_what_is_pasted_is_one_rectangle():
  images, targets = batch(2)
  for seed in SEEDS:
    mixed, _ = cutmix(images, targets, alpha=1.0, seed=seed)
    pasted = mixed.numpy()[0, :, :, 0] == 1
    rows, columns = pasted.any(axis=1), pasted.any(axis=0)
    assert (pasted == rows[:, None] & columns[None, :]).all()
    for line in (rows, columns):
      inside = np.flatnonzero(line)
      assert inside.size == 0 or np.ptp(inside) == inside.size - 1


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.75, 0.97, 1.0])
@pytest.mark.parametrize("mode", modes.MODES)
def test_box_has_the_sides_of_lam_clipped_to_the_image(lam, mode):
  height, width = 20, 31
  sides = [int(n * math.sqrt(1 - lam)) for n in (height, width)]
  sample = modes.compiled(
    lambda seed: sample_box(height, width, tf.constant(lam), seed), mode
  )
  boxes = [sample(seed) for seed in SEEDS]
  whole = 0
  for top, left, bottom, right in boxes:
    assert 0 <= top <= bottom <= height and 0 <= left <= right <= width
    assert bottom - top <= sides[0] and right - left <= sides[1]
    if top > 0 and left > 0 and bottom < height and right < width:
      whole += 1
      assert [bottom - top, right - left] == sides
  assert whole or lam < 0.1
  assert len({tuple(box) for box in boxes}) > 10 or lam == 1.0


def test_box_centres_are_uniform():
  sample = modes.compiled(
    lambda seed: sample_box(4, 8, tf.constant(0.98), seed), "graph"
  )
  boxes = np.array([sample(seed) for seed in SEEDS])
  # A side of one pixel of eight, of none of four: the top is the centre row.
  assert set(boxes[:, 0]) == set(range(4))
  assert set(boxes[:, 1]) == set(range(8))


def test_modes_agree():
  images, targets = batch()
  eager, *others = (
    modes.compiled(lambda x, y, s: cutmix(x, y, alpha=1.0, seed=s), mode)
    for mode in modes.MODES
  )
  for seed in np.int32([[0, 0], [3, -4], [-(2**31), 2**31 - 1]]):
    expected = eager(images, targets, seed)
    for other in others:
      found = other(images, targets, seed)
      np.testing.assert_array_equal(found[0], expected[0])
      np.testing.assert_allclose(found[1], expected[1], atol=1e-7)


def test_alpha_zero_is_the_identity():
  images, targets = (tf.constant(x) for x in batch())
  found = cutmix(images, targets, alpha=0.0, seed=tf.constant([1, 2]))
  assert found[0] is images and found[1] is targets


@pytest.mark.parametrize(
  ("dtype", "expected"),
  [
    (tf.uint8, tf.float32),
    (tf.float16, tf.float16),
    (tf.bfloat16, tf.bfloat16),
  ],
)
def test_images_come_back_floating(dtype, expected):
  images, targets = batch()
  mixed, mixed_targets = cutmix(
    tf.cast(images, dtype), targets, alpha=1.0, seed=[1, 2]
  )
  assert mixed.dtype == expected
  assert mixed.shape == images.shape
  assert mixed_targets.dtype == tf.float32


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_alpha_out_of_range_is_named(alpha):
  with pytest.raises(ValueError, match=f"cutmix_alpha must .*, got {alpha}"):
    cutmix(*batch(), alpha=alpha, seed=tf.constant([1, 2]))
