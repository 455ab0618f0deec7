# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds labels that look wrong to networks that did not learn them.

The evaluation images are judged by the run's own network. With --folds=K the
training images are judged too: they are dealt out to K folds, and for each a
network is trained on the others, as the run was, in workdir/check_labels.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from typing import Any

import numpy as np
from absl import logging

import data
from data.preparation import wrong_labels
from train_loop import pages
from train_loop.command import compose, flags, judging, trained_model
from train_loop.command.settings import RunSettings
from train_loop.fields import ConfigError
from train_loop.modes import train as train_mode
from train_loop.preflight import trials
from train_loop.workdir import lock, report, run_card
from train_loop.workdir.writing import readable, write_atomically, writing

FOLDER = "check_labels"
PAGE = "check_labels.html"
# Pictures of each part on the page.
SHOWN = 100
# The most frequent pairs that it names, and the labels on the terminal.
_PAIRS = 5
_PRINTED = 5


def run(values: flags.Values) -> int:
  """Judges the labels of the run in workdir.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run.

  Returns:
    The exit status: 0, or that of a fold's training which was stopped.

  Raises:
    ConfigError: workdir holds no run, a flag differs from the run's, or images
      have any number of labels.
    DataError: bad data.
  """
  flags.require_workdir(values)
  settings = flags.group(RunSettings, values)
  card = trained_model.require_card(values.workdir)
  trained_model.adopt_flags(card, values)
  config, choice = compose.as_evaluated(card, values)
  if config.loss.multi_label:
    raise ConfigError(
      "task must be single_label for mode check_labels, got multi_label"
    )
  names = run_card.class_names(card)
  train, validation = compose.load_sources(values, names)
  folder = pathlib.Path(values.workdir) / FOLDER
  with writing(folder):
    folder.mkdir(exist_ok=True)
  compose.import_for_one_device(choice, values)

  def judged_by(workdir: Any, source: data.AnySource, checkpoint: str) -> Any:
    trained = trained_model.load(
      workdir,
      checkpoint=checkpoint,
      dtype=choice.precision,
      allow_python=True,  # It is the run's own, which may be.
    )
    return report.softmax(judging.logits(trained.model, source, values, config))

  own = judged_by(values.workdir, validation, values.checkpoint)
  found = [_Part("validation", validation, own)]
  if settings.folds:
    judged = np.full([train.num_examples, train.num_classes], np.nan)
    fold_of = wrong_labels.folds(train.labels, settings.folds)
    for fold in range(settings.folds):
      held_out = np.flatnonzero(fold_of == fold)
      workdir = folder / f"fold{fold}of{settings.folds}"
      others = train.take(np.flatnonzero(fold_of != fold))
      logging.info("fold %d of %d: %s", fold + 1, settings.folds, workdir)
      status = _train(card, values, workdir, (others, validation))
      if status:
        return status
      judged[held_out] = judged_by(workdir, train.take(held_out), "latest")
    found.insert(0, _Part("train", train, judged))
  else:
    logging.info("--folds=3 judges the training images too: it trains 3 times")
  _report(values, found, folder)
  return 0


def _train(
  card: dict[str, Any],
  values: flags.Values,
  workdir: pathlib.Path,
  sources: compose.Sources,
) -> int:
  """Trains a fold's network as the run was, but for its teacher.

  The teacher has seen the labels. A fold that is trained already stays so.

  Returns:
    The exit status.
  """
  with writing(workdir):
    workdir.mkdir(exist_ok=True)
  before = run_card.read(workdir) or {}
  if before:
    name = "train_sha256"
    run_card.require_same(
      workdir,
      {name: before.get("data", {}).get(name)},
      {name: sources[0].fingerprint()},
    )
  if before.get("finished"):
    return 0
  own = flags.parse("--mode=train", f"--workdir={workdir}")
  flags.adopt(card["flags"], own)
  for name, value in (
    ("teacher", ""),
    ("patience", 0),  # Nothing is evaluated.
    ("data_dir", values.data_dir),
    ("labels", values.labels),
  ):
    own[name].value = value
  with lock.held(workdir):
    planned = compose.plan(own, network=card["network"], sources=sources)
    parts = compose.build(planned, trials.Choice(**card["choice"]), [])
    return train_mode.train(own, parts, planned.devices.shard)


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
  """What was found of a part of the data.

  Attributes:
    name: of the part.
    source: its images.
    probabilities: [examples, classes], NaN of those that cannot be decoded.
  """

  name: str
  source: data.AnySource
  probabilities: np.ndarray

  def judged(self) -> tuple[np.ndarray, wrong_labels.Suspicions]:
    """Returns the numbers of the judged examples, and what is suspected."""
    (numbers,) = np.nonzero(~np.isnan(self.probabilities[:, 0]))
    return numbers, wrong_labels.find(
      self.source.labels[numbers], self.probabilities[numbers]
    )


def _report(
  values: flags.Values, parts: list[_Part], folder: pathlib.Path
) -> None:
  """Writes the lists and the page, and prints what they hold."""
  shown = []
  for part in parts:
    numbers, suspicions = part.judged()
    rows = _rows(part, numbers, suspicions)
    write_atomically(folder / f"{part.name}.csv", _table(rows))
    suspected = int(suspicions.suspected.sum())
    first = rows[: min(suspected, SHOWN)]
    numbers_shown = [row["index"] for row in first]
    pictures = judging.pictures(part.source, values, numbers_shown)
    shown.append(
      {
        "name": part.name,
        "examples": len(numbers),
        "suspected": suspected,
        "share_wrong": suspicions.share_wrong,
        "pairs": report.pairs(
          suspicions.joint, part.source.class_names, most=_PAIRS
        ),
        "images": [{**row, "picture": pictures[row["index"]]} for row in first],
      }
    )
    print(
      f"{part.name}: {suspected} of {len(numbers)} labels are suspected, about "
      f"{suspicions.share_wrong:.1%} are wrong; {folder / part.name}.csv ranks "
      "all"
    )
    for row in first[:_PRINTED]:
      print(
        f"  {row['place']}: {row['label']} ({row['label_probability']:.0%}) "
        f"looks like {row['suggested']} ({row['suggested_probability']:.0%})"
      )
  page = folder / PAGE
  pages.write(page, "check_labels.html", workdir=values.workdir, parts=shown)
  print(f"{page} shows up to {SHOWN} of each part")


def _rows(
  part: _Part, numbers: np.ndarray, suspicions: wrong_labels.Suspicions
) -> list[dict[str, Any]]:
  """Returns a row for each judged example, the most suspicious first."""
  names, rows = part.source.class_names, []
  for place in suspicions.ranked():
    index = int(numbers[place])
    label = int(part.source.labels[index])
    suggested = int(suspicions.suggested[place])
    row = part.probabilities[index]
    rows.append(
      {
        "index": index,
        "place": part.source.place_of(index),
        "label": names[label],
        "suggested": names[suggested],
        "label_probability": round(float(row[label]), 6),
        "suggested_probability": round(float(row[suggested]), 6),
        "suspected": bool(suspicions.suspected[place]),
      }
    )
  return rows


def _table(rows: list[dict[str, Any]]) -> str:
  """Returns rows as CSV."""
  file = io.StringIO()
  writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
  writer.writeheader()
  writer.writerows(rows)
  return readable(file.getvalue())
