# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The way to a test accuracy: what counts as time, and when it is reached."""

from __future__ import annotations

import pytest

import data
from benchmarks import recipe as recipe_lib
from benchmarks import time_to_accuracy
from benchmarks.peers import child
from data.sources import synthetic


@pytest.fixture
def clock(monkeypatch):
  """Returns a clock that only the test moves."""
  seconds = [0.0]
  monkeypatch.setattr(child.time, "perf_counter", lambda: seconds[0])
  return seconds


def run_race(clock, *, target, accuracies, parts):
  """Races at 2 s a step, with 100 s for each evaluation."""
  results = iter(accuracies)

  def train(steps):
    clock[0] += 2.0 * steps

  def evaluate():
    clock[0] += 100.0
    return next(results)

  race = child.Race(target)
  race.run(train, evaluate, parts)
  return race.record()


def test_evaluation_takes_no_time_and_the_race_ends_at_the_target(clock):
  record = run_race(
    clock, target=0.9, accuracies=[0.5, 0.95], parts=[10, 5, 10]
  )
  assert record["curve"] == [
    {"step": 10, "seconds": 20.0, "top1": 0.5},
    {"step": 15, "seconds": 30.0, "top1": 0.95},
  ]
  assert record["seconds"] == 30.0
  assert record["best_top1"] == 0.95


def test_a_race_that_is_not_won_goes_to_its_end(clock):
  record = run_race(clock, target=0.9, accuracies=[0.8, 0.7], parts=[1, 2])
  assert [point["step"] for point in record["curve"]] == [1, 3]
  assert record["best_top1"] == 0.8


def test_seconds_to_a_target_are_those_of_the_first_point_there():
  curve = [
    {"seconds": 10.0, "top1": 0.90},
    {"seconds": 20.0, "top1": 0.93},
    {"seconds": 30.0, "top1": 0.92},
    {"seconds": 40.0, "top1": 0.94},
  ]
  assert time_to_accuracy.seconds_to(curve, 0.93) == 20.0
  assert time_to_accuracy.seconds_to(curve, 0.94) == 40.0
  assert time_to_accuracy.seconds_to(curve, 0.95) is None
  assert time_to_accuracy.key_of(0.93) == "seconds_to_0.93"


def test_every_round_has_a_seed_of_its_own(monkeypatch):
  calls = []

  def measure_alone(contender, arguments, *, seconds):
    calls.append(arguments)
    return {"curve": [{"seconds": 5.0, "top1": 0.935}], "best_top1": 0.935}

  monkeypatch.setattr(time_to_accuracy.harness, "measure_alone", measure_alone)
  race = time_to_accuracy.racer(None, [0.93, 0.94], seconds=1.0)
  records = [race(), race()]
  assert calls == [
    ["--task=accuracy", "--target=0.94", "--seed=0"],
    ["--task=accuracy", "--target=0.94", "--seed=1"],
  ]
  assert [record["seed"] for record in records] == [0, 1]
  assert records[0]["seconds_to_0.93"] == 5.0
  assert records[0]["seconds_to_0.94"] is None


@pytest.fixture
def recipe(monkeypatch):
  """Returns the recipe on data that need no files: 2,000 examples."""
  sources = synthetic.make(2000, (28, 28, 1))
  monkeypatch.setattr(data, "load", lambda *_: sources)
  return recipe_lib.load("--seed=3", "--epochs=2.5")


def test_the_recipe_is_the_commands_own(recipe):
  assert recipe.values.recipe == "fashion_mnist"
  assert recipe.config.loop.seed == 3
  assert recipe.case.network == recipe.values.model
  assert recipe.case.batch_size == recipe.config.loop.global_batch_size
  assert recipe.case.image_shape == (28, 28, 1)
  assert (recipe.case.mean, recipe.case.std) == recipe.train.mean_std()


def test_half_epochs_are_the_whole_run(recipe):
  parts = recipe.half_epochs
  assert len(parts) == 5
  assert sum(parts) == recipe.config.loop.total_steps
  assert max(parts) - min(parts) <= 1
