# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the focal losses against Keras and numeric slopes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import sigmoid_loss, softmax_loss

WEIGHTS = [1.0, 2.0, 0.5, 3.0]
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(scale=2.0, size=[6, 4]).astype(np.float32)
ONE_HOT = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
MIXED = (0.7 * ONE_HOT + 0.3 * ONE_HOT[::-1]).astype(np.float32)
MANY = RANDOM.integers(0, 2, [6, 4]).astype(np.float32)


@pytest.mark.parametrize("mode", modes.MODES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("targets", [ONE_HOT, MIXED])
def test_softmax_loss_is_keras(mode, gamma, targets):
  keras = tf.keras.losses.CategoricalFocalCrossentropy(
    alpha=1.0, gamma=gamma, from_logits=True, reduction="none"
  )
  found = modes.run(
    lambda z, q: softmax_loss(z, q, focal_gamma=gamma), mode, LOGITS, targets
  )
  np.testing.assert_allclose(found, keras(targets, LOGITS), rtol=2e-5)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_weights_count_each_class(gamma):
  alone = [
    softmax_loss(LOGITS, MIXED * np.eye(4)[k], focal_gamma=max(gamma, 1e-30))
    for k in range(4)
  ]
  found = softmax_loss(LOGITS, MIXED, focal_gamma=gamma, class_weights=WEIGHTS)
  np.testing.assert_allclose(found, np.dot(WEIGHTS, alone), rtol=1e-5)


@pytest.mark.parametrize("mode", modes.MODES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sigmoid_loss_is_keras(mode, gamma):
  keras = tf.keras.losses.BinaryFocalCrossentropy(
    gamma=gamma, from_logits=True, reduction="none"
  )
  found = modes.run(
    lambda z, q: sigmoid_loss(z, q, focal_gamma=gamma), mode, LOGITS, MANY
  )
  np.testing.assert_allclose(found, keras(MANY, LOGITS), rtol=2e-5)


@pytest.mark.parametrize("loss", [softmax_loss, sigmoid_loss])
def test_a_blend_of_targets_has_the_blend_of_losses(loss):
  found = loss(LOGITS, MIXED, focal_gamma=2.0)
  parts = [
    loss(LOGITS, targets, focal_gamma=2.0)
    for targets in (ONE_HOT, ONE_HOT[::-1].copy())
  ]
  np.testing.assert_allclose(found, 0.7 * parts[0] + 0.3 * parts[1], rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [1e-4, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("loss", [softmax_loss, sigmoid_loss])
def test_slopes_are_finite_and_right(loss, gamma, size):
  logits = tf.Variable(size * LOGITS)
  with tf.GradientTape() as tape:
    losses = loss(logits, ONE_HOT, focal_gamma=gamma)
  slopes = tape.gradient(losses, logits).numpy()
  assert np.isfinite(slopes).all()
  if size > 1.0:
    return
  step = np.zeros_like(LOGITS, np.float64)
  step[0, 1] = 1e-5
  ahead, behind = (
    float(
      reference(loss, size * LOGITS.astype(np.float64) + sign * step, gamma)
    )
    for sign in (1, -1)
  )
  slope = (ahead - behind) / 2e-5
  np.testing.assert_allclose(slopes[0, 1], slope, rtol=1e-3, atol=1e-6)


def reference(loss, logits, gamma):
  """The sum over examples, in float64."""
  if loss is softmax_loss:
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.sum(ONE_HOT * (1 - p) ** gamma * np.log(p))
  p = 1 / (1 + np.exp(-logits))
  yes = ONE_HOT * (1 - p) ** gamma * np.log(p)
  no = (1 - ONE_HOT) * p**gamma * np.log(1 - p)
  return -np.sum(yes + no) / 4


@pytest.mark.parametrize("gamma", [-1.0, math.nan, math.inf])
def test_a_gamma_out_of_range_is_named(gamma):
  for loss in (softmax_loss, sigmoid_loss):
    with pytest.raises(ValueError, match="focal_gamma must be finite"):
      loss(LOGITS, ONE_HOT, focal_gamma=gamma)
