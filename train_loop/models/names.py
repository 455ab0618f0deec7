# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names that flags accept for a model, known without TensorFlow."""

from __future__ import annotations

# He et al. 2015, table 1: networks for 224x224 images; name -> depth.
RESNETS: dict[str, int] = {
  "resnet18": 18,
  "resnet34": 34,
  "resnet50": 50,
  "resnet101": 101,
  "resnet152": 152,
}

# He et al. 2015, table 1: depth -> number of blocks in each of four stages.
STAGE_BLOCKS: dict[int, tuple[int, int, int, int]] = {
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}

# He et al. 2015, section 4.2: networks for 32x32 images; name -> depth.
SMALL_RESNETS: dict[str, int] = {
  "resnet20": 20,
  "resnet32": 32,
  "resnet44": 44,
  "resnet56": 56,
}

# Shallow and wide, for 28x28 images; name -> depth, width of the first stage.
COMPACT_RESNETS: dict[str, tuple[int, int]] = {
  "resnet8": (8, 32),
  "resnet14": (14, 40),
}

MODELS: tuple[str, ...] = (*RESNETS, *SMALL_RESNETS, *COMPACT_RESNETS)

# The tweaks of He et al. 2018, figure 2. Each includes the one before it.
MODEL_VARIANTS: tuple[str, ...] = ("b", "c", "d")
