# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning beside training from scratch, on 100 examples a class.

    python -m benchmarks.fine_tuning --json=fine_tuning.json

Five classes of Fashion-MNIST are learnt from all their 30,000 training images,
once. Then the other five are learnt from 100 and 10 images each: from scratch,
and from the weights of the first network; by the command, with the same
network. Of a T-shirt and a shirt, a dress and a coat, a sandal and a sneaker
one is in each five.

Each round has a seed of its own, for the examples, the weights and the order.
Test images are all 5,000 of the five classes.

Hyperparameters are chosen with --held_out: evaluated on training images that
are not among the examples.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

import data
from benchmarks import harness, trained
from benchmarks.harness import Record

NUM_CLASSES, CLASSES = 10, 5  # Of all, and of each half.
HELD_OUT = 5000
# The recipe fashion_mnist, for other numbers of images.
RECIPE = (
  "--recipe=fashion_mnist",
  "--dataset=npz",
  "--eval_every_epochs=0",
  "--progressive_image_sizes=",
)
FEW = (
  *RECIPE,
  "--global_batch_size=64",
  "--accumulate_steps=1",
  "--noparallel_micro_batches",
)
SCRATCH = "from scratch"
TUNED = "fine-tuned"
FIRST = (*RECIPE, "--epochs=2", "--warmup_epochs=0.5")
# The same for both, in as many steps: chosen with --held_out.
WAYS = {
  SCRATCH: (*FEW, "--base_learning_rate=0.2"),
  TUNED: (*FEW, "--base_learning_rate=0.2"),
}
EXAMPLES_SEEN = 15_000  # Of five classes, each a number of times.


def write_examples(
  folder: pathlib.Path,
  *,
  first: Sequence[int],
  per_class: int,
  seed: int,
  held_out: bool,
) -> None:
  """Writes first.npz and others.npz: all images of some classes, few of others.

  Args:
    folder: gets the files.
    first: the classes of the former; the latter has those that are left.
    per_class: the number of training images of each of the latter's classes.
    seed: of the choice of these images.
    held_out: evaluate on training images that were not chosen, instead of the
      test images.
  """
  train, test = (
    cast(data.Source, source)  # Which are arrays.
    for source in data.load(data.SourceOptions("fashion_mnist"))
  )
  random = np.random.default_rng(seed)
  arrays: dict[str, dict[str, Any]] = {"first": {}, "others": {}}
  for name, classes in (("first", first), ("others", others_than(first))):
    number = np.full(10, -1)
    number[list(classes)] = range(len(classes))
    for part, source in (("train", train), ("test", test)):
      labels = number[source.labels]
      kept = random.permutation(np.flatnonzero(labels >= 0))
      if name == "others" and part == "train":
        groups = [kept[labels[kept] == k] for k in range(len(classes))]
        chosen = np.concatenate([group[:per_class] for group in groups])
        rest = np.concatenate([group[per_class:] for group in groups])
      elif name == "others" and held_out:
        source, labels = train, number[train.labels]
        chosen = random.permutation(rest)[:HELD_OUT]
      else:
        chosen = kept
      arrays[name][f"x_{part}"] = source.images[chosen]
      arrays[name][f"y_{part}"] = labels[chosen]
  for name, content in arrays.items():
    np.savez(folder / f"{name}.npz", **content)


def others_than(classes: Sequence[int]) -> list[int]:
  """Returns the classes that are left."""
  return [label for label in range(NUM_CLASSES) if label not in classes]


def train(workdir: pathlib.Path, examples: str, *arguments: str) -> Record:
  """Trains by the command, in a process of its own; returns its result."""
  path = workdir.parent / f"{examples}.npz"
  final = trained.train(workdir, f"--data_dir={path}", *arguments)
  return {"top1": final["eval_top1"], "seconds": final["seconds"]}


def round_of(
  folder: pathlib.Path,
  options: argparse.Namespace,
  *,
  per_class: int,
  seed: int,
) -> dict[str, Record]:
  """Trains in each way with one seed."""
  write_examples(
    folder,
    first=options.first,
    per_class=per_class,
    seed=seed,
    held_out=options.held_out,
  )
  weights = f"--weights={folder / 'pretrained'}"
  if not (folder / "pretrained").exists():
    train(folder / "pretrained", "first", *FIRST)
  return {
    way: train(
      folder / f"{way}, {per_class} a class, seed {seed}",
      "others",
      *flags,
      f"--epochs={EXAMPLES_SEEN / (CLASSES * per_class):g}",
      *([weights] if way == TUNED else []),
      f"--seed={seed}",
    )
    for way, flags in WAYS.items()
  }


def table(rounds: Sequence[dict[str, Record]]) -> str:
  """Returns mean and deviation of each way as a Markdown table."""
  rows = []
  for way in WAYS:
    top1 = [100 * results[way]["top1"] for results in rounds]
    deviation = statistics.stdev(top1) if len(top1) > 1 else 0.0
    seconds = statistics.mean(results[way]["seconds"] for results in rounds)
    rows.append(
      [
        way,
        f"{statistics.mean(top1):.2f} ± {deviation:.2f} %",
        ", ".join(f"{value:.2f}" for value in top1),
        f"{seconds:.0f}",
      ]
    )
  heads = ["", "top-1, mean ± sd", "each seed", "seconds"]
  return harness.markdown_table(heads, rows)


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  add = parser.add_argument
  add(
    "--first",
    type=lambda text: [int(label) for label in text.split(",")],
    default=[0, 1, 3, 5, 8],
    help="the classes that are learnt first (default %(default)s)",
  )
  add(
    "--per_class",
    type=harness.positive,
    nargs="+",
    default=[100, 10],
    help="images of each other class (default %(default)s)",
  )
  add(
    "--held_out",
    action="store_true",
    help="evaluate on training images that were not chosen",
  )
  options = parser.parse_args()
  rounds: dict[int, list[dict[str, Record]]] = {}
  with tempfile.TemporaryDirectory() as name:
    for per_class in options.per_class:
      rounds[per_class] = []
      for seed in range(options.rounds):
        rounds[per_class].append(
          round_of(pathlib.Path(name), options, per_class=per_class, seed=seed)
        )
        print(f"{per_class} images a class", flush=True)
        print(f"\n{table(rounds[per_class])}\n", flush=True)
  harness.write_json(
    options.json, {"options": vars(options), "ways": WAYS, "rounds": rounds}
  )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
