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
from collections.abc import Mapping
from typing import Any

from data.errors import DataError

_TYPES: dict[type, tuple[Any, str]] = {
  bool: (bool, "true or false"),
  int: (numbers.Integral, "an integer"),
  float: (numbers.Real, "a finite number"),
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


def check(settings: Any) -> None:
  """Checks the type and the range of each field made by `setting`.

  Args:
    settings: an instance of a dataclass, which checks its tuples itself.

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
  limits = field.metadata
  kind, words = _TYPES[type(field.default)]
  fits = isinstance(value, kind)
  if kind is not bool and isinstance(value, bool):
    fits = False
  if "choices" in limits:
    fits = value in limits["choices"]
    words = f"one of {', '.join(limits['choices'])}"
  elif kind in (numbers.Integral, numbers.Real):
    words += _interval(limits)
    fits = fits and _inside(value, limits)
  return "" if fits else words


def _inside(value: float, limits: Mapping[str, Any]) -> bool:
  low, high = limits.get("low", -math.inf), limits.get("high", math.inf)
  above = value > low if limits.get("open_low") else value >= low
  below = value < high if limits.get("open_high") else value <= high
  return above and below  # NaN compares false.


def _interval(limits: Mapping[str, Any]) -> str:
  if "high" in limits:
    left = "(" if limits.get("open_low") else "["
    right = ")" if limits.get("open_high") else "]"
    return f" in {left}{limits['low']:g}, {limits['high']:.10g}{right}"
  return f" >= {limits['low']:g}" if "low" in limits else ""
