# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Watches a long run: does it take more memory, threads or files as it goes?

    python -m benchmarks.soak --minutes=60

A run of the command trains for so many minutes, and does all that a run does,
often: it logs every 25 steps, saves every 20, evaluates each epoch, with mixup,
averaged weights and augmentation. Meanwhile its memory (the resident set), its
threads and its open files are counted, from its first evaluation on. At the end
each quarter of the time is a line of a table, and a line is laid through the
memory of the second half.

The exit status is 1 if the run failed, or if its last quarter has more threads
or open files than its second one, or if that line, with twice its standard
error, may rise by 0.1 MiB a minute: so a run of minutes shows nothing.
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

import numpy as np
import psutil

from benchmarks import harness, kill_loop
from train_loop.workdir import metrics_file, run_card

# Long enough for any time; max_minutes ends it, on the digits or on arrays.
FLAGS = (
  *(f for f in kill_loop.FLAGS if not f.startswith("--eval_every_epochs")),
  "--epochs=100",
  "--eval_every_epochs=1",
)
# Bytes a minute. TensorFlow keeps some hundred bytes of each save.
MOST_GROWTH = 0.1 * 2**20
# Samples in a row are alike, so the line goes through the medians of parts.
PARTS = 12
SAMPLES = 720


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


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
  """Returns by how much memory grows in the second half, and how sure that is.

  Args:
    samples: at least 24, at equal distances.

  Returns:
    Bytes a minute, and their standard error.
  """
  late = samples[len(samples) // 2 :]
  medians = [
    [np.median([getattr(s, name) for s in part]) for part in _parts(late)]
    for name in ("seconds", "memory")
  ]
  line, errors = np.polyfit(medians[0], medians[1], 1, cov=True)
  return 60.0 * line[0], 60.0 * float(np.sqrt(errors[0, 0]))


def _parts(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
  """Cuts samples into equal parts."""
  ends = [len(samples) * number // PARTS for number in range(PARTS + 1)]
  return [samples[start:end] for start, end in zip(ends, ends[1:])]


def faults(samples: Sequence[Sample]) -> list[str]:
  """Returns what grew, or may have grown by too much.

  Args:
    samples: as of `growth`; in the first quarter the run still settles.
  """
  _, early, _, late = quarters(samples)
  slope, error = growth(samples)
  grown = []
  if slope + 2.0 * error >= MOST_GROWTH:
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
  if status or len(samples) < 2 * PARTS:
    print(f"FAILED: the run ended with status {status}")
    return 1
  print(table(quarters(samples)))
  slope, error = (bytes_ / 2**20 for bytes_ in growth(samples))
  print(
    f"memory in the second half: {slope:+.4f} MiB a minute, standard error "
    f"{error:.4f}"
  )
  grown = faults(samples)
  if grown:
    print(f"FAILED: not flat: {', '.join(grown)}")
  return int(bool(grown))


def _has_evaluated(workdir: pathlib.Path) -> bool:
  records = metrics_file.read_metrics(workdir)
  return any("eval_top1" in record for record in records)


if __name__ == "__main__":
  sys.exit(main())
