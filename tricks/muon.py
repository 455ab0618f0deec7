# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Muon: a convolution takes steps of one length in every direction."""

from __future__ import annotations

import tensorflow as tf

from tricks import momentum as momentum_lib
from tricks import weight_decay as weight_decay_lib

SLOTS = ("momentum",)

# p(s) = a·s + b·s³ + c·s⁵ takes every s in (0, 1] towards 1, small ones fast.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_EPSILON = 1e-7


def muon_update(
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  slots: tuple[tf.Tensor, ...],
  *,
  learning_rate: tf.Tensor,
  weight_decay: float,
  kernel: bool,
  step: tf.Tensor,
  momentum: float = 0.95,
  nesterov: bool = False,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
  """Takes one step of Muon.

  v ← μ·v + g
  d = g + μ·v   with nesterov, else   d = v
  w ← w − η·(√max(1, outputs/inputs)·orthogonalized(d) + λ·w)

  A convolution's kernel, [..., channels, outputs], is taken as a matrix,
  [inputs, outputs]. Dense kernels, such as the classifier's, and parameters
  that are no kernels (biases, γ and β) take a plain step: w ← w − η·(d + λ·w).

  Args:
    parameter: w, float32.
    gradient: g, of the same shape.
    slots: (v,), float32, zeros at first.
    learning_rate: η, float32 scalar.
    weight_decay: λ, >= 0, decoupled: not part of d.
    kernel: whether w is a kernel; one of rank > 2 is a convolution's.
    step: 0-based, int64 scalar; not used.
    momentum: μ, in [0, 1).
    nesterov: whether to look ahead.

  Returns:
    The new (parameter, slots).

  Raises:
    ValueError: momentum or weight_decay is out of its range.

  Reference: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural
    networks; Liu et al. 2025 (arXiv 2502.16982), section 2.2, for the decay.
  """
  del step
  weight_decay_lib.check_weight_decay(weight_decay)
  (velocity,) = slots
  direction, velocity = momentum_lib.momentum_direction(
    tf.cast(gradient, parameter.dtype),
    velocity,
    momentum=momentum,
    nesterov=nesterov,
  )
  if kernel and len(parameter.shape) > 2:
    matrix = tf.reshape(direction, [-1, parameter.shape[-1]])
    inputs, outputs = matrix.shape
    scale = max(1.0, outputs / inputs) ** 0.5
    direction = tf.reshape(scale * orthogonalized(matrix), parameter.shape)
  direction += weight_decay * parameter
  return parameter - learning_rate * direction, (velocity,)


def orthogonalized(matrix: tf.Tensor) -> tf.Tensor:
  """Brings all singular values close to 1: U·S·Vᵀ becomes about U·Vᵀ.

  X ← M/‖M‖, then five times X ← X·F, F = a·I + b·G + c·G², G = Xᵀ·X (Newton
  and Schulz's iteration, of degree 5). Singular values end in about [0.7, 1.2],
  except those below a thousandth of the norm; 0 stays 0.

  X is multiplied only once, by the product of all F: since F is a polynomial of
  G, the next Gram matrix is F·G·F. For a 3x3 convolution with as many outputs
  as channels this is two fifths of the arithmetic. A matrix with more columns
  than rows is multiplied from the left, with G = X·Xᵀ.

  Args:
    matrix: M, [rows, columns] float32.

  Returns:
    X, of the same shape.

  Reference: Jordan et al. 2024, Muon.
  """
  a, b, c = _COEFFICIENTS
  wide = matrix.shape[0] < matrix.shape[1]
  x = matrix / (tf.norm(matrix) + _EPSILON)
  gram = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide)
  identity = product = tf.eye(gram.shape[0])
  for _ in range(_ITERATIONS):
    factor = a * identity + b * gram + c * tf.matmul(gram, gram)
    product = tf.matmul(product, factor)
    gram = tf.matmul(factor, tf.matmul(gram, factor))
  return tf.matmul(product, x) if wide else tf.matmul(x, product)
