# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A picture of a data set: augmented training images, and its classes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.inputs import Inputs

_COLUMNS = 8
_MOST_IMAGES = 32
_MOST_CLASSES = 30


def save(path: str | os.PathLike[str], inputs: Inputs) -> None:
  """Draws the first training images, and a histogram of the classes.

  Args:
    path: of the picture; its ending decides the format.
    inputs: the run's; its first batch is drawn, with the names of its classes.

  Raises:
    OSError: the file cannot be written.
  """
  batch = next(iter(inputs.first_batches()))
  images = batch["image"].numpy()[:_MOST_IMAGES]
  labels = batch["label"].numpy()[:_MOST_IMAGES]
  if inputs.train.multi_label:
    labels = [np.flatnonzero(row) for row in labels]
  class_names = inputs.train.class_names
  counts = {
    part: np.array(source.class_counts())
    for part, source in (
      ("train", inputs.train),
      ("validation", inputs.validation),
    )
  }
  from matplotlib.figure import Figure

  rows = math.ceil(len(images) / _COLUMNS)
  shown = min(len(class_names), _MOST_CLASSES)
  heights = [1.4 * rows, 1.0 + 0.25 * shown]
  figure = Figure(figsize=(11, sum(heights) + 0.6), layout="constrained")
  parts: Any = figure.subfigures(2, 1, height_ratios=heights)
  grid, histogram = parts
  grid.suptitle("Training images, augmented", fontsize=11)
  axes = grid.subplots(rows, _COLUMNS, squeeze=False).ravel()
  for axis in axes:
    axis.axis("off")
  for axis, image, label in zip(axes, images, labels):
    gray = {"cmap": "gray", "vmin": 0, "vmax": 255}
    one_channel = image.shape[-1] == 1
    axis.imshow(image.squeeze(-1) if one_channel else image, **gray)
    names = ", ".join(class_names[k] for k in np.atleast_1d(label))
    axis.set_title(_short(names), fontsize=8)
  _draw_histogram(histogram.subplots(), class_names, counts, shown)
  figure.savefig(path, dpi=100)


def _draw_histogram(
  axis: Any,
  class_names: Sequence[str],
  counts: dict[str, np.ndarray],
  shown: int,
) -> None:
  """Draws a bar per part and class, the most frequent classes first."""
  totals = np.sum(list(counts.values()), axis=0)
  order = np.argsort(-totals, kind="stable")[:shown]
  places = np.arange(shown)
  thickness = 0.8 / len(counts)
  for number, (part, of_part) in enumerate(counts.items()):
    widths = np.asarray(of_part)[order]
    bars = axis.barh(places + number * thickness, widths, thickness, label=part)
    axis.bar_label(bars, padding=3, fontsize=7)
  title = f"Images per class ({len(class_names)} classes"
  title += f", the {shown} largest)" if shown < len(class_names) else ")"
  axis.set(
    title=title,
    yticks=places + 0.4 - thickness / 2,
    yticklabels=[_short(class_names[label]) for label in order],
  )
  axis.invert_yaxis()
  # Above the bars, which take all of the width.
  axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(counts))


def _short(name: str) -> str:
  return name if len(name) <= 18 else f"{name[:17]}…"
