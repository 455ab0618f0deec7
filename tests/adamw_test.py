# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of AdamW against NumPy and Keras."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks.adamw import adamw_update
from tricks.keras_compat import tf_variable


def gradients(steps=8):
  return np.random.default_rng(0).normal(size=[steps, 2, 3])


def follow(rates, *, mode="eager", weight_decay=0.0, start=0, **rule):
  """Takes a step with each rate; returns the last parameter."""
  update = modes.compiled(
    lambda w, g, slots, rate, step: adamw_update(
      w,
      g,
      slots,
      learning_rate=rate,
      weight_decay=weight_decay,
      kernel=True,
      step=step,
      **rule,
    ),
    mode,
  )
  w = np.full([2, 3], 0.5, np.float32)
  slots = np.zeros_like(w), np.zeros_like(w)
  for step, (rate, g) in enumerate(zip(rates, gradients()), start):
    w, slots = update(w, np.float32(g), slots, np.float32(rate), np.int64(step))
  return w


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.9)])
@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("mode", modes.MODES)
def test_update_is_the_formula(betas, epsilon, weight_decay, mode):
  rates = [0.1, 0.2, 0.05, 0.3]
  found = follow(
    rates,
    mode=mode,
    weight_decay=weight_decay,
    beta_1=betas[0],
    beta_2=betas[1],
    epsilon=epsilon,
  )

  def average(past, beta):
    # The moment with its bias corrected: a mean that weighs older ones less.
    weights = [beta**age for age in range(len(past))][::-1]
    return sum(k * p for k, p in zip(weights, past)) / sum(weights)

  w, past = np.full([2, 3], 0.5), []
  for rate, g in zip(rates, gradients()):
    past.append(g)
    first = average(past, betas[0])
    second = average([p**2 for p in past], betas[1])
    w = w - rate * first / (np.sqrt(second) + epsilon) - rate * weight_decay * w
  np.testing.assert_allclose(found, w, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_update_equals_keras(weight_decay):
  # Keras does not correct ε for bias, so that only ε -> 0 is the same in both.
  keras = tf.keras.optimizers.AdamW(
    0.1, weight_decay=weight_decay, epsilon=1e-12
  )
  layer = tf.keras.layers.Dense(3, use_bias=False)
  layer.build([None, 2])
  variable = layer.trainable_variables[0]
  variable.assign(tf.fill([2, 3], 0.5))
  for g in gradients(6):
    keras.apply_gradients([(tf.constant(g, tf.float32), variable)])
  found = follow([0.1] * 6, weight_decay=weight_decay, epsilon=1e-12)
  np.testing.assert_allclose(
    found, tf_variable(variable).numpy(), rtol=1e-4, atol=1e-5
  )


def test_first_step_is_the_rate_whatever_the_gradients_size():
  found = follow([0.1])
  np.testing.assert_allclose(
    found, 0.5 - 0.1 * np.sign(gradients()[0]), rtol=1e-6
  )


def test_decay_does_not_pass_through_the_moments():
  plain, decayed = follow([0.1]), follow([0.1], weight_decay=0.3)
  np.testing.assert_allclose(plain - decayed, 0.1 * 0.3 * 0.5, rtol=1e-5)


def test_late_steps_are_not_corrected():
  late = follow([0.1], start=10**9, beta_1=0.9, beta_2=0.999)
  g = gradients()[0]
  expected = 0.5 - 0.1 * (0.1 * g) / (np.sqrt(0.001) * np.abs(g))
  np.testing.assert_allclose(late, expected, rtol=1e-5)


def test_rate_zero_is_the_identity():
  found = follow([0.0] * 3, weight_decay=0.1)
  np.testing.assert_array_equal(found, np.full([2, 3], 0.5, np.float32))


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("beta_1", -0.1),
    ("beta_1", 1.0),
    ("beta_2", 1.0),
    ("beta_2", math.nan),
    ("epsilon", 0.0),
    ("epsilon", math.inf),
    ("weight_decay", -0.1),
    ("weight_decay", math.nan),
  ],
)
def test_argument_out_of_range_is_named(name, value):
  with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
    follow([0.1], **{name: value})
