# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""AdamW: Adam whose weight decay is not scaled as the gradient is."""

from __future__ import annotations

import math

import tensorflow as tf

from tricks import weight_decay as weight_decay_lib

SLOTS = ("first_moment", "second_moment")


def adamw_update(
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  slots: tuple[tf.Tensor, ...],
  *,
  learning_rate: tf.Tensor,
  weight_decay: float,
  kernel: bool,
  step: tf.Tensor,
  beta_1: float = 0.9,
  beta_2: float = 0.999,
  epsilon: float = 1e-8,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
  """Takes one step of AdamW.

  w ← w − η·(m̂/(√v̂ + ε) + λ·w),   m̂ and v̂ as in `adam_direction`

  Args:
    parameter: w, float32.
    gradient: g, of the same shape.
    slots: (m, v), float32, zeros at first.
    learning_rate: η, float32 scalar.
    weight_decay: λ, >= 0, decoupled: not part of the gradient.
    kernel: whether w is a kernel; not used, all step alike.
    step: 0-based, int64 scalar.
    beta_1: β₁, in [0, 1).
    beta_2: β₂, in [0, 1).
    epsilon: ε, > 0.

  Returns:
    The new (parameter, slots).

  Raises:
    ValueError: an argument is out of its range.

  Reference: Loshchilov and Hutter 2017, algorithm 2.
  """
  del kernel
  weight_decay_lib.check_weight_decay(weight_decay)
  direction, slots = adam_direction(
    tf.cast(gradient, parameter.dtype),
    slots,
    step=step,
    beta_1=beta_1,
    beta_2=beta_2,
    epsilon=epsilon,
  )
  direction += weight_decay * parameter
  return parameter - learning_rate * direction, slots


def adam_direction(
  gradient: tf.Tensor,
  slots: tuple[tf.Tensor, ...],
  *,
  step: tf.Tensor,
  beta_1: float,
  beta_2: float,
  epsilon: float,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
  """Returns Adam's direction and the new moments.

  m ← β₁·m + (1 − β₁)·g,    m̂ = m/(1 − β₁^(s + 1))
  v ← β₂·v + (1 − β₂)·g²,   v̂ = v/(1 − β₂^(s + 1))
  r = m̂/(√v̂ + ε)

  Args:
    gradient: g, float32.
    slots: (m, v), of the same shape.
    step: s, 0-based, int64 scalar.
    beta_1: β₁, in [0, 1).
    beta_2: β₂, in [0, 1).
    epsilon: ε, > 0.

  Returns:
    (r, (m, v)).

  Raises:
    ValueError: an argument is out of its range.

  Reference: Kingma and Ba 2014, algorithm 1.
  """
  check_adam(beta_1, beta_2, epsilon)
  first, second = slots
  first = beta_1 * first + (1.0 - beta_1) * gradient
  second = beta_2 * second + (1.0 - beta_2) * tf.square(gradient)
  first_hat = first / _bias_correction(beta_1, step)
  second_hat = second / _bias_correction(beta_2, step)
  return first_hat / (tf.sqrt(second_hat) + epsilon), (first, second)


def check_adam(beta_1: float, beta_2: float, epsilon: float) -> None:
  """Raises ValueError unless the βs are in [0, 1) and ε > 0."""
  for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
    if not 0.0 <= beta < 1.0:
      raise ValueError(f"{name} must be in [0, 1), got {beta}")
  if not 0.0 < epsilon < math.inf:
    raise ValueError(f"epsilon must be finite and > 0, got {epsilon}")


def _bias_correction(beta: float, step: tf.Tensor) -> tf.Tensor:
  # In float64, because float32's 1 − 0.999 is off by 1e-5 of itself.
  power = tf.constant(beta, tf.float64) ** (tf.cast(step, tf.float64) + 1.0)
  return tf.cast(1.0 - power, tf.float32)
