# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of Muon against NumPy, and of its iteration against Keras.

`peers_test` compares the whole update with PyTorch's.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks.muon import muon_update, orthogonalized

# Kernels with more inputs than outputs, and with fewer.
SHAPES = ([3, 3, 2, 5], [1, 1, 3, 7])


def start(shape):
  return np.random.default_rng(1).normal(size=shape)


def gradients(shape, steps=4):
  return np.random.default_rng(0).normal(size=[steps, *shape])


def follow(
  shape, rates, *, mode="eager", weight_decay=0.1, kernel=True, **rule
):
  """Takes a step with each rate; returns the last parameter and velocity."""
  w = start(shape).astype(np.float32)
  v = np.zeros_like(w)
  update = modes.compiled(
    lambda w, g, v, rate, step: muon_update(
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
  for step, (rate, g) in enumerate(zip(rates, gradients(shape))):
    w, (v,) = update(w, np.float32(g), v, np.float32(rate), np.int64(step))
  return w, v


def iterated(matrix):
  """Returns the iteration's result, computed on the singular values."""
  u, s, vt = np.linalg.svd(matrix, full_matrices=False)
  s = s / math.sqrt(sum(s**2))
  for _ in range(5):
    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
  return (u * s) @ vt


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("mode", modes.MODES)
def test_update_is_the_formula(shape, momentum, nesterov, weight_decay, mode):
  rates = [0.1, 0.2, 0.05, 0.3]
  found = follow(
    shape,
    rates,
    mode=mode,
    weight_decay=weight_decay,
    momentum=momentum,
    nesterov=nesterov,
  )
  w, v = start(shape), 0.0
  inputs, outputs = math.prod(shape[:-1]), shape[-1]
  for rate, g in zip(rates, gradients(shape)):
    v = momentum * v + g
    d = g + momentum * v if nesterov else v
    matrix = iterated(d.reshape(inputs, outputs)).reshape(shape)
    w = (1 - weight_decay * rate) * w
    w = w - rate * math.sqrt(max(1, outputs / inputs)) * matrix
  np.testing.assert_allclose(found[0], w, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found[1], v, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [[40, 6], [6, 40], [9, 9]])
def test_singular_vectors_stay_and_singular_values_come_near_one(shape):
  matrix = start(shape)
  u, s, vt = np.linalg.svd(matrix, full_matrices=False)
  found = orthogonalized(tf.constant(matrix, tf.float32)).numpy()
  turned = u.T @ found @ vt.T
  np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-4)
  assert 0.65 < np.diag(turned).min() <= np.diag(turned).max() < 1.25
  assert s.max() > 1.5 * s.min()  # They were not alike before.


@pytest.mark.parametrize("shape", [[40, 6], [6, 40], [9, 9]])
def test_the_iteration_equals_keras(shape):
  keras = getattr(tf.keras.optimizers, "Muon", None)
  if keras is None:
    pytest.skip("this Keras has no Muon")
  matrix = tf.constant(start(shape), tf.float32)
  expected = keras().zeropower_via_newtonschulz5(matrix, 5)
  found = orthogonalized(matrix)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_step_does_not_depend_on_the_gradients_size():
  shape, (g, *_) = SHAPES[0], gradients(SHAPES[0])
  w = start(shape).astype(np.float32)
  steps = [
    muon_update(
      w,
      np.float32(scale * g),
      (np.zeros_like(w),),
      learning_rate=0.1,
      weight_decay=0.0,
      kernel=True,
      step=0,
    )[0]
    for scale in (1e-3, 1.0, 1e3)
  ]
  np.testing.assert_allclose(steps[0], steps[1], rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(steps[2], steps[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
  ("shape", "kernel"), [([4, 3], True), ([4, 3], False), (SHAPES[0], False)]
)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_what_is_no_convolution_gets_momentum(
  shape, kernel, weight_decay, nesterov
):
  rates = [0.1, 0.2, 0.05, 0.3]
  found, _ = follow(
    shape,
    rates,
    weight_decay=weight_decay,
    kernel=kernel,
    momentum=0.9,
    nesterov=nesterov,
  )
  w, v = start(shape), 0.0
  for rate, g in zip(rates, gradients(shape)):
    v = 0.9 * v + g
    d = g + 0.9 * v if nesterov else v
    w = w - rate * (d + weight_decay * w)
  np.testing.assert_allclose(found, w, rtol=1e-5, atol=1e-6)


def test_gradient_of_zero_only_decays():
  # Zero γ gives the convolution before it no gradient in the first step.
  w = start(SHAPES[0]).astype(np.float32)
  found, _ = muon_update(
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
  found, _ = follow(SHAPES[0], [0.0] * 3)
  np.testing.assert_array_equal(found, start(SHAPES[0]).astype(np.float32))


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("momentum", 1.0),
    ("momentum", -0.1),
    ("weight_decay", -0.1),
    ("weight_decay", math.nan),
  ],
)
def test_argument_out_of_range_is_named(name, value):
  with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
    follow(SHAPES[0], [0.1], **{name: value})
