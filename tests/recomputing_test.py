# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blocks that are computed again change memory and time, and nothing else."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import run_steps as run_steps_lib
from train_loop import step
from train_loop.fields import ConfigError
from train_loop.models import build_model
from train_loop.models.batch_norm import BatchNorm
from train_loop.models.recomputing import blocks_of, recomputed
from train_loop.schedule import make_schedule
from train_loop.state import TrainState

layers = tf.keras.layers


def chain(dropout=0.0):
  """Returns a network without branches, of nine kernels."""
  tf.keras.utils.set_random_seed(0)
  images = tf.keras.Input((8, 8, 1))
  x = images
  for _ in range(8):
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    if dropout:
      x = layers.Dropout(dropout)(x)
  x = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(images, layers.Dense(4)(x))


def nested():
  """Returns a network whose residual blocks are in a model of their own."""
  tf.keras.utils.set_random_seed(0)
  inner = tf.keras.Input((8, 8, 4))
  x = inner
  for _ in range(2):
    y = BatchNorm()(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.ReLU()(layers.Add()([x, y]))
  body = tf.keras.Model(inner, x, name="body")
  images = tf.keras.Input((8, 8, 1))
  features = body(body(layers.Conv2D(4, 3, padding="same")(images)))
  features = layers.GlobalAveragePooling2D()(features)
  return tf.keras.Model(images, layers.Dense(4)(features))


def resnet(name="resnet8", **options):
  tf.keras.utils.set_random_seed(0)
  return build_model(
    name,
    input_shape=(16, 16, 1),
    num_classes=4,
    mean=(100.0,),
    std=(50.0,),
    **options,
  )


NETWORKS = {
  "residual": functools.partial(resnet, stochastic_depth=0.5),
  "chain": chain,
  "nested": nested,
}


def trained(model, batches, strategy=None, **settings):
  """Returns all variables after a step on each batch.

  Eager, since most of the time would go into traces; on replicas and with XLA
  in a graph.
  """
  config = tiny.config(**settings)
  scope = strategy or tf.distribute.get_strategy()
  with scope.scope():
    state = TrainState(model(), config)
    schedule = make_schedule(config)
    if strategy or config.precision.jit_compile:
      dataset = tf.data.Dataset.from_tensor_slices(
        {k: tf.stack([b[k] for b in batches]) for k in ("image", "label")}
      )
      run_steps = run_steps_lib.make_run_steps(state, config, schedule=schedule)
      iterator = iter(scope.experimental_distribute_dataset(dataset))
      run_steps(iterator, tf.constant(len(batches)))
    else:
      for batch in batches:
        step.train_step(state, batch, config, schedule=schedule)
  return tiny.values([*state.parameters, *state.untrained])


def batches_for(shape, *, size=32, steps=2):
  random = np.random.default_rng(0)
  return [
    {
      "image": tf.constant(random.integers(0, 256, [size, *shape], np.uint8)),
      "label": tf.constant(random.integers(0, 4, [size], np.int32)),
    }
    for _ in range(steps)
  ]


def assert_same(found, expected, **tolerance):
  for one, other in zip(found, expected):
    np.testing.assert_allclose(one, other, **tolerance)


@pytest.mark.parametrize("name", ["residual", "chain", "nested"])
def test_training_is_the_same(name):
  """Weights, moving statistics, and what is drawn: to the bit on a CPU."""
  shape = (16, 16, 1) if name == "residual" else (8, 8, 1)
  batches = batches_for(shape)
  kept = trained(NETWORKS[name], batches)
  again = trained(NETWORKS[name], batches, recompute="blocks")
  assert_same(again, kept, rtol=0, atol=0)


@pytest.mark.parametrize(
  "settings",
  [
    {"accumulate_steps": 2},
    {"precision": "mixed_bfloat16"},
    {"precision": "mixed_float16", "jit_compile": True},
  ],
  ids=str,
)
def test_training_is_the_same_with(settings):
  dtype = settings.get("precision", "float32")
  model = functools.partial(
    tiny.model, dtype=dtype, drop_probability=0.5, frozen=4
  )
  batches = [tiny.batch(seed=seed) for seed in range(3)]
  kept = trained(model, batches, **settings)
  again = trained(model, batches, recompute="blocks", **settings)
  assert_same(again, kept, rtol=1e-5, atol=1e-6)


def test_training_is_the_same_on_replicas(strategy):
  batches = [tiny.batch(seed=seed) for seed in range(3)]
  kept, again = (
    trained(
      functools.partial(tiny.model, drop_probability=0.5),
      batches,
      strategy,
      jit_compile=True,
      recompute=recompute,
    )
    for recompute in ("none", "blocks")
  )
  assert_same(again, kept, rtol=1e-5, atol=1e-6)


def test_synchronised_statistics_are_the_same_on_replicas(strategy):
  def model():
    network = tiny.model()
    for layer in network.layers:
      if isinstance(layer, BatchNorm):
        layer.synchronized = True
    return network

  batches = [tiny.batch(seed=seed) for seed in range(2)]
  kept, again = (
    trained(model, batches, strategy, recompute=recompute)
    for recompute in ("none", "blocks")
  )
  assert_same(again, kept, rtol=1e-5, atol=1e-6)


def gradients(model, forward, images):
  """Returns the gradients of a network, and its convolutions' number."""

  @tf.function
  def compute(images):
    with tf.GradientTape() as tape:
      logits = tf.nest.flatten(forward(images, training=True))[0]
      loss = tf.reduce_sum(tf.square(logits))
    variables = [v for v in model.trainable_variables]
    return tape.gradient(
      loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )

  graph = compute.get_concrete_function(images).graph
  convolutions = [op for op in graph.get_operations() if op.type == "Conv2D"]
  return [np.array(g) for g in compute(images)], len(convolutions)


def test_dropout_is_the_same():
  """Keras 2 keeps blocks with Dropout, whose draws it cannot repeat."""
  images = tf.constant(
    np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
  )
  model = chain(dropout=0.5)
  repeats = [block.repeats for block in blocks_of(model)[0]]
  start = tiny.values(model.non_trainable_variables)
  found = []
  for forward in (model, recomputed(model)):
    for variable, value in zip(model.non_trainable_variables, start):
      variable.assign(value)
    tf.random.set_seed(1)
    found.append(gradients(model, forward, images))
  (kept, once), (again, twice) = found
  assert (twice > once) is repeats[0]
  if repeats[0]:
    assert_same(again, kept, rtol=1e-6, atol=1e-7)


def test_all_but_the_last_block_is_computed_twice():
  model = resnet("resnet20")
  blocks, _ = blocks_of(model)
  assert len(blocks) == 10  # Nine, the first with the stem, and the head.
  names = [block.calls[-1].name for block in blocks]
  assert all("add" in name for name in names[:-1])
  images = tf.constant(
    np.random.default_rng(0).integers(0, 256, [2, 16, 16, 1], np.uint8)
  )
  _, once = gradients(model, model, images)
  _, twice = gradients(model, recomputed(model), images)
  assert (once, twice) == (19, 38)


def test_chains_are_cut_into_about_as_many_blocks_as_each_has_kernels():
  blocks, _ = blocks_of(chain())
  counts = [
    sum(isinstance(call.layer, layers.Conv2D) for call in block.calls)
    for block in blocks
  ]
  assert counts == [3, 2, 2, 1]
  assert [len(block.inputs) for block in blocks] == [1] * 4


def test_outputs_are_those_of_the_model():
  model = nested()
  images = tf.constant(
    np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
  )
  (found,) = recomputed(model)(images)
  np.testing.assert_array_equal(found, model(images))


def test_what_cannot_be_computed_again_is_refused():
  class Subclassed(tf.keras.Model):
    def call(self, images):
      return images

  with pytest.raises(ConfigError, match="recompute must be none but for"):
    blocks_of(Subclassed())
  images = tf.keras.Input((4,))
  penalised = layers.Dense(2, activity_regularizer="l2")(images)
  with pytest.raises(ConfigError, match="activity_regularizer"):
    blocks_of(tf.keras.Model(images, penalised))
