# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the command in a process of its own, and reads what the run left."""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import harness
from benchmarks.harness import Record


def train(workdir: pathlib.Path, *arguments: str) -> Record:
  """Trains by the command.

  Args:
    workdir: the run's new folder.
    *arguments: its other flags.

  Returns:
    The last figures of the run's card, and `seconds`, those of the command.
  """
  start = time.perf_counter()
  done = subprocess.run(
    [
      *(sys.executable, "-m", "train_loop.main"),
      *(f"--workdir={workdir}", *arguments),
    ],
    cwd=harness.ROOT,
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
  )
  if done.returncode:
    raise SystemExit(done.stderr.strip().splitlines()[-1])
  seconds = time.perf_counter() - start
  card = json.loads((workdir / "run_card.json").read_text(encoding="utf-8"))
  return {**card["final"], "seconds": round(seconds, 1)}


def mean_and_deviation(values: Sequence[float], form: str = ".2f") -> str:
  """Returns the mean of some runs, ± the deviation of the sample."""
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return f"{statistics.mean(values):{form}} ± {deviation:{form.lstrip('+')}}"
