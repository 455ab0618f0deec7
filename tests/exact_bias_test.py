# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Biases in half precision on a CPU, whose gradients Keras' own get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import compatibility
from train_loop.models.fusing import with_our_layers
from tricks import keras_compat

pytestmark = pytest.mark.usefixtures("no_gpu")

layers = tf.keras.layers
SHAPE = (12, 12, 4)
KINDS = {
  "Conv2D": lambda **kw: layers.Conv2D(6, 3, **kw),
  "Conv2DTranspose": lambda **kw: layers.Conv2DTranspose(6, 3, **kw),
  "Dense": lambda **kw: layers.Dense(6, **kw),
  "DepthwiseConv2D": lambda **kw: layers.DepthwiseConv2D(3, **kw),
  "EinsumDense": lambda **kw: layers.EinsumDense(
    "bhwc,cd->bhwd", (None, 12, 6), bias_axes="d", **kw
  ),
  "SeparableConv2D": lambda **kw: layers.SeparableConv2D(6, 3, **kw),
}


class OwnDense(layers.Dense):
  """Somebody's own."""


def network(make, policy="mixed_bfloat16", **options):
  tf.keras.utils.set_random_seed(0)
  x = tf.keras.Input(SHAPE)
  y = make(dtype=policy, name="biased", **options)(x)
  y = layers.GlobalAveragePooling2D(dtype="float32")(y)
  return tf.keras.Model(x, layers.Dense(3, dtype="float32")(y))


def trained(model, *, eager=False):
  """Returns outputs and gradients; each bias' sums terms of one sign."""

  @tf.function
  def run(x):
    variables = keras_compat.tf_variables(model.trainable_variables)
    with tf.GradientTape() as tape:
      logits = model(x, training=True)
      loss = tf.reduce_mean(logits[:, 0])
    return [logits, *tape.gradient(loss, variables)[:-1]]

  x = tf.random.stateless_normal((16, *SHAPE), (1, 2))
  found = (run.python_function if eager else run)(x)
  return [tf.convert_to_tensor(value).numpy() for value in found]


def dataset(config):
  size = config.loop.global_batch_size
  batch = {"image": tf.zeros((size, *SHAPE)), "label": tf.zeros(size, tf.int32)}
  return tf.data.Dataset.from_tensors(batch)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_float32(kind, eager):
  model = network(KINDS[kind], activation="relu")
  ours = with_our_layers(model, fuse_batch_norm=False)
  layer = ours.get_layer("biased")
  assert isinstance(layer, type(model.get_layer("biased")))
  assert type(layer).__module__ == "train_loop.models.exact_bias"
  for got, want in zip(ours.variables, model.variables):
    assert got.name == want.name
    np.testing.assert_array_equal(got, want)
  full = network(KINDS[kind], "float32", activation="relu")
  for variable, value in zip(full.variables, model.variables):
    variable.assign(value)
  for got, want in zip(trained(ours, eager=eager), trained(full)):
    assert np.linalg.norm(got - want) < 0.03 * np.linalg.norm(want)
  # The layer is as it was.
  assert layer.bias is not None
  assert layer.activation.__name__ == "relu"
  again = type(layer).from_config(layer.get_config())
  assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
  ("make", "policy", "options"),
  [
    (KINDS["Dense"], "float32", {}),
    (KINDS["Dense"], "mixed_bfloat16", {"use_bias": False}),
    (lambda **kw: OwnDense(6, **kw), "mixed_bfloat16", {}),
  ],
)
def test_all_others_are_left(make, policy, options):
  model = network(make, policy, **options)
  assert with_our_layers(model, fuse_batch_norm=True) is model


class Unused(layers.Layer):
  """Has a layer that it never calls."""

  def __init__(self, **options):
    super().__init__(**options)
    self.never = layers.Dense(6, name="never")

  def call(self, inputs):
    return inputs


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_layer_that_is_never_called_has_no_bias(policy):
  model = network(Unused, policy)
  found = [x.name for x in keras_compat.flat_layers(model)]
  assert "never" in found
  config = tiny.config(precision=policy)
  compatibility.require(model, config, train_dataset=dataset(config))
  assert with_our_layers(model, fuse_batch_norm=True) is model


def test_a_gpu_keeps_keras_own(monkeypatch):
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
  model = network(KINDS["Dense"])
  assert with_our_layers(model, fuse_batch_norm=False) is model


@pytest.mark.parametrize("ours", [False, True])
def test_a_library_user_is_warned(ours, caplog):
  model = network(KINDS["Dense"])
  if ours:
    model = with_our_layers(model, fuse_batch_norm=False)
  config = tiny.config(precision="mixed_bfloat16")
  with caplog.at_level("INFO", "absl"):
    compatibility.require(model, config, train_dataset=dataset(config))
  assert ("biased: train in float32" in caplog.text) == (not ours)
