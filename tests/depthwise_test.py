# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions in float32 within bfloat16, against Keras' own."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from train_loop.command import compose, flags
from train_loop.models import depthwise
from train_loop.models.fusing import with_our_layers
from train_loop.preflight.trials import Choice
from tricks import keras_compat

pytestmark = pytest.mark.usefixtures("no_gpu")

layers = tf.keras.layers
SHAPE = (9, 9, 4)
# A layer that is slow in bfloat16, of each kind and for each reason.
SLOW = {
  "strides": lambda **kw: layers.DepthwiseConv2D(3, strides=2, **kw),
  "a large kernel": lambda **kw: layers.DepthwiseConv2D(5, **kw),
  "all options": lambda **kw: layers.DepthwiseConv2D(
    3,
    strides=2,
    padding="same",
    depth_multiplier=2,
    activation="relu",
    bias_initializer="ones",
    depthwise_regularizer="l2",
    **kw,
  ),
  "a function": lambda **kw: layers.DepthwiseConv2D(
    3, strides=2, activation=tf.nn.swish, **kw
  ),
  "separable": lambda **kw: layers.SeparableConv2D(6, 3, strides=2, **kw),
}


class OwnDepthwise(layers.DepthwiseConv2D):
  """Somebody's own."""


def network(make, policy="mixed_bfloat16"):
  """A layer between two operations that take no other dtype than theirs."""
  tf.keras.utils.set_random_seed(0)
  x = tf.keras.Input(SHAPE)
  y = layers.Conv2D(4, 1, use_bias=False, dtype=policy)(x)
  y = make(dtype=policy, name="depthwise")(y)
  y = layers.Add(dtype=policy)([y, y * 0.5])
  y = layers.GlobalAveragePooling2D(dtype="float32")(y)
  return tf.keras.Model(x, layers.Dense(3)(y))


def trained(model, x):
  """Returns outputs, and the gradients of all parameters and of x."""
  variables = keras_compat.tf_variables(model.trainable_variables)
  with tf.GradientTape() as tape:
    tape.watch(x)
    logits = model(x, training=True)
    loss = tf.reduce_sum(logits**2) + sum(model.losses)
  gradients = tape.gradient(loss, [x, *variables])
  return [a.numpy().astype("float64") for a in (logits, *gradients)]


def distances(some, others):
  pairs = zip(some, others)
  return [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]


@pytest.mark.parametrize("kind", SLOW)
def test_outputs_and_gradients_are_those_of_keras(kind):
  model = network(SLOW[kind])
  ours = with_our_layers(model, fuse_batch_norm=False)
  layer = ours.get_layer("depthwise")
  assert type(layer) in (depthwise.DepthwiseConv2D, depthwise.SeparableConv2D)
  assert isinstance(layer, type(model.get_layer("depthwise")))
  for got, want in zip(ours.variables, model.variables):
    assert got.name == want.name
    np.testing.assert_array_equal(got, want)
  x = tf.random.stateless_normal((8, *SHAPE), (1, 2))
  assert layer(tf.cast(x, tf.bfloat16)).dtype == tf.bfloat16
  outputs = [n.dtype for n in tf.nest.flatten(layer.output)]
  assert [tf.as_dtype(dtype) for dtype in outputs] == [tf.bfloat16]
  # As near to float32's as 8 bits of a number are, a few times. (Keras' own is
  # further off in the bias, whose gradient it sums in bfloat16.)
  exact = network(SLOW[kind], "float32")
  for variable, value in zip(exact.variables, model.variables):
    variable.assign(value)
  assert max(distances(trained(ours, x), trained(exact, x))) < 0.03


def test_a_layer_of_ours_is_made_again_from_its_config():
  model = with_our_layers(network(SLOW["all options"]), fuse_batch_norm=False)
  layer = model.get_layer("depthwise")
  again = type(layer).from_config(layer.get_config())
  assert again.get_config() == layer.get_config()
  assert again.output_dtype == "bfloat16"


@pytest.mark.parametrize(
  ("make", "policy"),
  [
    (lambda **kw: layers.DepthwiseConv2D(3, **kw), "mixed_bfloat16"),
    (lambda **kw: layers.SeparableConv2D(4, 3, **kw), "mixed_bfloat16"),
    (lambda **kw: layers.Conv2D(4, 5, strides=2, **kw), "mixed_bfloat16"),
    (lambda **kw: OwnDepthwise(3, strides=2, **kw), "mixed_bfloat16"),
    (SLOW["strides"], "mixed_float16"),
    (SLOW["strides"], "float32"),
    (SLOW["strides"], "bfloat16"),
  ],
)
def test_all_others_are_left(make, policy):
  model = network(functools.partial(make, use_bias=False), policy)
  assert with_our_layers(model, fuse_batch_norm=False) is model
  assert with_our_layers(model, fuse_batch_norm=True) is model


def test_a_gpu_keeps_keras_own(monkeypatch):
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
  model = network(SLOW["strides"])
  assert with_our_layers(model, fuse_batch_norm=False) is model


def test_batch_norm_is_fused_in_the_same_pass():
  x = tf.keras.Input(SHAPE)
  y = layers.BatchNormalization(name="norm", dtype="mixed_bfloat16")(x)
  y = SLOW["strides"](dtype="mixed_bfloat16", name="depthwise")(y)
  model = tf.keras.Model(x, y)
  for fuse in (False, True):
    ours = with_our_layers(model, fuse_batch_norm=fuse)
    kinds = [type(ours.get_layer(n)).__module__ for n in ("depthwise", "norm")]
    assert kinds[0] == "train_loop.models.depthwise"
    assert (kinds[1] == "train_loop.models.batch_norm") == fuse


def test_the_command_trains_with_them():
  planned = compose.plan(
    flags.parse(
      "--dataset=synthetic",
      "--model=keras:MobileNet",
      "--precision=mixed_bfloat16",
      "--workdir=unused",
    )
  )
  chosen = Choice(
    precision="mixed_bfloat16",
    jit_compile=False,
    onednn=True,
    tensor_float_32=False,
  )
  model = compose.build(planned, chosen, {}).model
  assert [
    layer.name
    for layer in keras_compat.flat_layers(model)
    if isinstance(layer, depthwise.DepthwiseConv2D)
  ] == [f"conv_dw_{n}" for n in (2, 4, 6, 12)]
