# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names that the data flags accept; needs no TensorFlow and no NumPy."""

DATASETS = (
  "fashion_mnist",
  "digits",
  "synthetic",
  "image_folder",
  "csv",
  "tfrecord",
  "npz",
  "tfds:NAME",
)
AUTO_AUGMENTS = ("none", "rand_augment", "trivial_augment")
CACHES = ("auto", "memory", "disk", "none")

# The names of a data set's parts, in folders, files and tables.
TRAIN = "train"
VALIDATION = ("validation", "val", "test")
