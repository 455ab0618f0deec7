# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recipes: flagfiles that ship with the package."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from train_loop.fields import ConfigError

RECIPES = pathlib.Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
  """Returns the recipes that ship with the package."""
  return sorted(path.stem for path in RECIPES.glob("*.flags"))


def expand_recipe(argv: Sequence[str]) -> list[str]:
  """Puts the flagfile of `--recipe=NAME` right behind the flag.

  Args:
    argv: the command line.

  Returns:
    The command line that absl is to parse: flags after the recipe win.

  Raises:
    ConfigError: there is no recipe of that name.
  """
  expanded: list[str] = []
  for argument in argv:
    expanded.append(argument)
    name, equals, value = argument.partition("=")
    if name not in ("--recipe", "-recipe"):
      continue
    if not equals:
      raise ConfigError("recipe must be given as --recipe=NAME")
    if value not in recipe_names():
      known = ", ".join(recipe_names())
      raise ConfigError(f"recipe must be one of {known}, got {value!r}")
    expanded.append(f"--flagfile={RECIPES / value}.flags")
  return expanded
