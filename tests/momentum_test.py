# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of SGD with momentum against NumPy and Keras."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks.keras_compat import tf_variable
from tricks.momentum import momentum_update


def gradients(steps=8):
  return np.random.default_rng(0).normal(size=[steps, 2, 3])


def follow(rates, *, mode="eager", weight_decay=0.0, **rule):
  """Takes a step with each rate; returns the last parameter and velocity."""
  update = modes.compiled(
    lambda w, g, v, rate, step: momentum_update(
      w,
      g,
      (v,),
      learning_rate=rate,
      weight_decay=weight_decay,
      kernel=True,
      step=step,
      **rule,
    ),
    mode,
  )
  w, v = np.full([2, 3], 0.5, np.float32), np.zeros([2, 3], np.float32)
  for step, (rate, g) in enumerate(zip(rates, gradients())):
    w, (v,) = update(w, np.float32(g), v, np.float32(rate), np.int64(step))
  return w, v


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("mode", modes.MODES)
def test_update_is_the_formula(momentum, nesterov, weight_decay, mode):
  rates = [0.1, 0.2, 0.05, 0.0, 0.3]
  found = follow(
    rates,
    mode=mode,
    momentum=momentum,
    nesterov=nesterov,
    weight_decay=weight_decay,
  )
  w, past = np.full([2, 3], 0.5), []
  for rate, g in zip(rates, gradients()):
    past.append(g + weight_decay * w)
    # The velocity is the sum of all gradients, each older one weighed less.
    v = sum(momentum**age * p for age, p in enumerate(reversed(past)))
    w = w - rate * (past[-1] + momentum * v if nesterov else v)
  np.testing.assert_allclose(found[0], w, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found[1], v, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_update_equals_keras_at_a_constant_rate(momentum, nesterov):
  keras = tf.keras.optimizers.SGD(0.1, momentum=momentum, nesterov=nesterov)
  layer = tf.keras.layers.Dense(3, use_bias=False)
  layer.build([None, 2])
  variable = layer.trainable_variables[0]
  variable.assign(tf.fill([2, 3], 0.5))
  for g in gradients(6):
    keras.apply_gradients([(tf.constant(g, tf.float32), variable)])
  found, _ = follow([0.1] * 6, momentum=momentum, nesterov=nesterov)
  np.testing.assert_allclose(
    found, tf_variable(variable).numpy(), rtol=1e-5, atol=1e-6
  )


def test_the_rate_is_not_part_of_the_velocity():
  _, slow = follow([0.01] * 3, momentum=0.9)
  _, fast = follow([1.0] * 3, momentum=0.9)
  np.testing.assert_array_equal(slow, fast)


def test_rate_zero_is_the_identity():
  found, _ = follow([0.0] * 3, momentum=0.9, nesterov=True, weight_decay=0.1)
  np.testing.assert_array_equal(found, np.full([2, 3], 0.5, np.float32))


@pytest.mark.parametrize("momentum", [-0.1, 1.0, math.nan])
def test_momentum_out_of_range_is_named(momentum):
  message = rf"momentum must be in \[0, 1\), got {momentum}"
  with pytest.raises(ValueError, match=message):
    follow([0.1], momentum=momentum)


def test_weight_decay_out_of_range_is_named():
  with pytest.raises(ValueError, match=r"weight_decay must .*, got -0.1"):
    follow([0.1], weight_decay=-0.1)
