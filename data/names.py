# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names that the data flags accept; needs no TensorFlow and no NumPy."""

from __future__ import annotations

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
# Whether an image has one label, or any number of them.
TASKS = ("single_label", "multi_label")
CACHES = ("auto", "memory", "disk", "none")

# The names of a data set's parts in TFRecord files, which are exact.
TRAIN = "train"
VALIDATION = ("validation", "val", "test")

# The names of a data set's splits in folders and tables, in any case.
SPLITS = {
  "train": ("train", "training"),
  "validation": ("validation", "val", "valid", "dev"),
  "test": ("test", "testing"),
}
# Which split is evaluated; auto is validation if there is one, else test.
EVAL_SPLITS = ("auto", "validation", "test")


def split_of(name: str) -> str | None:
  """Returns the split that a folder's or a cell's name stands for, or None.

  >>> split_of("Valid"), split_of("cats")
  ('validation', None)
  """
  lowered = name.strip().lower()
  for split, spellings in SPLITS.items():
    if lowered in spellings:
      return split
  return None
