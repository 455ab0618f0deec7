# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what follows a gradient that is not finite."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import Diverged, Stopped, budget, nonfinite, train_and_evaluate
from train_loop import run_steps as run_steps_lib
from train_loop.config import ConfigError
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import (
  checkpoint_files,
  checkpoints,
  flight_recorder,
  metrics_file,
)

pytestmark = pytest.mark.any_keras


def batches(*bad):
  """Returns the function from a place to batches; those at `bad` hold NaN."""
  images, labels = tiny.arrays(32 * 64)

  def dataset(place):
    def batch(number):
      rows = tf.range(32, dtype=tf.int64) + 32 * (number % 64)
      found = tf.cast(tf.gather(images, rows), tf.float32)
      is_bad = tf.reduce_any(number == tf.constant([-1, *bad], tf.int64))
      found = tf.where(is_bad, np.nan, found)
      return {"image": found, "label": tf.gather(labels, rows)}

    return tf.data.Dataset.range(place, 10**6).map(batch)

  return dataset


def config(**changes):
  settings = {
    "log_every_steps": 5,
    "checkpoint_every_steps": 5,
    "eval_every_steps": 0,
    "steps_per_loop": 3,
    **changes,
  }
  return tiny.config(**settings)


def train(workdir, *bad, model=None, should_stop=lambda: False, **changes):
  """Trains on `batches`; returns the weights."""
  model = model or tiny.model()
  train_and_evaluate(
    model,
    batches(*bad),
    None,
    config(**changes),
    workdir,
    should_stop=should_stop,
  )
  return tiny.values(model.variables)


def steps_of(workdir):
  records = metrics_file.read_metrics(workdir)
  return [record["step"] for record in records]


def test_a_lost_step_changes_nothing_but_the_step(tmp_path):
  settings = config(on_nonfinite="skip")
  state = TrainState(tiny.model(drop_probability=0.3), settings)
  run_steps = run_steps_lib.make_run_steps(
    state, settings, schedule=make_schedule(settings)
  )
  before = tiny.values(state.model.variables)
  run_steps(iter(batches(0, 1)(0)), tf.constant(2, tf.int64))
  for old, new in zip(before, tiny.values(state.model.variables)):
    np.testing.assert_array_equal(old, new)
  run_steps(iter(batches()(2)), tf.constant(1, tf.int64))
  counts = state.lost.checkpoint_items()
  assert {name: int(v.numpy()) for name, v in counts.items()} == {
    "total": 2,
    "in_a_row": 0,
    "rollbacks": 0,
    "order_offset": 0,
  }
  changed = zip(before, tiny.values(state.model.variables))
  assert all((old != new).any() for old, new in changed if old.ndim > 1)


def test_stop_names_the_step_and_leaves_the_state_before_it(tmp_path):
  model = tiny.model(drop_probability=0.3)
  # A call takes steps 5 to 7.
  with pytest.raises(Diverged, match="gradient of step 6 is not") as info:
    train(tmp_path, 6, model=model, on_nonfinite="stop")
  assert info.value.step == 6
  assert str(tmp_path / "flight") in str(info.value)
  flight = flight_recorder.read(tmp_path)
  assert (flight["step"], flight["order_offset"], flight["seed"]) == (6, 0, 0)
  rate = float(make_schedule(config())(tf.constant(6)))
  assert flight["learning_rate"] == pytest.approx(rate)
  assert all(v["not_finite"] == 0 for v in flight["variables"])
  assert any("slot of" in v["name"] for v in flight["variables"])

  # The same as of a run that was stopped there.
  calls = iter(range(9))
  other = tiny.model(drop_probability=0.3)
  with pytest.raises(Stopped, match="step 6 of"):
    train(
      tmp_path / "stopped",
      model=other,
      steps_per_loop=1,
      should_stop=lambda: next(calls) == 5,
    )
  for one, two in zip(tiny.values(model.variables), other.variables):
    np.testing.assert_array_equal(one, two)


def test_skip_goes_on_and_stops_after_so_many_in_a_row(tmp_path, caplog):
  skip = {"on_nonfinite": "skip", "max_skipped_steps": 2}
  with caplog.at_level("WARNING", "absl"):
    weights = train(tmp_path / "one", 7, 8, 20, **skip)
  assert "1 step skipped before step 8, for the gradient was" in caplog.text
  assert all(np.isfinite(w).all() for w in weights)
  assert steps_of(tmp_path / "one") == [5, 10, 15, 20, 24]
  records = metrics_file.read_metrics(tmp_path / "one")
  assert [r["skipped_steps"] for r in records] == [0, 2, 0, 0, 1]

  with pytest.raises(
    Diverged, match="step 9 is not finite, nor of the 2"
  ) as info:
    train(tmp_path / "three", 7, 8, 9, **skip)
  assert info.value.step == 9
  assert flight_recorder.read(tmp_path / "three")["lost_in_a_row"] == 3


def test_rollback_goes_on_with_the_data_after_the_window(tmp_path, caplog):
  """As a run that was given the batches without those left out."""
  roll = {"on_nonfinite": "rollback", "max_rollbacks": 2}
  with caplog.at_level("WARNING", "absl"):
    weights = train(tmp_path / "back", 7, 17, **roll)
  assert "step 7 is not finite: back to step 5" in caplog.text
  # Place 17 is that of step 14 then, which leads back to step 10.
  assert "step 14 is not finite: back to step 10" in caplog.text
  assert steps_of(tmp_path / "back") == [5, 10, 15, 20, 24]

  places = tf.constant([*range(5), *range(8, 13), *range(18, 64)], tf.int64)
  order = tf.data.Dataset.from_tensor_slices(places)
  model = tiny.model()
  train_and_evaluate(
    model,
    lambda step: order.skip(step).flat_map(lambda p: batches()(p).take(1)),
    None,
    config(),
    tmp_path / "picked",
  )
  for ours, theirs in zip(weights, tiny.values(model.variables)):
    np.testing.assert_array_equal(ours, theirs)

  # A run that goes on goes on with the offset.
  with pytest.raises(Stopped, match="step 20 of"):
    train(
      tmp_path / "parts",
      7,
      17,
      **roll,
      should_stop=lambda: steps_of(tmp_path / "parts")[-1:] == [20],
    )
  parts = train(tmp_path / "parts", 7, 17, model=tiny.model(seed=4), **roll)
  for ours, theirs in zip(weights, parts):
    np.testing.assert_array_equal(ours, theirs)


def test_rollbacks_are_bounded_and_go_further_back_each_time(tmp_path, caplog):
  with (
    caplog.at_level("WARNING", "absl"),
    pytest.raises(Diverged, match="step 5 is not finite after 3 rollbacks"),
  ):
    train(tmp_path, *range(12, 99), on_nonfinite="rollback")
  found = [text.partition(": ")[2][:15] for text in caplog.messages]
  assert found == ["back to step 10", "back to step 5,", "back to step 5,"]


def test_rollback_passes_over_a_checkpoint_that_is_not_finite(tmp_path):
  settings = config(on_nonfinite="rollback")
  state = TrainState(tiny.model(), settings)
  saver = checkpoints.Checkpoints(state, tmp_path, keep=9)
  guard = nonfinite.Guard(state, settings, saver, tmp_path)
  for step, value in ((2, 1.0), (4, np.inf)):
    state.step.assign(step)
    state.parameters[1].assign(tf.fill(state.parameters[1].shape, value))
    saver.save()
  length = budget.PlannedLength(settings, state)
  assert not guard.went_back(length)
  state.lost.fatal_step.assign(6)
  assert guard.went_back(length)
  assert int(state.step.numpy()) == 2
  # A start right after it goes on from there, too.
  assert checkpoint_files.steps(tmp_path / "checkpoints") == [2, 0]
  latest = tf.train.latest_checkpoint(tmp_path / "checkpoints")
  assert latest.endswith("ckpt-2")
  assert guard.order_offset == int(state.lost.order_offset.numpy()) == 5


def test_an_older_run_may_go_on_with_another_way(tmp_path):
  with pytest.raises(Diverged):
    train(tmp_path, 7)
  card = json.loads((tmp_path / "run_card.json").read_text())
  assert not {"on_nonfinite", "max_rollbacks"} & set(card["settings"])
  train(tmp_path, 7, on_nonfinite="skip")
  assert steps_of(tmp_path)[-1] == 24


def test_without_flight_data_one_line_says_so(tmp_path):
  with pytest.raises(
    ConfigError, match="workdir must hold flight data"
  ) as info:
    flight_recorder.read(tmp_path)
  assert "\n" not in str(info.value)
  (tmp_path / "flight").mkdir()
  (tmp_path / "flight/flight.json").write_text('{"step": "x"}')
  with pytest.raises(
    ConfigError, match=r"flight.json cannot be read \(step is"
  ):
    flight_recorder.read(tmp_path)
