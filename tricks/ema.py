# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""EMA: an exponential moving average of the weights, for evaluation."""

from __future__ import annotations

import tensorflow as tf


def ema_decay_at(step: int | tf.Tensor, decay: float) -> tf.Tensor:
  """Returns the average's decay at a step: small at first.

  d(s) = min(decay, (1 + s)/(10 + s))

  >>> [round(float(ema_decay_at(step, 0.99)), 3) for step in (0, 10, 10000)]
  [0.1, 0.55, 0.99]

  Args:
    step: s, 0-based, int or int tensor.
    decay: the highest decay, in [0, 1).

  Returns:
    A float32 scalar.

  Raises:
    ValueError: decay is out of its range.

  Reference: tf.train.ExponentialMovingAverage; Szegedy et al. 2015, section 8.
  """
  if not 0.0 <= decay < 1.0:
    raise ValueError(f"ema_decay must be in [0, 1), got {decay}")
  step = tf.cast(step, tf.float64)
  return tf.cast(tf.minimum((1.0 + step) / (10.0 + step), decay), tf.float32)


def ema(average: tf.Tensor, value: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
  """Moves an average towards a value.

  average ← decay·average + (1 − decay)·value

  Args:
    average: float32.
    value: of the same shape; a weight or a BatchNorm statistic.
    decay: float32 scalar in [0, 1); 0 gives the value itself.

  Returns:
    The new average, in the average's dtype.
  """
  value = tf.cast(value, average.dtype)
  # This form gives exactly the value at decay 0, and if average = value.
  return value + decay * (average - value)
