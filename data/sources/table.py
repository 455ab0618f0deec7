# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A table of images as people have them: a path and labels in each row.

    path,label,split            image_id;dx;age       Path,Cat,Dog
    a/1.jpg,cat,train           a;mel;80              1.jpg,1,0
    a/2.jpg,dog,validation      b;nv;45               2.jpg,1,1

Cells are parted by commas, semicolons or tabs. The heading is optional; columns
are told by the names below, and others are ignored. Labels are names: in one
column, several parted by "|"; in several columns label_1, label_2; or as one
column of 0 and 1 for each class.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import csv
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data.errors import DataError
from data.names import SPLITS, split_of
from data.sources import classes
from data.sources.encoded import printable
from data.sources.image_files import EXTENSIONS

# What headings call the columns, the likeliest first, with _ for a blank.
PATHS = (
  *("path", "file", "filename", "file_name", "filepath", "file_path"),
  *("image", "image_path", "image_name", "image_file", "image_id", "images"),
  *("img", "img_path", "img_name", "id_code", "id"),
)
LABELS = (
  *("label", "labels", "class", "classes", "class_name", "target"),
  *("category", "tag", "tags", "dx", "diagnosis"),
)
SETS = ("split", "set", "fold", "subset", "partition")

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_BYTE_ORDER_MARKS = {
  codecs.BOM_UTF8: "utf-8-sig",
  codecs.BOM_UTF16_LE: "utf-16",
  codecs.BOM_UTF16_BE: "utf-16",
}
_YES, _NO = ("1", "1.0"), ("", "0", "0.0", "-1", "-1.0")
# Rows by which separator and heading are told.
_SAMPLE = 100
# Longer than any path, so that a file that is no table fails early.
_MAX_FIELD = 1 << 15

Cells = list[str]


class Row(NamedTuple):
  """A row of the table.

  Attributes:
    path: of the image.
    labels: the names of its classes, each once.
    split: "train", "validation" or "test".
    line: its line in the file.
  """

  path: str
  labels: tuple[str, ...]
  split: str
  line: int


class Table(NamedTuple):
  """What a table says.

  Attributes:
    rows: those of its images.
    class_names: of all labels, and of columns in which no row has a 1; as they
      are found.
    understood: one line on how it was read.
  """

  rows: list[Row]
  class_names: tuple[str, ...]
  understood: str


@dataclasses.dataclass(frozen=True)
class _Columns:
  """The numbers of the columns.

  Attributes:
    path: of the paths.
    labels: of the names of classes.
    yes_or_no: of a class each, with 0 or 1.
    split: of the splits, or None.
    names: the heading; empty if there is none.
  """

  path: int
  labels: tuple[int, ...] = ()
  yes_or_no: tuple[int, ...] = ()
  split: int | None = None
  names: tuple[str, ...] = ()

  @property
  def ignored(self) -> list[str]:
    """The names of the columns that are not used."""
    used = {self.path, self.split, *self.labels, *self.yes_or_no}
    return [n for number, n in enumerate(self.names) if number not in used]


def read(path: str | os.PathLike[str]) -> Table:
  """Reads a table of paths and labels.

  Args:
    path: of a text file in UTF-8, or in UTF-16 with a byte-order mark.

  Returns:
    Its rows without the heading; all are of "train" if it names no split.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  name = os.fspath(path)
  if not os.path.isfile(path):
    raise DataError(f"labels must be a CSV file, got {name!r}")
  separator, lines = _parted(name)
  if not lines:
    raise DataError(f"{name} has no rows")
  columns = _columns(name, lines)
  if columns.names:
    del lines[0]
  if not lines:
    raise DataError(f"{name} has no rows")
  rows = [_row(cells, columns, f"{name} line {n}", n) for n, cells in lines]
  counts = collections.Counter(row.path for row in rows)
  ((most_listed, times),) = counts.most_common(1)
  if times > 1:
    raise DataError(f"{name} lists {most_listed!r} {times} times: keep one row")
  found = dict.fromkeys(label for row in rows for label in row.labels)
  if columns.yes_or_no:
    found = dict.fromkeys(_class_names(columns, name))
  understood = _understood(name, separator, columns, rows)
  return Table(rows, tuple(found), understood)


def _parted(name: str) -> tuple[str, list[tuple[int, Cells]]]:
  """Returns the separator, and number and cells of each line that has some."""
  with open(name, "rb") as file:
    content = file.read()
  encoding = "utf-8"
  for mark, of_mark in _BYTE_ORDER_MARKS.items():
    if content.startswith(mark):
      encoding = of_mark
  try:
    text = content.decode(encoding)
  except UnicodeDecodeError as error:
    raise DataError(
      f"{name} is not a CSV file in UTF-8: {error.reason} at byte {error.start}"
    ) from error
  fitting = {}
  for separator in _SEPARATORS:
    with contextlib.suppress(csv.Error):
      sample = [
        c for _, c in itertools.islice(_lines(text, separator), _SAMPLE)
      ]
      width = collections.Counter(map(len, sample)).most_common(1)
      if width and width[0][0] > 1:
        has_heading = _named(sample[0], PATHS) is not None
        fitting[separator] = (has_heading, width[0][1])
  separator = max(fitting, key=fitting.__getitem__, default=",")
  try:
    return separator, list(_lines(text, separator))
  except csv.Error as error:
    raise DataError(f"{name} is not a CSV file: {error}") from error


def _lines(text: str, separator: str) -> Iterator[tuple[int, Cells]]:
  """Yields number and cells of each line that is not blank."""
  csv.field_size_limit(_MAX_FIELD)
  file = io.StringIO(text, newline="")
  # Not strict, so that blanks may follow a quote.
  reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
  for row in reader:
    cells = [cell.strip() for cell in row]
    if any(cells):
      yield reader.line_num, cells


def _named(heading: Sequence[str], names: Sequence[str]) -> str | None:
  """Returns the likeliest of some names that a heading has."""
  found = {_plain(name) for name in heading}
  return next((name for name in names if name in found), None)


def _plain(name: str) -> str:
  """Returns a column's name in lower case, without its number.

  >>> _plain("Image Name"), _plain("label_2")
  ('image_name', 'label')
  """
  return re.sub(r"_?[0-9]+$", "", re.sub(r"[ -]+", "_", name.lower()))


def _columns(name: str, lines: list[tuple[int, Cells]]) -> _Columns:
  """Finds the columns, by the heading or by what is in them.

  Raises:
    DataError: it is not clear which hold paths and labels.
  """
  first_line, first = lines[0]
  path_name = _named(first, PATHS)
  if path_name is None:
    return _columns_without_heading(name, lines)
  while not first[-1]:  # A separator at the end of each line.
    first.pop()
  plain = [_plain(cell) for cell in first]
  path = plain.index(path_name)
  split = None
  for set_name in SETS:
    if split is None and set_name in plain:
      number = plain.index(set_name)
      # Numbered folds do not say which one is held out.
      if any(
        split_of(cells[number]) for _, cells in lines[1:] if cells[number:]
      ):
        split = number
  label_name = _named(first, LABELS)
  labels = tuple(n for n, each in enumerate(plain) if each == label_name)
  columns = _Columns(path, labels, split=split, names=tuple(first))
  if len(labels) == 1:
    return columns
  yes_or_no = _yes_or_no(columns, lines[1:])
  if not labels:
    if len(yes_or_no) < 2 and len(lines) > 1:
      raise DataError(
        f"{name} line {first_line} must name a column of labels"
        f" ({', '.join(LABELS[:5])}, ...), or a column of 0 and 1 for each"
        f" class, got {','.join(first)!r}"
      )
    return dataclasses.replace(columns, yes_or_no=yes_or_no)
  if set(labels) <= set(yes_or_no):
    return dataclasses.replace(columns, yes_or_no=labels, labels=())
  return columns


def _yes_or_no(
  columns: _Columns, lines: list[tuple[int, Cells]]
) -> tuple[int, ...]:
  """Returns the columns that hold nothing but 0 and 1."""
  candidates = {*range(len(columns.names))} - {columns.path, columns.split}
  for _, cells in lines:
    candidates = {
      number
      for number in candidates
      if not cells[number:] or cells[number] in (*_YES, *_NO)
    }
  return tuple(sorted(candidates))


def _columns_without_heading(
  name: str, lines: list[tuple[int, Cells]]
) -> _Columns:
  first_line, first = lines[0]
  of_images = [n for n, cell in enumerate(first) if _is_image(cell)]
  if not of_images and len(lines) > 1 and any(map(_is_image, lines[1][1])):
    raise DataError(
      f"{name} line {first_line} must name the column of paths"
      f" ({', '.join(PATHS[:3])}, ...), got {','.join(first)!r}"
    )
  path = of_images[0] if of_images else 0
  others = [number for number in range(len(first)) if number != path]
  split = None
  for number in others[::-1]:
    if len(others) > 1 and split_of(first[number]):
      split = number
      others.remove(number)
      break
  if len(others) != 1:
    raise DataError(
      f"{name} line {first_line} must be path,label or path,label,split, or a"
      f" heading that names the columns, got {len(first)} cells"
    )
  return _Columns(path, tuple(others), split=split)


def _is_image(cell: str) -> bool:
  return cell.lower().endswith(EXTENSIONS)


def _row(cells: Cells, columns: _Columns, place: str, line: int) -> Row:
  width = len(columns.names) or 2 + (columns.split is not None)
  while len(cells) > width and not cells[-1]:
    cells.pop()
  if len(cells) != width:
    raise DataError(
      f"{place} must have {width} cells, got {len(cells)}: put quotes around a"
      " path or a label that holds the separator"
    )
  path = cells[columns.path]
  if not path:
    raise DataError(f"{place} has no path: {','.join(cells)!r}")
  if set(path) & set("\0\n\r"):
    raise DataError(f"{place} has a path of several lines: is a quote open?")
  return Row(
    path, _labels(cells, columns, place), _split(cells, columns, place), line
  )


def _labels(cells: Cells, columns: _Columns, place: str) -> tuple[str, ...]:
  """Returns the names of a row's classes, each once."""
  if columns.yes_or_no:
    found = [
      columns.names[number]
      for number in columns.yes_or_no
      if cells[number] in _YES
    ]
  else:
    parts = (part for n in columns.labels for part in cells[n].split("|"))
    found = [part.strip() for part in parts]
  return tuple(
    dict.fromkeys(classes.normalized(label, place) for label in found if label)
  )


def _split(cells: Cells, columns: _Columns, place: str) -> str:
  if columns.split is None:
    return next(iter(SPLITS))
  found = split_of(cells[columns.split])
  if found is None:
    known = ", ".join(name for names in SPLITS.values() for name in names)
    raise DataError(
      f"{place}: split must be one of {known}, got {cells[columns.split]!r}"
    )
  return found


def _class_names(columns: _Columns, name: str) -> tuple[str, ...]:
  """Returns the names of the columns of 0 and 1."""
  names = [
    classes.normalized(columns.names[number], f"{name} line 1")
    for number in columns.yes_or_no
  ]
  if not all(names) or len(set(names)) < len(names):
    raise DataError(
      f"{name} must name each column of 0 and 1, each by another name, got"
      f" {','.join(names)!r}"
    )
  return tuple(names)


def _understood(
  name: str, separator: str, columns: _Columns, rows: list[Row]
) -> str:
  """Returns one line on how a table was read."""

  def shown(*numbers: int) -> str:
    if not columns.names:
      return ", ".join(str(number + 1) for number in numbers)
    return ", ".join(columns.names[number] or "''" for number in numbers)

  words = [f"{len(rows)} rows parted by {_SEPARATORS[separator]}"]
  words += [] if columns.names else ["no heading"]
  words.append(f"path in column {shown(columns.path)}")
  if columns.labels:
    words.append(f"label in {shown(*columns.labels)}")
  else:
    words.append(f"{len(columns.yes_or_no)} classes, a column each; -1 is 0")
  several = sum(len(row.labels) > 1 for row in rows)
  words += [f"{several} rows with several labels"] if several else []
  if columns.split is not None:
    counts = collections.Counter(row.split for row in rows)
    parts = ", ".join(f"{counts[each]} {each}" for each in sorted(counts))
    words.append(f"split in {shown(columns.split)}: {parts}")
  if columns.ignored:
    words.append(f"left out: {', '.join(columns.ignored)}")
  return printable(f"{name}: {'; '.join(words)}")
