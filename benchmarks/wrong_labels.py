# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How well check_labels finds labels that were made wrong on purpose.

    python -m benchmarks.wrong_labels --json=wrong_labels.json

Of the labels of Fashion-MNIST, in training and test images, 3 % are moved to
another class, each equally likely. fashion_mnist is trained on them, for four
epochs, and check_labels asked, with --folds=3. Stated is the precision of the
first 100, and of as many as were moved: how many of these were.
"""

from __future__ import annotations

import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any, cast

import numpy as np

import data
from benchmarks import harness, trained
from benchmarks.harness import Record

SHARE = 0.03
# Shorter than the recipe, for four networks are trained.
RECIPE = ("--recipe=fashion_mnist", "--epochs=4")
FOLDS = 3
PARTS = {"train": "train", "validation": "test"}


def write_moved(path: pathlib.Path, *, seed: int) -> dict[str, np.ndarray]:
  """Writes a NumPy archive; returns which labels of each part were moved.

  Args:
    path: of the new file.
    seed: of the choice.
  """
  random = np.random.default_rng(seed)
  arrays: dict[str, Any] = {}
  moved = {}
  sources = data.load(data.SourceOptions("fashion_mnist"))
  for (part, name), source in zip(PARTS.items(), sources):
    source = cast(data.Source, source)  # Which are arrays.
    moved[part] = random.random(source.num_examples) < SHARE
    by = random.integers(1, source.num_classes, source.num_examples)
    labels = (source.labels + by * moved[part]) % source.num_classes
    arrays |= {f"x_{name}": source.images, f"y_{name}": labels}
  np.savez(path, **arrays)
  return moved


def precision(ranked: pathlib.Path, moved: np.ndarray) -> Record:
  """Returns how many of the first images in a list are moved ones."""
  with ranked.open(encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  hits = moved[[int(row["index"]) for row in rows]]
  suspected = sum(row["suspected"] == "True" for row in rows)
  return {
    "moved": int(moved.sum()),
    "suspected": suspected,
    "precision_at_100": float(hits[:100].mean()),
    "precision_at_as_many_as_moved": float(hits[: moved.sum()].mean()),
    "recall_of_suspected": float(hits[:suspected].sum() / moved.sum()),
  }


def main() -> None:
  """Runs the program."""
  options = harness.parser(__doc__, rounds=1).parse_args()
  rounds: list[Record] = []
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for seed in range(options.rounds):
      path, workdir = folder / f"moved{seed}.npz", folder / f"run{seed}"
      moved = write_moved(path, seed=seed)
      flags = (*RECIPE, "--dataset=npz", f"--data_dir={path}")
      final = trained.train(workdir, *flags, f"--seed={seed}")
      start = time.perf_counter()
      subprocess.run(
        [
          *(sys.executable, "-m", "train_loop.main", "--mode=check_labels"),
          *(f"--workdir={workdir}", f"--folds={FOLDS}"),
        ],
        cwd=harness.ROOT,
        check=True,
      )
      rounds.append(
        {
          "top1_by_moved_labels": final["eval_top1"],
          "seconds_of_the_run": final["seconds"],
          "seconds_of_check_labels": round(time.perf_counter() - start, 1),
          **{
            part: precision(workdir / f"check_labels/{part}.csv", moved[part])
            for part in PARTS
          },
        }
      )
      print(json.dumps(rounds[-1], indent=2), flush=True)
  harness.write_json(options.json, {"rounds": rounds})


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
