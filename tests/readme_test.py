# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""README and docs/ say what is true of the project's files."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
import shlex

import pytest

import data
from tests.project import ROOT
from train_loop import TrainConfig
from train_loop import config as config_lib
from train_loop.command import flags
from train_loop.step import train_step

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
  "README.md",
  *sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")
  ),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: str) -> str:
  return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
  """Returns the fenced blocks of a language."""
  return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def section(heading: str) -> str:
  """Returns README from a heading to the next one."""
  start = README.index(f"\n{heading}\n") + len(heading) + 2
  return re.split(r"^#+ ", README[start:], maxsplit=1, flags=re.M)[0]


def cells(text: str) -> list[tuple[str, ...]]:
  """Returns the rows of Markdown tables, without their spaces."""
  return [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in text.splitlines()
    if line.startswith("|") and not set(line) <= set("|:- ")
  ]


def test_readme_is_a_front_page():
  assert len(README.splitlines()) <= 170


@pytest.mark.parametrize("heading", ["### Train", "### Test"])
def test_the_gate_finds_one_command_in_one_line(heading):
  (block,) = blocks(section(heading), "sh")
  assert block.count("\n") == 1


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
  for link in LINK.findall(text_of(page)):
    if not link.startswith(("https://", "#")):
      target = (ROOT / page).parent / link.partition("#")[0]
      assert target.exists(), f"{page}: {link}"


def test_every_page_is_reached_from_readme():
  reached, found = set(), ["README.md"]
  while found:
    page = found.pop()
    reached.add(page)
    for link in LINK.findall(text_of(page)):
      target = ((ROOT / page).parent / link).resolve()
      if target.suffix == ".md" and target.is_relative_to(ROOT.resolve()):
        name = target.relative_to(ROOT.resolve()).as_posix()
        found += [name] if name not in reached else []
  assert reached == set(PAGES)


def test_every_recipe_has_its_result():
  results = text_of("docs/results.md")
  for recipe in (ROOT / "train_loop" / "recipes").glob("*.flags"):
    assert f"../train_loop/recipes/{recipe.name}" in results


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_named_is_a_flag(page):
  # Flags of the benchmarks, of pip, bazel and TensorBoard.
  others = {
    "cases",
    "help",
    "helpfull",
    "json",
    "kinds",
    "logdir",
    "peers",
    "precisions",
    "rounds",
    "seconds",
  }
  for name in re.findall(r"--([a-z0-9_]+)(?![\w-])", text_of(page)):
    known = {*flags.names(), *others}
    assert name in known or name.removeprefix("no") in known, f"--{name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_public_name_is_one(page):
  names = re.findall(r"`((?:train_loop|tricks|data)\.[\w.]+)\b", text_of(page))
  for name in names:
    assert resolved(name) is not None, f"{page}: {name}"


def resolved(name: str) -> object:
  """Returns the module or the module's attribute of a dotted name, or None."""
  if importlib.util.find_spec(name.split(".")[0]) is None:
    return None
  try:
    return importlib.import_module(name)
  except ImportError:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute, None)


def test_every_setting_of_the_page_of_migration_is_one():
  page = text_of("docs/migration.md")
  fields = {
    field.name
    for concern in dataclasses.fields(TrainConfig)
    for field in dataclasses.fields(getattr(config_lib, str(concern.type)))
  }
  settings = re.findall(r"\b(?<!-)(\w+)=[…\d]", page.split("##")[0])
  assert settings and set(settings) <= fields
  assert {"total_steps", "warmup_steps", "hold_steps"} <= fields


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page):
  for block in blocks(text_of(page), "sh"):
    for command in block.splitlines():
      words = shlex.split(command)
      if words[0] == "train_loop":
        flags.parse(*words[1:])


@pytest.mark.parametrize("page", PAGES)
def test_every_value_named_is_one_of_its_flag(page):
  for flag, value in re.findall(
    r"--(mode|recipe|optimizer|cache|dataset|precision|schedule)=([a-z]\w*)",
    text_of(page),
  ):
    if value not in ("tfa", "tfds"):  # NAME of these may be any.
      flags.parse(f"--{flag}={value}")


def test_the_excerpt_is_train_step():
  (excerpt,) = blocks(section("## The step"), "python")
  source = inspect.getsource(train_step).splitlines()
  end = 0
  for part in re.split(r"^ *\.\.\.\n", excerpt, flags=re.M):
    lines = part.splitlines()
    starts = [
      start
      for start in range(end, len(source))
      if source[start : start + len(lines)] == lines
    ]
    assert starts, f"train_step has no such lines, or earlier:\n{part}"
    end = starts[0] + len(lines)


def test_the_library_example_runs_as_printed(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (example,) = blocks(section("## As a library"), "python")
  exec(compile(example, "README.md", "exec"), {})
  *_, top1 = capsys.readouterr().out.split()
  assert float(top1) > 0.9
  assert (tmp_path / "runs/library/run_card.json").exists()


def test_the_data_example_runs_as_printed():
  (example,) = blocks(text_of("docs/data.md"), "python")
  names = {}
  exec(compile(example, "docs/data.md", "exec"), names)
  assert names["train"].num_classes == 10
  assert isinstance(names["inputs"], data.Inputs)


def test_speeds_are_those_of_the_page_linked():
  text = section("## Speed")
  (page,) = LINK.findall(text)
  rows = cells(text)
  assert len(rows) > 4
  assert set(rows) <= set(cells(text_of(page)))
