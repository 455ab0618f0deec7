# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""An epoch of Fashion-MNIST with everything switched on, against its ceiling.

    python -m benchmarks.end_to_end --json=end_to_end.json

train_loop trains by the recipe fashion_mnist through `train_and_evaluate`, with
augmentation, logging every 100 steps, TensorBoard, and a checkpoint each half
epoch. The ceiling is as many of the same steps on one batch. `model.fit` trains
the same network on the same data in the same batches, augmented by Keras'
layers, and neither logs nor saves. The clock starts when the first step has
been traced.
"""

from __future__ import annotations

from benchmarks import contenders, harness
from benchmarks.harness import Column, Contender

COLUMNS = (
  Column("images_per_second", "images/s"),
  Column("seconds", "seconds"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
)


def entrants(pad_crop: int, steps: int | None) -> list[Contender]:
  """Returns who is measured."""
  arguments = [f"--pad_crop={pad_crop}"]
  if steps:
    arguments.append(f"--steps={steps}")
  epoch = ("--task=epoch", *arguments)
  return [
    contenders.ours(*epoch),
    contenders.ours("--task=ceiling", *arguments, name="the ceiling"),
    contenders.keras_as_installed(*epoch),
    contenders.keras_tuned(*epoch, jit_compile=False),
  ]


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  parser.add_argument(
    "--steps",
    type=harness.positive,
    help="steps of the epoch, to make it shorter; unset is the whole of it",
  )
  parser.add_argument(
    "--pad_crop",
    type=int,
    default=2,
    help="pixels that images are shifted by, besides what the recipe does "
    "(default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("end_to_end", options, harness.machine())
  runs = harness.compare(
    entrants(options.pad_crop, options.steps), rounds=options.rounds
  )
  report.section("epoch", runs, COLUMNS, ours=contenders.OURS)


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
