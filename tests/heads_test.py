# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a network ends in, and a network without its softmax."""

import numpy as np
import pytest
import tensorflow as tf

from train_loop.models.heads import closing_activation, without_softmax

layers = tf.keras.layers
SHAPE = (4, 4, 2)


def features():
  inputs = tf.keras.Input(SHAPE)
  x = layers.Conv2D(3, 3, activation="relu")(inputs)
  return inputs, layers.Flatten()(x)


def ends_in(*tail):
  """A functional model with these last layers."""
  inputs, x = features()
  for layer in tail:
    x = layer(x)
  return tf.keras.Model(inputs, x, name="network")


def sequential(*tail):
  body = [layers.Input(SHAPE), layers.Flatten(), *tail]
  return tf.keras.Sequential(body, name="network")


def nested(make_head):
  return ends_in(make_head())


def head_model(activation):
  x = tf.keras.Input((12,))
  return tf.keras.Model(x, layers.Dense(3, activation=activation)(x))


def operation(name):
  """tf.nn.NAME in Keras 2, keras.ops.NAME in Keras 3."""
  return getattr(getattr(tf.keras, "ops", tf.nn), name)


# By what closes the model: the models of every shape that it comes in.
MODELS = {
  "dense": lambda a: ends_in(layers.Dense(3, activation=a)),
  "function": lambda a: ends_in(layers.Dense(3, activation=getattr(tf.nn, a))),
  "activation": lambda a: ends_in(layers.Dense(3), layers.Activation(a)),
  "operation": lambda a: ends_in(layers.Dense(3), operation(a)),
  "float32": lambda a: ends_in(
    layers.Dense(3, activation=a, dtype="mixed_bfloat16"),
    layers.Activation("linear", dtype="float32"),
  ),
  "reshaped": lambda a: ends_in(
    layers.Reshape((1, 1, 12)),
    layers.Conv2D(3, 1, activation=a),
    layers.Reshape((3,)),
  ),
  "sequential": lambda a: sequential(layers.Dense(3, activation=a)),
  "nested": lambda a: nested(lambda: head_model(a)),
  "nested_sequential": lambda a: nested(
    lambda: tf.keras.Sequential(
      [layers.Input((12,)), layers.Dense(3), layers.Activation(a)]
    )
  ),
  "nested_twice": lambda a: nested(
    lambda: tf.keras.Sequential([layers.Input((12,)), head_model(a)])
  ),
}


def images():
  return np.random.default_rng(0).normal(size=(5, *SHAPE)).astype("float32")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", MODELS)
def test_the_closing_activation_is_found(kind, activation):
  assert closing_activation(MODELS[kind](activation)) == activation


@pytest.mark.parametrize("kind", MODELS)
def test_without_softmax_gives_the_logits(kind):
  model = MODELS[kind]("softmax")
  logits = without_softmax(model)
  assert closing_activation(logits) is None
  expected = np.array(model(images()), "float32")
  # What Keras' own softmax makes of the logits are the model's outputs.
  found = np.array(tf.nn.softmax(tf.cast(logits(images()), tf.float32)))
  tolerance = 1e-2 if kind == "float32" else 1e-6
  np.testing.assert_allclose(found, expected, atol=tolerance)
  assert not np.allclose(np.sum(logits(images()), axis=-1), 1.0)


@pytest.mark.parametrize("kind", MODELS)
def test_without_softmax_keeps_names_and_weights(kind):
  model = MODELS[kind]("softmax")
  logits = without_softmax(model)
  assert logits.name == model.name == "network"
  names = [layer.name for layer in model.layers if layer.weights]
  assert [layer.name for layer in logits.layers if layer.weights] == names
  assert len(logits.trainable_variables) == len(model.trainable_variables)
  for ours, theirs in zip(logits.get_weights(), model.get_weights()):
    np.testing.assert_array_equal(ours, theirs)


def test_without_softmax_keeps_functions_of_your_own():
  def quarter(shape, dtype=None):
    return tf.fill(shape, 0.25)

  x = tf.keras.Input((4,))
  dense = layers.Dense(3, activation="softmax", kernel_initializer=quarter)
  logits = without_softmax(tf.keras.Model(x, dense(x)))(tf.ones((1, 4)))
  np.testing.assert_array_equal(logits, np.ones((1, 3)))


class Scaled(layers.Dense):
  """Somebody's own, which keeps an argument under another name."""

  def __init__(self, units, scale_initializer="ones", **options):
    super().__init__(units, **options)
    self._scale = scale_initializer

  def get_config(self):
    return {**super().get_config(), "scale_initializer": self._scale}


def test_without_softmax_takes_layers_with_attributes_of_other_names():
  x = tf.keras.Input((4,))
  dense = Scaled(3, scale_initializer="zeros", activation="softmax")
  logits = without_softmax(tf.keras.Model(x, dense(x)))
  assert logits.layers[-1].get_config()["scale_initializer"] == "zeros"


def test_the_model_itself_stays_as_it_was():
  model = MODELS["dense"]("softmax")
  before = np.array(model(images()))
  without_softmax(model)
  np.testing.assert_array_equal(model(images()), before)
  assert closing_activation(model) == "softmax"


def test_the_softmax_layer_is_removed():
  model = ends_in(layers.Dense(3), layers.Softmax())
  assert closing_activation(model) == "softmax"
  dense = model.layers[-2]
  assert without_softmax(model).layers[-1] is dense


def test_without_softmax_returns_other_models_as_they_are():
  for model in (MODELS["dense"](None), MODELS["dense"]("sigmoid")):
    assert without_softmax(model) is model


def test_logits_have_no_closing_activation():
  for kind in ("dense", "sequential", "nested", "float32"):
    assert closing_activation(MODELS[kind](None)) is None
  # A softmax that is not last, as in attention, is no end.
  assert closing_activation(ends_in(layers.Softmax(), layers.Dense(3))) is None


def test_a_subclassed_model_has_no_known_end():
  class Subclassed(tf.keras.Model):
    def call(self, inputs):
      return tf.nn.softmax(inputs)

  assert closing_activation(Subclassed()) is None


@pytest.mark.parametrize(
  ("layer", "name"),
  [
    (lambda: layers.ReLU(), "relu"),
    (lambda: layers.Activation("tanh"), "tanh"),
    (lambda: layers.Activation(tf.nn.log_softmax), "log_softmax"),
    (lambda: layers.Dense(3, activation=layers.Softmax()), "softmax"),
  ],
)
def test_other_ends(layer, name):
  assert closing_activation(ends_in(layer())) == name


def test_a_saved_copy_has_no_softmax(tmp_path):
  logits = without_softmax(MODELS["nested"]("softmax"))
  path = str(tmp_path / "model.keras")
  logits.save(path)
  loaded = tf.keras.models.load_model(path)
  np.testing.assert_array_equal(loaded(images()), logits(images()))
  assert closing_activation(loaded) is None
