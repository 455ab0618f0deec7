# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a network ends: in logits, or in an activation such as softmax.

Training takes logits. Keras' own classifiers end in a softmax by default, and
a softmax on top of a softmax still trains, slowly and badly, without an error.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tricks import keras_compat

# The activation that an operation or layer is; of Keras 2 by its symbol.
_OPERATIONS = {
  "LogSoftmax": "log_softmax",
  "ReLU": "relu",
  "Relu": "relu",
  "Sigmoid": "sigmoid",
  "Softmax": "softmax",
  "math.sigmoid": "sigmoid",
  "nn.log_softmax": "log_softmax",
  "nn.relu": "relu",
  "nn.softmax": "softmax",
}
_CASTS = ("Cast", "cast")
# What may follow the activation, because it moves no value.
_PASSED = (*_CASTS, "Dropout", "Flatten", "Identity", "Reshape")


def closing_activation(model: tf.keras.Model) -> str | None:
  """Names the activation that a model ends in.

  Layers that keep the values (a reshape, a cast) may follow it. An activation
  inside a Lambda or a subclassed layer is not seen.

  Args:
    model: a functional Keras model with one output.

  Returns:
    "softmax", "sigmoid", "tanh" and so on; None if the model ends in logits, or
    is no functional model, so that its layers are not known.
  """
  if not keras_compat.is_functional(model):
    return None
  return _closing(model.outputs[0])


def without_softmax(model: tf.keras.Model) -> tf.keras.Model:
  """Removes the softmax that a model ends in.

  Args:
    model: a functional Keras model with one output.

  Returns:
    A functional model from the same inputs to logits, made of the layers of
    `model`, but for a last Dense(activation="softmax"), whose place takes a
    copy of the same name and weights. `model` itself if it ends in no softmax.
  """
  if closing_activation(model) != "softmax":
    return model
  logits = _before_softmax(model.outputs[0])
  return tf.keras.Model(_unpacked(model.inputs), logits, name=model.name)


def _closing(output: tf.Tensor) -> str | None:
  layer, inputs = keras_compat.producer(output)
  if keras_compat.is_functional(layer):
    return closing_activation(layer)
  name = _activation(layer)
  if name is None and inputs and _is_passed(layer):
    return _closing(inputs[0])
  return name


def _before_softmax(output: tf.Tensor) -> tf.Tensor:
  """Returns what `output` would be without its softmax."""
  layer, inputs = keras_compat.producer(output)
  if keras_compat.is_functional(layer):
    return without_softmax(layer)(_unpacked(inputs))
  if _activation(layer) is None:
    if _kind(layer) in _CASTS:  # An operation, whose dtype is no attribute.
      layer = tf.keras.layers.Activation("linear", dtype=output.dtype)
    return layer(_before_softmax(inputs[0]))
  if not getattr(layer, "weights", []):
    return inputs[0]
  config = keras_compat.config_with_objects(layer)
  config["activation"] = "linear"
  copy = type(layer).from_config(config)
  logits = copy(inputs[0])
  copy.set_weights(layer.get_weights())
  return logits


def _unpacked(inputs: list[tf.Tensor]) -> Any:
  """Returns a single input as itself: Keras 3 warns of a list of one."""
  return inputs if len(inputs) > 1 else inputs[0]


def _activation(layer: keras_compat.Layer) -> str | None:
  """Returns the name of a layer's activation, None if it has none."""
  activation: Any = getattr(layer, "activation", None)
  if activation is None or isinstance(activation, tf.keras.layers.Layer):
    return _OPERATIONS.get(_kind(layer if activation is None else activation))
  name = getattr(activation, "__name__", type(activation).__name__)
  name = name.removesuffix("_v2")  # tf.nn.softmax is called softmax_v2.
  return None if name == "linear" else name


def _is_passed(layer: keras_compat.Layer) -> bool:
  return _kind(layer) in _PASSED or isinstance(
    layer, tf.keras.layers.Activation
  )


def _kind(layer: keras_compat.Layer) -> str:
  # Keras 2 wraps an operation in one class for all, with a symbol.
  return getattr(layer, "symbol", type(layer).__name__)
