# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""LAMB: Adam's direction, with a step in proportion to each layer's size."""

from __future__ import annotations

import tensorflow as tf

from tricks import adamw
from tricks import weight_decay as weight_decay_lib

SLOTS = adamw.SLOTS


def lamb_update(
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
  epsilon: float = 1e-6,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
  """Takes one step of LAMB.

  u = r + λ·w,   r Adam's direction (`adamw.adam_direction`)
  w ← w − η·(‖w‖/‖u‖)·u

  The ratio of norms is 1, which is AdamW, for parameters that are no kernels
  (biases, γ and β), and if w or u is 0.

  Args:
    parameter: w, float32.
    gradient: g, of the same shape.
    slots: (m, v), float32, zeros at first.
    learning_rate: η, float32 scalar.
    weight_decay: λ, >= 0, decoupled: not part of the gradient.
    kernel: whether w is a kernel, whose step is in proportion to ‖w‖.
    step: 0-based, int64 scalar.
    beta_1: β₁, in [0, 1).
    beta_2: β₂, in [0, 1).
    epsilon: ε, > 0.

  Returns:
    The new (parameter, slots).

  Raises:
    ValueError: an argument is out of its range.

  Reference: You et al. 2019, algorithm 2.
  """
  weight_decay_lib.check_weight_decay(weight_decay)
  direction, slots = adamw.adam_direction(
    tf.cast(gradient, parameter.dtype),
    slots,
    step=step,
    beta_1=beta_1,
    beta_2=beta_2,
    epsilon=epsilon,
  )
  rate = learning_rate
  if weight_decay:
    direction += weight_decay * parameter
  if kernel:
    size, direction_size = tf.norm(parameter), tf.norm(direction)
    trusted = (size > 0.0) & (direction_size > 0.0)
    rate *= tf.where(trusted, size / direction_size, 1.0)
  return parameter - rate * direction, slots
