# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a run's figures go: metrics.jsonl, TensorBoard and the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tqdm import tqdm

from train_loop.workdir.writing import writing

METRICS_FILE = "metrics.jsonl"
TIME_FIELDS = ("images_per_second", "eval_seconds")


class MetricsFile:
  """`metrics.jsonl`: one JSON object a logged step or evaluation."""

  def __init__(
    self, workdir: str | os.PathLike[str], *, start_step: int
  ) -> None:
    """Opens the file for appending, without what came after `start_step`.

    A run that was killed may have logged steps that its last checkpoint does
    not hold: they are trained, and logged, again.
    """
    self._path = pathlib.Path(workdir) / METRICS_FILE
    kept = [r for r in read_metrics(workdir) if r["step"] <= start_step]
    partial = self._path.with_suffix(".partial")
    with writing(self._path):
      partial.write_text("".join(map(_line, kept)), encoding="utf-8")
      os.replace(partial, self._path)

  def write(self, record: dict[str, Any]) -> None:
    """Appends one record, complete on disk before it returns.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    with writing(self._path), self._path.open("a", encoding="utf-8") as file:
      file.write(_line(record))


def _line(record: dict[str, Any]) -> str:
  return json.dumps(record) + "\n"


def read_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the records of a run, without a last line cut short by a kill."""
  path = pathlib.Path(workdir) / METRICS_FILE
  if not path.exists():
    return []
  lines = path.read_text(encoding="utf-8").split("\n")[:-1]
  return [json.loads(line) for line in lines]


def last_records(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns the last record of training and of evaluation, merged."""
  merged: dict[str, Any] = {}
  for record in read_metrics(workdir):
    merged.update(record)
  return merged


class TensorBoardWriter:
  """Scalars and images of one TensorBoard run, e.g. `tensorboard/train`.

  Raises:
    ConfigError: in any method, where the disk is full, or the like.
  """

  def __init__(
    self, logdir: str | os.PathLike[str], *, start_step: int
  ) -> None:
    """Opens an event file; TensorBoard drops what came after `start_step`."""
    self._logdir = os.fspath(logdir)
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    with self._writing():
      self._writer = EventFileWriter(self._logdir)
      self._writer.add_event(
        event_pb2.Event(
          wall_time=time.time(), step=start_step + 1, session_log=start
        )
      )

  def scalars(self, values: dict[str, float], *, step: int) -> None:
    """Writes a value for each tag."""
    with self._writing():
      for tag, value in values.items():
        self._add(step, tag=tag, simple_value=value)
      self._writer.flush()

  def image(self, tag: str, image: np.ndarray, *, step: int) -> None:
    """Writes one [height, width, 1 or 3] uint8 picture."""
    height, width, channels = image.shape
    png = summary_pb2.Summary.Image(
      height=height,
      width=width,
      colorspace=channels,
      encoded_image_string=tf.io.encode_png(image).numpy(),
    )
    with self._writing():
      self._add(step, tag=tag, image=png)
      self._writer.flush()

  def close(self) -> None:
    """Closes the event file."""
    with self._writing():
      self._writer.close()

  def _writing(self) -> contextlib.AbstractContextManager[None]:
    return writing(self._logdir, tf.errors.OpError)

  def _add(self, step: int, **value: Any) -> None:
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value)])
    self._writer.add_event(
      event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
    )


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


def image_grid(
  images: np.ndarray, *, columns: int = 8, rows: int = 4
) -> np.ndarray:
  """Returns one picture of the first images of a batch, side by side.

  Args:
    images: [batch, height, width, channels] in [0, 255]; of 2 channels or more
      than 3 only the first is shown.
    columns: images a row, at most.
    rows: rows, at most.

  Returns:
    [rows * height, columns * width, 1 or 3] uint8; unused places are black.
  """
  images = np.asarray(images)[: rows * columns]
  if images.shape[-1] not in (1, 3):
    images = images[..., :1]
  count, height, width, channels = images.shape
  columns = min(columns, count)
  rows = -(-count // columns)
  grid = np.zeros((rows * columns, height, width, channels), np.uint8)
  grid[:count] = np.clip(np.rint(images), 0, 255)
  grid = grid.reshape(rows, columns, height, width, channels)
  return grid.transpose(0, 2, 1, 3, 4).reshape(
    rows * height, columns * width, channels
  )
