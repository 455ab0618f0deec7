# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A table of images: a CSV file with a path and a label in each row.

    path,label,split
    a/1.jpg,cat,train
    a/2.jpg,dog,validation

The heading and the third column are optional. Paths are relative to `data_dir`.
Labels are names. Classes are sorted by number if all labels are whole numbers,
and by name if not.
"""

from __future__ import annotations

import collections
import csv
import os
from typing import NamedTuple

import numpy as np

from data.errors import DataError
from data.names import TRAIN, VALIDATION
from data.sources.encoded import EncodedSource
from data.sources.image_files import from_files

_HEADINGS = (["path", "label"], ["path", "label", "split"])
# Longer than any path, so that a file that is no table fails early.
_MAX_FIELD = 1 << 15


class Row(NamedTuple):
  """A row of the table.

  Attributes:
    path: of the image.
    label: the name of its class.
    validation: whether it is held out for evaluation.
  """

  path: str
  label: str
  validation: bool = False


def load(
  data_dir: str,
  labels: str,
  *,
  validation_fraction: float = 0.0,
  channels: int = 3,
) -> tuple[EncodedSource, EncodedSource]:
  """Loads the images that a table lists.

  Args:
    data_dir: the folder that the paths start from; "" is the table's own.
    labels: the table, a CSV file in UTF-8.
    validation_fraction: part of the images that is held out for evaluation,
      equally from each class; 0 if the table has a column split.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.

  Returns:
    The training source and the validation source.

  Raises:
    DataError: names the table, the line and what is wrong with it.
  """
  if not labels:
    raise DataError("labels must be given for dataset=csv: --labels=FILE.csv")
  rows = read_rows(labels)
  root = data_dir or os.path.dirname(os.path.abspath(labels))
  class_names = _class_names({row.label for row in rows})
  numbers = {name: number for number, name in enumerate(class_names)}

  def part(chosen: list[Row]) -> EncodedSource:
    if not chosen:
      raise DataError(f"{labels} has no row for one of its two splits")
    return from_files(
      [row.path for row in chosen],
      np.array([numbers[row.label] for row in chosen], np.int32),
      class_names,
      root=root,
      name="csv",
      channels=channels,
    )

  held_out = [row for row in rows if row.validation]
  if bool(held_out) == bool(validation_fraction):
    raise DataError(
      f"validation_fraction must be 0 if {labels} has a column split, and above"
      f" 0 if it has none, got {validation_fraction}"
    )
  if held_out:
    return part([row for row in rows if not row.validation]), part(held_out)
  return part(rows).split(validation_fraction)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
  """Reads a table of paths and labels, strictly.

  Args:
    path: the CSV file.

  Returns:
    Its rows, without the heading.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  if not os.path.isfile(path):
    raise DataError(f"labels must be a CSV file, got {os.fspath(path)!r}")
  csv.field_size_limit(_MAX_FIELD)
  try:
    with open(path, encoding="utf-8-sig", newline="") as file:
      reader = csv.reader(file, strict=True)
      cells = [(reader.line_num, row) for row in reader if row]
  except (csv.Error, UnicodeDecodeError) as error:
    raise DataError(f"{os.fspath(path)} is not a CSV file: {error}") from error
  heading = cells[0][1] if cells else []
  columns = heading if heading in _HEADINGS else _HEADINGS[0]
  if heading in _HEADINGS:
    del cells[0]
  if not cells:
    raise DataError(f"{os.fspath(path)} has no rows")
  rows = [
    _row(row, columns, f"{os.fspath(path)} line {line}") for line, row in cells
  ]
  ((most_listed, times),) = collections.Counter(
    row.path for row in rows
  ).most_common(1)
  if times > 1:
    raise DataError(
      f"{os.fspath(path)} lists {most_listed!r} {times} times: keep one row"
    )
  return rows


def _row(cells: list[str], columns: list[str], place: str) -> Row:
  if len(cells) != len(columns):
    raise DataError(
      f"{place} must be {','.join(columns)}, got {len(cells)} cells: put quotes"
      " around a path or a label with a comma"
    )
  if not all(cell.strip() for cell in cells):
    raise DataError(f"{place} has an empty cell: {','.join(cells)!r}")
  if any("\0" in cell for cell in cells):
    raise DataError(f"{place} holds a zero byte")
  path, label, *split = cells
  if split and split[0] not in (TRAIN, *VALIDATION):
    raise DataError(
      f"{place}: split must be {TRAIN} or one of {', '.join(VALIDATION)},"
      f" got {split[0]!r}"
    )
  return Row(path, label, bool(split) and split[0] != TRAIN)


def _class_names(labels: set[str]) -> tuple[str, ...]:
  if all(label.isascii() and label.isdigit() for label in labels):
    return tuple(sorted(labels, key=lambda label: (int(label), label)))
  return tuple(sorted(labels))
