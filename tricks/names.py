# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names that schedules, update rules and precisions have."""

SCHEDULES = (
  "cosine",
  "step",
  "constant",
  "linear",
  "polynomial",
  "exponential",
)
OPTIMIZERS = ("sgd", "adamw", "lars", "lamb", "muon")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
