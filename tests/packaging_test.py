# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""setup.cfg, BUILD and MODULE.bazel against the files that are there."""

from __future__ import annotations

import ast
import fnmatch
import re

import pytest

from tests import project

SETUP = project.setup_cfg()
TARGETS = project.build_targets()
TEST_FILES = [
  file for file in project.python_files("tests") if file.endswith("_test.py")
]
CODE = project.python_files(*project.ROOMS)


def lines_of(option: str, section: str = "options") -> list[str]:
  return SETUP[section][option].split("\n")[1:]


def srcs_of(kind: str) -> list[str]:
  return [
    src
    for target in TARGETS.values()
    if target.kind == kind
    for src in target.srcs
  ]


def test_every_test_file_has_a_py_test():
  in_build = {src for src in srcs_of("py_test") if src.endswith("_test.py")}
  assert in_build == set(TEST_FILES)


def test_every_other_python_file_is_in_one_py_library():
  helpers = [f"tests/{helper}.py" for helper in project.helpers()]
  beside = project.python_files("benchmarks", "examples")
  assert sorted(srcs_of("py_library")) == sorted(CODE + beside + helpers)


def test_every_package_is_installed():
  packages = [
    file[: -len("/__init__.py")].replace("/", ".")
    for file in CODE
    if file.endswith("/__init__.py")
  ]
  assert sorted(lines_of("packages")) == sorted(packages)


def test_every_python_file_is_in_a_package():
  packages = lines_of("packages")
  for file in CODE:
    assert file.rsplit("/", 1)[0].replace("/", ".") in packages, file


@pytest.mark.parametrize(
  "folder, suffix, target",
  [("recipes", ".flags", "command"), ("pages", ".html", "train_loop_lib")],
)
def test_other_files_are_installed_and_in_build(folder, suffix, target):
  root = project.ROOT / "train_loop"
  files = {
    path.relative_to(root).as_posix() for path in (root / folder).glob("*.*")
  }
  files = {file for file in files if not file.endswith(".py")}
  assert files and all(file.endswith(suffix) for file in files)
  patterns = SETUP["options.package_data"]["train_loop"].split()
  (pattern,) = [each for each in patterns if each.startswith(folder)]
  assert set(fnmatch.filter(files, pattern)) == files
  in_build = set(TARGETS[target].data)
  assert in_build == {f"train_loop/{file}" for file in files}


def test_console_script_names_a_function_without_arguments():
  script = SETUP["options.entry_points"]["console_scripts"].strip()
  assert script == "train_loop = train_loop.main:run"
  functions = {
    node.name: node.args
    for node in project.syntax_tree("train_loop/main.py").body
    if isinstance(node, ast.FunctionDef)
  }
  assert not ast.unparse(functions["run"])


def test_versions_agree():
  assert SETUP["metadata"]["version"] == "attr: train_loop.__version__"
  package = (project.ROOT / "train_loop/__init__.py").read_text("utf-8")
  (version,) = re.findall(r'^__version__ = "(.*)"$', package, re.MULTILINE)
  module = (project.ROOT / "MODULE.bazel").read_text("utf-8")
  assert f'name = "train_loop",\n    version = "{version}",' in module


def test_oldest_python_is_the_one_that_ruff_checks_for():
  pyproject = (project.ROOT / "pyproject.toml").read_text(encoding="utf-8")
  ruff = re.search(r'target-version = "py3(\d+)"', pyproject)
  assert SETUP["options"]["python_requires"] == f">=3.{ruff[1]}"


def test_addons_pin_a_tensorflow_that_we_support():
  (oldest,) = re.findall(
    r"tensorflow>=([\d.]+)\n", "\n".join(lines_of("install_requires"))
  )
  pins = "\n".join(lines_of("addons", "options.extras_require"))
  (pinned,) = re.findall(r"tensorflow==([\d.]+)", pins)
  assert pinned.startswith(oldest)


@pytest.mark.parametrize(
  "file", [*CODE, *project.python_files("tests", "benchmarks", "examples")]
)
def test_every_file_names_its_licence(file):
  text = (project.ROOT / file).read_text(encoding="utf-8")
  assert text.startswith(
    "# Copyright 2026 The train_loop Authors.\n"
    "# SPDX-License-Identifier: Apache-2.0\n"
  )
