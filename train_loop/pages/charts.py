# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Charts for the pages, drawn by matplotlib, each a picture in PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

# Classes up to which a matrix shows names, and numbers in its cells.
_NAMED, _NUMBERED = 40, 15


def confusion(matrix: np.ndarray, class_names: Sequence[str]) -> bytes:
  """Returns a chart of a confusion matrix, each row as parts of its label.

  Args:
    matrix: [labels, answers], counts.
    class_names: one name a class.
  """
  from matplotlib.figure import Figure

  classes = len(class_names)
  size = 4.0 + 0.3 * min(classes, _NAMED)
  figure = Figure(figsize=(size, size), layout="constrained")
  axis = figure.subplots()
  shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
  axis.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
  axis.set(xlabel="answer", ylabel="label")
  if classes <= _NAMED:
    shown = [
      name if len(name) < 19 else f"{name[:17]}…" for name in class_names
    ]
    places = np.arange(classes)
    axis.set_xticks(places, shown, rotation=90, fontsize=8)
    axis.set_yticks(places, shown, fontsize=8)
  if classes <= _NUMBERED:
    for (row, column), count in np.ndenumerate(matrix):
      color = "white" if shares[row, column] > 0.5 else "black"
      text = axis.text(column, row, str(count) if count else "", color=color)
      text.set(ha="center", va="center", fontsize=7)
  return _png(figure)


def reliability(bins: Sequence[dict[str, Any]]) -> bytes:
  """Returns a chart of accuracy over confidence, and how many have each.

  Args:
    bins: as `report.calibration` gives them.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4.6, 4.6), layout="constrained")
  axes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
  confidences = [row["confidence"] for row in bins]
  axes[0].plot([0, 1], [0, 1], color="gray", linewidth=0.8)
  axes[0].plot(confidences, [row["accuracy"] for row in bins], "o-")
  axes[0].set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
  axes[1].bar(confidences, [row["count"] for row in bins], width=0.05)
  axes[1].set(xlabel="confidence", ylabel="images", yscale="log")
  return _png(figure)


def ladder(rows: Sequence[Any], result: str) -> bytes:
  """Returns a chart of a ladder: each rung's runs, and what it changed.

  Args:
    rows: of a ladder, from the first rung on; `name`, `scores` by seed, `mean`,
      `difference`, `interval` and `paper` of each are drawn.
    result: what the scores are, such as "top-1".
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9.5, 1.6 + 0.45 * len(rows)), layout="constrained")
  reached, changed = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1])
  for place, row in enumerate(rows):
    scores = list(row.scores.values())
    reached.plot(scores, [place] * len(scores), "o", color="C0", alpha=0.5)
    if row.mean is not None:
      reached.plot(row.mean, place, "|", color="C0", markersize=18, mew=2)
    if row.difference is not None:
      ends = row.interval or (row.difference, row.difference)
      changed.plot(ends, [place, place], color="C0", linewidth=2)
      changed.plot(row.difference, place, "o", color="C0")
  columns = dict.fromkeys(column for row in rows for column in row.paper)
  for color, column in enumerate(columns, start=1):
    known = [
      (row.paper[column], place)
      for place, row in enumerate(rows)
      if column in row.paper
    ]
    changed.plot(
      *zip(*known), "D", color=f"C{color}", mfc="none", label=f"paper, {column}"
    )
  reached.set_yticks(range(len(rows)), [row.name for row in rows])
  reached.set_ylim(len(rows) - 0.5, -0.5)
  reached.set(xlabel=f"{result}, %")
  changed.axvline(0.0, color="gray", linewidth=0.8)
  changed.set(xlabel="change in points (line: 95 % interval)")
  for axis in (reached, changed):
    axis.grid(axis="x", alpha=0.3)
  if columns:
    figure.legend(loc="outside lower right", ncols=len(columns), fontsize=8)
  return _png(figure)


def class_counts(
  counts: dict[str, Sequence[int]], class_names: Sequence[str]
) -> bytes:
  """Returns a chart of how many examples each class has, in each part.

  Args:
    counts: by the part's name, [classes].
    class_names: one name a class.
  """
  from matplotlib.figure import Figure

  classes = len(class_names)
  width = 4.0 + 0.25 * min(classes, _NAMED)
  figure = Figure(figsize=(width, 3.6), layout="constrained")
  axis = figure.subplots()
  places = np.arange(classes)
  for index, (name, values) in enumerate(counts.items()):
    shift = 0.8 / len(counts) * (index + 0.5) - 0.4
    axis.bar(places + shift, values, 0.8 / len(counts), label=name)
  if classes <= _NAMED:
    shown = [
      name if len(name) < 19 else f"{name[:17]}…" for name in class_names
    ]
    axis.set_xticks(places, shown, rotation=90, fontsize=8)
  else:
    axis.set(xlabel="class")
  axis.set(ylabel="images")
  axis.legend()
  axis.grid(axis="y", alpha=0.3)
  return _png(figure)


def curves(runs: Sequence[Any]) -> bytes:
  """Returns charts of loss, result and learning rate over the epochs of runs.

  Args:
    runs: with `name`, `several`, `curve`, from the name of a figure to epochs
      and values, and `rates`.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(12.0, 3.9), layout="constrained")
  loss, result, rate = figure.subplots(1, 3)
  judged = "eval_top1"
  if any(run.several for run in runs):
    judged = "eval_mean_average_precision"
  for number, run in enumerate(runs):
    color = f"C{number}"
    loss.plot(*run.curve("loss"), "--", color=color, linewidth=1)
    loss.plot(*run.curve("eval_loss"), "o-", color=color, markersize=3)
    result.plot(*run.curve("top1"), "--", color=color, linewidth=1)
    result.plot(*run.curve(judged), "o-", color=color, markersize=3)
    rate.plot(*run.rates, color=color, label=run.name)
  for axis, name in (
    (loss, "loss"),
    (result, judged.removeprefix("eval_").replace("_", " ")),
    (rate, "learning rate"),
  ):
    axis.set(title=name, xlabel="epoch")
    axis.grid(alpha=0.3)
  figure.legend(loc="outside lower center", ncols=2, fontsize=8)
  figure.text(0.004, 0.004, "line: evaluation; dashed: training", fontsize=8)
  return _png(figure)


def rate_sweep(sweep: Any) -> bytes:
  """Returns a chart of the loss over the learning rate.

  Args:
    sweep: a `rate_sweep.Sweep`; the rate that it suggests is marked.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(7.5, 4.2), layout="constrained")
  axes = figure.subplots()
  axes.semilogx(
    sweep.rates, sweep.losses, color="0.75", linewidth=1, label="of each step"
  )
  axes.semilogx(
    sweep.rates, sweep.smoothed, color="tab:blue", linewidth=2, label="smoothed"
  )
  axes.axvline(sweep.suggested, color="tab:red", linestyle="--")
  axes.annotate(
    f" lowest at {sweep.suggested:.2g}",
    (sweep.suggested, 0.95),
    xycoords=("data", "axes fraction"),
    color="tab:red",
  )
  axes.set_ylim(0, 1.1 * float(np.percentile(sweep.losses, 98)))
  axes.set(xlabel="learning rate", ylabel="loss")
  axes.grid(alpha=0.3)
  axes.legend(loc="lower left")
  return _png(figure)


def _png(figure: Any) -> bytes:
  content = io.BytesIO()
  figure.savefig(content, format="png", dpi=110)
  return content.getvalue()
