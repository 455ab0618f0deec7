# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""An epoch of Fashion-MNIST with everything on, compared with its ceiling.

    python -m benchmarks.end_to_end --json=end_to_end.json

train_loop trains the recipe fashion_mnist through `train_and_evaluate`, with
augmentation, logging every 100 steps, TensorBoard, and a checkpoint each half
epoch. The ceiling is the same number of the same steps on one batch. What the
logging and TensorBoard cost shows the epoch that logs its last step alone.
`model.fit` trains the same network on the same data in batches of the same
size, augmented by Keras' layers; it neither logs nor saves. The clock starts
after the first step has been traced.
"""

from __future__ import annotations

from benchmarks import contenders, harness
from benchmarks.harness import Column, Contender

COLUMNS = (
  Column("images_per_second", "images/s"),
  Column("seconds", "seconds"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
)
UNLOGGED = "train_loop, logs once"


def entrants(pad_crop: int, steps: int | None) -> list[Contender]:
  """Returns the contenders."""
  arguments = [f"--pad_crop={pad_crop}"]
  if steps:
    arguments.append(f"--steps={steps}")
  epoch = ("--task=epoch", *arguments)
  return [
    contenders.ours(*epoch),
    contenders.ours(*epoch, "--log_every_steps=1000000", name=UNLOGGED),
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
    help="steps per epoch, for a shorter one (default: the whole epoch)",
  )
  parser.add_argument(
    "--pad_crop",
    type=int,
    default=2,
    help="shift images by up to this many pixels, in addition to the recipe's "
    "augmentation (default %(default)s)",
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
