# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Label smoothing: a small part of each target is spread over all classes.

With one-hot targets the best logits are infinite; with smoothed ones they are
finite, and the network generalises better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def smooth_labels(
  targets: tf.Tensor,
  label_smoothing: float,
  *,
  shares: Sequence[float] | Any = None,
) -> tf.Tensor:
  """Mixes targets with the uniform distribution, or another one.

  q' = (1 − ε)·q + ε/K, or (1 − ε)·q + ε·s

  >>> smooth_labels(tf.constant([[0.0, 1.0, 0.0, 0.0]]), 0.2).numpy()
  array([[0.05, 0.85, 0.05, 0.05]], dtype=float32)

  Args:
    targets: q, [batch, K] floating, rows sum to 1 (one-hot or mixed).
    label_smoothing: ε, in [0, 1); 0 is the identity.
    shares: s, [K], sum to 1; None is 1/K for each class.

  Returns:
    q', of the targets' shape and dtype; rows sum to 1.

  Raises:
    ValueError: label_smoothing is out of its range.

  Reference: He et al. 2018, section 5.2; Szegedy et al. 2015, section 7.
  """
  _check(label_smoothing)
  if not label_smoothing:
    return targets
  if shares is not None:
    shares = tf.constant(shares, targets.dtype)
    return targets * (1.0 - label_smoothing) + label_smoothing * shares
  num_classes = tf.cast(tf.shape(targets)[-1], targets.dtype)
  return targets * (1.0 - label_smoothing) + label_smoothing / num_classes


def smooth_multi_labels(
  targets: tf.Tensor, label_smoothing: float
) -> tf.Tensor:
  """Mixes targets that are each yes or no with one half.

  q' = (1 − ε)·q + ε/2

  Args:
    targets: q, [batch, K] floating in [0, 1].
    label_smoothing: ε, in [0, 1); 0 is the identity.

  Returns:
    q', of the targets' shape and dtype.

  Raises:
    ValueError: label_smoothing is out of its range.

  Reference: as `smooth_labels`, for each label's two classes.
  """
  _check(label_smoothing)
  if not label_smoothing:
    return targets
  return targets * (1.0 - label_smoothing) + 0.5 * label_smoothing


def paper_smoothing(paper_epsilon: float, num_classes: int) -> float:
  """Converts the paper's ε' to the ε of `smooth_labels`.

  The paper writes 1 − ε' for the true class and ε'/(K − 1) for each other,
  which is the same for ε = ε'·K/(K − 1).

  >>> paper_smoothing(0.1, 2)
  0.2

  Args:
    paper_epsilon: ε', in [0, (K − 1)/K).
    num_classes: K, >= 2.

  Returns:
    ε.

  Raises:
    ValueError: an argument is out of its range.

  Reference: He et al. 2018, section 5.2.
  """
  if num_classes < 2:
    raise ValueError(f"num_classes must be >= 2, got {num_classes}")
  limit = (num_classes - 1) / num_classes
  if not 0.0 <= paper_epsilon < limit:
    raise ValueError(
      f"paper_epsilon must be in [0, {limit:g}) for {num_classes} classes,"
      f" got {paper_epsilon}"
    )
  return paper_epsilon / limit


def _check(label_smoothing: float) -> None:
  if not 0.0 <= label_smoothing < 1.0:
    raise ValueError(
      f"label_smoothing must be in [0, 1), got {label_smoothing}"
    )
