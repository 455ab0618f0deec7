# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Seconds to a test accuracy on Fashion-MNIST.

    python -m benchmarks.time_to_accuracy --json=time_to_accuracy.json

train_loop and PyTorch train the recipe fashion_mnist. `model.fit` trains the
same network as Keras' examples do: Adam at 0.001, batches of 128, no
augmentation. Each contender is evaluated every half epoch on all 10,000 test
images, and stops at the highest target or at the end of its epochs. Tracing and
compiling count; starting the process, reading the data and evaluating do not.
Each round uses another seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Callable

from benchmarks import contenders, harness
from benchmarks.harness import Column, Contender, Record


def seconds_to(curve: Sequence[Record], target: float) -> float | None:
  """Returns when a curve first reached a test accuracy, or None if never.

  Args:
    curve: points with `seconds` and `top1`, in order.
    target: the accuracy, in [0, 1].
  """
  return next(
    (point["seconds"] for point in curve if point["top1"] >= target), None
  )


def key_of(target: float) -> str:
  """Returns the key of a target's seconds in a record."""
  return f"seconds_to_{target:g}"


def racer(
  contender: Contender, targets: Sequence[float], *, seconds: float
) -> Callable[[], Record]:
  """Returns a function that trains a contender with the next seed."""
  seeds = iter(range(2**31))

  def measure() -> Record:
    seed = next(seeds)
    arguments = ["--task=accuracy", f"--target={max(targets)}"]
    record = harness.measure_alone(
      contender, [*arguments, f"--seed={seed}"], seconds=seconds
    )
    reached = {
      key_of(target): seconds_to(record["curve"], target) for target in targets
    }
    return {**reached, **record, "seed": seed}

  return measure


def entrants(options: argparse.Namespace) -> list[Contender]:
  """Returns the contenders."""
  own = [f"--epochs={options.epochs}"] if options.epochs else []
  keras = f"--epochs={options.keras_epochs}"
  return [
    contenders.ours(*own),
    contenders.keras_as_installed(keras),
    contenders.torch(*own),
  ]


def columns(targets: Sequence[float]) -> list[Column]:
  """Returns a column per target, the best accuracy and the whole time."""
  return [
    *(Column(key_of(t), f"seconds to {t:.1%}") for t in targets),
    Column("best_top1", "best top-1", "{:.2%}"),
    Column("seconds", "seconds in total"),
  ]


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__, rounds=1)
  add = parser.add_argument
  add(
    "--targets",
    type=float,
    nargs="+",
    default=[0.93, 0.94],
    help="test accuracies (default %(default)s); the ratio is for the first",
  )
  add("--epochs", type=float, help="epochs (default: the recipe's)")
  add(
    "--keras_epochs",
    type=float,
    default=20.0,
    help="epochs of model.fit (default %(default)s)",
  )
  add(
    "--limit_seconds",
    type=float,
    default=3600.0,
    help="longest time of one training (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("time_to_accuracy", options, harness.machine())
  racers = {
    contender.name: racer(
      contender, options.targets, seconds=options.limit_seconds
    )
    for contender in entrants(options)
  }
  runs = harness.interleave(racers, rounds=options.rounds)
  report.section(
    "time to accuracy",
    runs,
    columns(options.targets),
    ours=contenders.OURS,
    more_is_better=False,
  )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
