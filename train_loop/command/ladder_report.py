# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What each rung of a ladder is worth: a table, a picture and a page.

ladder.md, ladder.png, ladder.html    for a reader
ladder.json                           for a program
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tabulate

from train_loop import pages
from train_loop.command.ladders import Ladder, as_words
from train_loop.pages import charts
from train_loop.workdir.writing import write_atomically, writing

TEXT, PICTURE, PAGE, FIGURES = (
  f"ladder.{ending}" for ending in ("md", "png", "html", "json")
)
FILES = (TEXT, PICTURE, PAGE, FIGURES)
_NONE = "–"


@dataclasses.dataclass(frozen=True)
class Row:
  """What a rung reached, in percent.

  Attributes:
    name: of the rung.
    scores: of its runs, by seed.
    diverged: how many runs diverged.
    against: the name of the rung that it is compared with, "" for the first.
    difference: the mean, over the seeds that both have, of what it has more
      than that rung; None without such a seed.
    interval: of 95 %, by the paired t-test; None with fewer than two seeds.
    p: of the paired t-test, two-sided; None with fewer than two seeds, or if
      all differences are the same.
    paper: what the paper's network had more on ImageNet, by column.
  """

  name: str
  scores: dict[int, float]
  diverged: int
  against: str
  difference: float | None
  interval: tuple[float, float] | None
  p: float | None
  paper: dict[str, float]

  @property
  def mean(self) -> float | None:
    """The mean of the runs, None if there is none."""
    return float(np.mean(list(self.scores.values()))) if self.scores else None

  @property
  def deviation(self) -> float | None:
    """The sample standard deviation, None with fewer than two runs."""
    if len(self.scores) < 2:
      return None
    return float(np.std(list(self.scores.values()), ddof=1))


@dataclasses.dataclass(frozen=True)
class Found:
  """A finished ladder.

  Attributes:
    ladder: its rungs.
    rows: what each reached.
    seeds: with which each was trained.
    judged_by: the name of the result, such as "eval_top1".
    given: the user's flags, which all runs have.
    commands: that of each rung's first run.
  """

  ladder: Ladder
  rows: Sequence[Row]
  seeds: Sequence[int]
  judged_by: str
  given: Mapping[str, str]
  commands: Sequence[Sequence[str]]


def rows(
  ladder: Ladder,
  scores: Sequence[Mapping[int, float]],
  diverged: set[tuple[int, int]],
) -> list[Row]:
  """Compares each rung with the one that it adds to.

  Args:
    ladder: the rungs.
    scores: of each rung, in percent by seed.
    diverged: the runs that diverged, as number of the rung and seed.
  """
  found = []
  for number, (rung, own) in enumerate(zip(ladder.rungs, scores)):
    other: Mapping[int, float] = {}
    against, paper = "", {}
    if rung.adds_to is not None:
      other, base = scores[rung.adds_to], ladder.rungs[rung.adds_to]
      against = base.name
      paper = {
        column: top1 - base.paper[column]
        for column, top1 in rung.paper.items()
        if column in base.paper
      }
    found.append(
      Row(
        name=rung.name,
        scores=dict(own),
        diverged=sum(place[0] == number for place in diverged),
        against=against,
        **_paired(own, other),
        paper=paper,
      )
    )
  return found


def _paired(
  own: Mapping[int, float], other: Mapping[int, float]
) -> dict[str, Any]:
  """Returns difference, interval and p over the seeds that both have."""
  from scipy import stats

  seeds = sorted(set(own) & set(other))
  pairs = np.array([[own[seed], other[seed]] for seed in seeds])
  found: dict[str, Any] = {"difference": None, "interval": None, "p": None}
  if len(seeds):
    found["difference"] = float(np.mean(pairs[:, 0] - pairs[:, 1]))
  if len(seeds) > 1 and np.ptp(pairs[:, 0] - pairs[:, 1]) > 0:
    test = stats.ttest_rel(pairs[:, 0], pairs[:, 1])
    interval = test.confidence_interval()
    found["interval"] = float(interval.low), float(interval.high)
    found["p"] = float(test.pvalue)
  return found


def table(found: Sequence[Row], judged_by: str, *, form: str = "simple") -> str:
  """Returns a line for each rung.

  Args:
    found: the rows.
    judged_by: the name of the result.
    form: a format of tabulate: "simple" for a terminal, "github" for Markdown.
  """
  return tabulate.tabulate(
    cells(found), heads(found, judged_by), tablefmt=form, disable_numparse=True
  )


def heads(found: Sequence[Row], judged_by: str) -> list[str]:
  """Returns the heads of the table's columns."""
  columns = dict.fromkeys(column for row in found for column in row.paper)
  return [
    "rung",
    f"{_result(judged_by)}, %",
    "runs",
    "change",
    "95 % interval",
    "p",
    *(f"paper's, {column}" for column in columns),
  ]


def cells(found: Sequence[Row]) -> list[list[str]]:
  """Returns the cells of the table, a list for each rung."""
  columns = dict.fromkeys(column for row in found for column in row.paper)
  return [
    [
      row.name,
      _mean_and_deviation(row),
      f"{len(row.scores)}"
      + (f", {row.diverged} diverged" if row.diverged else ""),
      _figure(row.difference, "+.2f"),
      "{:+.2f} to {:+.2f}".format(*row.interval) if row.interval else _NONE,
      _figure(row.p, ".2g"),
      *(_figure(row.paper.get(column), "+.2f") for column in columns),
    ]
    for row in found
  ]


def _result(judged_by: str) -> str:
  """Returns how a reader calls a result."""
  name = judged_by.removeprefix("eval_").replace("_", " ")
  return "top-1" if name == "top1" else name


def _mean_and_deviation(row: Row) -> str:
  mean = _figure(row.mean, ".2f")
  deviation = row.deviation
  return mean if deviation is None else f"{mean} ± {deviation:.2f}"


def _figure(value: float | None, form: str) -> str:
  return _NONE if value is None else format(value, form)


def described(ladder: Ladder) -> list[str]:
  """Returns a line for each rung: its folder, and the flags that it sets."""
  return [
    f"{ladder.folder(number)}: "
    + (shlex.join(as_words(rung.flags)) or "your flags")
    for number, rung in enumerate(ladder.rungs)
  ]


def remarks(found: Found) -> list[str]:
  """Returns what a reader must know of the table, a sentence or two each."""
  several = len(found.seeds) > 1
  said = list(found.ladder.notes)
  compared = [row for row in found.rows if row.against]
  others = {
    row.against
    for before, row in zip(found.rows, compared)
    if row.against != before.name
  }
  said.append(
    "Change: the mean over the seeds of what a rung has more than the one "
    + (
      "before it."
      if not others
      else "that it adds to: "
      + "; ".join(f"{row.name} to {row.against}" for row in compared)
      + "."
    )
  )
  if several:
    said.append(
      "±: the sample standard deviation of the runs. p and interval: the "
      "paired t-test over the seeds (scipy.stats.ttest_rel), which knows the "
      "noise of seeds alone: all runs were judged on the same images. Of "
      "twenty rungs that change nothing, one has p below 0.05."
    )
  else:
    said.append(
      "With one seed there is no test: nobody knows how much of a change is "
      "the noise of seeds. Give more, as in --seeds=0,1,2."
    )
  same = [
    row.name
    for row in compared
    if row.difference == 0.0 and row.p is None and row.scores
  ]
  if same:
    said.append(f"The same in every run as without it: {', '.join(same)}.")
  if any(row.paper for row in found.rows):
    said.append(
      "The paper's: quoted from the tables of He et al. 2018 (arXiv "
      "1812.01187), on ImageNet; not measured here."
    )
  return said


def write(workdir: str | os.PathLike[str], found: Found) -> None:
  """Writes all files.

  Args:
    workdir: the ladder's.
    found: what was found.

  Raises:
    ConfigError: the folder cannot be written.
  """
  folder = pathlib.Path(workdir)
  picture = charts.ladder(found.rows, _result(found.judged_by))
  with writing(folder / PICTURE):
    (folder / PICTURE).write_bytes(picture)
  write_atomically(folder / TEXT, _markdown(found))
  write_atomically(folder / FIGURES, json.dumps(_figures(found), indent=2))
  pages.write(
    folder / PAGE,
    "ladder.html",
    title=found.ladder.name,
    picture=picture,
    heads=heads(found.rows, found.judged_by),
    rows=cells(found.rows),
    remarks=remarks(found),
    seeds=", ".join(map(str, found.seeds)),
    given=shlex.join(as_words(found.given)),
    rungs=[
      {
        "name": row.name,
        "flags": shlex.join(as_words(rung.flags)),
        "scores": [
          (seed, _figure(row.scores.get(seed), ".2f")) for seed in found.seeds
        ],
        "command": shlex.join(command),
      }
      for row, rung, command in zip(
        found.rows, found.ladder.rungs, found.commands
      )
    ],
  )


def _markdown(found: Found) -> str:
  """Returns the table with what belongs to it."""
  lines = [
    f"# Ladder {found.ladder.name}",
    "",
    f"Seeds {', '.join(map(str, found.seeds))}; all runs have "
    f"`{shlex.join(as_words(found.given))}`.",
    "",
    table(found.rows, found.judged_by, form="github"),
    "",
    *(f"- {remark}" for remark in remarks(found)),
    "",
    "| rung | flags | runs |",
    "|---|---|---|",
  ]
  for row, rung in zip(found.rows, found.ladder.rungs):
    runs = ", ".join(
      _figure(row.scores.get(seed), ".2f") for seed in found.seeds
    )
    words = shlex.join(as_words(rung.flags))
    lines.append(f"| {row.name} | {f'`{words}`' if words else ''} | {runs} |")
  return "\n".join(lines) + "\n"


def _figures(found: Found) -> dict[str, Any]:
  """Returns all figures, as JSON can hold them."""
  return {
    "ladder": found.ladder.name,
    "seeds": list(found.seeds),
    "result": found.judged_by,
    "flags": dict(found.given),
    "rungs": [
      {
        **dataclasses.asdict(row),
        "mean": row.mean,
        "deviation": row.deviation,
        "flags": dict(rung.flags),
      }
      for row, rung in zip(found.rows, found.ladder.rungs)
    ],
    "notes": list(found.ladder.notes),
  }


class Live:
  """A line for each finished run, and on a terminal the table below it."""

  def __init__(self) -> None:
    """Shows nothing yet."""
    self._drawn = 0

  def show(self, line: str, drawn: str) -> None:
    """Shows a new line, and the table as it is now.

    Args:
      line: of the run that finished.
      drawn: the table, which only a terminal gets.
    """
    if not sys.stdout.isatty():
      print(line, flush=True)
      return
    if self._drawn:  # Up, and clear to the end of the screen.
      print(f"\x1b[{self._drawn}A\x1b[J", end="")
    print(f"{line}\n\n{drawn}", flush=True)
    width = shutil.get_terminal_size().columns
    lines = ["", *drawn.splitlines()]  # A long one takes several.
    self._drawn = sum(max(1, -(-len(each) // width)) for each in lines)
