# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""LARS: each layer takes a step in proportion to its own size."""

from __future__ import annotations

import math

import tensorflow as tf

from tricks import momentum as momentum_lib
from tricks import weight_decay as weight_decay_lib

SLOTS = ("momentum",)


def lars_update(
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  slots: tuple[tf.Tensor, ...],
  *,
  learning_rate: tf.Tensor,
  weight_decay: float,
  kernel: bool,
  step: tf.Tensor,
  momentum: float = 0.9,
  nesterov: bool = False,
  trust_coefficient: float = 0.001,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
  """Takes one step of LARS.

  λ_l = trust_coefficient·‖w‖/(‖g‖ + λ·‖w‖)
  v ← μ·v + η·λ_l·(g + λ·w)
  w ← w − v

  λ_l is 1, which is plain momentum, for parameters that are no kernels (biases,
  γ and β), and if w or g is 0. As in the paper the rate η is part of v.

  Args:
    parameter: w, float32.
    gradient: g, of the same shape.
    slots: (v,), float32, zeros at first.
    learning_rate: η, float32 scalar.
    weight_decay: λ, >= 0, coupled: part of the gradient.
    kernel: whether w is a kernel, whose rate is scaled by λ_l.
    step: 0-based, int64 scalar; not used.
    momentum: μ, in [0, 1).
    nesterov: whether to look ahead: w ← w − (η·λ_l·(g + λ·w) + μ·v).
    trust_coefficient: > 0.

  Returns:
    The new (parameter, slots).

  Raises:
    ValueError: an argument is out of its range.

  Reference: You et al. 2017, algorithm 1.
  """
  del step
  momentum_lib.check_momentum(momentum)
  check_trust_coefficient(trust_coefficient)
  (velocity,) = slots
  rate = learning_rate
  if kernel:
    size = tf.norm(parameter)
    gradient_size = tf.norm(tf.cast(gradient, parameter.dtype))
    trust = trust_coefficient * size / (gradient_size + weight_decay * size)
    rate *= tf.where((size > 0.0) & (gradient_size > 0.0), trust, 1.0)
  gradient = weight_decay_lib.l2_gradient(gradient, parameter, weight_decay)
  velocity = momentum * velocity + rate * gradient
  change = rate * gradient + momentum * velocity if nesterov else velocity
  return parameter - change, (velocity,)


def check_trust_coefficient(trust_coefficient: float) -> None:
  """Raises ValueError unless trust_coefficient is finite and > 0."""
  if not 0.0 < trust_coefficient < math.inf:
    raise ValueError(
      f"trust_coefficient must be finite and > 0, got {trust_coefficient}"
    )
