# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The short form of benchmarks.kill_loop; resume_test kills."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import kill_loop
from tests import tiny
from train_loop import models
from train_loop.state import TrainState
from train_loop.workdir import checkpoint_files, checkpoints, run_card

NETWORK = {
  "model": "resnet8",
  "input_shape": [8, 8, 1],
  "num_classes": 4,
  "mean": [0.0],
  "std": [1.0],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Two runs with equal weights, which differ from step to step."""
  state = TrainState(
    models.build_model(**NETWORK, dtype="float32"), tiny.config()
  )
  folders = [tmp_path_factory.mktemp(name) for name in "ab"]
  for folder in folders:
    run_key = folder.name
    saver = checkpoints.Checkpoints(state, folder, keep=2, run_key=run_key)
    for step in (10, 20):
      state.step.assign(step)
      for variable in state.parameters:
        variable.assign(tf.fill(variable.shape, float(step)))
      saver.save()
    card = {"settings": {}, "finished": False, "final": {}}
    card |= {"network": NETWORK, "run_key": run_key}
    run_card.write(folder, card)
  return folders


def test_every_damage_is_found(runs):
  count = len(kill_loop.KINDS)
  results = kill_loop.damage_over_and_over(*runs, damages=count + 1)
  assert len(results) == count == 10
  assert list(results.values()) == [(2, 2), *[(1, 1)] * (count - 1)]


def test_a_damage_that_is_not_found_is_counted(runs, monkeypatch):
  monkeypatch.setattr(checkpoint_files, "require_whole", lambda *_, **__: "")
  results = kill_loop.damage_over_and_over(*runs, damages=10)
  assert results["missing .sha256"] == results["another run's"] == (1, 0)


def test_two_runs_are_compared_bit_for_bit(runs):
  one, other = runs
  assert kill_loop.differences(one, other) == []
  state = TrainState(
    models.build_model(**NETWORK, dtype="float32"), tiny.config()
  )
  saver = checkpoints.Checkpoints(state, other, keep=3)
  assert saver.restore_latest()
  last = state.parameters[-1]
  last.assign(np.nextafter(last.numpy(), np.float32(100)))
  state.step.assign(30)
  saver.save()
  (other / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
  index = len(state.parameters) - 1
  assert kill_loop.differences(one, other) == [
    f"parameters/{index}/.ATTRIBUTES/VARIABLE_VALUE",
    "step/.ATTRIBUTES/VARIABLE_VALUE",
    "metrics.jsonl",
  ]
