# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the training and evaluation step, by direct calls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import run_steps as run_steps_lib
from train_loop import step
from train_loop.config import OPTIMIZERS
from train_loop.schedule import make_schedule
from train_loop.state import TrainState

MODES = {
  "float32": dict(precision="float32", jit_compile=False),
  "float32_xla": dict(precision="float32", jit_compile=True),
  "mixed_bfloat16": dict(precision="mixed_bfloat16", jit_compile=False),
  "mixed_float16_xla": dict(precision="mixed_float16", jit_compile=True),
}


def everything(state):
  """Returns the values of all that an update writes, but for the scale."""
  slots = itertools.chain(*state.optimizer.slots)
  return tiny.values([*state.model.variables, *slots, *state.averages])


def make(**changes):
  """Returns state, config and a `train_step` that takes only a batch."""
  config = tiny.config(**changes)
  state = TrainState(tiny.model(dtype=config.precision.precision), config)
  schedule = make_schedule(config)
  return (
    state,
    config,
    lambda batch: step.train_step(state, batch, config, schedule=schedule),
  )


def keras_reference(batch, config, steps):
  """Trains the tiny model with Keras' own loss, SGD and L2; returns it."""
  model = tiny.model()
  kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
  optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.0)
  loss_of = tf.keras.losses.CategoricalCrossentropy(
    from_logits=True,
    label_smoothing=config.regularization.label_smoothing,
  )
  targets = tf.one_hot(batch["label"], tiny.NUM_CLASSES)
  for _ in range(steps):
    with tf.GradientTape() as tape:
      logits = model(tf.cast(batch["image"], tf.float32), training=True)
      loss = loss_of(targets, logits)
      decay = tf.add_n(
        [tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in kernels]
      )
      total = loss + config.optimizer.weight_decay * decay
    gradients = tape.gradient(total, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
  return model, loss


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_three_steps_equal_keras(label_smoothing):
  state, config, train_step = make(
    schedule="constant",
    warmup_steps=0,
    base_learning_rate=0.8,  # times 32 / 256: 0.1
    momentum=0.0,
    nesterov=False,
    weight_decay=1e-2,
    label_smoothing=label_smoothing,
  )
  batch = tiny.batch()
  for _ in range(3):
    metrics = train_step(batch)
  expected, loss = keras_reference(batch, config, 3)
  np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
  for ours, theirs in zip(
    tiny.values(state.model.variables), tiny.values(expected.variables)
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_eager_and_graph_agree(mode):
  results = []
  for wrap in (lambda f: f, tf.function):
    state, _, train_step = make(**MODES[mode])
    train_step = wrap(train_step)
    for seed in range(2):
      metrics = train_step(tiny.batch(seed=seed))
    results.append((float(metrics["loss"]), tiny.values(state.parameters)))
  tolerance = 1e-5 if mode.startswith("float32") else 3e-2
  assert results[0][0] == pytest.approx(results[1][0], rel=tolerance)
  for eager, graph in zip(results[0][1], results[1][1]):
    np.testing.assert_allclose(eager, graph, atol=tolerance)


def test_precisions_and_xla_train_to_the_same_loss():
  losses = {}
  for mode, changes in MODES.items():
    state, config, train_step = make(**changes)
    run = tf.function(train_step)
    for seed in range(config.loop.total_steps):
      losses[mode] = float(run(tiny.batch(seed=seed))["loss"])
    assert state.parameters[0].dtype == tf.float32
  assert losses["float32"] < 0.7 * np.log(tiny.NUM_CLASSES)
  for loss in losses.values():
    assert loss == pytest.approx(losses["float32"], rel=0.05), losses


def test_micro_batches_sum_to_the_batch():
  # Without BatchNorm in the way: its statistics are those of a micro-batch.
  results = []
  for parts in (1, 4):
    config = tiny.config(accumulate_steps=parts)
    images = tf.keras.Input(tiny.SHAPE)
    tf.keras.utils.set_random_seed(0)
    x = tf.keras.layers.Flatten()(images)
    state = TrainState(
      tf.keras.Model(images, tf.keras.layers.Dense(tiny.NUM_CLASSES)(x / 255)),
      config,
    )
    inputs, targets = step.mixed_batch(
      tiny.batch(), state.step, tiny.NUM_CLASSES, config
    )
    gradients, metrics = tf.function(step.accumulated_gradients)(
      state, (inputs,), targets, config, None
    )
    results.append((gradients, metrics))
  (whole, whole_metrics), (summed, summed_metrics) = results
  for a, b in zip(whole, summed):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
  for name in whole_metrics:
    np.testing.assert_allclose(
      whole_metrics[name], summed_metrics[name], rtol=1e-6
    )


@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_at_once_are_those_one_after_another(mode):
  # Moving statistics too, which both update in turn.
  results = []
  for parallel in (False, True):
    state, _, train_step = make(
      accumulate_steps=4, parallel_micro_batches=parallel, **MODES[mode]
    )
    train_step = tf.function(train_step)
    for seed in range(3):
      metrics = train_step(tiny.batch(seed=seed))
    results.append((everything(state), metrics["loss"], metrics["top1"]))
  tolerance = 1e-4 if mode.startswith("float32") else 2e-2
  for one, other in zip(*map(tf.nest.flatten, results)):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_evaluation_in_parts_is_that_of_the_whole():
  model = tiny.model()
  batch = {**tiny.batch(), "mask": tf.range(32) < 27}
  whole = step.eval_step(model, batch, tiny.config())
  config = tiny.config(accumulate_steps=4, parallel_micro_batches=True)
  in_parts = tf.function(step.eval_step)(model, batch, config)
  for name in step.EVAL_SUMS:
    np.testing.assert_allclose(in_parts[name], whole[name], rtol=1e-6)


def test_regularizers_of_the_users_model_count_once_whatever_the_parts():
  gradients = []
  for parts in (1, 2):
    config = tiny.config(accumulate_steps=parts)
    images = tf.keras.Input(tiny.SHAPE)
    dense = tf.keras.layers.Dense(
      tiny.NUM_CLASSES,
      kernel_initializer="ones",
      kernel_regularizer=tf.keras.regularizers.L2(0.5),
    )
    state = TrainState(
      tf.keras.Model(images, dense(tf.keras.layers.Flatten()(images))), config
    )
    black = {
      "image": tf.zeros([32, *tiny.SHAPE]),
      "label": tf.zeros([32], tf.int32),
    }
    inputs, targets = step.mixed_batch(
      black, state.step, tiny.NUM_CLASSES, config
    )
    found, _ = step.accumulated_gradients(
      state, (inputs,), targets, config, None
    )
    gradients.append(found[0])
  # The gradient of 0.5 Σ w² at w = 1; black images give none of their own.
  np.testing.assert_allclose(gradients[0], 1.0)
  np.testing.assert_allclose(gradients[1], 1.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(optimizer):
  rates = {"sgd": 0.8, "adamw": 0.08, "lars": 8.0, "lamb": 0.4, "muon": 0.4}
  _, _, train_step = make(
    optimizer=optimizer,
    base_learning_rate=rates[optimizer],
    warmup_steps=0,
  )
  run = tf.function(train_step)
  batch = tiny.batch()
  losses = [float(run(batch)["loss"]) for _ in range(10)]
  assert losses[-1] < 0.8 * losses[0]


class Switch(tf.keras.layers.Layer):
  """A layer that AutoGraph must read: Python's `if` on a tensor."""

  def call(self, x):
    if tf.reduce_mean(x) > 0.0:
      return x
    return -x


def test_a_layer_may_branch_in_python():
  if not tf.__version__.startswith("2.15."):
    pytest.skip("Keras 3 lets AutoGraph read no layer")
  config = tiny.config()
  images = tf.keras.Input(tiny.SHAPE)
  x = tf.keras.layers.Flatten()(Switch()(images - 128.0))
  model = tf.keras.Model(images, tf.keras.layers.Dense(tiny.NUM_CLASSES)(x))
  state = TrainState(model, config)
  run_steps_lib.make_run_steps(state, config, schedule=make_schedule(config))(
    iter(tiny.dataset()), tf.constant(2)
  )
  assert int(state.step) == 2


def test_the_rate_applied_is_the_schedules_at_the_step_before():
  state, _, train_step = make(warmup_steps=4, base_learning_rate=0.8)
  rates = [float(train_step(tiny.batch())["learning_rate"]) for _ in range(4)]
  np.testing.assert_allclose(rates, [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
  assert int(state.step) == 4


def test_only_kernels_decay():
  after = {}
  for weight_decay in (0.0, 0.5):
    state, _, train_step = make(
      weight_decay=weight_decay,
      momentum=0.0,
      schedule="constant",
      warmup_steps=0,
    )
    before = tiny.values(state.parameters)
    train_step(tiny.batch())
    after[weight_decay] = tiny.values(state.parameters)
  rate = 1.6 * 32 / 256
  assert {w.ndim > 1 for w in before} == {True, False}
  for start, plain, decayed in zip(before, after[0.0], after[0.5]):
    expected = plain - rate * 0.5 * start * (start.ndim > 1)
    np.testing.assert_allclose(decayed, expected, rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_applied_gradient_and_reports_the_whole_norm():
  norms = {}
  for clip in (0.0, 1e-3):
    state, _, train_step = make(
      clip_global_norm=clip,
      momentum=0.0,
      weight_decay=0.0,
      schedule="constant",
      warmup_steps=0,
      base_learning_rate=8.0,  # times 32 / 256: 1
    )
    before = tiny.values(state.parameters)
    reported = float(train_step(tiny.batch())["gradient_norm"])
    moved = [a - b for a, b in zip(before, tiny.values(state.parameters))]
    norms[clip] = reported, np.sqrt(sum((m**2).sum() for m in moved))
  assert norms[0.0][0] == pytest.approx(norms[1e-3][0])
  assert norms[0.0][1] == pytest.approx(norms[0.0][0], rel=1e-4)
  assert norms[1e-3][1] == pytest.approx(1e-3, rel=1e-3)


def test_a_float16_overflow_skips_the_step_and_halves_the_scale():
  state, _, train_step = make(precision="mixed_float16", ema_decay=0.9)
  train_step(tiny.batch())
  state.loss_scale.value.assign(2.0**30)
  before = everything(state)
  metrics = tf.function(train_step)(tiny.batch())
  after = everything(state)
  assert not metrics["finite"]
  for a, b in zip(before, after):
    np.testing.assert_array_equal(a, b)
  assert float(state.loss_scale.value) == 2.0**29
  assert int(state.step) == 2


def test_averages_follow_weights_and_statistics():
  state, _, train_step = make(ema_decay=0.5)
  average = tiny.values(state.averages)
  for s in range(3):
    train_step(tiny.batch(seed=s))
    decay = min(0.5, (1 + s) / (10 + s))
    average = [
      decay * a + (1 - decay) * v
      for a, v in zip(average, tiny.values(state.averaged))
    ]
  assert len(average) == len(state.model.variables)
  for ours, expected in zip(tiny.values(state.averages), average):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


def test_swapping_averages_twice_changes_no_bit():
  state, _, train_step = make(ema_decay=0.9)
  train_step(tiny.batch())
  before = everything(state)
  averages = tiny.values(state.averages)
  state.swap_averages()
  for a, b in zip(averages, tiny.values(state.averaged)):
    np.testing.assert_array_equal(a, b)
  state.swap_averages()
  for a, b in zip(before, everything(state)):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("trick", ["mixup_alpha", "cutmix_alpha"])
def test_mixing_is_a_function_of_seed_and_step(trick):
  batch = tiny.batch()

  def images(seed, at):
    config = tiny.config(**{trick: 1.0, "seed": seed})
    mixed, targets = step.mixed_batch(batch, tf.constant(at), 4, config)
    np.testing.assert_allclose(tf.reduce_sum(targets, 1), 1.0, rtol=1e-5)
    return mixed.numpy()

  np.testing.assert_array_equal(images(1, 5), images(1, 5))
  assert np.abs(images(1, 5) - images(1, 6)).max() > 0
  assert np.abs(images(1, 5) - images(2, 5)).max() > 0


def test_distillation_adds_the_teachers_term():
  config = tiny.config(distill_temperature=4.0)
  state = TrainState(tiny.model(), config)
  teacher = tiny.model(seed=7)
  images, targets = step.mixed_batch(tiny.batch(), state.step, 4, config)
  _, alone = step.loss_gradients(state, (images,), targets, config, None)
  _, both = step.loss_gradients(state, (images,), targets, config, teacher)
  logits = state.model(images, training=True) / 4.0
  soft = tf.nn.softmax(teacher(images) / 4.0)
  term = tf.keras.losses.categorical_crossentropy(soft, logits, True)
  np.testing.assert_allclose(
    both["loss"] - alone["loss"], 16.0 * tf.reduce_mean(term), rtol=1e-4
  )


def test_eval_step_ignores_padding_and_matches_keras():
  model = tiny.model()
  batch = tiny.batch(32)
  mask = tf.range(32) < 20
  sums = step.eval_step(model, {**batch, "mask": mask}, tiny.config())
  logits = model(tf.cast(batch["image"][:20], tf.float32), training=False)
  labels = batch["label"][:20]
  losses = tf.keras.losses.sparse_categorical_crossentropy(
    labels, logits, from_logits=True
  )
  top1 = tf.keras.metrics.sparse_categorical_accuracy(labels, logits)
  np.testing.assert_allclose(sums["loss"], tf.reduce_sum(losses), rtol=1e-5)
  assert float(sums["top1"]) == float(tf.reduce_sum(top1))
  assert float(sums["top5"]) == 20  # Of four classes, all are in the top five.
  assert float(sums["examples"]) == 20


@pytest.mark.parametrize("jit_compile", [False, True])
def test_flip_tta_evaluates_the_mean_of_both_softmaxes(jit_compile):
  model = tiny.model()
  batch = {**tiny.batch(32), "mask": tf.range(32) < 20}
  config = tiny.config(flip_tta=True, jit_compile=jit_compile)
  sums = step.eval_step(model, batch, config)
  images = batch["image"].numpy().astype(np.float32)[:20]
  labels = batch["label"][:20]
  both = [tf.nn.softmax(model(x)) for x in (images, images[:, :, ::-1])]
  mean = (both[0] + both[1]) / 2.0
  losses = tf.keras.losses.sparse_categorical_crossentropy(labels, mean)
  hits = tf.keras.metrics.sparse_categorical_accuracy(labels, mean)
  np.testing.assert_allclose(sums["loss"], tf.reduce_sum(losses), rtol=1e-5)
  assert float(sums["top1"]) == float(tf.reduce_sum(hits))
  plain = step.eval_step(model, batch, tiny.config())
  assert abs(float(plain["loss"] - sums["loss"])) > 1e-3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
  ("accumulate_steps", "parallel"), [(1, False), (2, False), (2, True)]
)
def test_stochastic_depth_trains_and_counts_its_calls(
  mode, accumulate_steps, parallel
):
  config = tiny.config(
    accumulate_steps=accumulate_steps,
    parallel_micro_batches=parallel,
    **MODES[mode],
  )
  model = tiny.model(dtype=config.precision.precision, drop_probability=0.3)
  state = TrainState(model, config)
  schedule = make_schedule(config)
  run = tf.function(
    lambda b: step.train_step(state, b, config, schedule=schedule)
  )
  losses = [float(run(tiny.batch(seed=s))["loss"]) for s in range(24)]
  assert np.mean(losses[-4:]) < 0.8 * losses[0]
  (key,) = (v for v in state.untrained if v.dtype == tf.int64)
  assert int(key[1]) == 24 * accumulate_steps


def test_top_five_counts_the_five_largest():
  images = tf.keras.Input([10, 1, 1])
  model = tf.keras.Model(images, tf.keras.layers.Flatten()(images))
  logits = np.arange(10.0)[np.newaxis].repeat(10, 0)
  batch = {
    "image": logits.reshape(10, 10, 1, 1).astype(np.float32),
    "label": tf.range(10),
    "mask": tf.ones(10, tf.bool),
  }
  sums = step.eval_step(model, batch, tiny.config())
  assert (float(sums["top1"]), float(sums["top5"])) == (1.0, 5.0)


@pytest.mark.parametrize(
  ("global_batch_size", "replicas", "groups"),
  [
    (32, 1, 1),
    (64, 1, 2),
    (256, 2, 8),
    (1024, 1, 8),
    (96, 1, 1),
    (32, 4, 4),
    (264, 3, 3),
    (768, 3, 24),
  ],
)
def test_partners_are_found_in_groups_that_replicas_hold_whole(
  global_batch_size, replicas, groups
):
  assert step.partner_groups(global_batch_size, replicas) == groups
