# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of TensorFlow Addons' optimizers, against Addons itself."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import config as config_lib
from train_loop import failures, loop, step
from train_loop.schedule import make_schedule
from train_loop.state import TrainState

RATE = 0.02


@pytest.fixture
def tfa():
  """Returns TensorFlow Addons' optimizers, or skips the test."""
  if not tf.__version__.startswith("2.15."):
    pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
  return pytest.importorskip("tensorflow_addons").optimizers


def make(optimizer, **changes):
  """Returns a config of a constant rate, and a state."""
  config = tiny.config(
    optimizer=optimizer,
    schedule="constant",
    base_learning_rate=RATE * 256 / 32,
    warmup_steps=0,
    **changes,
  )
  return config, TrainState(tiny.model(), config)


def train(config, state, *, batches):
  """Takes a step on each batch, in one traced function; returns the losses."""
  schedule = make_schedule(config)
  run = tf.function(
    lambda batch: step.train_step(state, batch, config, schedule=schedule)
  )
  return [float(run(batch)["loss"]) for batch in batches]


@pytest.mark.parametrize("name", config_lib.ADDONS_OPTIMIZERS)
def test_each_lowers_the_loss_and_makes_no_variable_later(tfa, name):
  config, state = make(name)
  before = len(state.optimizer.slots[0])
  losses = train(config, state, batches=[tiny.batch()] * 12)
  assert losses[-1] < losses[0]
  assert len(state.optimizer._optimizer.variables()) == before
  assert int(state.optimizer.slots[0][0]) == 12  # Addons' own count of steps.


def test_the_names_are_all_that_need_nothing_but_a_rate(tfa):
  found = []
  for name, make_optimizer in vars(tfa).items():
    if not inspect.isclass(make_optimizer):
      continue
    parameters = inspect.signature(make_optimizer).parameters
    required = {
      key
      for key, value in parameters.items()
      if value.default is value.empty and value.kind is not value.VAR_KEYWORD
    }
    if "learning_rate" in parameters and required <= {
      "learning_rate",
      "weight_decay",
    }:
      found.append("tfa:" + name)
  assert sorted(found) == list(config_lib.ADDONS_OPTIMIZERS)


@pytest.mark.parametrize("name", ["SGDW", "AdamW"])
def test_decay_momentum_and_rate_are_those_of_addons(tfa, name):
  config, state = make(f"tfa:{name}", weight_decay=0.3, momentum=0.7)
  theirs = TrainState(tiny.model(), config)
  options = {"momentum": 0.7, "nesterov": True} if name == "SGDW" else {}
  optimizer = getattr(tfa, name)(
    weight_decay=RATE * 0.3, learning_rate=RATE, **options
  )
  kernels = [v for v, d in zip(theirs.parameters, theirs.decayed) if d]
  batches = [tiny.batch(seed=seed) for seed in range(4)]
  for batch in batches:
    images, targets = step.mixed_batch(
      batch, theirs.step, tiny.NUM_CLASSES, config
    )
    gradients, _ = step.accumulated_gradients(
      theirs, (images,), targets, config, None
    )
    optimizer.apply_gradients(
      zip(gradients, theirs.parameters), decay_var_list=kernels
    )
  train(config, state, batches=batches)
  assert 0 < len(kernels) < len(theirs.parameters)
  for ours, reference in zip(state.parameters, theirs.parameters):
    np.testing.assert_allclose(ours, reference, rtol=2e-4, atol=2e-5)


def test_the_rate_is_the_schedules(tfa):
  config, state = make("tfa:SGDW", momentum=0.0, weight_decay=0.0)
  start = tiny.values(state.parameters)
  schedule = lambda step: tf.constant([0.0, 0.1])[step]  # noqa: E731
  step.train_step(state, tiny.batch(), config, schedule=schedule)
  for before, after in zip(start, tiny.values(state.parameters)):
    np.testing.assert_array_equal(before, after)
  step.train_step(state, tiny.batch(), config, schedule=schedule)
  assert any(
    (before != after).any()
    for before, after in zip(start, tiny.values(state.parameters))
  )


def test_an_overflow_leaves_everything(tfa):
  config = tiny.config(optimizer="tfa:AdamW", precision="mixed_float16")
  state = TrainState(tiny.model(dtype="mixed_float16"), config)
  schedule = make_schedule(config)
  variables = [*state.model.variables, *state.optimizer.slots[0]]
  before = tiny.values(variables)
  batch = {**tiny.batch(), "image": tf.fill([32, *tiny.SHAPE], np.inf)}
  metrics = step.train_step(state, batch, config, schedule=schedule)
  assert not metrics["finite"]
  for one, two in zip(before, tiny.values(variables)):
    np.testing.assert_array_equal(one, two)


def test_a_continued_run_ends_with_the_same_bits(tfa, tmp_path):
  config = tiny.config(optimizer="tfa:LAMB", base_learning_rate=0.1)

  def run(name, **options):
    model = tiny.model()
    data = tiny.dataset(), tiny.dataset(64)
    loop.train_and_evaluate(model, *data, config, tmp_path / name, **options)
    return tiny.values(model.variables)

  with pytest.raises(failures.Stopped):
    run("parts", should_stop=lambda: True)
  for one, two in zip(run("whole"), run("parts")):
    np.testing.assert_array_equal(one, two)


def test_several_replicas_are_refused_in_one_line(tfa, strategy):
  with strategy.scope(), pytest.raises(ValueError, match="several replicas"):
    make("tfa:AdamW")


def test_another_tensorflow_is_told_in_one_line():
  config_lib.require_addons("adamw")
  if tf.__version__.startswith("2.15."):
    pytest.skip("Addons may be here")
  with pytest.raises(config_lib.ConfigError, match=r"needs TensorFlow Addons"):
    config_lib.require_addons("tfa:AdamW")
  with pytest.raises(config_lib.ConfigError, match=r"train_loop\[addons\]"):
    make("tfa:AdamW")


def test_an_unknown_name_is_refused():
  with pytest.raises(config_lib.ConfigError, match=r"one of sgd.*tfa:Yogi"):
    tiny.config(optimizer="tfa:Lookahead")
