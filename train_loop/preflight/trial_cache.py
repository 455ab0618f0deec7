# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps the trials of `auto` from one start to the next, in the user's cache.

There is one JSON file for each key, and the key holds all that decides what is
fast. If a file is damaged or cannot be written, `auto` measures again. This
module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import platformdirs
from absl import logging

from train_loop.fields import ConfigError
from train_loop.preflight.trials import Choice, Trial
from train_loop.workdir.writing import write_atomically


def folder() -> pathlib.Path:
  """Returns the folder of the files, in the user's cache."""
  return platformdirs.user_cache_path("train_loop/preflight")


def path_of(key: dict[str, Any]) -> pathlib.Path:
  """Returns the path of a key's file."""
  text = json.dumps(key, sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()
  return folder() / f"{digest[:32]}.json"


def read(key: dict[str, Any]) -> list[Trial]:
  """Returns the trials that are kept for a key, or none."""
  path = path_of(key)
  try:
    rows = json.loads(path.read_text(encoding="utf-8"))["trials"]
    return [from_row(row) for row in rows]
  except FileNotFoundError:
    return []
  except (OSError, ValueError, TypeError, KeyError) as error:
    logging.warning("%s is passed over: %r", path, error)
    return []


def write(key: dict[str, Any], trials: list[Trial]) -> None:
  """Keeps the trials of a key, or warns that they cannot be kept."""
  path = path_of(key)
  record = {"key": key, "trials": [as_row(trial) for trial in trials]}
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(record, indent=2) + "\n")
  except (OSError, ConfigError) as error:
    logging.warning("what auto measured cannot be kept: %s", error)


def as_row(trial: Trial) -> dict[str, Any]:
  """Returns a trial as a flat object, for the run card and the cache."""
  row = dataclasses.asdict(trial)
  return {**row.pop("choice"), **row}


def from_row(row: dict[str, Any]) -> Trial:
  """Returns the trial of `as_row`."""
  fields = dict(row)
  names = [field.name for field in dataclasses.fields(Choice)]
  choice = Choice(**{name: fields.pop(name) for name in names})
  return Trial(choice, **fields)
