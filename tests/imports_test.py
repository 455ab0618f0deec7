# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the code against the rule, BUILD against the code.

    tricks  <-  train_loop  <-  train_loop/command, modes, main  ->  data

Tests, examples and benchmarks may import every room; no room imports them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest

from tests import project

pytestmark = pytest.mark.any_keras

MAY_IMPORT = {
  "tricks": {"tricks"},
  "data": {"data"},
  "train_loop": {"train_loop", "tricks"},
  "command": {"command", "train_loop", "tricks", "data"},
  "benchmarks": {"benchmarks", "command", "train_loop", "tricks", "data"},
  "examples": {"examples", "train_loop", "tricks", "data"},
}
HELPERS = project.helpers()
TARGETS = {
  "tricks": ":tricks",
  "data": ":data",
  "train_loop": ":train_loop_lib",
  "command": ":command",
  "benchmarks": ":benchmarks",
  "examples": ":examples",
  **{helper: f":{helper}" for helper in HELPERS},
}
FILES = project.python_files(*project.ROOMS)
BENCHMARKS = project.python_files("benchmarks")
EXAMPLES = project.python_files("examples")
MAY_READ_FLAGS = {
  "train_loop/main.py",
  *(file for file in FILES if file.startswith("train_loop/command/")),
}
BUILD_TARGETS = project.build_targets()


def imported_modules(tree: ast.AST, package: str = "") -> Iterator[str]:
  """Yields the dotted name of all that the code imports, wherever it does."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = package.rsplit(".", node.level - 1)[0] if node.level else ""
      prefix = ".".join(filter(None, [base, node.module]))
      yield from (f"{prefix}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call):
      function = ast.unparse(node.func).split(".")[-1]
      if function in ("import_module", "__import__"):
        yield from _named_at_run_time(node.args[0], tree)
    elif isinstance(node, ast.List):
      yield from _run_with_dash_m(node.elts)


def _run_with_dash_m(words: list[ast.expr]) -> Iterator[str]:
  for word, module in zip(words, words[1:]):
    if isinstance(word, ast.Constant) and word.value == "-m":
      yield ast.literal_eval(module)


def _named_at_run_time(argument: ast.expr, tree: ast.AST) -> Iterator[str]:
  if isinstance(argument, ast.Constant):
    yield argument.value
    return
  # Worked out from something: any string of the file may be the name.
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield from [node.value] if room_of(node.value) else []


def room_of(module: str) -> str | None:
  """Returns the room or test helper of a dotted name, None if not ours."""
  top, second, *_ = f"{module}..".split(".")
  if top == "train_loop" and second in ("main", "command", "modes"):
    return "command"
  if top == "tests":
    return second if second in HELPERS else top
  return top if top in (*project.ROOMS, "benchmarks", "examples") else None


def package_of(file: str) -> str:
  return file.rsplit("/", 1)[0].replace("/", ".")


def imports_of(file: str) -> set[str]:
  return set(imported_modules(project.syntax_tree(file), package_of(file)))


def rooms_imported_by(file: str) -> set[str]:
  return {room_of(module) for module in imports_of(file)} - {None}


def own_room(file: str) -> str | None:
  return room_of(file[: -len(".py")].replace("/", "."))


@pytest.mark.parametrize("file", [*FILES, *BENCHMARKS, *EXAMPLES])
def test_a_room_imports_only_the_rooms_it_may(file):
  assert rooms_imported_by(file) <= MAY_IMPORT[own_room(file)]


knows_standard_library = pytest.mark.skipif(
  sys.version_info < (3, 10), reason="sys.stdlib_module_names came with 3.10"
)


@knows_standard_library
@pytest.mark.parametrize("file", project.python_files("tricks"))
def test_tricks_need_only_tensorflow_and_numpy(file):
  assert third_party(imports_of(file)) <= {"tensorflow", "numpy"}


@knows_standard_library
@pytest.mark.parametrize("file", FILES)
def test_third_party_imports_are_declared(file):
  tree = project.syntax_tree(file)
  setup = project.setup_cfg()
  required = declared(setup["options"]["install_requires"])
  imports = (ast.Import, ast.ImportFrom)
  on_top = [node for node in tree.body if isinstance(node, imports)]
  modules = imported_modules(ast.Module(on_top, []), package_of(file))
  assert third_party(modules) <= required
  # An import in a function may need an extra.
  extras = "\n".join(setup["options.extras_require"].values())
  assert third_party(imports_of(file)) <= required | declared(extras)


@knows_standard_library
@pytest.mark.parametrize("file", BENCHMARKS)
def test_imports_of_benchmarks_are_declared(file):
  setup = project.setup_cfg()
  requirements = setup["options"]["install_requires"]
  extra = setup["options.extras_require"]["bench"]
  # No requirement brings Orbit without another TensorFlow.
  allowed = declared(requirements) | declared(extra) | {"orbit"}
  assert third_party(imports_of(file)) <= allowed


def declared(requirements: str) -> set[str]:
  names = re.findall(r"^[\w-]+", requirements, re.MULTILINE)
  modules = {
    "absl-py": "absl",
    "grpcio": "grpc",
    "Jinja2": "jinja2",
    "opencv-python-headless": "cv2",
    "Pillow": "PIL",
    "scikit-learn": "sklearn",
  }
  return {modules.get(name, name.replace("-", "_")) for name in names}


def third_party(modules: Iterable[str]) -> set[str]:
  tops = {module.split(".")[0] for module in modules}
  return tops - sys.stdlib_module_names - {*project.ROOMS, "benchmarks"}


@pytest.mark.parametrize("file", sorted(set(FILES) - MAY_READ_FLAGS))
def test_only_flags_and_main_read_absl_flags(file):
  assert not any(
    f"{module}.".startswith("absl.flags.") for module in imports_of(file)
  )
  tree = project.syntax_tree(file)
  names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
  attributes = {
    node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
  }
  assert "FLAGS" not in names | attributes


def test_what_comes_before_tensorflow_does_not_import_it():
  folders = ("command", "modes", "preflight")
  modules = [
    file[: -len(".py")].replace("/", ".").removesuffix(".__init__")
    for folder in folders
    for file in project.python_files(f"train_loop/{folder}")
  ]
  workdir = ("run_card", "metrics_file", "writing", "checkpoint_files", "lock")
  modules += [f"train_loop.workdir.{name}" for name in workdir]
  modules += ["train_loop", "train_loop.main", "tricks", "data"]
  code = (
    f"import importlib, sys\nfor name in {modules}:\n"
    "  importlib.import_module(name)\n"
    "  assert 'tensorflow' not in sys.modules, name\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=project.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
  "target",
  [
    target
    for target in BUILD_TARGETS.values()
    if target.kind in ("py_library", "py_test")
  ],
  ids=lambda target: target.name,
)
def test_deps_in_build_are_the_rooms_imported(target):
  imported = set().union(*map(rooms_imported_by, target.srcs))
  own = set(map(own_room, target.srcs))
  assert set(target.deps) == {TARGETS[room] for room in imported - own}


@pytest.mark.parametrize(
  "code, modules",
  [
    ("import tricks.mixup as m, data", {"tricks.mixup", "data"}),
    ("from data import order", {"data.order"}),
    ("def f():\n  from train_loop import main", {"train_loop.main"}),
    ("from . import names", {"train_loop.models.names"}),
    ("from .names import MODELS", {"train_loop.models.names.MODELS"}),
    ("from .. import step", {"train_loop.step"}),
    ("from ..step import f", {"train_loop.step.f"}),
    ("importlib.import_module('data')", {"data"}),
    ("__import__('data')", {"data"}),
    ("import_module({1: 'data.sources.idx', 2: 'a'}[1])", {"data.sources.idx"}),
    ("[sys.executable, '-m', 'tests.tiny_run', x]", {"tests.tiny_run"}),
    ("imports = data", set()),
  ],
)
def test_every_way_to_import_is_seen(code, modules):
  tree = ast.parse(code)
  assert set(imported_modules(tree, "train_loop.models")) == modules


@pytest.mark.parametrize(
  "module, room",
  [
    ("tricks", "tricks"),
    ("train_loop.models.resnet", "train_loop"),
    ("train_loop.main", "command"),
    ("train_loop.main.run", "command"),
    ("train_loop.command.flags", "command"),
    ("train_loop.modes", "command"),
    ("train_loop.mainly", "train_loop"),
    ("benchmarks.peers.ours", "benchmarks"),
    ("tests.project.ROOT", "project"),
    ("tests.imports_test", "tests"),
    ("project", None),
    ("database", None),
    ("tensorflow.data", None),
  ],
)
def test_room_is_told_by_the_whole_name(module, room):
  assert room_of(module) == room
