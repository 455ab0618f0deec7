# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""SAM: the gradient at the worst of the weights around the ones at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf


def sam_perturbations(
  gradients: Sequence[tf.Tensor], rho: float
) -> list[tf.Tensor]:
  """Returns how far sharpness-aware minimization moves each weight uphill.

  ε = ρ·g/‖g‖,   ‖g‖ = √Σ g², over all gradients together

  The step is then taken from w, by the gradient at w + ε. A common factor of
  the gradients, such as a loss scale, changes nothing.

  >>> uphill = sam_perturbations([tf.constant([3.0]), tf.constant([4.0])], 0.5)
  >>> [round(float(e), 3) for e in tf.concat(uphill, 0)]
  [0.3, 0.4]

  Args:
    gradients: one for each weight, float32; their norm must not overflow.
    rho: ρ, the length of all perturbations together, >= 0; 0.05 in the paper.

  Returns:
    One for each gradient, of its shape, float32; zeros if all gradients are.

  Raises:
    ValueError: rho is out of its range.

  Reference: Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently
  Improving Generalization", equation 2.
  """
  if not 0.0 <= rho < math.inf:
    raise ValueError(f"sam_rho must be finite and >= 0, got {rho}")
  scale = tf.math.divide_no_nan(rho, tf.linalg.global_norm(gradients))
  return [scale * gradient for gradient in gradients]
