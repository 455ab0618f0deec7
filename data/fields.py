# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings: dataclass fields that carry their help text and their range.

A command's flag, the check of a value and the reference page can be derived
from such a field, so that a setting is written down once. Needs no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

from data.sources.source import DataError

_TYPES: dict[type, tuple[Any, str]] = {
  bool: (bool, "true or false"),
  int: (numbers.Integral, "an integer"),
  float: (numbers.Real, "a number"),
  str: (str, "a string"),
}


def setting(default: Any, help: str, **metadata: Any) -> Any:
  """Makes a dataclass field that is a setting.

  Args:
    default: the field's default; its type is the type of the setting.
    help: one or two sentences for the reader of `--help`.
    **metadata: `low` and `high`, the inclusive bounds of a number, which
      `open_low=True` and `open_high=True` exclude; `choices`, the strings
      allowed; `path=True` for the name of a file or folder; `flag=False` for a
      setting that is no flag.
  """
  return dataclasses.field(default=default, metadata={"help": help, **metadata})


def flag_names(settings: Any) -> list[str]:
  """Returns the names of the fields that are flags.

  Args:
    settings: a dataclass with fields made by `setting`, or an instance.
  """
  return [
    field.name
    for field in dataclasses.fields(settings)
    if "help" in field.metadata and field.metadata.get("flag", True)
  ]


def check(settings: Any) -> None:
  """Checks the type and the range of each field made by `setting`.

  Args:
    settings: an instance of a dataclass. Its tuples are left to their owner.

  Raises:
    DataError: names the field, its value and what it must be.
  """
  for field in dataclasses.fields(settings):
    if "help" in field.metadata and type(field.default) in _TYPES:
      value = getattr(settings, field.name)
      wanted = _wanted(field, value)
      if wanted:
        raise DataError(f"{field.name} must be {wanted}, got {value!r}")


def _wanted(field: dataclasses.Field[Any], value: Any) -> str:
  """Returns what the field's value must be, or "" if it is that."""
  kind, words = _TYPES[type(field.default)]
  if not isinstance(value, kind) or (
    isinstance(value, bool) and kind is not bool
  ):
    return words
  choices = field.metadata.get("choices")
  if choices:
    return "" if value in choices else f"one of {', '.join(choices)}"
  if kind in (bool, str):
    return ""
  low = field.metadata.get("low", -math.inf)
  high = field.metadata.get("high", math.inf)
  above = value > low if field.metadata.get("open_low") else value >= low
  below = value < high if field.metadata.get("open_high") else value <= high
  if above and below and math.isfinite(value):  # NaN compares false.
    return ""
  return _range(field, low, high)


def _range(field: dataclasses.Field[Any], low: float, high: float) -> str:
  if low == -math.inf and high == math.inf:
    return "finite"
  open_low = field.metadata.get("open_low")
  if high == math.inf:
    return f"above {low}" if open_low else f"at least {low}"
  open_high = field.metadata.get("open_high")
  if low == -math.inf:
    return f"below {high}" if open_high else f"at most {high}"
  return (
    f"in {'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"
  )
