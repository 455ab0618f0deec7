# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads a data set by its name."""

from __future__ import annotations

from typing import Any

from data.names import DATASETS
from data.sources.encoded import AnySource
from data.sources.source import DataError

# The options that a data set uses; the others must be left out.
_FILES = ("data_dir", "validation_fraction", "image_channels")
_USED = {
  "fashion_mnist": ("data_dir",),
  "digits": (),
  "synthetic": (),
  "image_folder": _FILES,
  "csv": (*_FILES, "labels"),
  "tfrecord": (*_FILES, "label_offset"),
  "npz": ("data_dir", "validation_fraction"),
  "tfds": _FILES,
}


def load(
  dataset: str,
  data_dir: str = "",
  *,
  labels: str = "",
  label_offset: int = 0,
  validation_fraction: float = 0.0,
  image_channels: int = 3,
) -> tuple[AnySource, AnySource]:
  """Loads a data set by its name.

  Args:
    dataset: one of `DATASETS`.
    data_dir: the folder or file that holds it; "" looks in the usual places.
    labels: a table of paths and labels, for csv.
    label_offset: the label of the first class, for tfrecord.
    validation_fraction: of the training examples, held out to evaluate; 0 where
      the data set has a part for that.
    image_channels: 1 (gray) or 3 (RGB), what encoded images become.

  Returns:
    The training source and the test source.

  Raises:
    DataError: where the name is unknown, an option is out of range or not used
      by the data set, or the data are missing or damaged.
  """
  kind, _, name = dataset.partition(":")
  if kind not in _USED or bool(name) != (kind == "tfds"):
    raise DataError(
      f"dataset must be one of {', '.join(DATASETS)}, got {dataset!r}"
    )
  _require_used(
    kind,
    data_dir=(data_dir, ""),
    labels=(labels, ""),
    label_offset=(label_offset, 0),
    validation_fraction=(validation_fraction, 0.0),
    image_channels=(image_channels, 3),
  )
  held_out, channels = validation_fraction, image_channels
  if kind == "fashion_mnist":
    from data.sources import fashion_mnist

    return fashion_mnist.load(data_dir)
  if kind == "digits":
    from data.sources import digits

    return digits.load()
  if kind == "synthetic":
    from data.sources import synthetic

    return synthetic.make(2048, (32, 32, 3))
  if kind == "image_folder":
    from data.sources import image_folder

    return image_folder.load(
      data_dir, validation_fraction=held_out, channels=channels
    )
  if kind == "csv":
    from data.sources import csv_table

    return csv_table.load(
      data_dir, labels, validation_fraction=held_out, channels=channels
    )
  if kind == "tfrecord":
    from data.sources import tfrecord

    return tfrecord.load(
      data_dir,
      label_offset=label_offset,
      validation_fraction=held_out,
      channels=channels,
    )
  if kind == "npz":
    from data.sources import npz

    return npz.load(data_dir, validation_fraction=held_out)
  from data.sources import tfds

  return tfds.load(
    name, data_dir, validation_fraction=held_out, channels=channels
  )


def _require_used(kind: str, **options: tuple[Any, Any]) -> None:
  """Raises unless each option is used by the data set or at its default."""
  for name, (value, default) in options.items():
    if value != default and name not in _USED[kind]:
      raise DataError(
        f"{name} must be left out for dataset={kind}, which does not use it,"
        f" got {value!r}"
      )
