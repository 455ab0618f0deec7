# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How runs differ: flags, curves, results, and whose mistakes they make.

All is read from what the runs left. This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tabulate

import tricks
from train_loop.command import compose, flags, ladders, reporting, trained_model
from train_loop.preflight.choose import Asked
from train_loop.schedule import make_schedule
from train_loop.workdir import metrics_file
from train_loop.workdir import report as report_lib

_NONE = "–"


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
  """What a run answered to the images of its report.

  Attributes:
    index: [examples], their numbers in the data.
    label: [examples], or [examples, K] of several labels.
    logits: [examples, K].
  """

  index: np.ndarray
  label: np.ndarray
  logits: np.ndarray

  @functools.cached_property
  def right(self) -> np.ndarray:
    """[examples] bool."""
    return self.logits.argmax(axis=1) == self.label


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """A run, as its folder shows it.

  Attributes:
    folder: its workdir.
    name: what it is called among those that it is compared with.
    card: its run card.
    metrics: the records of its metrics file.
    predictions: of its report, or None.
  """

  folder: str
  name: str
  card: Mapping[str, Any]
  metrics: Sequence[Mapping[str, Any]]
  predictions: Predictions | None

  @functools.cached_property
  def last(self) -> dict[str, Any]:
    """The last figures of training and evaluation."""
    return dict(self.card["final"]) or {
      name: value for record in self.metrics for name, value in record.items()
    }

  @property
  def several(self) -> bool:
    """Whether an image may have any number of labels."""
    return self.card["flags"].get("task") == "multi_label"

  def curve(self, name: str) -> tuple[list[float], list[float]]:
    """Returns the epochs at which a figure was recorded, and its values."""
    points = [
      (record["epoch"], record[name])
      for record in self.metrics
      if record.get(name) is not None
    ]
    return [x for x, _ in points], [y for _, y in points]

  @functools.cached_property
  def rates(self) -> tuple[list[float], list[float]]:
    """Epochs and learning rates.

    They are those of the schedule; or those that were logged, if the run made
    its schedule on the way.
    """
    values = flags.parse()
    flags.adopt(self.card["flags"], values)
    if self.card.get("changes") or values.max_minutes:
      return self.curve("learning_rate")
    config, _ = compose.as_evaluated(dict(self.card), values)
    total = config.loop.total_steps
    steps = np.unique(np.linspace(0, total - 1, 1000).astype(int))
    rates = tricks.learning_rates(make_schedule(config), total)[steps]
    epochs = config.loop.global_batch_size / config.loop.examples_per_epoch
    return (steps * epochs).tolist(), rates.tolist()


def read(workdirs: Sequence[str]) -> list[Run]:
  """Reads runs, whose names are their folders without what all have in common.

  Args:
    workdirs: the folders.

  Raises:
    ConfigError: one holds no run of this command.
  """
  cards = [
    trained_model.require_card(workdir, flag="runs") for workdir in workdirs
  ]
  paths = [os.path.abspath(workdir) for workdir in workdirs]
  names = [os.path.relpath(path, os.path.commonpath(paths)) for path in paths]
  return [
    Run(
      workdir,
      workdir if "." in names else name,
      card,
      metrics_file.read_metrics(workdir),
      _predictions(pathlib.Path(workdir)),
    )
    for workdir, name, card in zip(workdirs, names, cards)
  ]


def _predictions(workdir: pathlib.Path) -> Predictions | None:
  path = workdir / reporting.FOLDER / "predictions.npz"
  try:
    with np.load(path) as arrays:
      return Predictions(*(arrays[n] for n in ("index", "label", "logits")))
  except (OSError, ValueError, KeyError, zipfile.BadZipFile):
    return None


def differences(runs: Sequence[Run]) -> list[list[str]]:
  """Returns a row for each flag on which results depend and runs differ.

  Args:
    runs: at least two.

  Returns:
    Rows of the flag's name and its value in each run; then the data, teacher
    and weights, if their content differs, and the versions.
  """
  asked = [ladders.result_flags(run.card["flags"]) for run in runs]
  computing = {field.name for field in flags.fields_of(Asked)}  # See choice.
  rows = [
    [name, *(flags.spelled(name, each[name]) or _NONE for each in asked)]
    for name in sorted(set(asked[0]) - computing)
    if any(each[name] != asked[0][name] for each in asked)
  ]
  for what, values in (
    ("training data", [_part(run, "data", "train_sha256") for run in runs]),
    ("evaluated data", [_part(run, "data", "test_sha256") for run in runs]),
    ("teacher", [str(run.card.get("teacher_sha256", "")) for run in runs]),
    ("weights", [str(run.card.get("weights_sha256", "")) for run in runs]),
  ):
    if len(set(values)) > 1:
      rows.append([f"{what} (hash)", *(value[:8] or _NONE for value in values)])
  rows += _rows_of("branched off", [_parent(run) for run in runs])
  for what in ("choice", "versions", "device"):
    rows += _rows_of(what, [run.card.get(what) for run in runs])
  return rows


def _part(run: Run, section: str, name: str) -> str:
  return str((run.card.get(section) or {}).get(name, ""))


def _parent(run: Run) -> str:
  """Returns the checkpoint from which a run was branched off."""
  parent = run.card.get("parent")
  return f"{parent['workdir']}@{parent['step']}" if parent else _NONE


def _rows_of(what: str, values: Sequence[Any]) -> list[list[str]]:
  """Returns a row for each part of the cards' sections that differs."""
  if not all(isinstance(value, dict) for value in values):
    shown = [_NONE if value is None else str(value) for value in values]
    return [[what, *shown]] if len(set(shown)) > 1 else []
  return [
    row
    for name in sorted({name for value in values for name in value})
    for row in _rows_of(f"{what}: {name}", [v.get(name) for v in values])
  ]


def results(runs: Sequence[Run]) -> list[list[str]]:
  """Returns a row for each result, with its value in each run.

  Top-1 has Wilson's interval of 95 % over the evaluated images.
  """
  rows = {
    "top-1": [_top1(run.last) for run in runs],
    "mean average precision": [
      _percent(run.last.get("eval_mean_average_precision")) for run in runs
    ],
    "top-5": [_percent(run.last.get("eval_top5")) for run in runs],
    "balanced accuracy": [
      _percent(run.last.get("eval_balanced_accuracy")) for run in runs
    ],
    "loss": [_figure(run.last.get("eval_loss"), ".4f") for run in runs],
    "images": [_figure(run.last.get("eval_examples"), ",") for run in runs],
    "training loss": [_figure(run.last.get("loss"), ".4f") for run in runs],
    "training top-1": [_percent(run.last.get("top1")) for run in runs],
    "steps": [_figure(run.last.get("step"), ",") for run in runs],
    "epochs": [_figure(run.last.get("epoch"), ".2f") for run in runs],
    "images/s, median": [_median_speed(run) for run in runs],
    "parameters": [
      _figure(run.card.get("parameter_count"), ",") for run in runs
    ],
    "finished": ["yes" if run.card["finished"] else "no" for run in runs],
  }
  return [
    [name, *values] for name, values in rows.items() if set(values) != {_NONE}
  ]


def _top1(final: Mapping[str, Any]) -> str:
  share, count = final.get("eval_top1"), final.get("eval_examples")
  if share is None or not count:
    return _NONE
  low, high = report_lib.wilson(round(share * count), count)
  return f"{share:.2%} ({low:.2%} to {high:.2%})"


def _median_speed(run: Run) -> str:
  _, speeds = run.curve("images_per_second")
  return f"{np.median(speeds):,.0f}" if speeds else _NONE


def _percent(value: float | None) -> str:
  return _figure(value, ".2%")


def _figure(value: float | None, form: str) -> str:
  return _NONE if value is None else format(value, form)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
  """Two runs that answered the same images.

  Attributes:
    first: a run.
    second: another one.
    places: [2, examples], where each image is in the predictions of the two.
    only_first: the places in `places` of the images that only the first gets
      right, those first of whose answers the second is surest.
    only_second: the same of the second.
    both: how many both get right.
    p: of McNemar's exact test, two-sided.
  """

  first: Run
  second: Run
  places: np.ndarray
  only_first: np.ndarray
  only_second: np.ndarray
  both: int
  p: float

  def row(self) -> list[str]:
    """Returns the cells of the pair's line."""
    count = self.places.shape[1]
    one, other = len(self.only_first), len(self.only_second)
    return [
      self.first.name,
      self.second.name,
      f"{count:,}",
      f"{self.both:,}",
      f"{one:,}",
      f"{other:,}",
      f"{count - self.both - one - other:,}",
      f"{(other - one) / count:+.2%}",
      f"{self.p:.2g}",
    ]


PAIR_HEADS = (
  *("first", "second", "images", "both right", "only first", "only second"),
  *("both wrong", "second − first", "p"),
)


def pair(first: Run, second: Run) -> Pair | str:
  """Compares the mistakes of two runs.

  With b images that only the first gets right, and c that only the second
  does, McNemar's exact test asks how likely a split at least as uneven is if
  each of the b + c is as likely to be of either.

  Args:
    first: a run.
    second: another one.

  Returns:
    The pair; or a sentence that says why there is none.
  """
  from scipy import stats

  for run in (first, second):
    if run.several:
      return f"{run.name} has several labels an image: no mistakes to compare."
    if run.predictions is None:
      return (
        f"{run.name} has no report of its answers: train_loop --mode=eval "
        f"--workdir={run.folder} writes it."
      )
  one, other = first.predictions, second.predictions
  assert one is not None and other is not None
  index, *places = np.intersect1d(one.index, other.index, return_indices=True)
  ours, theirs = places
  hashes = {_part(run, "data", "test_sha256") for run in (first, second)}
  if (
    len(hashes) > 1
    or not len(index)
    or not np.array_equal(one.label[ours], other.label[theirs])
  ):
    return f"{first.name} and {second.name} were evaluated on other images."
  right = np.stack([one.right[ours], other.right[theirs]])
  only_first = np.flatnonzero(right[0] & ~right[1])
  only_second = np.flatnonzero(right[1] & ~right[0])
  b, c = len(only_first), len(only_second)
  return Pair(
    first,
    second,
    np.stack([ours, theirs]),
    _surest(only_first, other, theirs),
    _surest(only_second, one, ours),
    int(np.sum(right[0] & right[1])),
    float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0,
  )


def _surest(
  found: np.ndarray, wrong: Predictions, places: np.ndarray
) -> np.ndarray:
  """Returns images with those first of which a wrong answer is surest."""
  logits = wrong.logits[places[found]].astype(np.float64)
  chances = report_lib.softmax(logits).max(axis=1) if len(found) else found
  return found[np.argsort(-chances, kind="stable")]


def as_text(runs: Sequence[Run], pairs: Sequence[Pair | str]) -> str:
  """Returns the comparison as tables for a terminal."""
  names = [run.name for run in runs]

  def table(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> str:
    return tabulate.tabulate(rows, heads, disable_numparse=True)

  parts = [
    table(differences(runs), ["what differs", *names]),
    table(results(runs), ["result", *names]),
  ]
  known = [each.row() for each in pairs if isinstance(each, Pair)]
  if known:
    parts.append(table(known, PAIR_HEADS))
  parts += [each for each in pairs if isinstance(each, str)]
  return "\n\n".join(parts)
