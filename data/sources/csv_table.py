# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images that a table lists, with the labels that it gives them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from data.errors import DataError
from data.sources import classes, image_files, splits, table
from data.sources.encoded import EncodedSource
from data.sources.table import Row


def load(
  data_dir: str,
  labels: str,
  *,
  validation_fraction: float = 0.0,
  channels: int = 3,
  eval_split: str = splits.AUTO,
  multi_label: bool = False,
) -> tuple[EncodedSource, EncodedSource]:
  """Loads the images that a table lists.

  Args:
    data_dir: the folder that the paths start from; "" is the table's own.
    labels: the table; see `table.read`.
    validation_fraction: part of the images that is held out for evaluation,
      equally from each class; 0 if the table has a split for that.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.
    eval_split: see `splits.to_evaluate`.
    multi_label: whether an image may have any number of labels.

  Returns:
    The training source and the validation source.

  Raises:
    DataError: names the table, the line and what is wrong with it.
  """
  if not labels:
    raise DataError("labels must be given for dataset=csv: --labels=FILE.csv")
  found = table.read(labels)
  logging.info("%s", found.understood)
  if not multi_label:
    _require_one_label(found, labels)
  root = data_dir or os.path.dirname(os.path.abspath(labels))
  names = {name for row in found.rows for name in row.labels}
  class_names = classes.in_order({*found.class_names} if multi_label else names)
  numbers = {name: number for number, name in enumerate(class_names)}

  def part(split: str) -> EncodedSource:
    rows = [row for row in found.rows if row.split == split]
    if not rows:
      raise DataError(f"{labels} has no row for {split}")
    return image_files.from_files(
      _paths(rows, root),
      _labels(rows, numbers, multi_label),
      class_names,
      root=root,
      name="csv",
      channels=channels,
      notes=(found.understood,),
    )

  there = {row.split for row in found.rows}
  chosen = splits.to_evaluate(
    [split for split in (splits.VALIDATION, splits.TEST) if split in there],
    labels,
    eval_split=eval_split,
    validation_fraction=validation_fraction,
  )
  train = part(splits.TRAIN)
  if validation_fraction:
    train, held_out = train.split(validation_fraction)
    if chosen is None:
      return train, held_out
  return train, part(chosen or "")


def _require_one_label(found: table.Table, path: str) -> None:
  for row in found.rows:
    if len(row.labels) != 1:
      names = ", ".join(map(repr, row.labels)) or "none"
      raise DataError(
        f"{path} line {row.line} must have one label, got {names};"
        " --task=multi_label takes any number"
      )


def _labels(
  rows: Sequence[Row], numbers: dict[str, int], multi_label: bool
) -> np.ndarray:
  """Returns the number of each row's class; or a row of 0 and 1 of each."""
  if not multi_label:
    return np.array([numbers[row.labels[0]] for row in rows], np.int32)
  labels = np.zeros([len(rows), len(numbers)], np.uint8)
  for place, row in enumerate(rows):
    labels[place, [numbers[name] for name in row.labels]] = 1
  return labels


def _paths(rows: Sequence[Row], root: str) -> list[str]:
  """Returns the rows' paths: with the file's ending, and / for Windows' \\."""
  paths = []
  usual = ""
  for row in rows:
    path = row.path
    if "\\" in path and not os.path.isfile(os.path.join(root, path)):
      path = path.replace("\\", "/")
    if not path.lower().endswith(image_files.EXTENSIONS):
      full = os.path.join(root, path)
      endings = (usual, *image_files.EXTENSIONS)
      usual = next((e for e in endings if os.path.isfile(full + e)), "")
      path += usual
    paths.append(path)
  return paths
