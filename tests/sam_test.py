# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of SAM: its perturbation, and a step against one by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import modes, tiny
from train_loop import step
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from tricks import sam_perturbations

RHO, RATE = 0.5, 0.2


@pytest.mark.parametrize("mode", modes.MODES)
def test_perturbations_are_rho_long_and_uphill(mode):
  rng = np.random.default_rng(0)
  gradients = [rng.normal(size=s).astype(np.float32) for s in [(3, 4), (5,)]]
  norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients))
  found = modes.run(lambda *g: sam_perturbations(g, RHO), mode, *gradients)
  for perturbation, gradient in zip(found, gradients):
    np.testing.assert_allclose(perturbation, RHO * gradient / norm, rtol=1e-6)
  zeros = [np.zeros(3, np.float32)]
  for arguments in ((gradients, 0.0), (zeros, RHO)):
    for perturbation in sam_perturbations(*arguments):
      assert not perturbation.numpy().any()


@pytest.mark.parametrize("rho", [-0.1, np.nan, np.inf])
def test_rho_out_of_range_is_named(rho):
  with pytest.raises(ValueError, match=f"sam_rho must .* got {rho}"):
    sam_perturbations([tf.ones(2)], rho)


def linear_model():
  """Returns a softmax regression, which NumPy computes in two lines."""
  tf.keras.utils.set_random_seed(0)
  images = tf.keras.Input(tiny.SHAPE)
  x = tf.keras.layers.Flatten()(tf.keras.layers.Rescaling(1 / 255.0)(images))
  return tf.keras.Model(images, tf.keras.layers.Dense(tiny.NUM_CLASSES)(x))


def gradients_by_hand(kernel, bias, x, targets):
  logits = x @ kernel + bias
  odds = np.exp(logits - logits.max(axis=1, keepdims=True))
  errors = (odds / odds.sum(axis=1, keepdims=True) - targets) / len(x)
  return x.T @ errors, errors.sum(axis=0)


@pytest.mark.parametrize(
  "settings",
  [
    {},
    {"jit_compile": True},
    {"accumulate_steps": 2},
    {"accumulate_steps": 4, "parallel_micro_batches": True},
    {"precision": "mixed_float16"},  # The loss is scaled.
    {"weight_decay": 0.1},
  ],
  ids=str,
)
def test_steps_equal_those_by_hand(settings):
  settings = {"weight_decay": 0.0, **settings}
  config = tiny.config(
    sam_rho=RHO,
    schedule="constant",
    base_learning_rate=RATE * 256 / 32,
    warmup_steps=0,
    momentum=0.0,
    nesterov=False,
    **settings,
  )
  state = TrainState(linear_model(), config)
  weights = [w.astype(np.float64) for w in tiny.values(state.parameters)]
  schedule = make_schedule(config)

  def take(batch):
    step.train_step(state, batch, config, schedule=schedule)

  if config.precision.jit_compile:
    take = tf.function(take, jit_compile=True)
  for seed in range(3):
    batch = tiny.batch(seed=seed)
    x = batch["image"].numpy().reshape(32, -1) / 255.0
    data = (x, np.eye(tiny.NUM_CLASSES)[batch["label"].numpy()])
    first = gradients_by_hand(*weights, *data)
    norm = np.sqrt(sum((g**2).sum() for g in first))
    uphill = [w + RHO * g / norm for w, g in zip(weights, first)]
    second = gradients_by_hand(*uphill, *data)
    # The kernel decays, from where it is; the bias does not.
    decays = (settings["weight_decay"], 0.0)
    weights = [
      w - RATE * (g + decay * w) for w, g, decay in zip(weights, second, decays)
    ]
    take(batch)
    for found, expected in zip(tiny.values(state.parameters), weights):
      np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_both_times_see_the_same_draws_and_statistics_move_once():
  states = []
  for rho in (0.0, 1e-7):
    config = tiny.config(sam_rho=rho)
    states.append(TrainState(tiny.model(drop_probability=0.5), config))
    for seed in range(2):
      step.train_step(
        states[-1],
        tiny.batch(seed=seed),
        config,
        schedule=make_schedule(config),
      )
  plain, sam = states
  assert plain.counters
  for one, two in zip(plain.untrained, sam.untrained):
    np.testing.assert_allclose(one, two, rtol=1e-5)
  for one, two in zip(*(tiny.values(s.parameters) for s in states)):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_a_first_gradient_that_is_not_finite_skips_the_step():
  config = tiny.config(sam_rho=RHO)
  state = TrainState(tiny.model(), config)
  before = tiny.values(state.averaged)
  batch = tiny.batch()
  batch["image"] = tf.cast(batch["image"], tf.float32) * np.inf
  metrics = step.train_step(state, batch, config, schedule=lambda s: 0.1)
  assert not metrics["finite"]
  for value, other in zip(before, tiny.values(state.averaged)):
    np.testing.assert_array_equal(value, other)


def test_without_rho_the_graph_has_one_pass():
  counts = []
  for rho in (0.0, RHO):
    config = tiny.config(sam_rho=rho)
    state = TrainState(tiny.model(), config)

    @tf.function
    def take(batch, state=state, config=config):
      return step.train_step(state, batch, config, schedule=lambda s: 0.1)

    graph = take.get_concrete_function(tiny.batch()).graph
    counts.append(sum(op.type == "Conv2D" for op in graph.get_operations()))
  assert counts == [2, 4]
