# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Watches a long run: does it take more memory, threads or files as it goes?

    python -m benchmarks.soak --minutes=60

A run of the command trains for so many minutes, and does all that a run does,
often: it logs every 25 steps, saves every 20, evaluates each epoch, with mixup,
averaged weights and augmentation. Meanwhile its memory (the resident set), its
threads and its open files are counted, from its first evaluation on. At the end
each quarter of the time is a line of a table.

The exit status is 1 if the run failed, or if its last quarter has more threads
or open files than its second one, or more memory by 2% and 16 MiB.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import psutil

from benchmarks import harness, kill_loop
from train_loop.workdir import metrics_file, run_card

# Long enough for any time; max_minutes ends it, on the digits or on arrays.
FLAGS = (
  *(f for f in kill_loop.FLAGS if not f.startswith("--eval_every_epochs")),
  "--epochs=100",
  "--eval_every_epochs=1",
)
# Memory may grow by this part and so many bytes: an allocator keeps some.
GROWTH = 1.02
SLACK = 2**24
SAMPLES = 240


@dataclasses.dataclass(frozen=True)
class Sample:
  """What a process has at a moment.

  Attributes:
    seconds: since its start.
    memory: bytes of the resident set.
    threads: how many.
    files: open descriptors.
  """

  seconds: float
  memory: float
  threads: float
  files: float


def watch(pid: int, every: float) -> Iterator[Sample]:
  """Yields samples of a process until it ends.

  Args:
    pid: of the process.
    every: seconds between samples.
  """
  process = psutil.Process(pid)
  began = time.monotonic()
  while True:
    try:
      with process.oneshot():
        if process.status() == psutil.STATUS_ZOMBIE:
          return
        yield Sample(
          time.monotonic() - began,
          process.memory_info().rss,
          process.num_threads(),
          process.num_fds(),
        )
    except psutil.NoSuchProcess:
      return
    time.sleep(every)


def quarters(samples: Sequence[Sample]) -> list[Sample]:
  """Returns the median of each quarter of the time."""
  end = samples[-1].seconds
  found: list[Sample] = []
  for number in range(4):
    inside = [s for s in samples if number <= 4 * s.seconds / end < number + 1]
    # The last sample is at the end itself.
    inside = inside or [samples[-1]]
    found.append(
      Sample(
        *(
          statistics.median(getattr(sample, field.name) for sample in inside)
          for field in dataclasses.fields(Sample)
        )
      )
    )
  return found


def faults(parts: Sequence[Sample]) -> list[str]:
  """Returns what grew from the second quarter to the last.

  Args:
    parts: four, as of `quarters`; in the first one it still settles.
  """
  _, early, _, late = parts
  grown = []
  if late.memory > GROWTH * early.memory + SLACK:
    grown.append("memory")
  if late.threads > early.threads:
    grown.append("threads")
  if late.files > early.files:
    grown.append("open files")
  return grown


def table(parts: Sequence[Sample]) -> str:
  """Returns the quarters as a table."""
  rows = [
    [
      f"{part.seconds / 60:.1f}",
      f"{part.memory / 2**20:,.1f}",
      f"{part.threads:g}",
      f"{part.files:g}",
    ]
    for part in parts
  ]
  heads = ["minute", "memory, MiB", "threads", "open files"]
  return harness.markdown_table(heads, rows)


def main(argv: Sequence[str] | None = None) -> int:
  """Trains and watches; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--minutes", type=float, default=60.0)
  minutes = parser.parse_args(argv).minutes
  with tempfile.TemporaryDirectory() as folder:
    log = pathlib.Path(folder, "log.txt")
    with log.open("w") as written:
      process = subprocess.Popen(
        [
          *(sys.executable, "-m", "train_loop.main", *FLAGS),
          *(f"--workdir={folder}/run", f"--max_minutes={minutes}"),
        ],
        stdout=written,
        stderr=subprocess.STDOUT,
      )
      run = pathlib.Path(folder, "run")
      while process.poll() is None and not _has_evaluated(run):
        time.sleep(1.0)
      samples = list(watch(process.pid, 60.0 * minutes / SAMPLES))
      status = process.wait()
    last = harness.last_line(log.read_text())
    spent = (run_card.read(run) or {}).get("budget", {})
  print(f"{last}\nbudget: {spent}")
  if status or not samples:
    print(f"FAILED: the run ended with status {status}")
    return 1
  parts = quarters(samples)
  print(table(parts))
  grown = faults(parts)
  if grown:
    print(f"FAILED: more {', '.join(grown)} in the last quarter than before")
  return int(bool(grown))


def _has_evaluated(workdir: pathlib.Path) -> bool:
  records = metrics_file.read_metrics(workdir)
  return any("eval_top1" in record for record in records)


if __name__ == "__main__":
  sys.exit(main())
