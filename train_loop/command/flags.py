# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command's flags, derived from the settings' fields.

A flag has the name, the default and the help of its field, which also checks
it. This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from absl import flags

import data
from train_loop import config
from train_loop.command import trust
from train_loop.command.recipes import expand_recipe
from train_loop.command.settings import (
  CompareSettings,
  DeviceSettings,
  EpochSettings,
  LadderSettings,
  PredictSettings,
  RunSettings,
  SweepSettings,
)
from train_loop.fields import ConfigError, refused, require
from train_loop.preflight.choose import Asked

# What each mode is given: the flags' values by their names.
Values = flags.FlagValues

# The settings that are flags, in the order of docs/flags.md.
GROUPS: dict[str, type] = {
  "The run": RunSettings,
  "Prediction": PredictSettings,
  "Ladders": LadderSettings,
  "Comparison": CompareSettings,
  "Learning-rate sweep": SweepSettings,
  "Data": data.SourceOptions,
  "Images": data.Inputs,
  "Augmentation": data.Augmentation,
  "Network": config.ModelConfig,
  "Epochs": EpochSettings,
  "Learning rate": config.ScheduleConfig,
  "Optimizer": config.OptimizerConfig,
  "Regularization": config.RegularizationConfig,
  "Loss": config.LossConfig,
  "Loop": config.LoopConfig,
  "Evaluation": config.EvaluationConfig,
  "What to compute in": Asked,
  "Devices and hosts": DeviceSettings,
}

# Flags that are no part of a run, but say what one start does.
OF_A_START = (
  "workdir",
  "mode",
  "allow_changes",
  "profile_steps",
  trust.ALLOW,
  "checkpoint",
  *(field.name for field in dataclasses.fields(PredictSettings)),
  *(field.name for field in dataclasses.fields(LadderSettings)),
  *(field.name for field in dataclasses.fields(CompareSettings)),
  *(field.name for field in dataclasses.fields(SweepSettings)),
)
# Flags that name what a run is made of: of that the content is compared.
BY_CONTENT = ("data_dir", "labels", "teacher", "teacher_checkpoint", "weights")
# Flags that may differ between two starts of one run: they change no result
# that is finite. The checkpoint of init_from is compared by its content, too.
FREE_FLAGS = (
  *OF_A_START,
  "recipe",
  *BY_CONTENT,
  "init_from",
  "output_dir",
  "export_format",
  "quantize",
  "folds",
  "convert_resize",
  "cache",
  "input_threads",
  "data_service",
  "on_bad_image",
  "steps_per_loop",
  "checkpoint_every_steps",
  "keep_checkpoints",
  "on_nonfinite",
  "max_skipped_steps",
  "max_rollbacks",
  *(field.name for field in dataclasses.fields(DeviceSettings)),
)
# Flags that modes eval and predict may change: no training depends on them.
EVAL_FLAGS = ("flip_tta", "eval_split")

Settings = TypeVar("Settings")


# By the field's type; of any other it is a list.
_MAKERS: dict[str, Callable[..., Any]] = {
  "bool": flags.DEFINE_bool,
  "int": flags.DEFINE_integer,
  "float": flags.DEFINE_float,
  "str": flags.DEFINE_string,
}


# How integers hold what the command line spells auto.
AUTO, AUTO_TEXT = 0, "auto"
BATCH_SIZE, MICRO_BATCHES = "global_batch_size", "accumulate_steps"
AT_ONCE = "parallel_micro_batches"
# The integers that a run measures once and keeps, if they are auto, and the
# flags that each of them decides.
MEASURED = {BATCH_SIZE: (BATCH_SIZE,), MICRO_BATCHES: (MICRO_BATCHES, AT_ONCE)}


class _AutoInteger(flags.IntegerParser):
  """An integer, or auto."""

  def parse(self, argument: Any) -> int:
    """Returns the integer, AUTO for auto."""
    if argument == AUTO_TEXT:
      return AUTO
    error = ValueError(f"must be auto or an integer >= 1, got {argument!r}")
    try:
      number = super().parse(argument)
    except ValueError:
      raise error from None
    if isinstance(argument, str) and number < 1:
      raise error
    return number


def fields_of(settings: type) -> Iterator[dataclasses.Field]:
  """Yields the fields of a settings class that are flags."""
  for field in dataclasses.fields(settings):
    if "help" in field.metadata and field.metadata.get("flag", True):
      yield field


def define(values: Values) -> None:
  """Defines every flag of the command.

  Args:
    values: gets the flags; `absl.flags.FLAGS` as a rule.
  """
  values.set_gnu_getopt()  # Flags may stand behind the inputs of predict.
  for settings in GROUPS.values():
    for field in fields_of(settings):
      _define(field, values)


def _define(field: dataclasses.Field, values: Values) -> None:
  """Defines the flag of a field."""
  kind, default = str(field.type), field.default
  if isinstance(default, tuple):
    default = list(default)
  arguments: list[Any] = [field.name, default, field.metadata["help"]]
  make: Callable[..., Any] = _MAKERS.get(kind, flags.DEFINE_list)
  if field.metadata.get("auto"):
    make = functools.partial(flags.DEFINE, _AutoInteger())
    arguments[1] = default or AUTO_TEXT
  elif field.metadata.get("choices"):
    # No enum of absl's: `require` tells which choice was meant.
    arguments[2] += f" One of {', '.join(field.metadata['choices'])}."
  make(*arguments, flag_values=values)


def names() -> list[str]:
  """Returns the names of the command's own flags."""
  groups = GROUPS.values()
  return [field.name for group in groups for field in fields_of(group)]


def parse(*arguments: str) -> Values:
  """Returns the values of a command line, for a mode's `run`.

  Args:
    *arguments: flags as on the command line, such as "--recipe=digits".

  Raises:
    ConfigError: a flag or a recipe is unknown, or a value is none of its kind.

  >>> parse("--recipe=digits", "--seed=1").seed
  1
  """
  values = Values()
  define(values)
  flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
  parse_into(values, ["train_loop", *arguments])
  return values


def parse_into(values: Values, argv: list[str]) -> list[str]:
  """Parses a command line, its recipe first, and checks each value.

  A ~ in a path is expanded.

  Args:
    values: has the flags, and gets their values.
    argv: the command line, beginning with the program's name.

  Returns:
    What of the command line is no flag.

  Raises:
    ConfigError: a flag or a recipe is unknown, or a value is none of its kind.
  """
  trust.require_sound_flagfiles(argv)
  rest = _parsed(values, argv)
  for settings in GROUPS.values():
    for field in fields_of(settings):
      if field.metadata.get("path"):
        flag = values[field.name]
        flag.value = os.path.expanduser(flag.value or "")
      value = values[field.name].value
      if value != AUTO or not field.metadata.get("auto"):
        require(field.name, value, str(field.type), field.metadata)
  trust.require_own_code(values, argv)
  group(RunSettings, values)  # Raises if a folder cannot be one.
  _take_inputs(values, rest[1:])
  return rest[:1]


# The modes that take what of the command line is no flag, and into which one.
_BARE = {"predict": "inputs", "compare": "runs"}


def _take_inputs(values: Values, arguments: list[str]) -> None:
  """Adds what of the command line is no flag to that of its mode."""
  taker = _BARE.get(values.mode)
  if taker:
    values[taker].value = (values[taker].value or []) + arguments
  elif arguments:
    raise ConfigError(
      f"flags must be given as --name=value, got {arguments[0]!r}"
    )
  for name in _BARE.values():
    value = values[name].value
    if value and name != taker:
      raise ConfigError(
        f"{name} must be left out for mode {values.mode}, got {value!r}"
      )


def _parsed(values: Values, argv: list[str]) -> list[str]:
  """Parses a command line; returns what of it is no flag."""
  try:
    return values(expand_recipe(argv))
  except flags.UnrecognizedFlagError as error:
    meant = " or ".join(f"--{name}" for name in meant_by(error.flagname))
    raise ConfigError(
      f"there is no flag --{' '.join(error.flagname.split())}"
      + (f": did you mean {meant}?" if meant else "; --help lists all")
    ) from error
  except flags.IllegalFlagValueError as error:
    _require_kind(error)
    raise ConfigError(" ".join(str(error).split())) from error
  # Outside its own errors absl raises what int(), open() and the like raise.
  except (flags.Error, ValueError, OSError, KeyError, TypeError) as error:
    line = " ".join(str(error).split())  # It quotes the value as it is.
    raise ConfigError(line or repr(error)) from error


def _require_kind(error: flags.IllegalFlagValueError) -> None:
  """Raises what `require` says, not int() or float(), of a flag of ours."""
  head = re.match(r"flag --(\w+)=", str(error))
  if head is None or head[1] not in names():
    return
  field = field_of(head[1])
  if not field.metadata.get("auto"):  # That parser's own error says it.
    value = str(error)[head.end() :].removesuffix(f": {error.__context__}")
    require(field.name, value, str(field.type), field.metadata)


def meant_by(unknown: str) -> list[str]:
  """Returns the flags that an unknown name may have meant, likeliest first."""
  known = names()
  inside = [n for n in known if unknown in n or n in unknown]
  return (inside or difflib.get_close_matches(unknown, known))[:2]


def group(settings: type[Settings], values: Values, **others: Any) -> Settings:
  """Returns a settings object from the flags of its fields, checked.

  Args:
    settings: its class.
    values: the flags' values.
    **others: fields that are no flags, or not this one.

  Raises:
    ConfigError: a value is out of range, or two do not fit each other.
  """
  own: dict[str, Any] = {}
  for field in fields_of(settings):
    value = values[field.name].value
    own[field.name] = tuple(value) if isinstance(value, list) else value
  return settings(**{**own, **others})


def as_dict(values: Values) -> dict[str, Any]:
  """Returns the command's own flags and their values, by name."""
  return {name: values[name].value for name in sorted(names())}


def spelled(name: str, value: Any) -> str:
  """Returns the value of a flag as the command line spells it.

  Args:
    name: of the flag.
    value: such as `values[name].value` is.

  >>> spelled("steps_per_loop", 0), spelled("zero_gamma", False)
  ('auto', 'false')
  >>> spelled("boundary_epochs", ["3", "6"]), spelled("epochs", 90.0)
  ('3,6', '90')
  """
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, (list, tuple)):
    return ",".join(map(str, value))
  if isinstance(value, str):
    return value
  if value == AUTO and field_of(name).metadata.get("auto"):
    return AUTO_TEXT
  return "" if value is None else str(value).removesuffix(".0")


def field_of(name: str) -> dataclasses.Field:
  """Returns the field that a flag is derived from."""
  fields = (field for group in GROUPS.values() for field in fields_of(group))
  return next(field for field in fields if field.name == name)


def comparable(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the flags that a run may not change when it is continued.

  Args:
    saved: flags by name; one that an older build did not have was at its
      default.
  """
  saved = completed(saved)
  for settings in GROUPS.values():
    for field in fields_of(settings):
      default: Any = field.default
      default = list(default) if isinstance(default, tuple) else default
      saved = {field.name: default, **saved}
  return {name: saved[name] for name in saved if name not in FREE_FLAGS}


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a run's flags with those that its build did not have.

  Only those with another value than the default: what runs did before there
  was a flag for it.

  Args:
    saved: the flags of the run's card.
  """
  return {**data.of_older_builds(str(saved.get("dataset", ""))), **saved}


def adopt(saved: Mapping[str, Any], values: Values) -> None:
  """Gives every flag that the command line left out the value of a run.

  So it does if the command line lets a number be measured: the run has it.

  Args:
    saved: the flags of the run's card.
    values: the command line's; changed in place.

  Raises:
    ConfigError: a saved value is none of its kind.
  """
  saved = completed(saved)
  measured = {
    decided
    for number, all_decided in MEASURED.items()
    if is_auto(values, number)
    for decided in all_decided
  }
  for name in names():
    flag = values[name]
    if name not in saved or name in OF_A_START:
      continue
    if flag.present and name not in measured:
      continue
    value = "" if saved[name] is None else saved[name]
    try:
      flag.value = flag.parser.parse(value)
    except (ValueError, TypeError, AttributeError) as error:
      raise ConfigError(
        f"run_card.json's flag {name} must be a value of --{name}, got "
        f"{value!r}"
      ) from error


def is_auto(values: Values, name: str) -> bool:
  """Returns whether a number, such as the batch size, is to be measured."""
  return values[name].value == AUTO


def require_numbers(values: Values, mode: str) -> None:
  """Raises a ConfigError if a mode would have to measure a number."""
  for name in MEASURED:
    if is_auto(values, name):
      raise refused(name, AUTO_TEXT, f"a number in mode {mode}")


def require_workdir(values: Values) -> None:
  """Raises a ConfigError unless workdir is given."""
  if not values.workdir:
    raise ConfigError("workdir must be given: --workdir=DIR")
