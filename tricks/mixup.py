# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixup: the network is trained on blends of two examples.

The same seed gives the same blend in eager mode, graph mode and XLA alike.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tricks.draws import WHOLE, Part, random_permutation, split_seed, uniform


def mixup(
  images: tf.Tensor,
  targets: tf.Tensor,
  *,
  alpha: float,
  seed: tf.Tensor,
  groups: int = 1,
  part: Part = WHOLE,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Blends each example with another one of the batch.

  x̂ = λ·x_i + (1 − λ)·x_j,  ŷ = λ·y_i + (1 − λ)·y_j,  λ ~ Beta(α, α)

  j is a permutation of the batch, within each of `groups`; the whole batch has
  one λ.

  Args:
    images: [batch, ...] of any real dtype.
    targets: [batch, num_classes] floating, one-hot or smoothed.
    alpha: α, >= 0; the paper's is 0.2; 0 is the identity.
    seed: [2] int32, new for each step.
    groups: groups of the global batch in which partners are found, a multiple
      of part.count.
    part: of the global batch, if several replicas share it.

  Returns:
    (images, targets): images float32, or in their own dtype if it is floating;
    targets in theirs. With alpha = 0 both arguments untouched.

  Raises:
    ValueError: alpha is out of its range.

  Reference: He et al. 2018, section 5.4; Zhang et al. 2017.
  """
  check_alpha("mixup_alpha", alpha)
  if not alpha:
    return images, targets
  lam_seed, permutation_seed = tf.unstack(split_seed(seed, 2))
  lam = sample_lam(alpha, lam_seed)
  permutation = random_permutation(
    tf.shape(images)[0], permutation_seed, groups=groups, part=part
  )
  return blend(images, targets, lam=lam, permutation=permutation)


def blend(
  images: tf.Tensor,
  targets: tf.Tensor,
  *,
  lam: tf.Tensor,
  permutation: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Blends a batch with a permutation of itself: mixup without its randomness.

  Args:
    images: [batch, ...] of any real dtype.
    targets: [batch, num_classes] floating.
    lam: λ, the weight on the original, scalar in [0, 1].
    permutation: [batch] int32, the partner of each example.

  Returns:
    (images, targets), dtypes as `mixup`.
  """
  images = as_floating(images)
  return (
    _interpolate(images, tf.gather(images, permutation), lam),
    _interpolate(targets, tf.gather(targets, permutation), lam),
  )


def sample_lam(alpha: float, seed: tf.Tensor) -> tf.Tensor:
  """Draws λ ~ Beta(α, α), the weight on the original.

  λ = ½ + ½·cos(2πV)·√((1 − W)/(W + (1 − W)·cos²(2πV))),  W = U^(1/α)

  with U and V uniform in (0, 1): Bailey's formula for Student's t, transformed
  to the symmetric Beta. It is exact for each α > 0, without a rejection loop
  or a Gamma variate.

  Args:
    alpha: α, > 0.
    seed: [2] int32.

  Returns:
    λ, float32 scalar in [0, 1].

  Raises:
    ValueError: alpha is out of its range.

  Reference: Devroye 1996, Random variate generation in one line of code.
  """
  if not 0.0 < alpha < math.inf:
    raise ValueError(f"alpha must be finite and > 0, got {alpha}")
  u, v = tf.unstack(uniform([2], seed))
  w = u ** (1.0 / alpha)
  cosine = tf.cos(2.0 * math.pi * v)
  square = (1.0 - w) / (w + (1.0 - w) * cosine**2)
  lam = 0.5 + 0.5 * cosine * tf.sqrt(square)
  # Rounding can move it past 0 or 1 by 1e-16.
  return tf.cast(tf.clip_by_value(lam, 0.0, 1.0), tf.float32)


def as_floating(images: tf.Tensor) -> tf.Tensor:
  """Returns images in their own dtype if it is floating, else as float32."""
  images = tf.convert_to_tensor(images)
  return images if images.dtype.is_floating else tf.cast(images, tf.float32)


def check_alpha(name: str, alpha: float) -> None:
  """Raises ValueError unless alpha is finite and >= 0."""
  if not 0.0 <= alpha < math.inf:
    raise ValueError(f"{name} must be finite and >= 0, got {alpha}")


def _interpolate(x: tf.Tensor, y: tf.Tensor, lam: tf.Tensor) -> tf.Tensor:
  lam = tf.cast(lam, x.dtype)
  return lam * x + (1.0 - lam) * y
