# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of EMA against NumPy, TensorFlow's and TensorFlow Addons' averages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import ema, ema_decay_at


def weights(steps=40):
  return np.random.default_rng(0).normal(size=[steps, 3]).cumsum(axis=0)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.9999])
@pytest.mark.parametrize("mode", modes.MODES)
def test_average_is_the_formula(decay, mode):
  update = modes.compiled(
    lambda a, v, s: ema(a, v, ema_decay_at(s, decay)), mode
  )
  average, expected = np.zeros(3, np.float32), np.zeros(3)
  for step, value in enumerate(weights(12)):
    average = update(average, np.float32(value), np.int64(step))
    d = min(decay, (1 + step) / (10 + step))
    expected = d * expected + (1 - d) * value
  np.testing.assert_allclose(average, expected, rtol=2e-6)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_average_equals_tensorflows(decay):
  variable = tf.Variable(weights()[0], dtype=tf.float32)
  theirs = tf.train.ExponentialMovingAverage(decay, num_updates=tf.Variable(0))
  theirs.apply([variable])  # Makes the average, equal to the variable.
  ours = tf.identity(variable)
  for step, value in enumerate(weights()):
    variable.assign(value)
    theirs._num_updates.assign(step)
    theirs.apply([variable])
    ours = ema(ours, variable, ema_decay_at(step, decay))
  np.testing.assert_allclose(ours, theirs.average(variable), rtol=1e-5)


def test_average_equals_tensorflow_addons():
  if not tf.__version__.startswith("2.15."):
    pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
  tfa = pytest.importorskip("tensorflow_addons")
  variable = tf.Variable(weights()[0], dtype=tf.float32)
  optimizer = tfa.optimizers.MovingAverage(
    tf.keras.optimizers.legacy.SGD(1.0), average_decay=0.9, dynamic_decay=True
  )
  ours = tf.identity(variable)
  for step, value in enumerate(weights()):
    # A gradient that takes the variable to the next value.
    optimizer.apply_gradients([(variable - value.astype(np.float32), variable)])
    ours = ema(ours, variable, ema_decay_at(step, 0.9))
  theirs = optimizer.get_slot(variable, "average")
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_decay_rises_to_its_limit():
  steps = [0, 1, 8, 80, 81, 1000, 10**9]
  found = [ema_decay_at(step, 0.9).numpy() for step in steps]
  expected = [0.1, 2 / 11, 0.5, 0.9, 0.9, 0.9, 0.9]
  np.testing.assert_allclose(found, expected, rtol=1e-7)
  assert ema_decay_at(10**9, 0.9999999).dtype == tf.float32


def test_decay_zero_is_the_value_exactly():
  average, value = tf.constant([1e8, -3.0, 0.1]), tf.constant([0.1, 1e-8, 7.0])
  found = ema(average, value, ema_decay_at(5, 0.0))
  np.testing.assert_array_equal(found, value)


def test_a_constant_is_its_own_average_exactly():
  value = tf.constant(np.random.default_rng(1).normal(size=[100]), tf.float32)
  average = value
  for step in range(100):
    average = ema(average, value, ema_decay_at(step, 0.9999))
  np.testing.assert_array_equal(average, value)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_low_precision_values_are_averaged_in_float32(dtype):
  found = ema(tf.ones([2]), tf.constant([0.5, 2.0], dtype), tf.constant(0.999))
  assert found.dtype == tf.float32
  np.testing.assert_allclose(found, [0.9995, 1.001], rtol=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_decay_out_of_range_is_named(decay):
  with pytest.raises(ValueError, match=rf"ema_decay must .*, got {decay}"):
    ema_decay_at(0, decay)
