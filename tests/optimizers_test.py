# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the update rules by name, and of decay against TensorFlow Addons."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import OPTIMIZERS, kernel_mask, make_optimizer
from tricks.adamw import adamw_update
from tricks.keras_compat import tf_variables
from tricks.lamb import lamb_update
from tricks.lars import lars_update
from tricks.momentum import momentum_update
from tricks.muon import muon_update

ADAM = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}
BALL = {"momentum": 0.7, "nesterov": True}
RULES = {
  "sgd": (momentum_update, BALL),
  "adamw": (adamw_update, ADAM),
  "lars": (lars_update, {**BALL, "trust_coefficient": 0.02}),
  "lamb": (lamb_update, ADAM),
  "muon": (muon_update, BALL),
}


def arguments(optimizer, dtype=tf.float32):
  rng = np.random.default_rng(0)
  w, g, *slots = (
    tf.constant(rng.random([2, 3]), tf.float32)
    for _ in range(2 + len(optimizer.slots))
  )
  return w, tf.cast(g, dtype), tuple(slots)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_options_reach_the_rule(name):
  optimizer = make_optimizer(name, **BALL, **ADAM, trust_coefficient=0.02)
  rule, options = RULES[name]
  w, g, slots = arguments(optimizer)
  step = {
    "learning_rate": 0.1,
    "weight_decay": 0.01,
    "kernel": True,
    "step": 3,
  }
  found = optimizer.update(w, g, slots, **step)
  expected = rule(w, g, slots, **step, **options)
  default = make_optimizer(name).update(w, g, slots, **step)
  tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
  assert not np.array_equal(found[0], default[0])
  assert len(found[1]) == len(optimizer.slots)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("kernel", [False, True])
def test_modes_agree_and_arguments_stay(name, weight_decay, kernel):
  optimizer = make_optimizer(name)
  w, g, slots = arguments(optimizer)
  before = [x.numpy() for x in (w, g, *slots)]
  results = [
    modes.run(
      lambda w, g, slots, rate, step: optimizer.update(
        w,
        g,
        slots,
        learning_rate=rate,
        weight_decay=weight_decay,
        kernel=kernel,
        step=step,
      ),
      mode,
      w,
      g,
      slots,
      np.float32(0.1),
      np.int64(3),
    )
    for mode in modes.MODES
  ]
  for result in results[1:]:
    for found, expected in zip(
      tf.nest.flatten(result), tf.nest.flatten(results[0])
    ):
      np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
  for x, original in zip((w, g, *slots), before):
    np.testing.assert_array_equal(x, original)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_low_precision_gradient_updates_in_float32(name, dtype):
  optimizer = make_optimizer(name)
  w, g, slots = arguments(optimizer, dtype)
  step = {
    "learning_rate": 0.1,
    "weight_decay": 0.01,
    "kernel": True,
    "step": 3,
  }
  found = optimizer.update(w, g, slots, **step)
  wide = optimizer.update(w, tf.cast(g, tf.float32), slots, **step)
  for x, y in zip(tf.nest.flatten(found), tf.nest.flatten(wide)):
    assert x.dtype == tf.float32
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
  ("name", "rate"),
  [("sgd", 0.05), ("adamw", 0.2), ("lars", 10), ("lamb", 0.05), ("muon", 0.05)],
)
def test_each_rule_descends(name, rate):
  optimizer = make_optimizer(name)
  w = tf.constant([[3.0, -2.0], [1.0, 4.0]])
  slots = tuple(tf.zeros_like(w) for _ in optimizer.slots)
  target = tf.constant([[1.0, 1.0], [1.0, 1.0]])
  first = tf.reduce_sum((w - target) ** 2)
  for step in range(60):
    w, slots = optimizer.update(
      w,
      2 * (w - target),
      slots,
      learning_rate=rate * (1 - step / 60),
      weight_decay=1e-4,
      kernel=True,
      step=step,
    )
  assert tf.reduce_sum((w - target) ** 2) < 0.05 * first


def test_decay_of_kernels_equals_tensorflow_addons_sgdw():
  if not tf.__version__.startswith("2.15."):
    pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
  tfa = pytest.importorskip("tensorflow_addons")
  tf.keras.utils.set_random_seed(0)
  model = tf.keras.Sequential(
    [
      tf.keras.layers.Conv2D(3, 3, bias_initializer="ones"),
      tf.keras.layers.BatchNormalization(),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dense(2, bias_initializer="ones"),
    ]
  )
  model.build([None, 4, 4, 2])
  variables = tf_variables(model.trainable_variables)
  mask = kernel_mask(model)
  ours = [tf.identity(v) for v in variables]
  sgd = make_optimizer("sgd", momentum=0.0)
  # Without momentum coupled decay λ is decoupled decay η·λ.
  rate, weight_decay = 0.1, 0.05
  sgdw = tfa.optimizers.SGDW(
    learning_rate=rate, weight_decay=rate * weight_decay
  )
  kernels = [v for v, kernel in zip(variables, mask) if kernel]
  assert len(kernels) == 2 < len(variables)
  rng = np.random.default_rng(0)
  for step in range(5):
    gradients = [
      tf.constant(rng.normal(size=v.shape), tf.float32) for v in variables
    ]
    sgdw.apply_gradients(zip(gradients, variables), decay_var_list=kernels)
    ours = [
      sgd.update(
        w,
        g,
        (tf.zeros_like(w),),
        learning_rate=rate,
        weight_decay=weight_decay if kernel else 0.0,
        kernel=kernel,
        step=step,
      )[0]
      for w, g, kernel in zip(ours, gradients, mask)
    ]
  for w, v in zip(ours, variables):
    np.testing.assert_allclose(w, v, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"name": "adam"}, "optimizer must be one of sgd, .*, got 'adam'"),
    ({"momentum": 1.0}, "momentum must .* got 1.0"),
    ({"beta_1": -0.1}, "beta_1 must .* got -0.1"),
    ({"beta_2": 1.0}, "beta_2 must .* got 1.0"),
    ({"epsilon": 0.0}, "epsilon must .* got 0.0"),
    ({"trust_coefficient": math.nan}, "trust_coefficient must .* got nan"),
  ],
)
def test_argument_out_of_range_is_named(options, message):
  with pytest.raises(ValueError, match=message):
    make_optimizer(**{"name": "sgd", **options})
