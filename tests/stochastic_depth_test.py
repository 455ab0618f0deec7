# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of stochastic depth against NumPy, and Keras' Dropout of whole rows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import drop_probabilities, stochastic_depth
from tricks.draws import Part, uniform

SEEDS = np.int32([[0, 0], [3, -4], [-(2**31), 2**31 - 1], [7, 1]])


def branches(count=64, dtype=np.float32):
  rng = np.random.default_rng(0)
  return rng.uniform(0.5, 2.0, (count, 3, 2, 4)).astype(dtype)


def dropped(branch, drop_probability, seed, mode="eager"):
  return modes.run(
    lambda x, s: stochastic_depth(x, drop_probability=drop_probability, seed=s),
    mode,
    branch,
    seed,
  )


@pytest.mark.parametrize("drop_probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("mode", modes.MODES)
def test_numpy_drops_the_same_rows(drop_probability, mode):
  for seed in SEEDS:
    branch = branches()
    drawn = uniform([len(branch)], seed).numpy()
    expected = branch.copy()
    for row, u in enumerate(drawn):
      expected[row] *= (
        0.0 if u < drop_probability else 1 / (1 - drop_probability)
      )
    found = dropped(branch, drop_probability, seed, mode)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("drop_probability", [0.2, 0.5])
def test_rows_have_the_values_and_the_share_of_keras_dropout(drop_probability):
  count = 20_000
  branch = np.ones([count, 1, 1, 3], np.float32)
  keras = tf.keras.layers.Dropout(
    drop_probability, noise_shape=(count, 1, 1, 1), seed=1
  )
  theirs = np.array(keras(branch, training=True))
  ours = dropped(branch, drop_probability, SEEDS[1])
  for found in (theirs, ours):
    assert (found == found[:, :, :, :1]).all()
    share = (found == 0).mean()
    deviation = np.sqrt(drop_probability * (1 - drop_probability) / count)
    assert abs(share - drop_probability) < 5 * deviation
  np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-6)


def test_the_expectation_is_the_branch():
  branch = branches(8)
  draw = modes.compiled(
    lambda x, s: stochastic_depth(x, drop_probability=0.4, seed=s), "graph"
  )
  mean = np.mean([draw(branch, np.int32([s, 9])) for s in range(3000)], axis=0)
  np.testing.assert_allclose(mean, branch, rtol=0.08)


def test_seeds_and_rows_draw_independently():
  ones = np.ones([2000, 1], np.float32)
  kept = [dropped(ones, 0.5, seed)[:, 0] > 0 for seed in SEEDS]
  for i, one in enumerate(kept):
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.12
    for other in kept[:i]:
      assert abs(np.corrcoef(one, other)[0, 1]) < 0.12


def test_the_gradient_passes_where_the_branch_did():
  branch = tf.constant(branches())
  with tf.GradientTape() as tape:
    tape.watch(branch)
    found = stochastic_depth(branch, drop_probability=0.5, seed=SEEDS[0])
  gradient = tape.gradient(found, branch).numpy()
  rows = np.where((found.numpy() > 0).any(axis=(1, 2, 3)), 2.0, 0.0)
  assert set(rows) == {0.0, 2.0}
  np.testing.assert_array_equal(
    gradient, np.broadcast_to(rows[:, None, None, None], gradient.shape)
  )


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32])
def test_dtype_and_shape_stay(dtype):
  branch = tf.cast(branches(), dtype)
  found = stochastic_depth(branch, drop_probability=0.5, seed=SEEDS[0])
  assert (found.dtype, found.shape) == (dtype, branch.shape)
  rows = np.array(tf.cast(found / branch, tf.float32))
  assert set(np.unique(rows)) == {0.0, 2.0}


def test_probability_zero_is_the_identity():
  branch = tf.constant(branches())
  found = stochastic_depth(branch, drop_probability=0.0, seed=SEEDS[0])
  assert found is branch


def test_probabilities_rise_linearly_to_the_last():
  for num_blocks, last in ((1, 0.5), (4, 0.2), (54, 0.5), (3, 0.0)):
    found = drop_probabilities(num_blocks, stochastic_depth=last)
    expected = np.linspace(0.0, last, num_blocks + 1)[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
  # Huang et al. 2016, section 4: of 54 blocks, about 40 train at a time.
  survive = 54 - sum(drop_probabilities(54, stochastic_depth=0.5))
  assert round(survive) == 40


@pytest.mark.parametrize("value", [-0.1, 1.0, np.nan])
def test_out_of_range_is_named(value):
  with pytest.raises(ValueError, match=r"drop_probability must be in \[0, 1\)"):
    stochastic_depth(branches(), drop_probability=value, seed=SEEDS[0])
  with pytest.raises(ValueError, match=r"stochastic_depth must be in \[0, 1\)"):
    drop_probabilities(3, stochastic_depth=value)
  with pytest.raises(ValueError, match="num_blocks must be at least 1, got 0"):
    drop_probabilities(0, stochastic_depth=0.5)


def test_replicas_together_drop_what_one_drops():
  branch, seed = tf.ones([16, 2]), tf.constant([1, 2])
  whole = stochastic_depth(branch, drop_probability=0.5, seed=seed)
  parts = [
    stochastic_depth(
      branch[:4], drop_probability=0.5, seed=seed, part=Part(index, 4)
    )
    for index in range(4)
  ]
  assert set(whole.numpy()[:, 0]) == {0.0, 2.0}
  np.testing.assert_array_equal(whole, tf.concat(parts, axis=0))
