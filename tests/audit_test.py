# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the audit: it says of each variable what the step does to it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tricks
from tests import events, tiny
from train_loop import audit, step, train_and_evaluate
from train_loop import state as state_lib
from tricks import keras_compat


@pytest.fixture(scope="module")
def state():
  model = tiny.model(frozen=2)
  tricks.zero_gamma(model)
  config = tiny.config(
    weight_decay=0.25, head_learning_rate_multiplier=3.0, momentum=0.0
  )
  return state_lib.TrainState(model, config)


def test_a_row_says_what_a_step_without_gradient_does(state):
  rows = audit.rows(state)
  variables = state.parameters + state.untrained
  assert len(rows) == len(variables)
  before = tiny.values(variables)
  config = tiny.config(
    weight_decay=0.25, head_learning_rate_multiplier=3.0, momentum=0.0
  )
  step.apply_gradients(
    state,
    [tf.zeros_like(v) for v in state.parameters],
    tf.constant(0.1),
    tf.constant(0, tf.int64),
    config,
  )
  for row, old, variable in zip(rows, before, variables):
    new = variable.numpy()
    assert row.shape == old.shape and row.size == old.size
    assert row.trained == any(variable is v for v in state.parameters)
    assert row.mean == pytest.approx(old.mean(), abs=1e-6)
    assert row.deviation == pytest.approx(old.std(), abs=1e-6)
    rate = 0.1 * row.rate_multiplier * 0.25 if row.decays else 0.0
    np.testing.assert_allclose(new, old * (1.0 - rate), rtol=1e-5, atol=1e-9)
  assert {row.rate_multiplier for row in rows if row.trained} == {1.0, 3.0}


def test_zero_gamma_is_marked(state):
  marked = [row.name for row in audit.rows(state) if row.zero_gamma]
  layers = keras_compat.flat_layers(state.model)
  zeroed = [
    keras_compat.variable_name(layer.gamma)
    for layer in layers
    if keras_compat.is_batch_norm(layer)
    and not np.any(tf.convert_to_tensor(layer.gamma))
  ]
  assert marked == zeroed and len(marked) == 1


def test_totals_count_the_models_numbers(state):
  text = audit.as_text(audit.rows(state))
  assert f"all: {state.model.count_params():,} in" in text
  trained = sum(int(tf.size(v)) for v in state.parameters)
  assert f"trained: {trained:,} in {len(state.parameters)} variables" in text


def test_a_run_leaves_its_audit(tmp_path):
  train_and_evaluate(
    tiny.model(), tiny.dataset(), None, tiny.config(total_steps=6), tmp_path
  )
  text = (tmp_path / "audit.txt").read_text(encoding="utf-8")
  assert "decays" in text and "trained: " in text
  tags = events.accumulator(tmp_path / "tensorboard" / "train").Tags()
  assert "audit" in tags["tensors"]
