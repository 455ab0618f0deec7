# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts the arithmetic of a network from its layers."""

from __future__ import annotations

import math
from typing import Any

# Forward once; backward twice: gradients of the inputs and of the kernel.
TRAIN_PASSES = 3


def forward_macs(model: Any) -> int:
  """Returns the multiply-accumulates of a forward pass over one image.

  Counts convolutions and dense layers only, as papers do; normalisation,
  activations and pooling would add a few percent.

  Args:
    model: a functional Keras model (of any Keras) with a known input size.
  """
  macs = 0
  for layer in model.layers:
    kernel = getattr(layer, "kernel", None)
    if kernel is not None:
      # The kernel is applied once per position of the output.
      positions = math.prod(layer.output.shape[1:-1])
      macs += math.prod(kernel.shape) * positions
  return macs


def train_flops(macs: int) -> int:
  """Returns the floating-point operations of a training step on one image."""
  return 2 * TRAIN_PASSES * macs
