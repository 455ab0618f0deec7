# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the speed of a step changes with batch size and depth.

    python -m benchmarks.cost_of_work --json=cost_of_work.json

Measures train_loop's step alone, on a constant batch: ResNet-20 with batches of
32 to 1024 images; 20 to 110 layers with batches of 128; and one dense layer of
ten parameters, whose time is the fixed cost of a step on the host.
"""

from __future__ import annotations

from benchmarks import contenders, harness
from benchmarks.harness import Column, Contender

BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
DEPTHS = (20, 32, 44, 56, 110)
COLUMNS = (
  Column("images_per_second", "images/s", "{:.0f}"),
  Column("step_seconds", "ms per step", "{:.2f}", 1000.0),
  Column("gflops", "GFLOP/s", "{:.0f}"),
  Column("share_of_peak", "share", "{:.0%}"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
)
EMPTY_COLUMNS = COLUMNS[1:2]


def sections(
  batch_sizes: list[int], depths: list[int]
) -> dict[str, list[Contender]]:
  """Returns the contenders of each table."""
  return {
    "batch size": [
      contenders.ours(
        "--case=resnet20", f"--batch_size={size}", name=f"ResNet-20, {size}"
      )
      for size in batch_sizes
    ],
    "depth": [
      contenders.ours(f"--case=resnet{depth}", name=f"ResNet-{depth}")
      for depth in depths
    ],
    "empty step": [contenders.ours("--case=dense", name="one dense layer")],
  }


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  add = parser.add_argument
  add(
    "--batch_sizes",
    type=harness.positive,
    nargs="+",
    default=list(BATCH_SIZES),
    help="(default %(default)s)",
  )
  add(
    "--depths",
    type=int,
    nargs="+",
    choices=DEPTHS,
    default=list(DEPTHS),
    help="(default %(default)s)",
  )
  add(
    "--seconds",
    type=float,
    default=2.0,
    help="shortest time of a measurement (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("cost_of_work", options, harness.machine())
  tables = sections(options.batch_sizes, options.depths)
  for name, entrants in tables.items():
    runs = harness.compare(
      entrants, [f"--seconds={options.seconds}"], rounds=options.rounds
    )
    report.section(
      name,
      runs,
      EMPTY_COLUMNS if name == "empty step" else COLUMNS,
      ours=entrants[0].name,
      ratios=False,
    )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
