# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's event files: scalars and pictures."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from train_loop.workdir.writing import writing


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
