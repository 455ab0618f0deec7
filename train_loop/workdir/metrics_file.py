# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`metrics.jsonl`: one JSON object a logged step or evaluation.

This module imports no TensorFlow.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from train_loop.workdir.writing import writing

METRICS_FILE = "metrics.jsonl"


TIME_FIELDS = ("images_per_second", "eval_seconds")


class MetricsFile:
  """`metrics.jsonl`: one JSON object a logged step or evaluation."""

  def __init__(
    self, workdir: str | os.PathLike[str], *, start_step: int
  ) -> None:
    """Opens the file for appending, without what came after `start_step`.

    A run that was killed may have logged steps that its last checkpoint does
    not hold: they are trained, and logged, again.
    """
    self._path = pathlib.Path(workdir) / METRICS_FILE
    kept = [r for r in read_metrics(workdir) if r["step"] <= start_step]
    partial = self._path.with_suffix(".partial")
    with writing(self._path):
      partial.write_text("".join(map(_line, kept)), encoding="utf-8")
      os.replace(partial, self._path)

  def write(self, record: dict[str, Any]) -> None:
    """Appends one record, complete on disk before it returns.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    with writing(self._path), self._path.open("a", encoding="utf-8") as file:
      file.write(_line(record))


def _line(record: dict[str, Any]) -> str:
  return json.dumps(record) + "\n"


def read_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the records of a run, without a last line cut short by a kill."""
  path = pathlib.Path(workdir) / METRICS_FILE
  if not path.exists():
    return []
  lines = path.read_text(encoding="utf-8").split("\n")[:-1]
  return [json.loads(line) for line in lines]


def last_records(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns the last record of training and of evaluation, merged."""
  merged: dict[str, Any] = {}
  for record in read_metrics(workdir):
    merged.update(record)
  return merged
