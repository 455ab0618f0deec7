# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the time of train_loop's training step goes, by type of operation.

    python -m benchmarks.step_profile --json=step_profile.json

Runs some steps on a constant batch under TensorFlow's profiler, on a CPU.
Operations of one step may run in parallel, so their times add up to more than
the step takes; the share is the share of that sum.
"""

from __future__ import annotations

from benchmarks import contenders, harness, step_throughput
from benchmarks.harness import Column, Record, Runs
from train_loop.config import PRECISIONS

COLUMNS = (
  Column("share", "share", "{:.1%}"),
  Column("seconds", "ms per step", "{:.2f}", 1000.0),
  Column("calls", "calls per step", "{:.0f}"),
)
# Operations below this share of the time are added up as "all others".
LEAST_SHARE = 0.01


def rows(record: Record) -> dict[str, Runs]:
  """Returns the slowest operations first, and all others in one row.

  Args:
    record: the number of `steps`, and `operations`: `seconds` and `calls` for
      each type of operation.
  """
  total = sum(found["seconds"] for found in record["operations"].values())
  shown: dict[str, Record] = {}
  others = {"seconds": 0.0, "calls": 0.0}
  for name, found in sorted(
    record["operations"].items(), key=lambda item: -item[1]["seconds"]
  ):
    row = {key: found[key] / record["steps"] for key in others}
    if found["seconds"] >= LEAST_SHARE * total:
      shown[name] = row
    else:
      others = {key: others[key] + row[key] for key in others}
  shown["all others"] = others
  return {
    name: Runs([{**row, "share": row["seconds"] * record["steps"] / total}])
    for name, row in shown.items()
  }


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__, rounds=1)
  step_throughput.add_cases(parser)
  parser.add_argument(
    "--precision",
    choices=PRECISIONS,
    default="float32",
    help="(default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("step_profile", options, harness.machine())
  for case in options.cases:
    record = harness.measure_alone(
      contenders.ours("--task=profile"),
      [f"--case={case}", f"--precision={options.precision}"],
      seconds=600.0,
    )
    found = rows(record)
    report.section(case, found, COLUMNS, ours=next(iter(found)), ratios=False)


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
