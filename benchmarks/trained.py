# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the command in a process of its own, and reads what the run left."""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

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


def race(
  ways: Mapping[str, Sequence[str]],
  write_data: Callable[[pathlib.Path, int], Any],
  table: Callable[[list[dict[str, Record]]], str],
  *,
  rounds: int,
  judge: Callable[[pathlib.Path, pathlib.Path, Record], Record] = (
    lambda workdir, path, final: final
  ),
) -> list[dict[str, Record]]:
  """Trains in several ways with several seeds, and prints each result.

  Args:
    ways: the flags of each.
    write_data: writes a round's data to a path, with a seed.
    table: from the rounds to what is printed after each.
    rounds: how many seeds.
    judge: from a run's workdir, its data and its figures to what is kept.

  Returns:
    The figures of each way in each round.
  """
  found: list[dict[str, Record]] = []
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for seed in range(rounds):
      path = folder / f"{seed}.npz"
      write_data(path, seed)
      found.append({})
      for number, (way, flags) in enumerate(ways.items()):
        workdir = folder / f"{seed}-{number}"
        final = train(workdir, *flags, f"--data_dir={path}", f"--seed={seed}")
        found[-1][way] = judge(workdir, path, final)
        print(f"seed {seed}, {way}: {found[-1][way]}", flush=True)
      print(f"\n{table(found)}\n", flush=True)
  return found


def mean_and_deviation(values: Sequence[float], form: str = ".2f") -> str:
  """Returns the mean of some runs, ± the deviation of the sample."""
  deviation = statistics.stdev(values) if len(values) > 1 else 0.0
  return f"{statistics.mean(values):{form}} ± {deviation:{form.lstrip('+')}}"
