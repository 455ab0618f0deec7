# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of benchmarks.soak; memory_test is its short form."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks import soak
from train_loop.command import flags


def samples(**changes):
  """A run of 100 s, of which each quarter has its own numbers."""
  steady = {"memory": [5e8] * 4, "threads": [30] * 4, "files": [20] * 4}
  values = {**steady, **changes}
  return [
    soak.Sample(
      float(second), *(values[name][min(second // 25, 3)] for name in steady)
    )
    for second in range(101)
  ]


@pytest.mark.parametrize(
  ("changes", "grown"),
  [
    ({}, []),
    # It starts small, and an allocator keeps some.
    ({"memory": [1e8, 5e8, 5.1e8, 5.2e8]}, []),
    ({"memory": [5e8, 5e8, 5.2e8, 5.4e8]}, ["memory"]),
    ({"threads": [5, 30, 30, 31]}, ["threads"]),
    ({"files": [5, 20, 22, 24]}, ["open files"]),
    ({"files": [5, 20, 18, 20]}, []),
  ],
)
def test_what_grows_is_named(changes, grown):
  parts = soak.quarters(samples(**changes))
  assert soak.faults(parts) == grown
  assert soak.table(parts).count("\n") >= 5


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
