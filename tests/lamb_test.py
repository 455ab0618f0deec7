# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of LAMB against NumPy and TensorFlow Addons."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks.adamw import adamw_update
from tricks.lamb import lamb_update


def start():
  return np.random.default_rng(1).normal(size=[4, 3])


def gradients(steps=6):
  return np.random.default_rng(0).normal(size=[steps, 4, 3])


def follow(
  rates,
  *,
  w=None,
  mode="eager",
  weight_decay=0.1,
  kernel=True,
  rule=lamb_update,
  **options,
):
  """Takes a step with each rate; returns the last parameter."""
  w = (start() if w is None else w).astype(np.float32)
  slots = np.zeros_like(w), np.zeros_like(w)
  update = modes.compiled(
    lambda w, g, slots, rate, step: rule(
      w,
      g,
      slots,
      learning_rate=rate,
      weight_decay=weight_decay,
      kernel=kernel,
      step=step,
      **options,
    ),
    mode,
  )
  for step, (rate, g) in enumerate(zip(rates, gradients())):
    w, slots = update(w, np.float32(g), slots, np.float32(rate), np.int64(step))
  return w


def length(x):
  return math.sqrt(sum(float(e) ** 2 for e in x.flat))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.9)])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("mode", modes.MODES)
def test_update_is_the_formula(betas, weight_decay, mode):
  rates = [0.01, 0.02, 0.05, 0.01]
  found = follow(
    rates,
    mode=mode,
    weight_decay=weight_decay,
    beta_1=betas[0],
    beta_2=betas[1],
    epsilon=1e-3,
  )

  def average(past, beta):
    weights = [beta**age for age in range(len(past))][::-1]
    return sum(k * p for k, p in zip(weights, past)) / sum(weights)

  w, past = start(), []
  for rate, g in zip(rates, gradients()):
    past.append(g)
    first = average(past, betas[0])
    second = average([p**2 for p in past], betas[1])
    u = first / (np.sqrt(second) + 1e-3) + weight_decay * w
    w = w - rate * length(w) / length(u) * u
  np.testing.assert_allclose(found, w, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_update_equals_tensorflow_addons(weight_decay):
  if not tf.__version__.startswith("2.15."):
    pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
  tfa = pytest.importorskip("tensorflow_addons")
  kernel = tf.Variable(start(), dtype=tf.float32, name="kernel")
  bias = tf.Variable(start(), dtype=tf.float32, name="bias")
  theirs = tfa.optimizers.LAMB(
    0.05,
    epsilon=1e-6,
    weight_decay=weight_decay,
    exclude_from_weight_decay=["bias"],
  )
  for g in gradients():
    g = tf.constant(g, tf.float32)
    theirs.apply_gradients([(g, kernel), (g, bias)])
  found = follow([0.05] * 6, weight_decay=weight_decay)
  np.testing.assert_allclose(found, kernel, rtol=1e-4, atol=1e-5)
  found = follow([0.05] * 6, weight_decay=0.0, kernel=False)
  np.testing.assert_allclose(found, bias, rtol=1e-4, atol=1e-5)


def test_a_step_is_in_proportion_to_the_weights():
  for scale in (0.1, 1.0, 100.0):
    w = scale * start()
    found = follow([0.01], w=w)
    assert length(found - w) == pytest.approx(0.01 * length(w), rel=1e-3)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_parameter_that_is_no_kernel_gets_adamw(weight_decay):
  options = {"weight_decay": weight_decay, "epsilon": 1e-6, "kernel": False}
  np.testing.assert_array_equal(
    follow([0.01] * 4, **options),
    follow([0.01] * 4, rule=adamw_update, **options),
  )


def test_weights_of_zero_are_not_stuck():
  found = follow([0.01], w=np.zeros([4, 3]))
  np.testing.assert_allclose(found, -0.01 * np.sign(gradients()[0]), rtol=1e-4)


def test_nothing_to_do_is_no_division_by_zero():
  zeros = np.zeros([2], np.float32)
  found, _ = lamb_update(
    zeros,
    zeros,
    (zeros, zeros),
    learning_rate=1.0,
    weight_decay=0.1,
    kernel=True,
    step=0,
  )
  np.testing.assert_array_equal(found, zeros)


def test_rate_zero_is_the_identity():
  found = follow([0.0] * 3)
  np.testing.assert_array_equal(found, start().astype(np.float32))


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("beta_1", 1.0),
    ("beta_2", -0.1),
    ("epsilon", 0.0),
    ("weight_decay", -0.1),
    ("weight_decay", math.nan),
  ],
)
def test_argument_out_of_range_is_named(name, value):
  with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
    follow([0.1], **{name: value})
