# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`metrics.jsonl`: a line of JSON for each logged step and each evaluation.

A figure that is not finite is null. This module imports no TensorFlow.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
from typing import Any

from absl import logging

from train_loop.workdir.reading import read_file
from train_loop.workdir.writing import write_atomically, writing

METRICS_FILE = "metrics.jsonl"
DAMAGED_FILE = "metrics.jsonl.damaged"

TIME_FIELDS = ("images_per_second", "input_share", "eval_seconds")


class MetricsFile:
  """`metrics.jsonl`, to which a run appends its records."""

  def __init__(
    self, workdir: str | os.PathLike[str], *, start_step: int
  ) -> None:
    """Opens the file, without the records after `start_step`.

    A run that was killed may have logged steps after its last checkpoint: they
    are trained, and logged, again. Lines that are no record move to
    `metrics.jsonl.damaged`, with a warning.

    Args:
      workdir: the run's folder, which exists.
      start_step: the step of the checkpoint that the run goes on from.

    Raises:
      ConfigError: the file cannot be read or written.
    """
    self._path = pathlib.Path(workdir) / METRICS_FILE
    with writing(self._path):
      records, damaged = _read(self._path)
    if damaged:
      _move_aside(damaged, self._path.with_name(DAMAGED_FILE))
    kept = [record for record in records if record["step"] <= start_step]
    write_atomically(self._path, "".join(map(_line, kept)))

  def write(self, record: dict[str, Any]) -> None:
    """Appends one record; a reader can see all of it when this returns.

    Args:
      record: holds `step`; NaN and infinities are written as null.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    with writing(self._path), self._path.open("a", encoding="utf-8") as file:
      file.write(_line(record))


def read_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the records of a run; lines that are no record are passed over."""
  return _read(pathlib.Path(workdir) / METRICS_FILE)[0]


def last_records(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns the last record of training and of evaluation, merged."""
  merged: dict[str, Any] = {}
  for record in read_metrics(workdir):
    merged.update(record)
  return merged


def _read(path: pathlib.Path) -> tuple[list[dict[str, Any]], list[bytes]]:
  """Returns the records of a file, and its lines that are none."""
  if not path.exists():
    return [], []
  records, damaged = [], []
  *lines, unfinished = read_file(path).split(b"\n")
  for line in lines:
    record = _record(line)
    if record is None:
      damaged.append(line)
    else:
      records.append(record)
  return records, damaged + ([unfinished] if unfinished else [])


def _record(line: bytes) -> dict[str, Any] | None:
  """Returns the record on a line, or None if it is damaged."""
  try:
    # Older builds wrote NaN, which JSON does not know.
    record = json.loads(line.decode(), parse_constant=lambda name: None)
  except (ValueError, RecursionError):
    return None
  whole = isinstance(record, dict) and type(record.get("step")) is int
  return record if whole else None


def _line(record: dict[str, Any]) -> str:
  """Returns the line of a record, which is valid JSON."""
  finite = {
    name: None if isinstance(v, float) and not math.isfinite(v) else v
    for name, v in record.items()
  }
  return json.dumps(finite, allow_nan=False) + "\n"


def _move_aside(lines: list[bytes], path: pathlib.Path) -> None:
  """Appends damaged lines to the file that keeps them, and says so."""
  with writing(path), path.open("ab") as file:
    file.write(b"\n".join(lines) + b"\n")
  logging.warning(
    "%d damaged line%s of %s moved to %s",
    len(lines),
    "" if len(lines) == 1 else "s",
    METRICS_FILE,
    path,
  )
