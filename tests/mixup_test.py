# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of mixup against NumPy and the Beta distribution."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import blend, cutmix, mixup, sample_lam
from tricks.draws import WHOLE, Part, random_permutation

SEEDS = tf.stack([tf.range(4000), 7 - tf.range(4000)], axis=1)


def batch(size=6, num_classes=4):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, [size, 5, 3, 2], dtype=np.uint8)
  labels = rng.integers(0, num_classes, size)
  return images, np.eye(num_classes, dtype=np.float32)[labels]


def draw(function, dtype=tf.float32):
  """Calls the function with each of SEEDS."""
  mapped = tf.function(
    lambda: tf.map_fn(function, SEEDS, fn_output_signature=dtype)
  )
  return mapped().numpy()


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("mode", modes.MODES)
def test_blend_is_the_formula(lam, mode):
  images, targets = batch()
  permutation = [3, 1, 0, 5, 4, 2]
  found_images, found_targets = modes.run(
    lambda x, y, weight, j: blend(x, y, lam=weight, permutation=j),
    mode,
    images,
    targets,
    np.float32(lam),
    np.int32(permutation),
  )
  for i, j in enumerate(permutation):
    image = lam * images[i].astype(float) + (1 - lam) * images[j].astype(float)
    target = lam * targets[i] + (1 - lam) * targets[j]
    np.testing.assert_allclose(found_images[i], image, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found_targets[i], target, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_images_and_targets_are_blended_alike(alpha):
  # Images that are their own targets have to stay so.
  targets = np.eye(8, dtype=np.float32)
  images = targets[:, None, None, :]
  mixed_images, mixed_targets = (
    x.numpy() for x in mixup(images, targets, alpha=alpha, seed=[1, -2])
  )
  np.testing.assert_array_equal(mixed_images[:, 0, 0, :], mixed_targets)
  np.testing.assert_allclose(mixed_targets.sum(axis=1), 1.0, rtol=1e-6)
  np.testing.assert_allclose(mixed_targets.sum(axis=0), 1.0, rtol=1e-6)
  assert np.unique(np.diag(mixed_targets)).size <= 2  # λ, or 1 if i = j.


def test_modes_draw_the_same():
  images, targets = batch(16)

  def draw_all(images, targets, seed):
    return (
      *mixup(images, targets, alpha=0.4, seed=seed),
      sample_lam(0.4, seed),
      random_permutation(16, seed),
    )

  eager, *others = (modes.compiled(draw_all, mode) for mode in modes.MODES)
  for seed in np.int32([[0, 0], [3, -4], [-(2**31), 2**31 - 1]]):
    expected = eager(images, targets, seed)
    for other in others:
      found = other(images, targets, seed)
      # XLA may fuse the blend's product and sum, and so round once, not twice.
      np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-4)
      np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-7)
      np.testing.assert_array_equal(found[2], expected[2])
      np.testing.assert_array_equal(found[3], expected[3])


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 20.0])
def test_lam_follows_the_beta_distribution(alpha):
  lam = np.sort(draw(lambda seed: sample_lam(alpha, seed)))
  assert lam.dtype == np.float32
  assert lam[0] >= 0.0 and lam[-1] <= 1.0
  # Kolmogorov and Smirnov's test, at 1 in 1000, against the exact CDF. Where
  # float32 rounds λ to 0 or 1 the CDF has a step, which the test must not see.
  inner = (lam > 1e-6) & (lam < 1 - 1e-6)
  cdf = tf.math.betainc(
    np.float64(alpha), np.float64(alpha), lam.astype(np.float64)
  ).numpy()
  ranks = np.arange(lam.size + 1) / lam.size
  distance = np.maximum(ranks[1:] - cdf, cdf - ranks[:-1])[inner].max()
  assert distance < 1.95 / math.sqrt(lam.size)


@pytest.mark.parametrize(("alpha", "deviation"), [(1e-3, 0.5), (1e6, 4e-4)])
def test_extreme_alphas_are_finite(alpha, deviation):
  lam = draw(lambda seed: sample_lam(alpha, seed))
  assert np.isfinite(lam).all()
  np.testing.assert_allclose(lam.mean(), 0.5, atol=0.03)
  np.testing.assert_allclose(lam.std(), deviation, rtol=0.15)


def test_each_permutation_is_as_likely():
  draws = draw(lambda seed: random_permutation(3, seed), tf.int32)
  counts = [
    (draws == order).all(axis=1).sum()
    for order in itertools.permutations(range(3))
  ]
  assert sum(counts) == len(draws)
  expected = len(draws) / 6
  chi_squared = sum((count - expected) ** 2 / expected for count in counts)
  assert chi_squared < 20.5  # 5 degrees of freedom, 1 in 1000.


def test_lam_and_permutation_are_independent():
  targets = np.eye(2, dtype=np.float32)

  def swapped(seed):
    _, mixed = mixup(targets[:, None], targets, alpha=1.0, seed=seed)
    return mixed[0, 0]

  weights = draw(swapped)
  kept = weights == 1.0  # The permutation is the identity.
  assert 0.45 < kept.mean() < 0.55
  # Beta(1, 1) is uniform, even if the permutation swaps the two.
  lam = np.sort(weights[~kept])
  ranks = (np.arange(lam.size) + 0.5) / lam.size
  assert np.abs(lam - ranks).max() < 1.95 / math.sqrt(lam.size)


def test_seeds_differ_and_repeat():
  images, targets = batch()
  first, again, other = (
    mixup(images, targets, alpha=1.0, seed=seed)[1].numpy()
    for seed in ([1, 2], [1, 2], [1, 3])
  )
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)


def test_alpha_zero_is_the_identity():
  images, targets = (tf.constant(x) for x in batch())
  found = mixup(images, targets, alpha=0.0, seed=tf.constant([1, 2]))
  assert found[0] is images and found[1] is targets


@pytest.mark.parametrize(
  ("dtype", "expected"),
  [
    (tf.uint8, tf.float32),
    (tf.int32, tf.float32),
    (tf.float32, tf.float32),
    (tf.float16, tf.float16),
    (tf.bfloat16, tf.bfloat16),
  ],
)
def test_images_come_back_floating(dtype, expected):
  images, targets = batch()
  images = tf.cast(images, dtype)
  mixed, mixed_targets = mixup(images, targets, alpha=0.4, seed=[1, 2])
  assert mixed.dtype == expected
  assert mixed.shape == images.shape
  assert mixed_targets.dtype == tf.float32
  wide, _ = mixup(tf.cast(images, tf.float32), targets, alpha=0.4, seed=[1, 2])
  np.testing.assert_allclose(tf.cast(mixed, tf.float32), wide, rtol=2e-2)


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_alpha_out_of_range_is_named(alpha):
  with pytest.raises(ValueError, match=f"mixup_alpha must .*, got {alpha}"):
    mixup(*batch(), alpha=alpha, seed=tf.constant([1, 2]))


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.inf, math.nan])
def test_lam_of_no_distribution_is_refused(alpha):
  with pytest.raises(ValueError, match=f"alpha must .* > 0, got {alpha}"):
    sample_lam(alpha, tf.constant([1, 2]))


@pytest.mark.parametrize("trick", [mixup, cutmix])
@pytest.mark.parametrize("mode", modes.MODES)
def test_replicas_together_mix_what_one_mixes(trick, mode):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (16, 6, 6, 1)).astype(np.uint8)
  targets = np.eye(16, dtype=np.float32)
  seed = np.array([3, 4], np.int32)

  def mixed(images, targets, seed, part=WHOLE):
    return trick(images, targets, alpha=1.0, seed=seed, groups=4, part=part)

  whole = modes.run(mixed, mode, images, targets, seed)
  assert (whole[0] != images).any()
  for count in (2, 4):
    size = 16 // count
    parts = [
      modes.run(
        functools.partial(mixed, part=Part(index, count)),
        mode,
        images[size * index : size * (index + 1)],
        targets[size * index : size * (index + 1)],
        seed,
      )
      for index in range(count)
    ]
    for one, several in zip(whole, zip(*parts)):
      np.testing.assert_array_equal(one, np.concatenate(several))
  # No partner is of another group.
  for group in range(4):
    rows = whole[1][4 * group : 4 * group + 4]
    assert rows[:, 4 * group : 4 * group + 4].sum() == pytest.approx(4.0)
