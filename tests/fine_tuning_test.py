# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Frozen layers, and learning rates that fall with the depth."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import config as config_lib
from train_loop import step
from train_loop.models import build_model, fine_tuning
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from tricks import keras_compat


def resnet(model="resnet18", variant="b", **arguments):
  return build_model(
    model,
    model_variant=variant,
    input_shape=(32, 32, 3),
    num_classes=7,
    mean=(120.0,) * 3,
    std=(60.0,) * 3,
    **arguments,
  )


def depth_by_layer(model):
  depths = fine_tuning.depths(model)
  return {
    layer.name: {depths[id(v)] for v in layer.weights}
    for layer in model.layers
    if layer.weights
  }


def timm_depth(name, num_blocks):
  """Returns the depth in timm 1.0.31: its ResNets' `group_matcher`.

  The stem is one group, each residual block one, and the classifier the last.
  """
  if name.startswith("stem"):
    return 1 + sum(num_blocks)
  found = re.match(r"stage(\d)_block(\d+)", name)
  if not found:
    return 0
  stage, block = int(found[1]), int(found[2])
  return 1 + sum(num_blocks) - (sum(num_blocks[: stage - 1]) + block)


@pytest.mark.parametrize(
  "model, variant, num_blocks",
  [
    ("resnet18", "b", (2, 2, 2, 2)),
    ("resnet50", "d", (3, 4, 6, 3)),
    ("resnet20", "d", (3, 3, 3)),
    ("resnet14", "d", (2, 2, 2)),
  ],
)
def test_depths_of_our_networks_are_timms(model, variant, num_blocks):
  for name, depths in depth_by_layer(resnet(model, variant)).items():
    assert depths == {timm_depth(name, num_blocks)}, name


def test_in_a_chain_each_kernel_begins_a_block():
  layers = tf.keras.layers
  model = tf.keras.Sequential(
    [
      tf.keras.Input((8, 8, 3)),
      layers.Conv2D(4, 3, name="conv1"),
      layers.BatchNormalization(name="bn1"),
      layers.Conv2D(4, 3, name="conv2"),
      layers.BatchNormalization(name="bn2"),
      layers.Flatten(),
      layers.Dense(5, name="hidden"),
      layers.ReLU(),
      layers.Dense(2, name="scores"),
    ]
  )
  assert depth_by_layer(model) == {
    "conv1": {3},
    "bn1": {3},
    "conv2": {2},
    "bn2": {2},
    "hidden": {1},
    "scores": {0},
  }
  assert fine_tuning.head(model).name == "scores"


def test_in_inception_each_concatenation_ends_a_block():
  model = tf.keras.applications.InceptionV3(weights=None, classes=5)
  graph = keras_compat.layer_graph(model)
  depths = fine_tuning.depths(model)
  mixed = 0  # The number of concatenations before a layer, but nested ones.
  for node in graph:
    if re.fullmatch(r"mixed\d+", node.layer.name):
      mixed += 1
    elif node.layer.weights and mixed:
      expected = 11 - mixed if node.layer.name != "predictions" else 0
      found = {depths[id(v)] for v in node.layer.weights}
      assert found == {expected}, node.layer.name
  assert mixed == 11
  stem = [d for layer in model.layers[:8] for d in map(id, layer.weights)]
  assert {depths[v] for v in stem} == {12}


def test_a_nested_network_is_seen_through():
  base = resnet()
  images = tf.keras.Input((32, 32, 3))
  model = tf.keras.Model(images, tf.keras.layers.Dense(3)(base(images)))
  depths = fine_tuning.depths(model)
  assert {depths[id(v)] for v in base.get_layer("logits").weights} == {1}
  assert {depths[id(v)] for v in base.get_layer("stem_conv1").weights} == {10}


def test_an_auxiliary_head_is_a_head_too():
  layers = tf.keras.layers
  images = tf.keras.Input((8, 8, 1))
  features = layers.Conv2D(3, 3, name="features")(images)
  last = layers.Conv2D(4, 3, name="last")(features)
  logits = layers.Dense(2, name="logits")(layers.Flatten()(last))
  side = layers.Dense(2, name="side")(layers.Flatten()(features))
  model = tf.keras.Model(images, [logits, side])
  assert fine_tuning.head(model).name == "logits"
  rates = fine_tuning.rate_multipliers(
    model, layer_decay=0.5, head_learning_rate_multiplier=3.0
  )
  names = [v.shape[-1] for v in model.trainable_variables]
  assert dict(zip(names, rates)) == {3: 0.25, 4: 0.5, 2: 3.0}
  assert [r for n, r in zip(names, rates) if n == 2] == [3.0] * 4


def test_a_network_whose_graph_is_not_known_is_refused():
  class Own(tf.keras.Model):
    def call(self, images):
      return images

  with pytest.raises(config_lib.ConfigError, match="functional model"):
    fine_tuning.rate_multipliers(Own(), layer_decay=0.5)


def test_rate_multipliers():
  model = tiny.model()
  rates = fine_tuning.rate_multipliers(
    model, layer_decay=0.5, head_learning_rate_multiplier=3.0
  )
  # Convolution and BatchNorm of the stem, then of the residual block, head.
  assert rates == [0.25] * 3 + [0.5] * 3 + [3.0] * 2
  assert fine_tuning.rate_multipliers(model) == [1.0] * 8


@pytest.mark.parametrize("optimizer", config_lib.OPTIMIZERS)
def test_each_parameter_takes_the_step_of_its_own_rate(optimizer):
  """A run with one multiplier for all is one with another learning rate."""
  settings = {"optimizer": optimizer, "warmup_steps": 0, "schedule": "constant"}

  def trained(rate, **changes):
    config = tiny.config(base_learning_rate=rate, **settings, **changes)
    state = TrainState(tiny.model(), config)
    schedule = make_schedule(config)
    step.train_step(state, tiny.batch(), config, schedule=schedule)
    return tiny.values(state.parameters)

  rates = {
    part: trained(1.6 * rate) for part, rate in enumerate((0.25, 0.5, 3))
  }
  expected = rates[0][:3] + rates[1][3:6] + rates[2][6:]
  found = trained(1.6, layer_decay=0.5, head_learning_rate_multiplier=3.0)
  for value, other in zip(found, expected):
    np.testing.assert_allclose(value, other, rtol=1e-6, atol=1e-7)
  assert not np.allclose(found[0], trained(1.6)[0], rtol=1e-3)


@pytest.mark.parametrize(
  "field, value",
  [
    ("layer_decay", 0.0),
    ("layer_decay", 1.1),
    ("head_learning_rate_multiplier", 0.0),
  ],
)
def test_rates_out_of_range_are_refused(field, value):
  with pytest.raises(config_lib.ConfigError, match=field):
    config_lib.OptimizerConfig(**{field: value})


@pytest.mark.parametrize(
  "field", ["layer_decay", "head_learning_rate_multiplier"]
)
def test_addons_optimizers_have_one_rate(field):
  with pytest.raises(config_lib.ConfigError, match=f"{field} must be 1 with"):
    config_lib.OptimizerConfig(optimizer="tfa:SGDW", **{field: 0.5})


def test_freeze_by_the_beginning_of_names():
  model = resnet(freeze=("stem", "stage1_block2"))
  frozen = {layer.name for layer in model.layers if not layer.trainable}
  assert frozen == {
    "stem_conv1",
    "stem_bn1",
    *(f"stage1_block2_{part}{i}" for part in ("conv", "bn") for i in (1, 2)),
  }
  assert len(model.trainable_variables) == 62 - 9


def test_all_but_head_leaves_the_last_layer():
  model = resnet(freeze=("all_but_head",))
  names = [v.name.split("/")[-1].split(":")[0] for v in model.trainable_weights]
  assert names == ["kernel", "bias"]
  assert tuple(model.trainable_weights[0].shape) == (512, 7)


def test_all_but_head_reaches_into_nested_networks():
  base = resnet()
  images = tf.keras.Input((32, 32, 3))
  head = tf.keras.layers.Dense(3)
  model = tf.keras.Model(images, head(base(images)))
  frozen = fine_tuning.freeze(model, ["all_but_head"])
  assert "stem_conv1" in frozen and "logits" in frozen
  assert len(model.trainable_variables) == 2
  base = resnet()
  nested = tf.keras.Model(images, base(images))
  fine_tuning.freeze(nested, ["all_but_head"])
  assert nested.trainable_variables == base.get_layer("logits").weights


@pytest.mark.parametrize(
  "freeze, message",
  [
    (["stage9"], "there are stem_conv1, .*, \\.\\.\\."),
    ([""], "beginning of a layer's name"),
    (["stem", "stage", "logits"], "leave something to train"),
    (["all_but_head", "logits"], "leave something to train"),
  ],
)
def test_freeze_of_nothing_or_of_all_is_refused(freeze, message):
  with pytest.raises(config_lib.ConfigError, match=message) as error:
    resnet(freeze=freeze)
  assert "\n" not in str(error.value)


def frozen_run(strategy, precision):
  """Trains with a frozen first convolution; returns values before and after."""
  config = tiny.config(
    ema_decay=0.9,
    precision=precision,
    weight_decay=0.1,
    optimizer="adamw",
    base_learning_rate=0.1,
  )
  with strategy.scope():
    model = tiny.model(dtype=precision)
    rng = np.random.default_rng(0)
    for variable in model.weights:  # Values that no sum of halves gives.
      noise = rng.uniform(0.1, 1.3, variable.shape).astype("float32")
      variable.assign(np.maximum(variable.numpy(), 0.1) * noise)
    convolution, norm = model.layers[2:4]
    fine_tuning.freeze(model, [convolution.name, norm.name])
    state = TrainState(model, config)
    assert len(state.statistics) == 2  # Those of the other BatchNorm.
    schedule = make_schedule(config)

    @tf.function
    def take_step(batch):
      return step.train_step(state, batch, config, schedule=schedule)

    frozen = keras_compat.tf_variables([*convolution.weights, *norm.weights])
    averaged = [id(v) for v in state.averaged]
    averages = [state.averages[averaged.index(id(v))] for v in frozen]
    others = model.layers[5].weights + model.layers[6].weights
    before = [tiny.values(v) for v in (frozen, averages, others)]
    batches = strategy.experimental_distribute_dataset(tiny.dataset(160))
    for batch in batches:
      strategy.run(take_step, args=(batch,))
    after = [tiny.values(v) for v in (frozen, averages, others)]
  return before, after


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_what_is_frozen_keeps_every_bit(replicas, precision, request):
  strategy = tf.distribute.get_strategy()
  if replicas == 2:
    strategy = request.getfixturevalue("strategy")
  before, after = frozen_run(strategy, precision)
  for part in (0, 1):  # The variables themselves, and their averages.
    assert len(before[part]) == 5
    for value, other in zip(before[part], after[part]):
      assert value.tobytes() == other.tobytes()
  for value, other in zip(before[2], after[2]):
    assert (value != other).any()
