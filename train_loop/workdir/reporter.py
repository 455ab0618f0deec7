# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a run's figures go: metrics.jsonl, TensorBoard and the terminal."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from train_loop.workdir.metrics_file import MetricsFile
from train_loop.workdir.tensorboard import TensorBoardWriter


class Reporter:
  """Sends each record to the metrics file, TensorBoard and the terminal."""

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    start_step: int,
    total_steps: int,
  ) -> None:
    root = pathlib.Path(workdir) / "tensorboard"
    self._metrics = MetricsFile(workdir, start_step=start_step)
    self._boards = {
      name: TensorBoardWriter(root / name, start_step=start_step)
      for name in ("train", "eval")
    }
    self._progress = tqdm(
      total=total_steps,
      initial=start_step,
      unit="step",
      disable=not sys.stderr.isatty(),
      dynamic_ncols=True,
    )

  def progress(self, step: int) -> None:
    """Moves the bar on a terminal; elsewhere there is none."""
    self._progress.update(step - self._progress.n)

  def train(self, record: dict[str, Any]) -> None:
    """Reports the means over the steps since the last report."""
    self._report("train", record)

  def evaluation(self, record: dict[str, Any]) -> None:
    """Reports an evaluation."""
    self._report("eval", record)

  def image(self, tag: str, image: np.ndarray, *, step: int) -> None:
    """Shows a picture in TensorBoard's train run."""
    self._boards["train"].image(tag, image, step=step)

  def close(self) -> None:
    """Closes files and bar."""
    self._progress.close()
    for board in self._boards.values():
      board.close()

  def _report(self, name: str, record: dict[str, Any]) -> None:
    self._metrics.write(record)
    step = record["step"]
    shown = {
      key.replace("eval_", ""): value
      for key, value in record.items()
      if key != "step" and value is not None
    }
    self._boards[name].scalars(shown, step=step)
    figures = "  ".join(f"{k} {v:.5g}" for k, v in shown.items())
    text = f"{name} step {step}/{self._progress.total}  {figures}"
    if self._progress.disable:
      logging.info("%s", text)
    else:
      self._progress.write(text, file=sys.stderr)
