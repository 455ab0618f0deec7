# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Code that a file names runs only if the command line says so.

`--model=python:package.module.function` calls a function. Who types that wants
it. A flagfile, or the run card of a folder that came from elsewhere, may name
any function of any module; so what is named there needs `--allow_python`, or
the same `--model` on the command line. This module imports no TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from absl.flags import FlagValues

from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.models import names
from train_loop.workdir.reading import read_file

ALLOW = "allow_python"
# Flagfiles may name others: so deep, so many, and of so many bytes.
MOST_NESTED = 8
MOST_FILES = 64
MOST_BYTES = 2**20

_FLAGFILE = ("--flagfile", "-flagfile")


def require_sound_flagfiles(argv: Sequence[str]) -> None:
  """Raises unless absl can read the flagfiles of a command line.

  Args:
    argv: the command line.

  Raises:
    ConfigError: one is no regular file or no text, or they nest without end.
  """
  read: list[str] = []

  def look(arguments: Iterable[str], depth: int) -> None:
    for path in _flagfiles(arguments):
      read.append(path)
      if depth == MOST_NESTED or len(read) > MOST_FILES:
        raise ConfigError(
          f"flagfile must name at most {MOST_FILES} others, at most "
          f"{MOST_NESTED} deep, got {read[0]!r}"
        )
      try:
        text = read_file(path, most=MOST_BYTES).decode()
      except (OSError, ValueError) as error:
        raise ConfigError(
          f"flagfile must be a text file in UTF-8, got {path!r}: "
          f"{first_line(error)}"
        ) from error
      look(text.splitlines(), depth + 1)

  look(argv, 0)


def _flagfiles(arguments: Iterable[str]) -> Iterator[str]:
  """Yields the paths of the flagfiles that arguments name."""
  following = False
  for argument in arguments:
    name, equals, path = argument.partition("=")
    if following:
      path, following = argument, False
    elif name in _FLAGFILE and not equals:
      following = True
      continue
    elif name not in _FLAGFILE:
      continue
    if path.strip():
      yield os.path.expanduser(path.strip())


def require_own_code(values: FlagValues, argv: Sequence[str]) -> None:
  """Raises if a flagfile names code, and the command line does not.

  Args:
    values: the flags' values.
    argv: the command line, without what flagfiles say.

  Raises:
    ConfigError: names the flag.
  """
  typed = {argument.lstrip("-").partition("=")[0] for argument in argv}
  if values[ALLOW].value and ALLOW not in typed:
    raise ConfigError(
      f"{ALLOW} must be given on the command line itself, not in a flagfile"
    )
  model, own = values.model, {a.partition("=")[2] or a for a in argv}
  is_code = model.startswith(f"{names.PYTHON}:")
  if is_code and model not in own and not values[ALLOW].value:
    raise names.not_allowed(model, "a flagfile names")


def allows(values: FlagValues, model: object) -> bool:
  """Returns whether the command line allows a model that a run card names.

  Args:
    values: the flags' values, not yet those of the run.
    model: what the card says, as --model takes it.
  """
  typed = values["model"].present and values.model == model
  return bool(typed or values[ALLOW].value)
