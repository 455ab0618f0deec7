# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of label smoothing against NumPy, Keras and the paper's form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import paper_smoothing, smooth_labels

SMOOTHINGS = [0.0, 0.1, 0.5, 0.99]


def one_hot(num_classes, batch=6):
  return np.eye(num_classes)[np.arange(batch) * 7 % num_classes]


def mixed(num_classes):
  rows = np.random.default_rng(0).random([6, num_classes])
  return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("make", [one_hot, mixed])
@pytest.mark.parametrize("mode", modes.MODES)
def test_targets_are_the_formula(smoothing, num_classes, make, mode):
  targets = make(num_classes)
  found = modes.run(
    lambda x: smooth_labels(x, smoothing), mode, targets.astype(np.float32)
  )
  expected = np.empty_like(targets)
  for i, row in enumerate(targets):
    for k, q in enumerate(row):
      expected[i, k] = q + smoothing * (1 / num_classes - q)
  np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-8)
  np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_loss_equals_keras(smoothing):
  targets = one_hot(10).astype(np.float32)
  logits = np.random.default_rng(1).normal(size=[6, 10]).astype(np.float32)
  keras = tf.keras.losses.CategoricalCrossentropy(
    from_logits=True, label_smoothing=smoothing
  )
  ours = tf.reduce_mean(
    tf.nn.softmax_cross_entropy_with_logits(
      smooth_labels(targets, smoothing), logits
    )
  )
  np.testing.assert_allclose(ours, keras(targets, logits), rtol=1e-6)


@pytest.mark.parametrize("paper_epsilon", [0.0, 0.1, 0.45])
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_papers_form_is_the_same_family(paper_epsilon, num_classes):
  targets = one_hot(num_classes)
  smoothing = paper_smoothing(paper_epsilon, num_classes)
  found = smooth_labels(targets.astype(np.float32), smoothing)
  expected = np.where(
    targets == 1, 1 - paper_epsilon, paper_epsilon / (num_classes - 1)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert smoothing == pytest.approx(
    paper_epsilon * num_classes / (num_classes - 1), rel=1e-12
  )


def test_off_is_the_identity():
  targets = tf.constant(mixed(5), tf.float32)
  assert smooth_labels(targets, 0.0) is targets
  assert paper_smoothing(0.0, 5) == 0.0


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_dtype_is_kept(dtype):
  found = smooth_labels(tf.constant(one_hot(4), dtype), 0.2)
  assert found.dtype == dtype
  expected = one_hot(4) * 0.8 + 0.05
  np.testing.assert_allclose(tf.cast(found, tf.float64), expected, rtol=1e-2)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 1.5, math.nan])
def test_smoothing_out_of_range_is_named(smoothing):
  message = rf"label_smoothing must be in \[0, 1\), got {smoothing}"
  with pytest.raises(ValueError, match=message):
    smooth_labels(tf.eye(3), smoothing)


@pytest.mark.parametrize(
  ("paper_epsilon", "num_classes", "message"),
  [
    (0.1, 1, "num_classes must be >= 2, got 1"),
    (-0.1, 10, r"paper_epsilon must be in \[0, 0.9\) .* got -0.1"),
    (0.9, 10, r"paper_epsilon must be in \[0, 0.9\) .* got 0.9"),
  ],
)
def test_papers_arguments_out_of_range_are_named(
  paper_epsilon, num_classes, message
):
  with pytest.raises(ValueError, match=message):
    paper_smoothing(paper_epsilon, num_classes)
