# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What makes up for rare classes, on a long tail of Fashion-MNIST.

    python -m benchmarks.long_tail --json=long_tail.json

Class k of ten keeps 6000 · 100^(−k/9) of its training images: 6,000 T-shirts,
and 60 ankle boots. Each way is trained by the command for as many steps, with
each seed. The test images are all 10,000, a thousand a class, so that the
balanced accuracy is the plain one.

Reference: Cui et al. 2019, section 5.1, whose long-tailed CIFAR is made so.
"""

from __future__ import annotations

import pathlib
from typing import cast

import numpy as np

import data
from benchmarks import harness, trained
from benchmarks.harness import Record

IMBALANCE = 100
# The recipe fashion_mnist, for a quarter of its images.
RECIPE = (
  "--recipe=fashion_mnist",
  "--dataset=npz",
  "--progressive_image_sizes=",
  "--eval_every_epochs=0",
  "--epochs=6",
)
WAYS = {
  "none": (),
  "weights, β = 0.999": ("--class_balance=weights",),
  "sampling": ("--class_balance=sampling",),
  "logit_adjustment": ("--class_balance=logit_adjustment",),
  "focal loss, γ = 2": ("--focal_gamma=2",),
}


def counts() -> list[int]:
  """Returns the number of images that each class keeps of 6,000."""
  return [round(6000 * IMBALANCE ** (-label / 9)) for label in range(10)]


def write_tail(path: pathlib.Path, seed: int) -> None:
  """Writes the long tail as a NumPy archive.

  Args:
    path: of the new file.
    seed: of the choice of the images that are kept.
  """
  train, test = (
    cast(data.Source, source)  # Which are arrays.
    for source in data.load(data.SourceOptions("fashion_mnist"))
  )
  random = np.random.default_rng(seed)
  kept = []
  for label, count in enumerate(counts()):
    (members,) = np.nonzero(train.labels == label)
    kept.append(random.permutation(members)[:count])
  chosen = random.permutation(np.concatenate(kept))
  np.savez(
    path,
    x_train=train.images[chosen],
    y_train=train.labels[chosen],
    x_test=test.images,
    y_test=test.labels,
  )


def table(rounds: list[dict[str, Record]]) -> str:
  """Returns mean and deviation of each way as a Markdown table."""
  rows = []
  for way in rounds[0]:
    accuracy = [100 * each[way]["eval_balanced_accuracy"] for each in rounds]
    gains = [
      100
      * (
        each[way]["eval_balanced_accuracy"]
        - each["none"]["eval_balanced_accuracy"]
      )
      for each in rounds
    ]
    rows.append(
      [
        way,
        trained.mean_and_deviation(accuracy) + " %",
        "" if way == "none" else trained.mean_and_deviation(gains, "+.2f"),
        ", ".join(f"{value:.2f}" for value in accuracy),
      ]
    )
  heads = ["class_balance", "balanced accuracy", "beside none", "each seed"]
  return harness.markdown_table(heads, rows)


def main() -> None:
  """Runs the program."""
  options = harness.parser(__doc__).parse_args()
  rounds = trained.race(
    {way: (*RECIPE, *flags) for way, flags in WAYS.items()},
    write_tail,
    table,
    rounds=options.rounds,
  )
  harness.write_json(
    options.json, {"counts": counts(), "ways": WAYS, "rounds": rounds}
  )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
