# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the report of an evaluation: figures, a page, and every answer.

report.json       the figures, as `workdir.report` computes them
report.html       a page of them, with pictures of mistakes
predictions.csv   a line for each image: its place, label and answer
predictions.npz   index, label and logits of each image
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import data
from train_loop import multi_label, pages
from train_loop.command import judging
from train_loop.command.flags import Values
from train_loop.config import TrainConfig
from train_loop.pages import charts
from train_loop.workdir import report as report_lib
from train_loop.workdir.writing import readable, write_atomically, writing

if TYPE_CHECKING:
  import tensorflow as tf

FOLDER, PAGE = "report", "report.html"
# The figures of a report that each evaluation in training gives, too.
RESULTS = (
  "loss",
  "top1",
  "top5",
  "balanced_accuracy",
  "mean_average_precision",
  "f1_macro",
  "f1_micro",
  "examples",
)
# Pairs of classes that the page shows a picture of.
_PAIRS = 12
_IN_TENSORBOARD = 18


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
  """An image with its label and the network's answer.

  Attributes:
    picture: [height, width, channels] uint8, as the network saw it.
    place: its file, or its number.
    label: the name of its class.
    answer: the name of the likeliest class.
    probability: of the answer.
  """

  picture: np.ndarray
  place: str
  label: str
  answer: str
  probability: float


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
  """Images with a network's answers.

  Attributes:
    source: the images.
    values: the run's flags.
    numbers: [examples], those of the images that could be decoded.
    logits: [examples, K].
    thresholds: as of `TrainedModel`.
    report: the figures.
  """

  source: data.AnySource
  values: Values
  numbers: np.ndarray
  logits: np.ndarray
  thresholds: Sequence[float] | None
  report: dict[str, Any]

  @functools.cached_property
  def probabilities(self) -> np.ndarray:
    """[examples, K] float64."""
    activation = (
      multi_label.sigmoid if self.source.multi_label else report_lib.softmax
    )
    return activation(self.logits.astype(np.float64))

  @functools.cached_property
  def confusion(self) -> bytes:
    """The chart of the confusion matrix, a PNG."""
    return charts.confusion(
      np.array(self.report["confusion"]), self.source.class_names
    )

  @functools.cached_property
  def mistakes(self) -> list[Example]:
    """The mistakes that the report lists."""
    return self.examples(self.report["mistakes"])

  def examples(self, places: Sequence[int]) -> list[Example]:
    """Returns the examples at some places, if they can still be decoded.

    Args:
      places: in `numbers`.
    """
    indices = self.numbers[list(places)].tolist()
    images = judging.pictures(self.source, self.values, indices)
    answers = self.logits[list(places)].argmax(axis=1)
    return [
      Example(
        picture=images[index],
        place=self.source.place_of(index),
        label=self.source.classes_of(index)[0],
        answer=self.source.class_names[answer],
        probability=float(self.probabilities[place, answer]),
      )
      for place, index, answer in zip(places, indices, answers)
      if index in images
    ]

  def results(self) -> dict[str, Any]:
    """Returns the figures that an evaluation in training gives, too."""
    return {
      f"eval_{name}": self.report[name]
      for name in RESULTS
      if name in self.report
    }

  def write(self, folder: pathlib.Path) -> None:
    """Writes all files.

    Args:
      folder: gets the files; made if it is missing.

    Raises:
      ConfigError: the folder cannot be written.
    """
    labels = self.source.labels[self.numbers]
    with writing(folder):
      folder.mkdir(parents=True, exist_ok=True)
      np.savez_compressed(
        folder / "predictions.npz",
        index=self.numbers,
        label=labels,
        logits=self.logits,
      )
    text = json.dumps(self.report, indent=2) + "\n"
    write_atomically(folder / "report.json", text)
    write_atomically(folder / "predictions.csv", _table(self))
    pages.write(
      folder / PAGE,
      "report.html",
      title=f"{folder.absolute().parent.name}: {self.source.name}",
      report=self.report,
      several=self.source.multi_label,
      **({} if self.source.multi_label else _shown(self)),
    )

  def show(self, workdir: str | os.PathLike[str], *, step: int) -> None:
    """Shows the confusion matrix and mistakes in the run's TensorBoard.

    Args:
      workdir: the run's folder.
      step: that of the network.
    """
    if self.source.multi_label:
      return
    from train_loop.workdir import tensorboard

    first = self.mistakes[:_IN_TENSORBOARD]
    board = tensorboard.TensorBoardWriter(
      pathlib.Path(workdir) / "tensorboard" / "eval", start_step=step
    )
    with Image.open(io.BytesIO(self.confusion)) as picture:
      board.image("confusion", np.asarray(picture.convert("RGB")), step=step)
    if first:
      grid = tensorboard.image_grid(
        np.stack([example.picture for example in first]),
        [f"{example.label}\n{example.answer}" for example in first],
      )
      board.image("mistakes", grid, step=step)
    board.close()


def evaluate(
  model: tf.keras.Model,
  source: data.AnySource,
  values: Values,
  config: TrainConfig,
  thresholds: Sequence[float] | None = None,
) -> Evaluated:
  """Evaluates images.

  Args:
    model: from images to logits, with the weights to judge.
    source: the images.
    values: the run's flags.
    config: the run's hyperparameters.
    thresholds: as of `TrainedModel`.

  Returns:
    The answers, and the figures.

  Raises:
    DataError: an image cannot be decoded, and is an error; or none can.
  """
  logits = judging.logits(model, source, values, config)
  (numbers,) = np.nonzero(~np.isnan(logits[:, 0]))
  if not len(numbers):
    raise data.DataError(f"no image of {source.name} can be decoded")
  labels, logits = source.labels[numbers], logits[numbers]
  names = source.class_names
  if source.multi_label:
    thresholds = thresholds or [0.5] * len(names)
    report = report_lib.of_many_labels(labels, logits, names, thresholds)
  else:
    report = report_lib.of_one_label(labels, logits, names)
  return Evaluated(source, values, numbers, logits, thresholds, report)


def _shown(found: Evaluated) -> dict[str, Any]:
  """Returns what the page shows besides figures: examples and charts."""
  source, report = found.source, found.report
  labels, answers = source.labels[found.numbers], found.logits.argmax(axis=1)
  number_of = {name: k for k, name in enumerate(source.class_names)}
  pairs = report["pairs"][:_PAIRS]
  first = [
    int(
      np.argmax(
        (labels == number_of[pair["label"]])
        & (answers == number_of[pair["answer"]])
      )
    )
    for pair in pairs
  ]
  return {
    "mistakes": found.mistakes,
    "pairs": list(zip(pairs, found.examples(first))),
    "confusion": found.confusion,
    "reliability": charts.reliability(report["calibration"]["bins"]),
  }


def _table(found: Evaluated) -> str:
  """Returns the answers as CSV."""
  source, logits = found.source, found.logits
  file = io.StringIO()
  writer = csv.writer(file, lineterminator="\n")
  writer.writerow(["index", "place", "label", "answer", "probability"])
  chances = found.probabilities
  if source.multi_label:
    said = chances >= np.array(found.thresholds)
  else:
    said = np.eye(logits.shape[1], dtype=bool)[logits.argmax(axis=1)]
  for index, row, chance in zip(found.numbers.tolist(), said, chances):
    classes = np.flatnonzero(row)
    writer.writerow(
      [
        index,
        source.place_of(index),
        "|".join(source.classes_of(index)),
        "|".join(source.class_names[k] for k in classes),
        "|".join(f"{chance[k]:.6f}" for k in classes),
      ]
    )
  return readable(file.getvalue())
