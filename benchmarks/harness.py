# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures contenders in turns; writes the result as a table and as JSON.

Each contender runs in its own process. They are set up one after the other,
because cuDNN and XLA time their kernels while a contender sets up on a GPU.
Then they measure in turns, A B C A B C, so that a slow spell of the machine
slows all of them. While one measures, the others are stopped (SIGSTOP):
otherwise their threads would take its cores, or fill their own buffers for
free. A contender that fails is reported with the last line of its error, and
the others go on. This module imports no TensorFlow, so that it takes no memory
and no cores from those it measures.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.util
import json
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Callable

import tabulate

ROOT = pathlib.Path(__file__).resolve().parents[1]
SET_UP_SECONDS = 900.0

ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}

Record = dict[str, Any]


class ChildFailed(RuntimeError):
  """Raised if a contender cannot be measured; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Contender:
  """A program that measures itself, as `benchmarks.peers` describes.

  Attributes:
    name: its name in the table.
    module: the module that `python -m` runs.
    arguments: flags for this contender alone.
    environment: variables to set; None unsets a variable.
    requires: modules it imports beyond those that train_loop needs.
    remedy: how to install them.
  """

  name: str
  module: str
  arguments: tuple[str, ...] = ()
  environment: Mapping[str, str | None] = dataclasses.field(
    default_factory=dict
  )
  requires: tuple[str, ...] = ()
  remedy: str = "pip install train_loop[bench]"

  def require_installed(self) -> None:
    """Raises ChildFailed if a module that it needs is missing."""
    if any(importlib.util.find_spec(name) is None for name in self.requires):
      raise ChildFailed(f"not installed ({self.remedy})")

  def command(self, arguments: Iterable[str]) -> list[str]:
    """Returns the command line."""
    run_module = [sys.executable, "-m"]
    return [*run_module, self.module, *self.arguments, *arguments]

  def variables(self) -> dict[str, str]:
    """Returns the environment that it runs in."""
    changes = {
      "TF_CPP_MIN_LOG_LEVEL": "2",
      # All contenders keep their memory on one GPU; only one measures.
      "TF_FORCE_GPU_ALLOW_GROWTH": "true",
      **self.environment,
    }
    merged = {**os.environ, **changes}
    return {key: value for key, value in merged.items() if value is not None}


class Child:
  """A contender's process, which prints one record per measurement."""

  def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
    """Wraps a process made by `started`.

    Args:
      process: the contender's process.
      errors: the file that its stderr is written to.
    """
    self._process = process
    self._errors = errors

  def ask(self, *, seconds: float) -> Record:
    """Requests one more measurement and returns it.

    Args:
      seconds: the longest time it may take.

    Raises:
      ChildFailed: the process ended, or took too long.
    """
    assert self._process.stdin is not None
    self._process.send_signal(signal.SIGCONT)
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.write("measure\n")
      self._process.stdin.flush()
    return self.read(seconds=seconds)

  def read(self, *, seconds: float) -> Record:
    """Returns the next record; skips all other lines that are printed.

    The process, with all its threads, is then stopped until the next `ask`.

    Args:
      seconds: the longest time it may take.

    Raises:
      ChildFailed: the process ended, or took too long.
    """
    assert self._process.stdout is not None
    timer = threading.Timer(seconds, self._process.kill)
    timer.start()
    try:
      for line in self._process.stdout:
        record = parse_record(line)
        if record is not None:
          self._process.send_signal(signal.SIGSTOP)
          return record
    finally:
      in_time = timer.is_alive()
      timer.cancel()
    self._process.wait()
    if not in_time:
      raise ChildFailed(f"took longer than {seconds:.0f} s")
    self._errors.seek(0)
    raise ChildFailed(last_line(self._errors.read()))


@contextlib.contextmanager
def started(contender: Contender, arguments: Iterable[str]) -> Iterator[Child]:
  """Starts a contender's process and kills it when the context ends.

  Raises:
    ChildFailed: a module that it needs is not installed.
  """
  contender.require_installed()
  with (
    tempfile.TemporaryFile("w+", errors="replace") as errors,
    subprocess.Popen(
      contender.command(arguments),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=errors,
      text=True,
      cwd=ROOT,
      env=contender.variables(),
    ) as process,
  ):
    try:
      yield Child(process, errors)
    finally:
      process.kill()


def parse_record(line: str) -> Record | None:
  """Returns the JSON object on a line, or None if the line holds none."""
  try:
    record = json.loads(line)
  except json.JSONDecodeError:
    return None
  return record if isinstance(record, dict) else None


def last_line(text: str) -> str:
  """Returns the last line that is not empty."""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return lines[-1] if lines else "ended without an error message"


@dataclasses.dataclass
class Runs:
  """One record per round of one contender, and the error that ended it."""

  records: list[Record] = dataclasses.field(default_factory=list)
  error: str | None = None

  def median(self, key: str) -> float | None:
    """Returns the median of a figure, or None if no record has it."""
    values = [
      record[key] for record in self.records if record.get(key) is not None
    ]
    return statistics.median(values) if values else None

  def medians(self) -> Record:
    """Returns the medians of all figures that are numbers."""
    keys = dict.fromkeys(key for record in self.records for key in record)
    numbers = {
      key
      for record in self.records
      for key, value in record.items()
      if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return {key: self.median(key) for key in keys if key in numbers}


def interleave(
  measures: Mapping[str, Callable[[], Record]], *, rounds: int
) -> dict[str, Runs]:
  """Calls each function in turn, `rounds` times.

  Args:
    measures: for each name, a function that measures once. A function that
      raises ChildFailed is not called again.
    rounds: the number of calls of each function.

  Returns:
    The records of each function, in the order of `measures`.
  """
  runs = {name: Runs() for name in measures}
  for number in range(1, rounds + 1):
    for name, measure in measures.items():
      if runs[name].error is not None:
        continue
      note(f"round {number}/{rounds}: {name}")
      try:
        runs[name].records.append(measure())
      except ChildFailed as failure:
        runs[name].error = str(failure)
        note(f"{name}: {failure}")
  return runs


def compare(
  contenders: Sequence[Contender],
  arguments: Iterable[str] = (),
  *,
  rounds: int,
  round_seconds: float = 600.0,
) -> dict[str, Runs]:
  """Sets all contenders up, then measures them in turns.

  Args:
    contenders: the contenders; their names must differ.
    arguments: flags for all of them.
    rounds: measurements per contender.
    round_seconds: the longest time one measurement may take.

  Returns:
    The measurements, by the contenders' names.
  """
  arguments = list(arguments)
  with contextlib.ExitStack() as stack:
    measures: dict[str, Callable[[], Record]] = {}
    failed: dict[str, Runs] = {}
    for contender in contenders:
      note(f"setting up: {contender.name}")
      try:
        child = stack.enter_context(started(contender, arguments))
        child.read(seconds=SET_UP_SECONDS)
      except ChildFailed as failure:
        failed[contender.name] = Runs(error=str(failure))
      else:
        measures[contender.name] = _asking(child, round_seconds)
    measured = interleave(measures, rounds=rounds)
  return {c.name: {**failed, **measured}[c.name] for c in contenders}


def _asking(child: Child, seconds: float) -> Callable[[], Record]:
  return lambda: child.ask(seconds=seconds)


def machine() -> Record:
  """Describes this machine, as `machine_peak` does, in a separate process."""
  record = parse_record(last_line(run_to_end("benchmarks.machine_peak")))
  assert record is not None
  return record


def run_to_end(module: str, *arguments: str) -> str:
  """Runs one of our modules in a separate process and returns its output.

  Raises:
    ChildFailed: the exit status is not 0.
  """
  contender = Contender(module, module, environment=ONEDNN)
  finished = subprocess.run(
    contender.command(arguments),
    cwd=ROOT,
    env=contender.variables(),
    capture_output=True,
    text=True,
    check=False,
  )
  if finished.returncode:
    raise ChildFailed(last_line(finished.stderr))
  return finished.stdout


def measure_alone(
  contender: Contender, arguments: Iterable[str] = (), *, seconds: float
) -> Record:
  """Starts a process for one measurement and returns that measurement."""
  with started(contender, arguments) as child:
    child.read(seconds=SET_UP_SECONDS)
    return child.ask(seconds=seconds)


def ratio(
  ours: float | None, peer: float | None, *, more_is_better: bool
) -> float | None:
  """Returns how many times faster ours is, or None if a figure is missing."""
  if not ours or not peer:
    return None
  return ours / peer if more_is_better else peer / ours


@dataclasses.dataclass(frozen=True)
class Column:
  """A column of a table.

  Attributes:
    key: of the figure in the records.
    head: the column's heading.
    form: the format of a number.
    scale: the figure is multiplied by this first.
  """

  key: str
  head: str
  form: str = "{:,.1f}"
  scale: float = 1.0

  def cell(self, runs: Runs) -> str:
    """Returns the median, formatted."""
    value = runs.median(self.key)
    return "–" if value is None else self.form.format(value * self.scale)


def rows_of(
  runs: Mapping[str, Runs], *, key: str, ours: str, more_is_better: bool
) -> list[Record]:
  """Returns one JSON object per contender.

  Args:
    runs: the measurements by name.
    key: the figure that is compared.
    ours: the name of the contender that all are compared with.
    more_is_better: whether a greater figure is faster.

  Returns:
    Objects with `name`, `records`, `median`, `error`, and `ratio`: how many
    times faster than this contender ours is.
  """
  own = runs[ours].median(key)
  return [
    {
      "name": name,
      "records": run.records,
      "median": run.medians(),
      "error": run.error,
      "ratio": ratio(own, run.median(key), more_is_better=more_is_better),
    }
    for name, run in runs.items()
  ]


def table(
  runs: Mapping[str, Runs],
  columns: Sequence[Column],
  ratios: Sequence[float | None] | None = None,
) -> str:
  """Returns the measurements as a Markdown table, one contender per row."""
  heads = ["", *(column.head for column in columns)]
  if ratios is not None:
    heads.append("ours / this")
  rows = []
  for index, (name, run) in enumerate(runs.items()):
    if run.error is not None and not run.records:
      rows.append([name, run.error])
      continue
    cells = [name, *(column.cell(run) for column in columns)]
    if ratios is not None:
      value = ratios[index]
      cells.append("–" if value is None else f"{value:.2f}")
    rows.append(cells)
  return markdown_table(heads, rows)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns rows of text as a Markdown table; figures are aligned right."""
  return tabulate.tabulate(
    rows,
    heads,
    tablefmt="pipe",
    disable_numparse=True,
    colalign=("left", *("right" for _ in heads[1:])),
  )


def note(text: str) -> None:
  """Prints a line of progress on stderr."""
  print(f"  {text}", file=sys.stderr, flush=True)


def write_json(path: str | None, content: Any) -> None:
  """Writes what a program measured to a file, if it has a name."""
  if path:
    text = json.dumps(content, indent=2) + "\n"
    pathlib.Path(path).write_text(text, encoding="utf-8")


def parser(description: str | None, *, rounds: int = 3) -> Any:
  """Returns an argument parser with the flags that all benchmarks have."""
  made = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  made.add_argument(
    "--rounds",
    type=positive,
    default=rounds,
    help="measurements per contender, in turns (default %(default)s)",
  )
  made.add_argument(
    "--json",
    metavar="FILE",
    help="write all measurements to FILE; benchmarks.page makes a page of it",
  )
  return made


def positive(text: str) -> int:
  """Parses a whole number of at least 1, for argparse."""
  number = int(text)
  if number < 1:
    raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
  return number


def names(choices: Iterable[str]) -> Callable[[str], list[str]]:
  """Returns a parser of comma-separated names, for argparse."""
  known = list(choices)

  def parse(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
      if name not in known:
        raise argparse.ArgumentTypeError(
          f"must be one of {', '.join(known)}, got {name!r}"
        )
    return chosen

  return parse


class Report:
  """A benchmark's result: prints each table at once, and writes JSON."""

  def __init__(
    self, benchmark: str, options: argparse.Namespace, machine: Record
  ) -> None:
    """Starts a report.

    Args:
      benchmark: the name of the program in `benchmarks`.
      options: of the command line; `json` names the file to write.
      machine: as `machine` returns it.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    arguments = shlex.join(sys.argv[1:])
    self._json = options.json
    self._content: Record = {
      "benchmark": benchmark,
      "command": f"python -m benchmarks.{benchmark} {arguments}".rstrip(),
      "commit": commit(),
      "date": f"{now:%Y-%m-%d %H:%M} UTC",
      "options": vars(options),
      "machine": machine,
      "sections": {},
    }
    print(f"{benchmark} on {machine['summary']}", flush=True)

  def kept(self) -> list[str]:
    """Takes over the sections of an earlier start that was cut.

    Returns:
      Their names; none, unless the file is of the same program, arguments,
      commit and machine.
    """
    try:
      text = pathlib.Path(self._json or "").read_text(encoding="utf-8")
    except OSError:
      return []
    earlier = parse_record(text) or {}
    if _identity(earlier) != _identity(self._content):
      return []
    self._content["sections"] = earlier["sections"]
    return list(earlier["sections"])

  def section(
    self,
    name: str,
    runs: Mapping[str, Runs],
    columns: Sequence[Column],
    *,
    ours: str,
    more_is_better: bool = True,
    ratios: bool = True,
  ) -> list[Record]:
    """Adds a table; its ratio is that of the first column."""
    rows = rows_of(
      runs, key=columns[0].key, ours=ours, more_is_better=more_is_better
    )
    shown = [row["ratio"] for row in rows] if ratios else None
    print(f"\n{name}\n\n{table(runs, columns, shown)}", flush=True)
    self._content["sections"][name] = {
      "columns": [dataclasses.asdict(column) for column in columns],
      "ratios": ratios,
      "rows": rows,
    }
    self._write()
    return rows

  def _write(self) -> None:
    write_json(self._json, self._content)


def _identity(content: Record) -> list[Any]:
  """Returns what must be equal of two reports that are put together."""
  machine = content.get("machine", {})
  names = ("name", "versions")
  own = [content.get(name) for name in ("command", "commit")]
  return [*own, *(machine.get(name) for name in names)]


def commit() -> str:
  """Returns the commit of this working tree; "-dirty" says it has changes."""
  describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
  try:
    found = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True)
  except OSError:  # git is not installed.
    return "unknown"
  return found.stdout.strip() or "unknown"


@contextlib.contextmanager
def stopped_politely() -> Iterator[None]:
  """Ends a program without a traceback at Ctrl-C."""
  try:
    yield
  except KeyboardInterrupt:
    sys.exit(130)
