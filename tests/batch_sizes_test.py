# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --global_batch_size=auto."""

from __future__ import annotations

import contextlib
import os
import resource
import signal

import psutil
import pytest

from tests import tiny
from train_loop import machine
from train_loop.command import flags
from train_loop.config import ConfigError
from train_loop.modes import evaluate, schedule, train
from train_loop.preflight import batch_sizes, trial_cache
from train_loop.preflight.trials import Choice, Job, Trial, TrialProcess
from train_loop.workdir import run_card

pytestmark = pytest.mark.any_keras

PLAIN = Choice(
  onednn=False, tensor_float_32=False, precision="float32", jit_compile=False
)
GIB = 2**30


class Process:
  """Stands in for a `TrialProcess`: gives what a table says of each size.

  The table has images per second and the part of the memory, or a failure.
  """

  def __init__(self, table):
    self.table = table
    self.tried = []

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    pass

  def run(self, choice, *, timeout, batch_size):
    self.tried.append(batch_size)
    result = self.table[batch_size]
    if timeout <= 0:
      result = "not tried, for lack of time"
    if isinstance(result, str):
      return Trial(choice, failure=result, batch_size=batch_size)
    rate, memory = result
    return Trial(choice, rate, 2.3, batch_size=batch_size, memory=memory)


def found(table, **options):
  """Returns the size that is taken, those tried, and what the last one said."""
  process = Process(table)
  tried = list(batch_sizes.measured(process, PLAIN, table, **options))
  taken = batch_sizes.fastest(tried)
  return taken and taken.batch_size, process.tried, tried[-1].failure


def test_sizes_double_until_they_gain_nothing():
  rates = {16: 100, 32: 190, 64: 300, 128: 305, 256: 306, 512: 900}
  table = {size: (rate, 0.1) for size, rate in rates.items()}
  assert found(table) == (64, [16, 32, 64, 128, 256], "")
  # Two slow steps together do gain.
  rates = {16: 100, 32: 102, 64: 110, 128: 113, 256: 120}
  table = {size: (rate, 0.1) for size, rate in rates.items()}
  assert found(table)[0] == 256


def test_a_size_that_would_take_too_much_memory_is_not_tried():
  table = {16: (1, 0.2), 32: (2, 0.26), 64: (4, 0.38), 128: (8, 0.62)}
  table[256] = (16, 1.1)
  size, tried, failure = found(table)
  assert (size, tried) == (128, [16, 32, 64, 128])
  assert failure == "not tried: it would take 110% of the memory"
  # Of two replicas that share the memory each has half of it.
  assert found(table, copies=2)[0] == 64
  # Nor is one taken that grew more than the ones before.
  table[64] = (4, 0.85)
  size, tried, failure = found(table)
  assert (size, tried[-1]) == (32, 64)
  assert failure == "takes 85% of the memory"


@pytest.mark.parametrize(
  "failure",
  ["ResourceExhaustedError: OOM", "its process ended with exit code -9"],
)
def test_a_size_that_fails_is_not_taken_and_ends_the_search(failure):
  table = {16: (1, 0.1), 32: (2, 0.1), 64: failure, 128: (4, 0.1)}
  assert found(table) == (32, [16, 32, 64], failure)


def test_the_search_ends_with_its_time():
  times = iter([0.0, 100.0, 200.0, 300.0])
  table = {16: (1, 0.1), 32: (2, 0.1), 64: (4, 0.1)}
  size, _, failure = found(table, clock=lambda: next(times))
  assert (size, failure) == (16, "not tried, for lack of time")


def test_sizes_are_multiples_and_leave_an_epoch_some_steps():
  assert batch_sizes.sizes(1, 1_437) == [16, 32, 64, 128]
  assert batch_sizes.sizes(6, 1_437) == [24, 48, 96]
  assert batch_sizes.sizes(1, 5) == [16]
  assert batch_sizes.sizes(1, 10**9)[-1] == 2**20
  assert batch_sizes.first(1) == 64 and batch_sizes.first(6) == 96


def test_what_was_measured_is_kept_and_told(tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(trial_cache, "folder", lambda: tmp_path)
  free = [64 * GIB]
  monkeypatch.setattr(machine, "available_memory", lambda: free[0])
  process = Process({16: (1000, 0.1), 32: (2000, 0.2), 64: "no memory"})

  def choose():
    process.tried.clear()
    with caplog.at_level("INFO", "absl"):
      return batch_sizes.choose(
        None,
        PLAIN,
        {"batch": [64, 8]},
        [16, 32, 64],
        start=lambda job, onednn: process,
      )

  size, tried = choose()
  assert (size, len(tried), process.tried) == (32, 3, [16, 32, 64])
  assert (
    "global_batch_size: 32 of 16 to 64, with 2,000 images/s and 20% of the "
    "memory (64: no memory)" in caplog.text
  )
  assert choose() == (size, tried) and process.tried == []
  free[0] //= 2
  assert choose()[0] == size and process.tried
  process.table = {16: "no memory"}
  free[0] //= 2
  with pytest.raises(ConfigError, match=r"auto found none .* 16 no memory$"):
    choose()


MADE = []


def make_dataset():
  """Kills its process when it is called the second time."""
  MADE.append(True)
  if len(MADE) == 2:
    os.kill(os.getpid(), signal.SIGKILL)
  return tiny.dataset()


def make_model(precision):
  """Makes the network, in an address space that is limited from then on."""
  limit = psutil.Process().memory_info().vms + GIB
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  return tiny.model(dtype=precision)


def test_a_process_that_memory_ends_does_not_end_the_search():
  job = Job(make_model, make_dataset, type(None), tiny.config())
  with TrialProcess(job, onednn=False) as process:
    tried = list(batch_sizes.measured(process, PLAIN, [32, 64, 128]))
    assert [trial.failure for trial in tried] == [
      "",
      "its process ended with exit code -9",
    ]
    assert 0 < tried[0].memory < 1 and tried[0].images_per_second > 0
    # A new process, too small for so many images.
    large = process.run(PLAIN, timeout=60, batch_size=2**19)
    assert large.failure and not large.images_per_second


def test_containers_limit_the_memory_too(tmp_path, monkeypatch):
  monkeypatch.setattr(machine, "CGROUP", tmp_path)
  free = machine.available_memory()
  assert free == pytest.approx(psutil.virtual_memory().available, rel=0.2)
  (tmp_path / "memory.max").write_text("max\n")
  (tmp_path / "memory.current").write_text("70000\n")
  (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 30000\n")
  assert machine.available_memory() > 100_000
  (tmp_path / "memory.max").write_text("100000\n")
  assert machine.available_memory() == 60_000


def test_a_run_takes_the_size_and_keeps_it(tmp_path, monkeypatch):
  calls = []

  def choose(job, choice, workload, candidates, *, copies):
    assert copies == 1
    calls.append(candidates)
    return 48, [Trial(choice, 9.0, batch_size=48)]

  monkeypatch.setattr(batch_sizes, "choose", choose)
  arguments = (
    *("--recipe=digits", "--model=resnet8", "--epochs=0.1"),
    *("--warmup_epochs=0", "--accumulate_steps=3", f"--workdir={tmp_path}"),
  )

  def run(*others):
    with contextlib.suppress(ConfigError):
      return train.run(flags.parse(*arguments, *others))
    return None

  assert run("--global_batch_size=auto") == 0
  assert calls == [[24, 48, 96]]
  card = run_card.read(tmp_path)
  assert card["settings"]["global_batch_size"] == 48
  assert card["settings"]["total_steps"] == round(0.1 * 1437 / 48)
  assert card["flags"]["global_batch_size"] == 48
  assert [row["batch_size"] for row in card["batch_sizes"]] == [48]
  # It is the run's from now on: auto is what it is, another number is not.
  assert run("--global_batch_size=auto") == 0
  assert run("--global_batch_size=48") == 0
  assert run("--global_batch_size=64") is None
  values = flags.parse(f"--workdir={tmp_path}", "--global_batch_size=auto")
  assert evaluate.run(values) == 0 and values.global_batch_size == 48
  with pytest.raises(ConfigError, match="a number in mode schedule"):
    schedule.run(
      flags.parse("--workdir=x", "--recipe=digits", "--global_batch_size=auto")
    )
  assert len(calls) == 1
