# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""SGD with momentum, plain or Nesterov's, and coupled weight decay."""

from __future__ import annotations

import tensorflow as tf

from tricks import weight_decay as weight_decay_lib

SLOTS = ("momentum",)


def momentum_update(
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
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
  """Takes one step of SGD with momentum.

  g ← g + λ·w
  v ← μ·v + g
  w ← w − η·(g + μ·v)   with nesterov, else   w ← w − η·v

  The velocity v is a sum of gradients, so a change of the learning rate acts
  on all of it at once. (Keras sums η·g: equal at a constant rate.)

  Args:
    parameter: w, float32.
    gradient: g, of the same shape.
    slots: (v,), float32, zeros at first.
    learning_rate: η, float32 scalar.
    weight_decay: λ, >= 0, coupled: part of the gradient.
    kernel: whether w is a kernel; not used.
    step: 0-based, int64 scalar; not used.
    momentum: μ, in [0, 1).
    nesterov: whether to look ahead.

  Returns:
    The new (parameter, slots).

  Raises:
    ValueError: momentum or weight_decay is out of its range.

  Reference: He et al. 2018, section 2 (NAG); Sutskever et al. 2013.
  """
  del kernel, step
  (velocity,) = slots
  gradient = weight_decay_lib.l2_gradient(gradient, parameter, weight_decay)
  direction, velocity = momentum_direction(
    gradient, velocity, momentum=momentum, nesterov=nesterov
  )
  return parameter - learning_rate * direction, (velocity,)


def momentum_direction(
  gradient: tf.Tensor, velocity: tf.Tensor, *, momentum: float, nesterov: bool
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the direction of a step with momentum, and the new velocity.

  v ← μ·v + g
  d = g + μ·v   with nesterov, else   d = v

  Args:
    gradient: g, float32.
    velocity: v, of the same shape.
    momentum: μ, in [0, 1).
    nesterov: whether to look ahead.

  Returns:
    (d, v).

  Raises:
    ValueError: momentum is out of its range.

  Reference: Sutskever et al. 2013.
  """
  check_momentum(momentum)
  velocity = momentum * velocity + gradient
  direction = gradient + momentum * velocity if nesterov else velocity
  return direction, velocity


def check_momentum(momentum: float) -> None:
  """Raises ValueError unless momentum is in [0, 1)."""
  if not 0.0 <= momentum < 1.0:
    raise ValueError(f"momentum must be in [0, 1), got {momentum}")
