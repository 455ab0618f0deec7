# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Focal loss: examples that are answered well already count less."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# Below γ = 1 the slope of (1 − p)^γ at p = 1 is infinite, and its product with
# log p = 0 no number.
_SMALLEST = 1e-12


def softmax_loss(
  logits: tf.Tensor,
  targets: tf.Tensor,
  *,
  focal_gamma: float = 0.0,
  class_weights: Sequence[float] | Any = None,
) -> tf.Tensor:
  """Returns the cross-entropy of each example, focused and weighted if asked.

  Σ_k w_k·q_k·(1 − p_k)^γ·(−log p_k),  p = softmax(z)

  It is linear in the targets: that of a blend is the blend of the losses, so
  that mixup, CutMix and label smoothing keep their meaning.

  Args:
    logits: z, [batch, K] float32.
    targets: q, [batch, K] float32, rows sum to 1.
    focal_gamma: γ, >= 0; the paper's is 2; 0 is cross-entropy.
    class_weights: w, [K] >= 0; None weighs all classes 1.

  Returns:
    [batch] float32.

  Raises:
    ValueError: focal_gamma is out of its range.

  Reference: Lin et al. 2017, Focal Loss for Dense Object Detection, section 3.
  """
  _check(focal_gamma)
  if not focal_gamma and class_weights is None:
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
  # TensorFlow's own loss has a wrong gradient if targets do not sum to 1.
  log_p = tf.nn.log_softmax(logits)
  terms = -targets * log_p
  if class_weights is not None:
    terms *= tf.constant(class_weights, terms.dtype)
  if focal_gamma:
    terms *= _factor(log_p, focal_gamma)
  return tf.reduce_sum(terms, axis=-1)


def sigmoid_loss(
  logits: tf.Tensor, targets: tf.Tensor, *, focal_gamma: float = 0.0
) -> tf.Tensor:
  """Returns the mean loss of each example's labels, each one yes or no.

  1/K·Σ_k q_k·(1 − p_k)^γ·(−log p_k) + (1 − q_k)·p_k^γ·(−log(1 − p_k)),
  p = sigmoid(z)

  Args:
    logits: z, [batch, K] float32.
    targets: q, [batch, K] float32 in [0, 1].
    focal_gamma: γ, >= 0; 0 is binary cross-entropy.

  Returns:
    [batch] float32.

  Raises:
    ValueError: focal_gamma is out of its range.

  Reference: Lin et al. 2017, section 3.
  """
  _check(focal_gamma)
  if not focal_gamma:
    terms = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
  else:
    log_p, log_not_p = -tf.nn.softplus(-logits), -tf.nn.softplus(logits)
    terms = -targets * log_p * _factor(log_p, focal_gamma)
    terms -= (1.0 - targets) * log_not_p * _factor(log_not_p, focal_gamma)
  return tf.reduce_mean(terms, axis=-1)


def _factor(log_p: tf.Tensor, gamma: float) -> tf.Tensor:
  """Returns (1 − p)^γ."""
  return tf.maximum(-tf.math.expm1(log_p), _SMALLEST) ** gamma


def _check(gamma: float) -> None:
  if not 0.0 <= gamma < math.inf:
    raise ValueError(f"focal_gamma must be finite and >= 0, got {gamma}")
