# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a run's figures go: metrics.jsonl, TensorBoard and the terminal."""

from __future__ import annotations

import logging as python_logging
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging
from tqdm import tqdm

from train_loop import audit as audit_lib
from train_loop.workdir.metrics_file import MetricsFile
from train_loop.workdir.tensorboard import LAYOUT, TensorBoardWriter
from train_loop.workdir.writing import write_atomically

if TYPE_CHECKING:
  from train_loop import watching

AUDIT_FILE = "audit.txt"

# How each figure is shown on the terminal, in this order; others are not.
_TRAINING = {
  "loss": "loss {:.4f}",
  "top1": "top-1 {:.1%}",
  "learning_rate": "learning rate {:.3g}",
  "images_per_second": "{:,.0f} images/s",
}
_EVALUATION = {
  "eval_loss": "loss {:.4f}",
  "eval_top1": "top-1 {:.2%}",
  "eval_top5": "top-5 {:.2%}",
  "eval_mean_average_precision": "mean average precision {:.2%}",
  "eval_f1_macro": "F1 {:.2%} (macro)",
  "eval_examples": "{:,} examples",
  "eval_seconds": "{:.1f} s",
}


class Reporter:
  """Sends each record to the metrics file, TensorBoard and the terminal."""

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    start_step: int,
    total_steps: int,
  ) -> None:
    """Opens the files, and a bar if the error stream is a terminal.

    Args:
      workdir: the run's folder, which exists.
      start_step: the step that the run goes on from; later records are dropped.
      total_steps: the length of the run.

    Raises:
      ConfigError: as every method does, if the disk is full, or the like.
    """
    self._workdir = workdir
    self._open(start_step)
    self._bar = tqdm(
      total=total_steps,
      initial=start_step,
      unit="step",
      disable=not sys.stderr.isatty(),
      dynamic_ncols=True,
    )
    self._handlers = _stderr_handlers()
    for handler in self._handlers:
      handler.addFilter(self._clear_bar)

  def _open(self, start_step: int) -> None:
    root = pathlib.Path(self._workdir) / "tensorboard"
    self._metrics = MetricsFile(self._workdir, start_step=start_step)
    self._boards = {
      name: TensorBoardWriter(root / name, start_step=start_step)
      for name in ("train", "eval")
    }
    self._boards["train"].layout(LAYOUT)

  def go_back(self, step: int) -> None:
    """Drops the records after a step, which are made again."""
    for board in self._boards.values():
      board.close()
    self._open(step)

  def progress(self, step: int, total_steps: int) -> None:
    """Moves the bar, if there is one; the length of the run may change."""
    self._bar.total = total_steps
    self._bar.update(step - self._bar.n)

  def train(self, record: dict[str, Any]) -> None:
    """Reports the means over the steps since the last report."""
    self._report("train", record)
    skipped = record.get("skipped_steps")
    figures = _figures(record, _TRAINING)
    if skipped:
      figures.append(f"{skipped} steps skipped")
    self._say(record, ", ".join(figures))

  def evaluation(self, record: dict[str, Any]) -> None:
    """Reports an evaluation."""
    self._report("eval", record)
    figures = _figures(record, _EVALUATION)
    self._say(record, "evaluation: " + ", ".join(figures))

  def layers(self, figures: watching.Figures, *, step: int) -> None:
    """Shows norms and γ in TensorBoard's train run."""
    self._boards["train"].scalars(figures.scalars, step=step)
    self._boards["train"].histograms(figures.histograms, step=step)

  def text(self, name: str, markdown: str, *, step: int) -> None:
    """Shows a text in TensorBoard's train run."""
    self._boards["train"].text(name, markdown, step=step)

  def image(self, name: str, image: np.ndarray, *, step: int) -> None:
    """Shows a picture in TensorBoard's train run."""
    self._boards["train"].image(name, image, step=step)

  def audit(self, rows: Sequence[audit_lib.Row]) -> None:
    """Writes what each variable is to audit.txt, and shows it."""
    path = pathlib.Path(self._workdir) / AUDIT_FILE
    write_atomically(path, audit_lib.as_text(rows))
    self.text("audit", audit_lib.as_text(rows, form="github"), step=0)

  def close(self) -> None:
    """Closes files and bar."""
    for handler in self._handlers:
      handler.removeFilter(self._clear_bar)
    self._bar.close()
    for board in self._boards.values():
      board.close()

  def _report(self, board: str, record: dict[str, Any]) -> None:
    """Writes a record to the metrics file and to TensorBoard."""
    self._metrics.write(record)
    shown = {
      name.replace("eval_", ""): value
      for name, value in record.items()
      if name != "step" and isinstance(value, (int, float))
    }
    self._boards[board].scalars(shown, step=record["step"])

  def _say(self, record: dict[str, Any], figures: str) -> None:
    """Writes a line to the terminal, above the bar if there is one."""
    line = (
      f"step {record['step']}/{self._bar.total} "
      f"(epoch {record['epoch']:.2f}): {figures}"
    )
    if self._bar.disable:
      logging.info("%s", line)
    else:
      self._bar.write(line, file=sys.stderr)

  def _clear_bar(self, record: python_logging.LogRecord) -> bool:
    """Clears the bar before another line is logged; the next step draws it."""
    self._bar.clear()
    return True


class Bystander(Reporter):
  """Reports nothing: for the hosts that do not write."""

  def __init__(self) -> None:
    pass

  def go_back(self, step: int) -> None:
    """Does nothing, as the others."""

  def progress(self, step: int, total_steps: int) -> None:
    """Does nothing."""

  def train(self, record: dict[str, Any]) -> None:
    """Does nothing."""

  def evaluation(self, record: dict[str, Any]) -> None:
    """Does nothing."""

  def layers(self, figures: watching.Figures, *, step: int) -> None:
    """Does nothing."""

  def text(self, name: str, markdown: str, *, step: int) -> None:
    """Does nothing."""

  def image(self, name: str, image: np.ndarray, *, step: int) -> None:
    """Does nothing."""

  def audit(self, rows: Sequence[audit_lib.Row]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def _figures(record: dict[str, Any], forms: dict[str, str]) -> list[str]:
  """Returns the figures of a record as text, in the order of `forms`."""
  figures = []
  for name, form in forms.items():
    if record.get(name) is not None:
      figures.append(form.format(record[name]))
    elif name in record:
      figures.append(form.partition(" {")[0] + " not finite")
  return figures


def _stderr_handlers() -> list[python_logging.Handler]:
  """Returns what writes log lines to the terminal: absl's and TensorFlow's."""
  return [
    logging.get_absl_handler().python_handler,
    *python_logging.getLogger("tensorflow").handlers,
    *python_logging.root.handlers,
  ]
