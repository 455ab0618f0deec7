# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the layer that drops branches, alone and in the networks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tricks
from train_loop.models import build_model
from train_loop.models.stochastic_depth_layer import StochasticDepth

ONES = np.ones([64, 3], np.float32)


def drawn(layer):
  """The rows that one training call of the layer keeps."""
  return (layer(ONES, training=True) > 0).numpy()[:, 0]


def network(model="resnet8", seed=0, **options):
  tf.keras.utils.set_random_seed(seed)
  return build_model(
    model,
    input_shape=(16, 16, 1),
    num_classes=4,
    mean=(100.0,),
    std=(50.0,),
    **options,
  )


def depths(model):
  """The drop probabilities of a network's blocks, input to output."""
  return [
    layer.drop_probability
    for layer in model.layers
    if isinstance(layer, StochasticDepth)
  ]


def test_it_is_the_trick_on_seed_and_count():
  layer = StochasticDepth(0.4, seed=7)
  for call in range(3):
    key = tf.constant([7, call], tf.int64)
    expected = tricks.stochastic_depth(
      ONES,
      drop_probability=0.4,
      seed=tf.random.fold_in(key, 0, alg="philox"),
    )
    np.testing.assert_array_equal(layer(ONES, training=True), expected)


def test_inference_is_the_identity_and_does_not_count():
  layer = StochasticDepth(0.4, seed=7)
  first = drawn(layer)
  for training in (False, None):
    np.testing.assert_array_equal(layer(ONES, training=training), ONES)
  again = StochasticDepth(0.4, seed=7)
  np.testing.assert_array_equal(drawn(again), first)
  np.testing.assert_array_equal(drawn(again), drawn(layer))


def test_eager_graph_and_xla_draw_alike():
  draws = []
  for options in (None, {}, {"jit_compile": True}):
    layer = StochasticDepth(0.5, seed=3)
    layer.build(ONES.shape)

    def call(x, layer=layer):
      return layer(x, training=True)

    run = call if options is None else tf.function(call, **options)
    draws.append([np.array(run(ONES)) for _ in range(3)])
  for found in draws[1:]:
    np.testing.assert_array_equal(found, draws[0])
  assert (draws[0][0] != draws[0][1]).any()


def test_the_global_seed_gives_the_seed_and_leaves_the_weights():
  first, again, other, without = (
    network(seed=seed, stochastic_depth=rate)
    for seed, rate in ((0, 0.5), (0, 0.5), (1, 0.5), (0, 0.0))
  )
  seeds = [
    [x.seed for x in model.layers if isinstance(x, StochasticDepth)]
    for model in (first, again, other)
  ]
  assert seeds[0] == seeds[1] and len(set(seeds[0] + seeds[2])) == 6
  for layer in without.layers:
    plain = layer.get_weights()
    weights = first.get_layer(layer.name).get_weights()
    assert len(weights) == len(plain)
    for ours, expected in zip(weights, plain):
      np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
  "dtype", ["float32", "mixed_float16", "mixed_bfloat16"]
)
def test_a_saved_layer_goes_on_where_it_was(tmp_path, dtype):
  images = tf.keras.Input([3])
  layer = StochasticDepth(0.5, dtype=dtype)
  model = tf.keras.Model(images, layer(images))
  drawn(layer)
  model.save(tmp_path / "model.keras")
  loaded = tf.keras.models.load_model(tmp_path / "model.keras").layers[-1]
  assert loaded.get_config() == layer.get_config()
  np.testing.assert_array_equal(drawn(loaded), drawn(layer))
  assert loaded(ONES, training=True).dtype == layer.compute_dtype


@pytest.mark.parametrize("jit_compile", [False, True])
def test_replicas_drop_different_rows(strategy, jit_compile):
  with strategy.scope():
    layer = StochasticDepth(0.5, seed=1)
    layer.build(ONES.shape)

  def call():
    def forward():
      return layer(ONES, training=True)

    if jit_compile:  # As the training step compiles, replica by replica.
      forward = tf.function(forward, jit_compile=True)
    return forward()

  run = tf.function(lambda: strategy.run(call))
  calls = [strategy.experimental_local_results(run()) for _ in range(2)]
  rows = [np.array(x)[:, 0] for call in calls for x in call]
  for i, one in enumerate(rows):
    for other in rows[:i]:
      assert (one != other).any()
  alone = StochasticDepth(0.5, seed=1)
  for first_replica, _ in calls:
    np.testing.assert_array_equal(first_replica, alone(ONES, training=True))


@pytest.mark.parametrize(
  ("model", "blocks"), [("resnet8", 3), ("resnet20", 9), ("resnet18", 8)]
)
def test_every_block_of_a_network_may_be_dropped(model, blocks):
  found = depths(network(model, stochastic_depth=0.4))
  np.testing.assert_allclose(
    found, tricks.drop_probabilities(blocks, stochastic_depth=0.4)
  )
  assert depths(network(model)) == []


def test_bottleneck_blocks_may_be_dropped():
  model = network("resnet50", stochastic_depth=0.2)
  assert len(depths(model)) == 16
  # Zero γ looks through the layer: the last BatchNorm is the one before it.
  assert len(tricks.zero_gamma(model)) == 16


def test_evaluation_is_that_of_the_network_without():
  images = np.random.default_rng(0).uniform(0, 255, (5, 16, 16, 1))
  images = images.astype(np.float32)
  with_it, without = (network(stochastic_depth=rate) for rate in (0.5, 0.0))
  np.testing.assert_array_equal(with_it(images), without(images))
  assert np.abs(with_it(images, training=True) - without(images)).max() > 0


def test_a_dropped_block_is_its_shortcut():
  images = tf.keras.Input([3])
  branch = StochasticDepth(0.5, seed=2)(images * 10.0)
  model = tf.keras.Model(images, tf.keras.layers.Add()([branch, images]))
  rows = set(np.unique(model(ONES, training=True)))
  assert rows == {1.0, 21.0}


def test_bad_probability_is_named():
  with pytest.raises(ValueError, match=r"drop_probability must .*, got 1\.0"):
    StochasticDepth(1.0)
  with pytest.raises(ValueError, match=r"stochastic_depth must .*, got -0\.5"):
    network(stochastic_depth=-0.5)
