# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names that `--dataset` accepts; needs no TensorFlow and no NumPy."""

DATASETS = ("fashion_mnist", "digits", "synthetic")
