# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Linear scaling: the learning rate is proportional to the batch size.

The gradient of a batch k times as large has 1/k of the variance, so its step
may be k times as long.
"""

from __future__ import annotations


def scale_learning_rate(
  base_learning_rate: float,
  global_batch_size: int,
  *,
  reference_batch_size: int = 256,
) -> float:
  """Scales a learning rate to the batch size.

  peak = base_learning_rate · global_batch_size / reference_batch_size

  >>> scale_learning_rate(0.1, 256)
  0.1
  >>> scale_learning_rate(0.1, 1024)
  0.4

  Args:
    base_learning_rate: the rate for the reference batch size, >= 0.
    global_batch_size: examples a step over all replicas, >= 1.
    reference_batch_size: the batch size that the base rate is for, >= 1.

  Returns:
    The peak learning rate.

  Raises:
    ValueError: an argument is out of its range.

  Reference: He et al. 2018, section 3.1; Goyal et al. 2017.
  """
  if not 0.0 <= base_learning_rate < float("inf"):
    raise ValueError(
      f"base_learning_rate must be finite and >= 0, got {base_learning_rate}"
    )
  if not global_batch_size >= 1:
    raise ValueError(f"global_batch_size must be >= 1, got {global_batch_size}")
  if not reference_batch_size >= 1:
    raise ValueError(
      f"reference_batch_size must be >= 1, got {reference_batch_size}"
    )
  # The quotient first, so that equal batch sizes give the base rate exactly.
  return base_learning_rate * (global_batch_size / reference_batch_size)
