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
  "warmup_stable_decay",
)
# How the rate falls at the end of a warmup-stable-decay schedule.
DECAY_SHAPES = ("sqrt", "linear", "cosine")
OPTIMIZERS = ("sgd", "adamw", "lars", "lamb", "muon")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
