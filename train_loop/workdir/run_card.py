# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`run_card.json`: what a run was, on what it ran, and how it ended.

The card is written when the run can take its first step (`finished` is false)
and when it ends. A run that is started again is compared with the card of its
workdir, so that two runs with different settings never mix. This module imports
no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import reprlib
from collections.abc import Sequence
from typing import Any, get_type_hints

from train_loop import config as config_lib
from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.workdir.reading import read_file
from train_loop.workdir.writing import write_atomically

FILE_NAME = "run_card.json"

# Settings that may change when a run is continued: they change no result that
# is finite.
FREE_SETTINGS = (
  "checkpoint_every_steps",
  "keep_checkpoints",
  "profile_steps",
  "steps_per_loop",
  "on_nonfinite",
  "max_skipped_steps",
  "max_rollbacks",
)

# The types of the fields that the code reads; a dot leads into an object, and a
# figure that was not finite is null.
_ABSENT = type(dataclasses.MISSING)
_NUMBER = (int, float)
_FIGURE = (int, float, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
  "settings": (dict,),
  "finished": (bool,),
  "final": (dict,),
  "run_key": (str, _ABSENT),
  "flags": (dict, _ABSENT),
  "data": (dict, _ABSENT),
  "teacher_sha256": (str, _ABSENT),
  "weights": (dict, _ABSENT),
  "weights_sha256": (str, _ABSENT),
  "parent": (dict, _ABSENT),
  "parent.workdir": (str,),
  "parent.step": (int,),
  "parent.sha256": (str,),
  "choice": (dict, _ABSENT),
  "choice.onednn": (bool,),
  "choice.tensor_float_32": (bool,),
  "choice.precision": (str,),
  "choice.jit_compile": (bool,),
  "choice.fuse_batch_norm": (bool, _ABSENT),
  "choice.recompute": (str, _ABSENT),
  "network": (dict, _ABSENT),
  "network.model": (str,),
  "network.model_variant": (str, _ABSENT),
  "network.input_shape": (list,),
  "network.num_classes": (int,),
  "network.mean": (list,),
  "network.std": (list,),
  "network.stochastic_depth": (*_NUMBER, _ABSENT),
  "network.padding": (str, _ABSENT),
  "network.auxiliary_head": (bool, _ABSENT),
  "network.freeze": (list, _ABSENT),
  "image_shape": (list, _ABSENT),
  "data.class_names": (list, type(None), _ABSENT),
}
# What `final` holds if the run is finished: without evaluation, or with it.
_FINAL: dict[str, tuple[type, ...]] = {
  "final.loss": _FIGURE,
  "final.top1": _FIGURE,
}
_FINAL_OF_EVALUATION: dict[str, tuple[type, ...]] = {
  "final.eval_loss": _FIGURE,
  "final.eval_examples": (int,),
}
# And besides, of images with one label, or with any number of them.
_FINAL_OF_LABELS: tuple[dict[str, tuple[type, ...]], ...] = (
  {
    "final.eval_top1": _FIGURE,
    "final.eval_top5": (*_FIGURE, _ABSENT),
  },
  {
    "final.eval_mean_average_precision": _FIGURE,
    "final.eval_f1_macro": _FIGURE,
  },
)
_NAMES = {
  bool: "true or false",
  dict: "an object",
  float: "a number",
  int: "an integer",
  list: "a list",
  str: "a string",
  type(None): "null",
  _ABSENT: "left out",
}


def read(workdir: str | os.PathLike[str]) -> dict[str, Any] | None:
  """Returns the card of `workdir`, or None if there is none.

  Args:
    workdir: the run's folder, which may not exist.

  Returns:
    The card. A field that the code does not know is left as it is, but inside
    `choice` it is left out.

  Raises:
    ConfigError: workdir is no folder, or its card is damaged; names the field.
  """
  path = pathlib.Path(workdir) / FILE_NAME
  try:
    os.fspath(workdir).encode()  # TensorFlow opens paths in UTF-8 alone.
    content = read_file(path)
  except FileNotFoundError:
    return None
  except (OSError, ValueError) as error:
    raise ConfigError(
      f"workdir must be a folder that can be read, got {os.fspath(workdir)!r} "
      f"({first_line(error)})"
    ) from error
  try:
    card = json.loads(content.decode())
    if not isinstance(card, dict):
      raise ValueError("it holds no object")
    _require_types(card, _TYPES)
    if card["finished"]:
      _require_types(card, _final_types(card["final"]))
  except (ValueError, RecursionError) as error:
    raise ConfigError(
      f"{path} is not a run card ({first_line(error)}): move it away to start "
      "anew"
    ) from error
  if "choice" in card:
    card["choice"] = {
      name: value
      for name, value in card["choice"].items()
      if f"choice.{name}" in _TYPES
    }
  for saved in (card["settings"], card.get("flags", {})):
    if "optimizer" in saved:
      saved["optimizer"] = _spelled_anew(saved["optimizer"])
  _name_split_of_npz(card.get("flags", {}))
  return card


def _name_split_of_npz(flags: dict[str, Any]) -> None:
  """Adds to an older card's flags what was evaluated: the test arrays."""
  if flags.get("dataset") == "npz" and not flags.get("validation_fraction"):
    flags.setdefault("eval_split", "test")


def _final_types(final: dict[str, Any]) -> dict[str, tuple[type, ...]]:
  """Returns the types of the figures that a finished run's card must have."""
  if "eval_loss" not in final:
    return _FINAL
  one, any_number = _FINAL_OF_LABELS
  several = "eval_mean_average_precision" in final
  return {**_FINAL_OF_EVALUATION, **(any_number if several else one)}


def _spelled_anew(optimizer: Any) -> Any:
  """Returns the name that an optimizer has now; older cards say tfa/NAME."""
  if isinstance(optimizer, str) and optimizer.startswith("tfa/"):
    return optimizer.replace("tfa/", "tfa:", 1)
  return optimizer


def _require_types(
  card: dict[str, Any], types: dict[str, tuple[type, ...]]
) -> None:
  """Raises a ValueError that names the first field of another type."""
  for field, allowed in types.items():
    parent, _, name = field.rpartition(".")
    if parent and parent not in card:
      continue
    value = (card[parent] if parent else card).get(name, dataclasses.MISSING)
    if type(value) in allowed:
      continue
    kinds = " or ".join(_NAMES[kind] for kind in allowed)
    shown = "nothing" if value is dataclasses.MISSING else reprlib.repr(value)
    raise ValueError(f"{field} must be {kinds}, got {shown}")


def write(workdir: str | os.PathLike[str], card: dict[str, Any]) -> None:
  """Writes the card of `workdir`; a reader sees the old card or the new one.

  Args:
    workdir: the run's folder, which exists.
    card: its fields, of types that `read` takes.

  Raises:
    ConfigError: a field is of another type, or the disk is full, or the like.
  """
  text = json.dumps(card, indent=2) + "\n"
  try:
    _require_types(json.loads(text), _TYPES)
  except ValueError as error:
    raise ConfigError(f"card is refused: its field {error}") from error
  write_atomically(pathlib.Path(workdir) / FILE_NAME, text)


def remove(workdir: str | os.PathLike[str]) -> None:
  """Removes the card of `workdir`, which then takes a run of other settings."""
  (pathlib.Path(workdir) / FILE_NAME).unlink(missing_ok=True)


def class_names(card: dict[str, Any]) -> Sequence[str] | None:
  """Returns the names of the classes, if the card has them."""
  data = card.get("data")
  return data.get("class_names") if isinstance(data, dict) else None


def require_same(
  workdir: str | os.PathLike[str],
  then: dict[str, Any],
  now: dict[str, Any],
  *,
  more: str = "",
) -> None:
  """Raises unless the settings of the run in `workdir` are those of now.

  Args:
    workdir: named in the message.
    then: settings by name, as read from a card.
    now: settings by name, as JSON can hold them.
    more: another remedy, which ends the message.

  Raises:
    ConfigError: names each setting that differs, with both values.
  """
  then, now = (json.loads(json.dumps(settings)) for settings in (then, now))
  changes = [
    f"{name}={then.get(name)!r}, not {now.get(name)!r}"
    for name in sorted(set(then) | set(now))
    if then.get(name) != now.get(name)
  ]
  if changes:
    values = "value" if len(changes) == 1 else "values"
    raise ConfigError(
      f"workdir {os.fspath(workdir)} holds a run with {'; '.join(changes)}: "
      f"give the same {values} to continue it, or another workdir{more}"
    )


def hyperparameters(card: dict[str, Any]) -> dict[str, Any]:
  """Returns the settings that tell a run from others, for TensorBoard.

  Args:
    card: the run's. Its settings that are not the default are taken, and some
      that every run has.
  """
  defaults = default_settings()
  own = {**card["settings"], **card.get("flags", {})}
  always = ("optimizer", "base_learning_rate", "global_batch_size", "seed")
  named = {
    name: value
    for name, value in card["settings"].items()
    if name in always or value != defaults.get(name)
  }
  for name in ("model", "dataset", "recipe", "epochs"):
    if own.get(name):
      named[name] = own[name]
  return {
    name: value if isinstance(value, (bool, int, float, str)) else str(value)
    for name, value in sorted(named.items())
  }


def as_markdown(card: dict[str, Any]) -> str:
  """Returns what TensorBoard shows of a card: what a run is, and how it ended.

  Args:
    card: the run's.
  """
  rows = {
    "command": card.get("command"),
    "data": card.get("data", {}).get("name"),
    "parameters": card.get("parameter_count"),
    **{f"version of {k}": v for k, v in card.get("versions", {}).items()},
    **card.get("device", {}),
    **hyperparameters(card),
    "time": card.get("time", {}).get("sentence"),
  }
  lines = [
    f"| {name} | {str(value).replace('|', '&#124;')} |"
    for name, value in rows.items()
    if value not in (None, "", [])
  ]
  return "\n".join(["| | |", "|---|---|", *lines])


def default_settings() -> dict[str, Any]:
  """Returns what settings were that a card of an older build does not name."""
  return {
    field.name: field.default
    for section in get_type_hints(config_lib.TrainConfig).values()
    for field in dataclasses.fields(section)
    if field.default is not dataclasses.MISSING
    and field.name not in FREE_SETTINGS
  }


def comparable_settings(config: config_lib.TrainConfig) -> dict[str, Any]:
  """Returns the settings that a run may not change when it is continued."""
  sections = (dataclasses.asdict(part) for part in vars(config).values())
  settings = {name: v for part in sections for name, v in part.items()}
  return {k: v for k, v in settings.items() if k not in FREE_SETTINGS}
