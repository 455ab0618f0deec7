# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of `--accumulate_steps=auto`."""

from __future__ import annotations

import dataclasses
import os

import pytest

from tests import tiny
from train_loop.command import compose, devices, flags
from train_loop.fields import ConfigError
from train_loop.modes import find_learning_rate, train
from train_loop.preflight import micro_batches, trial_cache, trials
from train_loop.preflight.trials import Choice, Job, Trial, TrialProcess
from train_loop.workdir import run_card

pytestmark = pytest.mark.any_keras

PLAIN = Choice(
  onednn=False, tensor_float_32=False, precision="float32", jit_compile=False
)


class Process:
  """Stands in for a `TrialProcess`; gives a rate and a loss, or a failure."""

  def __init__(self, result):
    self.result = result

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    pass

  def run(self, choice, *, timeout):
    if isinstance(self.result, str):
      return Trial(choice, failure=self.result)
    return Trial(choice, *self.result)


def choose(table, monkeypatch, folder, *, cpus=8, batch=128):
  """Returns the number that is taken, and those that were tried.

  The table has the result of each number.
  """
  monkeypatch.setattr(trial_cache, "folder", lambda: folder)
  tried = []

  def start(job, onednn):
    optimizer = job.config.optimizer
    tried.append(optimizer.accumulate_steps)
    assert optimizer.parallel_micro_batches == (tried[-1] > 1)
    return Process(table[tried[-1]])

  job = Job(None, None, None, tiny.config(global_batch_size=batch))
  taken, _ = micro_batches.choose(job, PLAIN, {}, cpus=cpus, start=start)
  return taken, tried


@pytest.mark.parametrize(
  ("table", "taken", "tried"),
  [
    ({1: (100.0, 2.3), 2: (102.0, 2.3)}, 1, [1, 2]),
    ({1: (100.0, 2.3), 2: (120.0, 2.3), 4: (121.0, 2.3)}, 2, [1, 2, 4]),
    (
      {1: (100.0, 2.3), 2: (120.0, 2.3), 4: (150.0, 2.3), 8: (200.0, 2.3)},
      8,
      [1, 2, 4, 8],
    ),
    ({1: (100.0, 2.3), 2: (200.0, 2.9)}, 1, [1, 2]),  # Its loss disagrees.
    ({1: (100.0, 2.3), 2: "no memory"}, 1, [1, 2]),
    ({1: "no memory", 2: (100.0, 2.3)}, 1, [1, 2]),
  ],
)
def test_more_at_once_are_tried_while_they_gain(
  tmp_path, monkeypatch, table, taken, tried
):
  assert choose(table, monkeypatch, tmp_path) == (taken, tried)


def test_one_core_or_a_small_batch_computes_the_whole_batch(
  tmp_path, monkeypatch
):
  table = {1: (100.0, 2.3), 2: (200.0, 2.3)}
  assert choose(table, monkeypatch, tmp_path, cpus=1) == (1, [])
  assert choose(table, monkeypatch, tmp_path, batch=12) == (1, [])


@pytest.mark.parametrize(
  ("gpus", "distribution"), [(1, "none"), (0, "mirrored")]
)
def test_on_a_gpu_and_on_several_replicas_nothing_is_measured(
  gpus, distribution, monkeypatch
):
  monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
  monkeypatch.setattr(micro_batches, "choose", None)
  auto = ("--recipe=digits", "--accumulate_steps=auto", "--logical_devices=2")
  values = flags.parse(*auto, f"--distribution={distribution}")
  planned = compose.plan_of_run(values, {}, with_weights=True)
  same, tried = compose.choose_numbers(planned, PLAIN)
  assert same is planned and not any(tried.values())
  assert planned.config.optimizer.accumulate_steps == 1


def test_it_is_measured_once(tmp_path, monkeypatch, caplog):
  table = {1: (100.0, 2.3), 2: (200.0, 2.3)}
  with caplog.at_level("INFO", "absl"):
    assert choose(table, monkeypatch, tmp_path, cpus=2) == (2, [1, 2])
  for said in (
    "measuring 1 at once",
    "measuring 2 at once",
    "2 at once, 200 i",
  ):
    assert f"accumulate_steps: {said}" in caplog.text
  assert choose(table, monkeypatch, tmp_path, cpus=2) == (2, [])


def make_model(precision):
  """Makes the network if each operation has its share of the cores."""
  assert os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
  return tiny.model(dtype=precision)


def test_a_trial_gives_each_part_its_share_of_the_cores(monkeypatch):
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
  monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
  parts = len(os.sched_getaffinity(0))
  if parts == 1:
    pytest.skip("there is one core")
  config = tiny.config(global_batch_size=32 * parts)
  job = Job(make_model, tiny.dataset, type(None), config).in_parts(parts)
  with TrialProcess(job, onednn=False) as process:
    trial = process.run(PLAIN, timeout=60)
  assert not trial.failure and trial.images_per_second > 0


def test_a_run_takes_the_number_and_keeps_it(tmp_path, monkeypatch):
  calls = []

  def choose(job, choice, workload, *, cpus):
    calls.append(job.config.optimizer.accumulate_steps)
    trial = Trial(choice, 9.0, 2.3, micro_batches=2)
    return 2, [dataclasses.replace(trial, micro_batches=1), trial]

  monkeypatch.setattr(micro_batches, "choose", choose)
  shared = []
  monkeypatch.setattr(trials.machine, "share_cores", shared.append)
  arguments = (
    *("--recipe=digits", "--model=resnet8", "--epochs=0.1"),
    *("--warmup_epochs=0", f"--workdir={tmp_path}"),
  )
  auto = "--accumulate_steps=auto"
  assert train.run(flags.parse(*arguments, auto)) == 0
  card = run_card.read(tmp_path)
  assert calls == [1] and shared[-1] == 2
  assert card["settings"]["accumulate_steps"] == 2
  assert card["settings"]["parallel_micro_batches"] is True
  assert card["flags"]["accumulate_steps"] == 2
  assert [row["micro_batches"] for row in card["micro_batches"]] == [1, 2]
  assert train.run(flags.parse(*arguments, auto)) == 0 and len(calls) == 1
  # The number says too whether they are computed at once.
  again = flags.parse(*arguments, auto, "--noparallel_micro_batches")
  assert train.run(again) == 0 and len(calls) == 1
  with pytest.raises(ConfigError, match="a number in mode find_learning_rate"):
    find_learning_rate.run(
      flags.parse("--recipe=digits", auto, "--workdir=elsewhere")
    )
