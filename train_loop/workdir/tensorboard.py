# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's event files: scalars, pictures and texts."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar_summary
from tensorboard.plugins.histogram import summary_v2 as histogram_summary
from tensorboard.plugins.text import summary_v2 as text_summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from train_loop.workdir.writing import writing

# TensorBoard groups charts by what stands before the slash, sorts the groups by
# name and opens the first two: curves, examples; all else is in internals.
TAGS = {
  name: f"curves/{name}"
  for name in (
    "loss",
    "top1",
    "top5",
    "balanced_accuracy",
    "mean_average_precision",
    "learning_rate",
  )
}

# The page CUSTOM SCALARS: categories, charts, and the tags of their lines.
LAYOUT = {
  "Learning": {
    "loss, trained and evaluated": ["curves/loss"],
    "top-1, trained and evaluated": ["curves/top1"],
    "learning rate": ["curves/learning_rate"],
    "loss scale, and steps skipped": [
      "internals/loss_scale",
      "internals/skipped_steps",
    ],
  },
  "Layers, from stem to head": {
    "gradient": ["norms/gradient/.*"],
    "update": ["norms/update/.*"],
    "weights": ["norms/weight/.*"],
    "update by weights": ["norms/update_to_weight/.*"],
    "gap between weights and their averages": ["norms/ema_gap"],
  },
  "Speed": {
    "images per second": ["internals/images_per_second"],
    "share of the time that waits for input": ["internals/input_share"],
  },
}

# Where a workdir has the records of training.
TRAIN_FOLDER = os.path.join("tensorboard", "train")

# The least width of an image in the picture, for its caption to be legible.
_CELL_WIDTH = 112
_FONT_SIZE = 14
_LINE_HEIGHT = 18


class TensorBoardWriter:
  """Scalars and images of one TensorBoard run, e.g. `tensorboard/train`.

  Raises:
    ConfigError: in any method, if the disk is full, or the like.
  """

  def __init__(
    self, logdir: str | os.PathLike[str], *, start_step: int
  ) -> None:
    """Opens an event file; TensorBoard drops records after `start_step`."""
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
    """Writes a value for each name; one with a slash is the tag itself."""
    with self._writing():
      for name, value in values.items():
        tag = TAGS.get(name, name if "/" in name else f"internals/{name}")
        self._add(step, tag=tag, simple_value=value)
      self._writer.flush()

  def image(self, name: str, image: np.ndarray, *, step: int) -> None:
    """Writes one [height, width, 1 or 3] uint8 picture."""
    height, width, channels = image.shape
    png = summary_pb2.Summary.Image(
      height=height,
      width=width,
      colorspace=channels,
      encoded_image_string=tf.io.encode_png(image).numpy(),
    )
    with self._writing():
      self._add(step, tag=f"examples/{name}", image=png)
      self._writer.flush()

  def histograms(self, values: dict[str, np.ndarray], *, step: int) -> None:
    """Writes the distribution of the values of each tag."""
    with self._writing():
      for tag, array in values.items():
        self._write(histogram_summary.histogram_pb(tag, array), step)
      self._writer.flush()

  def layout(self, charts: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Lays the page CUSTOM SCALARS out, in place of an earlier layout.

    Args:
      charts: by the title of a category, and by that of a chart in it, the
        regular expressions of the tags of its lines.
    """
    layout = layout_pb2.Layout(
      category=[
        layout_pb2.Category(
          title=title,
          chart=[
            layout_pb2.Chart(
              title=name, multiline=layout_pb2.MultilineChartContent(tag=tags)
            )
            for name, tags in within.items()
          ],
        )
        for title, within in charts.items()
      ]
    )
    made = summary_pb2.Summary.FromString(
      custom_scalar_summary.pb(layout).SerializeToString()
    )
    with self._writing():
      self._write(made, 0)
      self._writer.flush()

  def text(self, name: str, markdown: str, *, step: int) -> None:
    """Shows a text on the page TEXT."""
    with self._writing():
      self._write(text_summary.text_pb(name, markdown), step)
      self._writer.flush()

  def close(self) -> None:
    """Closes the event file."""
    with self._writing():
      self._writer.close()

  def _writing(self) -> contextlib.AbstractContextManager[None]:
    return writing(self._logdir, tf.errors.OpError)

  def _add(self, step: int, **value: Any) -> None:
    self._write(
      summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value)]), step
    )

  def _write(self, summary: summary_pb2.Summary, step: int) -> None:
    self._writer.add_event(
      event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
    )


def captions(
  targets: np.ndarray, class_names: Sequence[str] | None
) -> list[str]:
  """Returns the classes of each image, a line for each: two if it is mixed.

  Args:
    targets: [batch, K] float, as the loss takes them: label smoothing gives all
      other classes the same small weight.
    class_names: K names; otherwise the classes are shown as numbers.
  """
  count = targets.shape[1]
  names = class_names
  if names is None or len(names) != count:
    names = [str(label) for label in range(count)]
  texts = []
  for target in targets:
    likeliest = np.argsort(-target, kind="stable")[:2]
    floor = target.min() + 1e-3
    lines = [names[label] for label in likeliest if target[label] > floor]
    texts.append("\n".join(" ".join(line.split()) for line in lines))
  return texts


def image_grid(
  images: np.ndarray,
  texts: Sequence[str] = (),
  *,
  columns: int = 6,
  rows: int = 3,
) -> np.ndarray:
  """Returns one picture of the first images of a batch, side by side.

  Args:
    images: [batch, height, width, channels] in [0, 255]; of 2 channels or more
      than 3 only the first is shown.
    texts: a caption for each image, which is then enlarged by a whole number to
      at least 112 pixels' width; none leaves out captions.
    columns: the most images in a row.
    rows: the most rows.

  Returns:
    [rows * cell height, columns * cell width, 1 or 3] uint8; unused cells are
    black.
  """
  images = np.asarray(images)[: rows * columns]
  if images.shape[-1] not in (1, 3):
    images = images[..., :1]
  images = np.clip(np.rint(images), 0, 255).astype(np.uint8)
  if texts:
    images = _with_captions(images, texts)
  count, height, width, channels = images.shape
  columns = min(columns, count)
  rows = -(-count // columns)
  grid = np.zeros((rows * columns, height, width, channels), np.uint8)
  grid[:count] = images
  grid = grid.reshape(rows, columns, height, width, channels)
  return grid.transpose(0, 2, 1, 3, 4).reshape(
    rows * height, columns * width, channels
  )


def _with_captions(images: np.ndarray, texts: Sequence[str]) -> np.ndarray:
  """Returns the images enlarged, each with its caption below."""
  factor = -(-_CELL_WIDTH // images.shape[2])
  images = images.repeat(factor, axis=1).repeat(factor, axis=2)
  count, _, width, channels = images.shape
  height = _LINE_HEIGHT * max(text.count("\n") + 1 for text in texts)
  font = ImageFont.load_default(_FONT_SIZE)
  below = np.zeros((count, height, width, channels), np.uint8)
  for place, text in zip(below, texts):
    drawn = Image.new("L", (width, height))
    # A name that is no text in UTF-8 has parts that no font can draw.
    shown = text.encode(errors="replace").decode()
    ImageDraw.Draw(drawn).text((2, 0), shown, fill=255, font=font)
    place[:] = np.asarray(drawn)[..., np.newaxis]
  return np.concatenate([images, below], axis=1)
