# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=schedule: the table and the picture of the learning rate."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest

from tests import modes, project
from train_loop.command import compose, flags
from train_loop.fields import ConfigError
from train_loop.modes import schedule
from train_loop.schedule import make_schedule

ARGUMENTS = (
  "--mode=schedule",
  "--dataset=digits",
  "--global_batch_size=64",
  "--epochs=4",
  "--warmup_epochs=1",
  "--hold_epochs=0.5",
)


@pytest.mark.parametrize("name", ["cosine", "step", "linear", "constant"])
def test_the_table_is_what_the_run_follows(name, tmp_path):
  pytest.importorskip("sklearn")
  values = flags.parse(
    *ARGUMENTS,
    f"--schedule={name}",
    "--boundary_epochs=2,3",
    f"--workdir={tmp_path}",
  )
  assert schedule.run(values) == 0
  with open(tmp_path / schedule.TABLE, encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  config = compose.plan(values).config
  steps = np.arange(config.loop.total_steps)
  assert [int(row["step"]) for row in rows] == steps.tolist()
  graph = modes.compiled(make_schedule(config), "graph")
  rates = np.array([float(row["learning_rate"]) for row in rows])
  # Cosines of NumPy and TensorFlow may differ in the last bit.
  np.testing.assert_allclose(rates, graph(steps), rtol=2e-7, atol=1e-12)
  warmup = config.schedule.warmup_steps
  phases = [row["phase"] for row in rows]
  assert phases.count("warmup") == warmup
  assert phases.count("hold") == config.schedule.hold_steps
  assert phases[-1] == name
  assert rates[warmup - 1] == rates.max() == rates[warmup]
  assert (tmp_path / schedule.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_stable_schedule_has_its_phases_in_the_table(tmp_path):
  pytest.importorskip("sklearn")
  arguments = (*ARGUMENTS[:-1], "--schedule=warmup_stable_decay")
  values = flags.parse(*arguments, f"--workdir={tmp_path}")
  config = compose.plan(values).config
  total, decay = config.loop.total_steps, config.schedule.decay_steps
  assert decay == round(0.2 * total)  # A fifth, unless decay_epochs is given.
  assert schedule.phases(config) == {
    "warmup": (0, config.schedule.warmup_steps),
    "stable": (config.schedule.warmup_steps, total - decay),
    "decay": (total - decay, total),
  }
  for flag, message in (
    ("--hold_epochs=1", "hold_epochs must be 0 .* got 1"),
    ("--decay_epochs=3.5", "warmup_epochs .* at most epochs: 4 epochs are"),
  ):
    with pytest.raises(ConfigError, match=message):
      compose.plan(flags.parse(*arguments, flag))


def test_it_imports_no_tensorflow_and_leaves_a_workdir_free(tmp_path):
  pytest.importorskip("sklearn")
  code = (
    "import sys\n"
    "from train_loop.command import flags\n"
    "from train_loop.modes import schedule\n"
    "schedule.run(flags.parse(*sys.argv[1:]))\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  command = [sys.executable, "-c", code, *ARGUMENTS, f"--workdir={tmp_path}"]
  done = subprocess.run(
    command, cwd=project.ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert "at its peak" in done.stdout
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {schedule.TABLE, schedule.PICTURE}
