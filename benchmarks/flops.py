# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a network is, counted from its layers."""

from __future__ import annotations

import math
from typing import Any

# Backward, a layer's products are computed twice: towards its inputs and
# towards its kernel.
TRAIN_PASSES = 3


def forward_macs(model: Any) -> int:
  """Returns the multiply-accumulates of a forward pass over one image.

  Convolutions and dense layers alone, as the literature counts; normalisation,
  activations and pooling are a few percent beside them.

  Args:
    model: a functional Keras model (of any Keras) with a known input size.
  """
  macs = 0
  for layer in model.layers:
    kernel = getattr(layer, "kernel", None)
    if kernel is not None:
      # The kernel is applied once a position of the output.
      positions = math.prod(layer.output.shape[1:-1])
      macs += math.prod(kernel.shape) * positions
  return macs


def train_flops(macs: int) -> int:
  """Returns the floating-point operations of a training step on one image."""
  return 2 * TRAIN_PASSES * macs
