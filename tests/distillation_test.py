# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of distillation against NumPy, Keras' divergence and Hinton's limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from train_loop.verifying import references
from train_loop.verifying.references import softmax
from tricks import distillation_loss

TEMPERATURES = [0.5, 1.0, 4.0, 20.0]


def logits(seed, batch=5, num_classes=7):
  return np.random.default_rng(seed).normal(scale=3, size=[batch, num_classes])


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("mode", modes.MODES)
def test_loss_is_the_formula(temperature, mode):
  z, r = logits(0), logits(1)
  found = modes.run(
    lambda z, r: distillation_loss(z, r, temperature=temperature),
    mode,
    z.astype(np.float32),
    r.astype(np.float32),
  )
  expected = references.distillation(z, r, temperature)
  assert found.shape == (5,)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_loss_is_keras_divergence_plus_the_teachers_entropy(temperature):
  z, r = logits(2), logits(3)
  p, q = softmax(r / temperature), softmax(z / temperature)
  divergence = tf.keras.losses.KLDivergence(reduction="none")(p, q)
  entropy = -(p * np.log(p)).sum(axis=1)
  found = distillation_loss(z, r, temperature=temperature)
  expected = temperature**2 * (np.array(divergence) + entropy)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_temperature_one_is_plain_cross_entropy():
  z, r = tf.constant(logits(0)), tf.constant(logits(1))
  plain = tf.keras.losses.categorical_crossentropy(
    softmax(logits(1)), softmax(logits(0))
  )
  np.testing.assert_allclose(
    distillation_loss(z, r, temperature=1.0), plain, rtol=1e-5
  )


def test_gradient_keeps_its_size_at_high_temperature():
  z, r = (x - x.mean(axis=1, keepdims=True) for x in (logits(0), logits(1)))
  student = tf.Variable(z, dtype=tf.float32)
  with tf.GradientTape() as tape:
    loss = distillation_loss(student, r, temperature=1000.0)
  # Hinton et al. 2015, section 2.1: (z - r)/K for centred logits.
  np.testing.assert_allclose(
    tape.gradient(loss, student), (z - r) / 7, rtol=2e-2, atol=2e-3
  )


def test_teacher_gets_no_gradient():
  teacher = tf.Variable(logits(1), dtype=tf.float32)
  with tf.GradientTape() as tape:
    loss = distillation_loss(logits(0), teacher, temperature=2.0)
  assert tape.gradient(loss, teacher) is None


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_low_precision_logits_give_a_float32_loss(dtype):
  z, r = tf.constant(logits(0), dtype), tf.constant(logits(1), dtype)
  found = distillation_loss(z, r, temperature=20.0)
  wide = distillation_loss(
    tf.cast(z, tf.float32), tf.cast(r, tf.float32), temperature=20.0
  )
  assert found.dtype == tf.float32
  np.testing.assert_array_equal(found, wide)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_temperature_out_of_range_is_named(temperature):
  message = f"temperature must be finite and > 0, got {temperature}"
  with pytest.raises(ValueError, match=message):
    distillation_loss(logits(0), logits(1), temperature=temperature)
