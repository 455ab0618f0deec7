# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of benchmarks.soak; memory_test is its short form."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import soak
from train_loop.command import flags


def samples(**changes):
  """A run of 400 s, of which each quarter has its own numbers, with noise."""
  steady = {"memory": [5e8] * 4, "threads": [30] * 4, "files": [20] * 4}
  values = {**steady, **changes}
  noise = np.random.default_rng(0).normal(0.0, 1.0, 401)
  slope, spread = changes.get("slope", 0.0), changes.get("spread", 1e3)
  return [
    soak.Sample(
      float(second),
      values["memory"][min(second // 100, 3)]
      + slope * second / 60
      + spread * noise[second],
      *(values[name][min(second // 100, 3)] for name in ("threads", "files")),
    )
    for second in range(401)
  ]


@pytest.mark.parametrize(
  ("changes", "grown"),
  [
    ({}, []),
    # It starts small.
    ({"memory": [1e8, 4.9e8, 5e8, 5e8]}, []),
    ({"slope": 3e4}, []),
    ({"slope": 2e5}, ["memory"]),
    ({"slope": -2e5}, []),
    # Nobody can tell.
    ({"spread": 1e6}, ["memory"]),
    ({"memory": [5e8, 5e8, 5e8, 5.02e8]}, ["memory"]),
    ({"threads": [5, 30, 30, 31]}, ["threads"]),
    ({"files": [5, 20, 22, 24]}, ["open files"]),
    ({"files": [5, 20, 18, 20]}, []),
  ],
)
def test_what_is_not_flat_is_named(changes, grown):
  found = samples(**changes)
  assert soak.faults(found) == grown
  assert soak.table(soak.quarters(found)).count("\n") >= 5


def test_growth_is_a_slope_with_its_error():
  slope, error = soak.growth(samples(slope=2e5))
  assert abs(slope - 2e5) < 3 * error and 0 < error < 1e3


def test_a_process_is_watched_to_its_end():
  code = "import sys; files = [open('/dev/null') for _ in range(30)]; input()"
  with subprocess.Popen([sys.executable, "-c", code], stdin=-1) as process:
    found = []
    for sample in soak.watch(process.pid, 0.01):
      found.append(sample)
      if sample.files > 30 and process.stdin and not process.stdin.closed:
        process.stdin.close()
  most = max(found, key=lambda sample: sample.files)
  assert most.files > 30 and most.threads == 1 and most.memory > 2**20


def test_its_flags_are_those_of_the_command():
  values = flags.parse(*soak.FLAGS, "--max_minutes=10")
  assert (values.eval_every_epochs, values.max_minutes) == (1.0, 10.0)
