# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Seconds from process start to the first finished step.

    python -m benchmarks.start_up --json=start_up.json

train_loop runs its command with the recipe fashion_mnist until it reports its
first step; it reads and checks the data, writes its run card and opens
TensorBoard. `model.fit` runs in a program that reads the same data, builds the
same network, and takes one step on an augmented batch.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Callable

from benchmarks import contenders, harness
from benchmarks.harness import ChildFailed, Column, Contender, Record
from train_loop.workdir.metrics_file import METRICS_FILE

COLUMNS = (Column("seconds", "seconds", "{:.2f}"),)


def our_first_step() -> Record:
  """Runs the command until it reports its first step in metrics.jsonl."""
  start = time.perf_counter()
  with (
    tempfile.TemporaryDirectory() as workdir,
    tempfile.TemporaryFile("w+", errors="replace") as errors,
    subprocess.Popen(
      [
        sys.executable,
        "-m",
        "train_loop.main",
        "--recipe=fashion_mnist",
        "--mode=train",
        "--log_every_steps=1",
        f"--workdir={workdir}",
      ],
      cwd=harness.ROOT,
      stderr=errors,
    ) as process,
  ):
    metrics = pathlib.Path(workdir) / METRICS_FILE
    try:
      while process.poll() is None:
        if metrics.exists() and metrics.stat().st_size:
          return {"seconds": time.perf_counter() - start}
        time.sleep(0.005)
    finally:
      process.kill()
      process.wait()
    errors.seek(0)
    raise ChildFailed(harness.last_line(errors.read()))


def first_step_of(contender: Contender) -> Callable[[], Record]:
  """Returns a function that times a contender's start to its first record."""

  def measure() -> Record:
    start = time.perf_counter()
    harness.measure_alone(contender, ["--task=first_step"], seconds=600.0)
    return {"seconds": time.perf_counter() - start}

  return measure


def main() -> None:
  """Runs the program."""
  options = harness.parser(__doc__).parse_args()
  report = harness.Report("start_up", options, harness.machine())
  peers = [
    contenders.keras_as_installed(),
    contenders.keras_tuned(jit_compile=False),
  ]
  runs = harness.interleave(
    {
      contenders.OURS: our_first_step,
      **{peer.name: first_step_of(peer) for peer in peers},
    },
    rounds=options.rounds,
  )
  report.section(
    "first step", runs, COLUMNS, ours=contenders.OURS, more_is_better=False
  )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
