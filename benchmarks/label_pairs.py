# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images with several labels: pairs of Fashion-MNIST, side by side.

    python -m benchmarks.label_pairs --json=label_pairs.json

Two images make one of 28 x 56 pixels, labelled with both classes, or the one.
30,000 pairs are trained on, and 5,000 evaluated. Beside the figures of the
evaluation stand those of scikit-learn, from the answers of the run's network.
"""

from __future__ import annotations

import pathlib
from typing import Any, cast

import numpy as np

import data
from benchmarks import harness, trained
from benchmarks.harness import Record

RECIPE = (
  "--recipe=fashion_mnist",
  "--dataset=npz",
  "--task=multi_label",
  "--progressive_image_sizes=",
  "--eval_every_epochs=0",
)
WAYS = {
  "label_smoothing 0.2, as the recipe": (),
  "no label_smoothing": ("--label_smoothing=0",),
  "no label_smoothing, focal loss with γ = 2": (
    "--label_smoothing=0",
    "--focal_gamma=2",
  ),
  "no label_smoothing, mixup 0.2": (
    "--label_smoothing=0",
    "--mixup_alpha=0.2",
  ),
}


def write_pairs(path: pathlib.Path, seed: int) -> None:
  """Writes the pairs as a NumPy archive.

  Args:
    path: of the new file.
    seed: of the choice of the pairs.
  """
  random = np.random.default_rng(seed)
  arrays: dict[str, Any] = {}
  parts = data.load(data.SourceOptions("fashion_mnist"))
  for part, source in zip(("train", "test"), parts):
    source = cast(data.Source, source)  # Which are arrays.
    pairs = random.permutation(source.num_examples).reshape(2, -1)
    rows = np.eye(source.num_classes, dtype=np.uint8)[source.labels]
    arrays[f"x_{part}"] = np.concatenate(source.images[pairs], axis=2)
    arrays[f"y_{part}"] = np.maximum(*rows[pairs])
  np.savez(path, **arrays)


def scikit_learns(workdir: pathlib.Path, path: pathlib.Path) -> float:
  """Returns the mean average precision of a run's network, by scikit-learn."""
  import tensorflow as tf
  from sklearn import metrics

  from train_loop.command import trained_model

  model = trained_model.load(workdir).model
  with np.load(path) as arrays:
    images, rows = arrays["x_test"], arrays["y_test"]
  logits = [
    model(tf.cast(images[start : start + 500], tf.float32), training=False)
    for start in range(0, len(images), 500)
  ]
  return float(metrics.average_precision_score(rows, np.concatenate(logits)))


def judged(workdir: pathlib.Path, path: pathlib.Path, final: Record) -> Record:
  """Returns a run's figures with scikit-learn's beside them."""
  kept = {k: v for k, v in final.items() if k != "eval_thresholds"}
  return {**kept, "scikit_learn": scikit_learns(workdir, path)}


def table(rounds: list[dict[str, Record]]) -> str:
  """Returns mean and deviation of each way as a Markdown table."""
  rows = []
  for way in rounds[0]:
    figures = [
      trained.mean_and_deviation([100 * each[way][name] for each in rounds])
      for name in ("eval_mean_average_precision", "eval_f1_macro")
    ]
    differences = [
      abs(each[way]["scikit_learn"] - each[way]["eval_mean_average_precision"])
      for each in rounds
    ]
    rows.append([way, *figures, f"{max(differences):.1e}"])
  heads = [
    "",
    "mean average precision, %",
    "F1 (macro) at one half, %",
    "largest difference to scikit-learn",
  ]
  return harness.markdown_table(heads, rows)


def main() -> None:
  """Runs the program."""
  options = harness.parser(__doc__).parse_args()
  rounds = trained.race(
    {way: (*RECIPE, *flags) for way, flags in WAYS.items()},
    write_pairs,
    table,
    rounds=options.rounds,
    judge=judged,
  )
  harness.write_json(options.json, {"ways": WAYS, "rounds": rounds})


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
