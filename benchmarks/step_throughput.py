# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images per second of a training step on a constant batch.

    python -m benchmarks.step_throughput --json=step_throughput.json

A step is forward, backward and an SGD update with Nesterov momentum, without
input, logging or checkpoints. train_loop's step also sums its metrics and
checks its gradients. The arithmetic is counted from the network: 3 passes x 2 x
the multiply-accumulates of its convolutions and dense layers. The peak is the
rate of a float32 matrix product in the same process; on a GPU, that of its data
sheet.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from benchmarks import cases, contenders, harness
from benchmarks.harness import Column, Contender
from train_loop.config import PRECISIONS

CASES = ("resnet20", "resnet50", "fashion_mnist")
PEERS = ("keras", "orbit", "torch")
COLUMNS = (
  Column("images_per_second", "images/s"),
  Column("gflops", "GFLOP/s", "{:.0f}"),
  Column("matmul_gflops", "peak GFLOP/s", "{:.0f}"),
  Column("share_of_peak", "share", "{:.0%}"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
)


def entrants(
  precision: str, jit_compile: str, peers: Iterable[str] = PEERS
) -> list[Contender]:
  """Returns the contenders; all tuned ones use this precision.

  Args:
    precision: as the flag; ours is beside it in float32 too.
    jit_compile: as the flag.
    peers: which are measured beside ours.
  """
  tuned = f"--precision={precision}"
  compiled = f"--jit_compile={jit_compile}"
  ours = [
    contenders.ours(tuned, compiled),
    contenders.ours(
      tuned,
      compiled,
      "--at_once=2",
      name="train_loop, two micro-batches at once",
    ),
  ]
  if precision != "float32":
    ours.insert(0, contenders.ours(name="train_loop, float32"))
  of_peers = {
    "keras": [
      contenders.keras_as_installed(),
      contenders.keras_tuned(tuned, jit_compile=False),
      contenders.keras_tuned(tuned, jit_compile=True),
    ],
    "orbit": [
      contenders.orbit(onednn=False),
      contenders.orbit(onednn=True),
    ],
    "torch": [
      contenders.torch(tuned),
      contenders.torch(tuned, compile=True),
    ],
  }
  return [*ours, *(c for name in peers for c in of_peers[name])]


def heading(name: str, batch_size: int | None) -> str:
  """Returns the heading of a case's table.

  Args:
    name: of the case.
    batch_size: images per step; None is the case's own.
  """
  case = cases.CASES[name]
  height, width, _ = case.image_shape
  return f"{name}, {height} x {width}, batch {batch_size or case.batch_size}"


def add_cases(parser: argparse.ArgumentParser) -> None:
  """Adds the flag for the networks to train."""
  parser.add_argument(
    "--cases",
    type=harness.names(CASES),
    default=list(CASES),
    help=f"comma-separated, of {', '.join(CASES)} (default: all)",
  )


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  add = parser.add_argument
  add_cases(parser)
  add(
    "--peers",
    type=harness.names(PEERS),
    default=list(PEERS),
    help=f"comma-separated, of {', '.join(PEERS)} (default: all)",
  )
  add(
    "--batch_size",
    type=harness.positive,
    help="images per step (default: 128, 16 and 256)",
  )
  add(
    "--seconds",
    type=float,
    # Long enough that the fixed cost of calling model.fit does not count.
    default=5.0,
    help="shortest time of a measurement (default %(default)s)",
  )
  add(
    "--precision",
    choices=PRECISIONS,
    default="float32",
    help="for all but Orbit and those as installed (default %(default)s)",
  )
  add(
    "--jit_compile",
    choices=("true", "false"),
    default="false",
    help="XLA for train_loop's own step (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("step_throughput", options, harness.machine())
  arguments = [f"--seconds={options.seconds}"]
  if options.batch_size:
    arguments.append(f"--batch_size={options.batch_size}")
  for case in options.cases:
    runs = harness.compare(
      entrants(options.precision, options.jit_compile, options.peers),
      [f"--case={case}", *arguments],
      rounds=options.rounds,
    )
    report.section(
      heading(case, options.batch_size), runs, COLUMNS, ours=contenders.OURS
    )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
