# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the step on two replicas: two logical CPUs, MirroredStrategy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import run_steps as run_steps_lib
from train_loop import train_and_evaluate
from train_loop.models.batch_norm import BatchNorm
from train_loop.schedule import make_schedule
from train_loop.state import TrainState


def copies(strategy, variables):
  """Returns each replica's values of the variables, one list a replica."""
  local = [strategy.experimental_local_results(v) for v in variables]
  return [tiny.values(replica) for replica in zip(*local)]


def all_copies(strategy, variables):
  """Returns every replica's values of the variables, in one list."""
  return list(itertools.chain(*copies(strategy, variables)))


def run(strategy, run_steps, batches):
  """Takes a step on each of the batches."""
  dataset = tf.data.Dataset.from_tensor_slices(
    {k: tf.stack([b[k] for b in batches]) for k in ("image", "label")}
  )
  iterator = iter(strategy.experimental_distribute_dataset(dataset))
  run_steps(iterator, tf.constant(len(batches)))


def model_without_statistics():
  """Returns a network whose replicas see nothing of each other's batch."""
  tf.keras.utils.set_random_seed(0)
  images = tf.keras.Input((None, None, tiny.SHAPE[-1]))
  x = tf.keras.layers.Conv2D(4, 3, activation="relu")(images / 255.0)
  x = tf.keras.layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(images, tf.keras.layers.Dense(4)(x))


@pytest.mark.parametrize(
  ("image_size", "jit_compile", "sam_rho"),
  [(None, False, 0.0), (None, True, 0.5), (5, False, 0.5), (5, True, 0.0)],
)
def test_two_replicas_equal_one(strategy, image_size, jit_compile, sam_rho):
  config = tiny.config(
    jit_compile=jit_compile, clip_global_norm=0.5, sam_rho=sam_rho
  )
  batches = [tiny.batch(seed=s) for s in range(4)]
  results = []
  for scope in (tf.distribute.get_strategy(), strategy):
    with scope.scope():
      state = TrainState(model_without_statistics(), config)
      run_steps = run_steps_lib.make_run_steps(
        state, config, schedule=make_schedule(config), image_size=image_size
      )
      run(scope, run_steps, batches)
    results.append(tiny.values([*state.parameters, state.window.loss]))
  for one, two in zip(*results):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_replicas_hold_the_same_bits_statistics_too(strategy):
  config = tiny.config(ema_decay=0.9)
  with strategy.scope():
    state = TrainState(tiny.model(), config)
    run_steps = run_steps_lib.make_run_steps(
      state, config, schedule=make_schedule(config)
    )
    run(strategy, run_steps, [tiny.batch(seed=s) for s in range(4)])
  variables = [*state.parameters, *state.statistics, *state.averages]
  first, second = copies(strategy, variables)
  assert len(state.statistics) == 4
  for one, two in zip(first, second):
    np.testing.assert_array_equal(one, two)


def test_synchronised_batch_norm_equals_one_replica(strategy):
  def model():
    tf.keras.utils.set_random_seed(0)
    images = tf.keras.Input(tiny.SHAPE)
    x = tf.keras.layers.Conv2D(4, 3, use_bias=False)(images / 255.0)
    x = tf.keras.layers.ReLU()(BatchNorm(synchronized=True)(x))
    x = tf.keras.layers.Flatten()(x)
    return tf.keras.Model(images, tf.keras.layers.Dense(4)(x))

  config = tiny.config()
  results = []
  for scope in (tf.distribute.get_strategy(), strategy):
    with scope.scope():
      state = TrainState(model(), config)
      run(
        scope,
        run_steps_lib.make_run_steps(
          state, config, schedule=make_schedule(config)
        ),
        [tiny.batch(seed=s) for s in range(3)],
      )
    results.append(tiny.values(state.averaged))
  for one, two in zip(*results):
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
  ("bad_replica", "jit_compile"), [(0, False), (1, False), (1, True)]
)
def test_an_overflow_on_any_replica_skips_the_update_on_all(
  strategy, bad_replica, jit_compile
):
  config = tiny.config(
    precision="mixed_float16", jit_compile=jit_compile, ema_decay=0.9
  )
  good = tiny.batch()
  good["image"] = tf.cast(good["image"], tf.float32)
  bad = {**good, "image": good["image"].numpy()}
  # More than float16 holds, in one replica's half of the batch.
  bad["image"][16 * bad_replica : 16 * (bad_replica + 1)] *= 1e6
  with strategy.scope():
    state = TrainState(tiny.model(dtype="mixed_float16"), config)
    state.loss_scale.value.assign(256.0)  # No gradient of `good` overflows.
    run_steps = run_steps_lib.make_run_steps(
      state, config, schedule=make_schedule(config)
    )
    run(strategy, run_steps, [good])
    slots = itertools.chain(*state.optimizer.slots)
    variables = [*state.averaged, *slots, *state.averages]
    before = all_copies(strategy, variables)
    run(strategy, run_steps, [bad])
    after = all_copies(strategy, variables)
    scales = all_copies(strategy, [state.loss_scale.value])
    run(strategy, run_steps, [good])  # And training goes on.
    moved = all_copies(strategy, variables)
  assert scales == [128.0, 128.0]
  assert int(state.step.numpy()) == 3
  assert state.window.read()["skipped_steps"] == 1
  for one, two in zip(before, after):
    assert np.isfinite(two).all()
    np.testing.assert_array_equal(one, two)
  assert all((one != two).any() for one, two in zip(before, moved))


def test_the_whole_loop_on_two_replicas(strategy, tmp_path):
  config = tiny.config(mixup_alpha=0.2)
  with strategy.scope():
    final = train_and_evaluate(
      tiny.model(),
      tiny.dataset(),
      tiny.dataset(100, seed=1),
      config,
      tmp_path,
    )
  assert final["eval_examples"] == 100
  assert final["eval_top1"] > 0.9
  with strategy.scope(), pytest.raises(ValueError, match="multiple of"):
    train_and_evaluate(
      tiny.model(),
      tiny.dataset(),
      None,
      tiny.config(global_batch_size=33),
      tmp_path / "odd",
    )
