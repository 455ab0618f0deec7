# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What to measure on a GPU, in ten minutes, the most valuable row first.

    pip install 'train_loop[cuda,bench]'
    python -m benchmarks.gpu --json=gpu.json

Every row is measured as `step_throughput` and `input_pipeline` measure theirs,
and is in the file as soon as it is done. A row that would not end in time is
left to the next start: the same command goes on with what the file lacks.
`--tiny` tries the program on a machine without a GPU; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import contenders, harness, input_pipeline, step_throughput
from benchmarks.harness import Column, Contender, Runs

COLUMNS = (
  *step_throughput.COLUMNS[:-1],
  Column("peak_gpu_bytes", "GPU GiB", "{:.1f}", 2.0**-30),
)
CASE = "resnet50_d"
# Of --tiny.
BATCH_SIZE, IMAGE_SIZE = 2, 64


@dataclasses.dataclass(frozen=True)
class Row:
  """A table of the report.

  Attributes:
    name: its heading.
    measure: makes the measurements.
    columns: of the table.
    minutes: how long it may take, with all that is compiled.
  """

  name: str
  measure: Callable[[argparse.Namespace], Mapping[str, Runs]]
  columns: Sequence[Column]
  minutes: float


def entrants(precision: str) -> list[Contender]:
  """Returns who trains in a precision: ours, PyTorch, and model.fit."""
  tuned = f"--precision={precision}"
  return [
    contenders.ours(tuned, "--jit_compile=true"),
    contenders.torch(tuned, compile=True),
    contenders.keras_tuned(tuned, jit_compile=True),
  ]


def steps(precision: str) -> Callable[[argparse.Namespace], Mapping[str, Runs]]:
  """Returns what measures training steps in a precision."""

  def measure(options: argparse.Namespace) -> Mapping[str, Runs]:
    arguments = [f"--case={CASE}", f"--seconds={options.seconds}"]
    if options.tiny:
      arguments.append(f"--image_size={IMAGE_SIZE}")
    batch_size = BATCH_SIZE if options.tiny else options.batch_size
    if batch_size:
      arguments.append(f"--batch_size={batch_size}")
    return harness.compare(
      entrants(precision), arguments, rounds=options.rounds
    )

  return measure


def records(options: argparse.Namespace) -> Mapping[str, Runs]:
  """Measures the input from TFRecord files, at 224 pixels."""
  return input_pipeline.records(options.rounds, options.seconds)


def rows(*, tiny: bool = False) -> list[Row]:
  """Returns the rows, the most valuable first.

  Args:
    tiny: whether images and batch are those of --tiny.
  """
  sizes = "224 x 224, batch 256"
  if tiny:
    sizes = f"{IMAGE_SIZE} x {IMAGE_SIZE}, batch {BATCH_SIZE}"
  precisions = {
    "mixed_float16": "float16",
    "mixed_bfloat16": "bfloat16",
    "float32": "float32 (TensorFloat-32)",
  }
  half, *others = [
    Row(f"ResNet-50-D, {sizes}, {name}", steps(precision), COLUMNS, 4.0)
    for precision, name in precisions.items()
  ]
  return [half, Row("records", records, input_pipeline.COLUMNS, 1.5), *others]


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  add = parser.add_argument
  add("--batch_size", type=harness.positive, help="images per step, not 256")
  add(
    "--minutes",
    type=float,
    default=9.5,
    help="start no row that may take longer than this (default %(default)s)",
  )
  add(
    "--seconds",
    type=float,
    default=5.0,
    help="shortest time of a measurement (default %(default)s)",
  )
  add("--tiny", action="store_true", help="try it on a machine without a GPU")
  options = parser.parse_args()
  start = time.monotonic()
  described = harness.machine()
  if not described["gpus"] and not options.tiny:
    parser.error("TensorFlow sees no GPU; --tiny tries the program without one")
  report = harness.Report("gpu", options, described)
  done = report.kept()
  for row in rows(tiny=options.tiny):
    if row.name in done:
      harness.note(f"{row.name}: measured before")
      continue
    if (time.monotonic() - start) / 60 + row.minutes > options.minutes:
      print(f"{row.name}: left to the next start of the same command")
      sys.exit(1)
    measured = row.measure(options)
    report.section(row.name, measured, row.columns, ours=contenders.OURS)


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
