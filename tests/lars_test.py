# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of LARS against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests import modes
from tricks.lars import lars_update
from tricks.momentum import momentum_update


def start():
  return np.random.default_rng(1).normal(size=[4, 3])


def gradients(steps=6):
  return np.random.default_rng(0).normal(size=[steps, 4, 3])


def follow(
  rates, *, w=None, mode="eager", weight_decay=0.1, kernel=True, **rule
):
  """Takes a step with each rate; returns the last parameter and velocity."""
  w = (start() if w is None else w).astype(np.float32)
  v = np.zeros_like(w)
  update = modes.compiled(
    lambda w, g, v, rate, step: lars_update(
      w,
      g,
      (v,),
      learning_rate=rate,
      weight_decay=weight_decay,
      kernel=kernel,
      step=step,
      **rule,
    ),
    mode,
  )
  for step, (rate, g) in enumerate(zip(rates, gradients())):
    w, (v,) = update(w, np.float32(g), v, np.float32(rate), np.int64(step))
  return w, v


def length(x):
  return math.sqrt(sum(float(e) ** 2 for e in x.flat))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("mode", modes.MODES)
def test_update_is_the_formula(momentum, nesterov, weight_decay, mode):
  rates = [1.0, 2.0, 0.5, 3.0]
  found = follow(
    rates,
    mode=mode,
    weight_decay=weight_decay,
    momentum=momentum,
    nesterov=nesterov,
    trust_coefficient=0.02,
  )
  w, v = start(), 0.0
  for rate, g in zip(rates, gradients()):
    local = 0.02 * length(w) / (length(g) + weight_decay * length(w))
    change = rate * local * (g + weight_decay * w)
    v = momentum * v + change
    w = w - (change + momentum * v if nesterov else v)
  np.testing.assert_allclose(found[0], w, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found[1], v, rtol=1e-5, atol=1e-6)


def test_first_step_is_in_proportion_to_the_weights_not_the_gradient():
  options = {"weight_decay": 0.0, "momentum": 0.0, "trust_coefficient": 0.01}
  for scale in (0.1, 1.0, 100.0):
    w = scale * start()
    found, _ = follow([1.0], w=w, **options)
    assert length(found - w) == pytest.approx(0.01 * length(w), rel=1e-3)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_parameter_that_is_no_kernel_gets_plain_momentum(
  nesterov, weight_decay
):
  options = {"weight_decay": weight_decay, "kernel": False}
  found, _ = follow([0.1] * 4, momentum=0.9, nesterov=nesterov, **options)
  w, v = start().astype(np.float32), np.zeros([4, 3], np.float32)
  for step, g in enumerate(gradients(4)):
    w, (v,) = momentum_update(
      w,
      g.astype(np.float32),
      (v,),
      learning_rate=0.1,
      step=step,
      momentum=0.9,
      **options,
      nesterov=nesterov,
    )
  np.testing.assert_allclose(found, w, rtol=1e-5, atol=1e-6)


def test_weights_of_zero_are_not_stuck():
  found, _ = follow([0.1], w=np.zeros([4, 3]))
  np.testing.assert_allclose(found, -0.1 * gradients()[0], rtol=1e-5)


def test_gradient_of_zero_only_decays():
  w = start().astype(np.float32)
  found, _ = lars_update(
    w,
    np.zeros_like(w),
    (np.zeros_like(w),),
    learning_rate=0.1,
    weight_decay=0.5,
    kernel=True,
    step=0,
  )
  np.testing.assert_allclose(found, w * (1 - 0.1 * 0.5), rtol=1e-6)


def test_rate_zero_is_the_identity():
  found, _ = follow([0.0] * 3)
  np.testing.assert_array_equal(found, start().astype(np.float32))


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("momentum", 1.0),
    ("momentum", -0.1),
    ("weight_decay", -0.1),
    ("weight_decay", math.nan),
    ("trust_coefficient", 0.0),
    ("trust_coefficient", math.inf),
  ],
)
def test_argument_out_of_range_is_named(name, value):
  with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
    follow([0.1], **{name: value})
