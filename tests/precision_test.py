# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the loss scale against a plain count and Keras' own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import LossScale, next_loss_scale, precision


def pattern(steps=60):
  """Whether each step was finite: stretches, with overflows between."""
  return np.random.default_rng(0).random(steps) > 0.15


@pytest.mark.parametrize("mode", modes.MODES)
def test_scale_doubles_after_2000_good_steps_only(mode):
  following = modes.compiled(next_loss_scale, mode)

  def after(good_steps, finite):
    return following(np.float32(2**15), np.int64(good_steps), np.bool_(finite))

  assert after(0, True) == (2**15, 1)
  assert after(1998, True) == (2**15, 1999)
  assert after(1999, True) == (2**16, 0)
  assert after(1999, False) == (2**14, 0)
  assert after(0, False) == (2**14, 0)


def test_scale_follows_the_rule(monkeypatch):
  monkeypatch.setattr(precision, "GROWTH_STEPS", 4)
  loss_scale = LossScale()
  scale, since = 2.0**15, 0
  seen = set()
  for finite in pattern():
    loss_scale.update(tf.constant(finite))
    since += 1
    if not finite:
      scale, since = scale / 2, 0
    elif since == 4:
      scale, since = scale * 2, 0
    assert loss_scale.value.numpy() == scale
    assert loss_scale.good_steps.numpy() == since
    seen.add(scale)
  assert len(seen) > 3


def test_scale_equals_keras(monkeypatch):
  monkeypatch.setattr(precision, "GROWTH_STEPS", 4)
  keras = tf.keras.mixed_precision.LossScaleOptimizer(
    tf.keras.optimizers.SGD(0.0), initial_scale=2**15, dynamic_growth_steps=4
  )
  variable = tf.keras.layers.Dense(1, use_bias=False)
  variable.build([None, 1])
  keras.build(variable.trainable_variables)
  loss_scale = LossScale()
  for finite in pattern(40):
    gradient = tf.constant([[1.0 if finite else np.inf]])
    keras.apply_gradients([(gradient, variable.trainable_variables[0])])
    theirs = (
      keras.dynamic_scale
      if hasattr(keras, "dynamic_scale")
      else keras.loss_scale
    )
    loss_scale.update(tf.constant(finite))
    assert loss_scale.value.numpy() == float(theirs)


@pytest.mark.parametrize("mode", modes.MODES)
def test_scale_stays_between_one_and_infinity(mode):
  following = modes.compiled(next_loss_scale, mode)
  lowest, highest = np.float32(1.0), np.float32(2.0**127)
  assert following(lowest, np.int64(5), False)[0] == lowest
  assert following(highest, np.int64(1999), True)[0] == highest


def test_a_gradient_below_float16s_range_survives():
  weight = tf.Variable(1.0)
  loss_scale = LossScale()

  def gradient(scale):
    with tf.GradientTape() as tape:
      # The product is float16, and so is the gradient on its way back.
      half = tf.cast(weight, tf.float16)
      loss = tf.cast(half, tf.float32) * 1e-8
      loss = loss_scale.scale(loss) if scale else loss
    return tape.gradient(loss, weight)

  assert gradient(scale=False).numpy() == 0.0
  (found,) = loss_scale.unscale([gradient(scale=True)])
  np.testing.assert_allclose(found, 1e-8, rtol=1e-3)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32])
def test_unscale_divides_in_float32_and_keeps_none(dtype):
  loss_scale = LossScale()
  gradients = [tf.constant([2.0**-10, -3.0], dtype), None]
  found = loss_scale.unscale(gradients)
  assert found[0].dtype == tf.float32 and found[1] is None
  np.testing.assert_array_equal(found[0], [2.0**-25, -3.0 * 2.0**-15])


def test_scale_of_one_is_the_identity():
  loss_scale = LossScale()
  loss_scale.value.assign(1.0)
  loss = tf.constant(0.7)
  assert loss_scale.scale(loss).numpy() == loss.numpy()
  assert loss_scale.unscale([loss])[0].numpy() == loss.numpy()


def test_state_is_two_variables_that_a_checkpoint_restores(tmp_path):
  loss_scale = LossScale()
  assert loss_scale.value.numpy() == 2**15
  assert loss_scale.value.dtype == tf.float32
  assert loss_scale.good_steps.dtype == tf.int64
  assert not loss_scale.trainable_variables
  loss_scale.update(tf.constant(False))
  loss_scale.update(tf.constant(True))
  path = tf.train.Checkpoint(x=loss_scale).save(str(tmp_path / "c"))
  other = LossScale()
  tf.train.Checkpoint(x=other).restore(path).assert_consumed()
  assert (other.value.numpy(), other.good_steps.numpy()) == (2**14, 1)
