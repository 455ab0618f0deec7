# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The largest batch of ResNet-50-D at 224 px that is trained in so much memory.

    python -m benchmarks.memory --json=memory.json

Each contender takes steps in bfloat16 on a constant batch, in a process for
each size of batch; what counts is the most that the process ever had. From two
sizes follows what an image takes, hence the largest size that fits, which is
then measured too; if it does not fit, the next smaller one is. Sizes are
multiples of eight. On a GPU the memory is the host's all the same.
"""

from __future__ import annotations

import functools

from benchmarks import contenders, harness
from benchmarks.harness import Column, Contender, Record

COLUMNS = (
  Column("batch_size", "largest batch", "{:.0f}"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
  Column("bytes_per_image", "MiB an image", "{:.1f}", 2.0**-20),
  Column("images_per_second", "images/s"),
)
MULTIPLE = 8
SECONDS = 1800.0


def entrants() -> list[Contender]:
  """Returns the contenders."""
  step = ("--task=step", "--case=resnet50_d", "--seconds=0.1")
  half = (*step, "--precision=mixed_bfloat16")
  return [
    contenders.ours(*half, "--recompute=blocks"),
    contenders.ours(*half, name="train_loop, no block again"),
    contenders.torch(*half),
  ]


def largest(
  contender: Contender, limit: float, sizes: tuple[int, int]
) -> Record:
  """Returns the measurement of the largest batch that fits.

  Args:
    contender: takes the steps.
    limit: bytes.
    sizes: of the batches that are measured first.

  Raises:
    ChildFailed: a measurement failed, or not even the smallest batch fits.
  """

  def measured(size: int) -> Record:
    harness.note(f"{contender.name}: batch {size}")
    return harness.measure_alone(
      contender, [f"--batch_size={size}"], seconds=SECONDS
    )

  first, second = (measured(size)["peak_rss_bytes"] for size in sizes)
  per_image = (second - first) / (sizes[1] - sizes[0])
  size = sizes[0] + int((limit - first) / per_image)
  size -= size % MULTIPLE
  while size > 0:
    record = measured(size)
    if record["peak_rss_bytes"] <= limit:
      return {**record, "batch_size": size, "bytes_per_image": per_image}
    size -= MULTIPLE
  raise harness.ChildFailed("no batch fits")


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__, rounds=1)
  parser.add_argument(
    "--gib",
    type=float,
    default=8.0,
    help="of memory, for all that the process has (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("memory", options, harness.machine())
  limit = options.gib * 2**30
  measures = {
    contender.name: functools.partial(largest, contender, limit, (16, 48))
    for contender in entrants()
  }
  runs = harness.interleave(measures, rounds=options.rounds)
  report.section(
    f"resnet50_d, 224 x 224, {options.gib:g} GiB",
    runs,
    COLUMNS,
    ours=contenders.OURS,
  )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
