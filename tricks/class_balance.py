# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rare classes: weights of the loss by class, and logits adjusted by frequency.

Trained on a hundred examples of one class for each of another, a network
answers with the first one if in doubt, and its plain accuracy hides it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def class_weights(class_counts: Sequence[int], *, beta: float) -> np.ndarray:
  """Returns the weight of each class by its effective number of examples.

  w_k ∝ (1 − β)/(1 − β^n_k), with Σ_k n_k·w_k = Σ_k n_k

  β = 0 weighs all classes alike; β → 1 weighs them by 1/n_k. The mean weight of
  an example is 1, so that the loss, and with it the learning rate, keeps its
  scale; the paper's weights sum to K instead.

  >>> class_weights([10, 10], beta=0.9).tolist()
  [1.0, 1.0]

  Args:
    class_counts: n, the training examples of each class, [K] integers >= 0, not
      all 0. A class without examples gets 0.
    beta: β, in [0, 1].

  Returns:
    w, [K] float32.

  Raises:
    ValueError: an argument is out of its range.

  Reference: Cui et al. 2019, Class-Balanced Loss Based on Effective Number of
  Samples, section 4.
  """
  counts = _checked(class_counts)
  if not 0.0 <= beta <= 1.0:
    raise ValueError(f"beta must be in [0, 1], got {beta}")
  # 1 − β^n is n·(1 − β) at first order: the ratio at β = 1 is n.
  numbers = counts
  if beta < 1.0:
    # expm1 keeps the digits that 1 − β^n loses as β approaches 1.
    log_beta = math.log(beta) if beta else -math.inf
    exponents = np.where(counts > 0, counts, 1.0) * log_beta
    numbers = np.where(counts > 0, -np.expm1(exponents) / (1.0 - beta), 0.0)
  with np.errstate(divide="ignore"):
    weights = np.where(numbers > 0, 1.0 / numbers, 0.0)
  weights *= counts.sum() / (counts @ weights)
  return weights.astype(np.float32)


def adjust_logits(
  logits: tf.Tensor, class_counts: Sequence[int], *, tau: float
) -> tf.Tensor:
  """Adds the logarithm of each class's frequency to its logit, in training.

  z'_k = z_k + τ·log π_k,  π_k = n_k/Σn

  A network trained on z' learns a z whose largest entry is the best answer if
  all classes are equally likely: evaluation uses z as it is.

  Args:
    logits: z, [batch, K] floating.
    class_counts: n, the training examples of each class, [K] integers >= 0, not
      all 0. A class without examples counts as one with 1.
    tau: τ, >= 0; the paper's is 1; 0 is the identity.

  Returns:
    z', of the logits' shape and dtype.

  Raises:
    ValueError: an argument is out of its range.

  Reference: Menon et al. 2021, Long-tail learning via logit adjustment, section
  4.2.
  """
  priors = _log_priors(class_counts, tau)
  return logits + tf.constant(priors, logits.dtype) if tau else logits


def smoothing_shares(class_counts: Sequence[int], *, tau: float) -> np.ndarray:
  """Returns over which classes label smoothing spreads with adjusted logits.

  s_k = π_k^τ/Σπ^τ

  So the logits z of all classes but the label's are alike. Spread evenly, the
  part of a rare class could be above its frequency: its z would be the largest.

  Args:
    class_counts: n, as of `adjust_logits`.
    tau: τ, as there.

  Returns:
    s, [K] float32, sums to 1.

  Raises:
    ValueError: an argument is out of its range.
  """
  shares = np.exp(_log_priors(class_counts, tau))
  return (shares / shares.sum()).astype(np.float32)


def _log_priors(class_counts: Sequence[int], tau: float) -> np.ndarray:
  """Returns τ·log π."""
  counts = np.maximum(_checked(class_counts), 1.0)
  if not 0.0 <= tau < math.inf:
    raise ValueError(f"tau must be finite and >= 0, got {tau}")
  return tau * np.log(counts / counts.sum())


def _checked(class_counts: Sequence[int]) -> np.ndarray:
  counts = np.asarray(class_counts, np.float64)
  if counts.ndim != 1 or not counts.size or (counts < 0).any():
    raise ValueError(
      "class_counts must be numbers of examples, one a class, got"
      f" {class_counts!r}"
    )
  if not counts.any():
    raise ValueError("class_counts must not all be 0")
  return counts
