# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings: dataclass fields that carry their default, range and help.

A field is the one place of a setting. The flag of the command, the check of its
range and its line in docs/flags.md are derived from it. This module imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any


class ConfigError(ValueError):
  """A setting or an input is refused; the message is one line."""


def setting(
  default: Any = dataclasses.MISSING, *, help: str, **limits: Any
) -> Any:
  """Returns a dataclass field that documents and limits itself.

  Args:
    default: its default; without one the field must be given.
    help: what the setting does, in a sentence or two.
    **limits: what `require` takes: `low`, `high`, `open_low`, `open_high` of a
      number, `choices` of a string, or `known`, a function that raises a
      ConfigError for a bad one; and for the command `path=True` of a file or
      folder, `auto=True` if 0 is spelled auto, `flag=False` if the command has
      no flag of it.

  Returns:
    The field; `limits` and `help` are its metadata.
  """
  return dataclasses.field(default=default, metadata={"help": help, **limits})


def check(settings: Any) -> None:
  """Checks each field of a dataclass against its type and limits.

  Args:
    settings: an instance whose fields were made by `setting`.

  Raises:
    ConfigError: names the first field that is out of range, its value and what
      it must be.
  """
  for field in dataclasses.fields(settings):
    value = getattr(settings, field.name)
    require(field.name, value, str(field.type), field.metadata)


def require(
  name: str, value: Any, kind: str, limits: Mapping[str, Any]
) -> None:
  """Raises unless a value is of its type and within its limits.

  Args:
    name: of the setting.
    value: of the setting.
    kind: "bool", "int", "float" or "str"; of other types nothing is checked.
    limits: as of `setting`.

  Raises:
    ConfigError: names the setting, its value and what it must be.
  """
  if kind == "bool" and not isinstance(value, bool):
    raise refused(name, value, "true or false")
  if kind == "str" and limits.get("choices"):
    choices = limits["choices"]
    if value not in choices:
      error = refused(name, value, "one of " + ", ".join(choices))
      raise ConfigError(f"{error}{did_you_mean(str(value), choices)}")
  elif kind == "str" and not isinstance(value, str):
    raise refused(name, value, "a string")
  elif limits.get("known"):
    limits["known"](value)
  if kind == "int" and not (_is_number(value, int) and _inside(value, limits)):
    raise refused(name, value, _integers(limits))
  if kind == "float" and not (
    _is_number(value, (int, float)) and _inside(value, limits)
  ):
    raise refused(name, value, f"a finite number in {_interval(limits)}")


def refused(name: str, value: Any, remedy: str) -> ConfigError:
  """Returns the error of a setting: its name, its value and what it must be."""
  return ConfigError(f"{name} must be {remedy}, got {value!r}")


def did_you_mean(value: str, known: Iterable[str]) -> str:
  """Returns the end of an error: the known value that was meant, if one was.

  Args:
    value: what was given, in any case of letters.
    known: what could have been.
  """
  by_letters = {name.lower(): name for name in known}
  meant = difflib.get_close_matches(value.lower(), by_letters, 1)
  return f": did you mean {by_letters[meant[0]]!r}?" if meant else ""


def _is_number(value: Any, kinds: Any) -> bool:
  return isinstance(value, kinds) and not isinstance(value, bool)


def _inside(value: float, limits: Mapping[str, Any]) -> bool:
  low, high = _bounds(limits)
  above = value > low if limits.get("open_low") else value >= low
  below = value < high if limits.get("open_high") else value <= high
  # An integer may be too large to be a float.
  finite = isinstance(value, int) or math.isfinite(value)
  return finite and above and below


def _bounds(limits: Mapping[str, Any]) -> tuple[float, float]:
  return limits.get("low", -math.inf), limits.get("high", math.inf)


def _interval(limits: Mapping[str, Any]) -> str:
  low, high = _bounds(limits)
  left = "(" if limits.get("open_low") or low == -math.inf else "["
  right = ")" if limits.get("open_high") or high == math.inf else "]"
  return f"{left}{low:g}, {high:g}{right}"


def _integers(limits: Mapping[str, Any]) -> str:
  if "high" in limits:
    return f"an integer in [{limits['low']}, {limits['high']}]"
  return f"an integer >= {limits['low']}" if "low" in limits else "an integer"
