# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the project's own files, for the tests that judge them."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).absolute().parents[1]
ROOMS = ("tricks", "data", "train_loop")


def python_files(*folders: str) -> list[str]:
  """Returns the Python files under the folders, relative to the root."""
  return sorted(
    path.relative_to(ROOT).as_posix()
    for folder in folders
    for path in (ROOT / folder).rglob("*.py")
  )


def helpers() -> list[str]:
  """Returns the modules of tests/ that test files share."""
  in_every_test = ("__init__", "conftest", "run_pytest")
  names = (path.stem for path in (ROOT / "tests").glob("*.py"))
  return sorted(
    name
    for name in names
    if name not in in_every_test and not name.endswith("_test")
  )


def syntax_tree(file: str) -> ast.Module:
  """Returns the parsed file."""
  return ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=file)


def setup_cfg() -> configparser.ConfigParser:
  """Returns setup.cfg."""
  parser = configparser.ConfigParser()
  parser.read(ROOT / "setup.cfg", encoding="utf-8")
  return parser


@dataclasses.dataclass(frozen=True)
class Target:
  """One rule in BUILD."""

  kind: str
  name: str
  srcs: tuple[str, ...] = ()
  data: tuple[str, ...] = ()
  deps: tuple[str, ...] = ()


def build_targets() -> dict[str, Target]:
  """Returns the targets of BUILD by name.

  BUILD is written in Starlark, whose every construct that we use is Python
  too, so that running it with recording functions for rules reads it exactly.
  """
  targets = {}

  def rule(kind):
    def record(name, srcs=(), data=(), deps=(), **_):
      targets[name] = Target(kind, name, tuple(srcs), tuple(data), tuple(deps))

    return record

  kinds = ("alias", "filegroup", "py_binary", "py_library", "py_test")
  rules = {kind: rule(kind) for kind in kinds}
  others = {"glob": _glob, "load": _ignore, "package": _ignore}
  source = (ROOT / "BUILD").read_text(encoding="utf-8")
  exec(compile(source, "BUILD", "exec"), {**rules, **others})
  return targets


def _glob(include: Iterable[str], exclude: Iterable[str] = ()) -> list[str]:
  def matches(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
      for path in ROOT.glob(pattern):
        yield path.relative_to(ROOT).as_posix()

  return sorted(set(matches(include)) - set(matches(exclude)))


def _ignore(*_, **__) -> None:
  pass
