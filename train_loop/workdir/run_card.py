# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`run_card.json`: what a run was, on what it ran, and how it ended.

The card is written when the run starts (`finished` false) and when it ends. A
run that is started again is compared with the card of its workdir, so that two
runs with different settings never mix. This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

from train_loop import config as config_lib
from train_loop.config import ConfigError
from train_loop.workdir.writing import writing

FILE_NAME = "run_card.json"


def read(workdir: str | os.PathLike[str]) -> dict[str, Any] | None:
  """Returns the card of `workdir`, or None where there is none.

  Raises:
    ConfigError: the file is there and is not a card.
  """
  path = pathlib.Path(workdir) / FILE_NAME
  try:
    card = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return None
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ConfigError(
      f"{path} is not a run card ({error}): move it away to start anew"
    ) from error
  if not (isinstance(card, dict) and {"settings", "finished"} <= set(card)):
    raise ConfigError(f"{path} is not a run card: move it away to start anew")
  return card


def write(workdir: str | os.PathLike[str], card: dict[str, Any]) -> None:
  """Writes the card atomically: a reader sees the old or the new one.

  Raises:
    ConfigError: the disk is full, or the like.
  """
  path = pathlib.Path(workdir) / FILE_NAME
  partial = path.with_suffix(".partial")
  with writing(path):
    with partial.open("w", encoding="utf-8") as file:
      json.dump(card, file, indent=2)
      file.write("\n")
      file.flush()
      os.fsync(file.fileno())
    os.replace(partial, path)


def require_same(
  workdir: str | os.PathLike[str],
  then: dict[str, Any],
  now: dict[str, Any],
) -> None:
  """Raises unless the settings of the run in `workdir` are those of now.

  Args:
    workdir: named in the message.
    then: settings by name, as read from a card.
    now: settings by name. Both as JSON holds them.

  Raises:
    ConfigError: names the first setting that differs, with both values.
  """
  now = json.loads(json.dumps(now))
  for name in sorted(set(then) | set(now)):
    if then.get(name) != now.get(name):
      raise ConfigError(
        f"workdir {os.fspath(workdir)} holds a run with {name}="
        f"{then.get(name)!r}, not {now.get(name)!r}: give the same "
        "value to continue it, or another workdir"
      )


# Settings that may change between two starts of one run: they move no number.
FREE_SETTINGS = ("checkpoint_every_steps", "keep_checkpoints", "steps_per_loop")


def comparable_settings(config: config_lib.TrainConfig) -> dict[str, Any]:
  """Returns the settings that a run may not change when it is continued."""
  fields = (dataclasses.asdict(part) for part in vars(config).values())
  settings = {name: v for part in fields for name, v in part.items()}
  return {k: v for k, v in settings.items() if k not in FREE_SETTINGS}
