# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The classifiers of tf.keras.applications, from raw pixels to logits.

Each family was made for pixels of its own scale. That is put into the graph, in
float32, with Keras' own layers, so that the network can be saved and exported
and asked without this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from train_loop.fields import ConfigError
from train_loop.models.keras_names import (
  DEVIATION,
  FAMILY_OF,
  MEAN,
  Family,
  Preprocessing,
  one_size_error,
  require_image_shape,
)
from train_loop.models.policies import global_policy
from tricks import keras_compat

layers = tf.keras.layers

# A legal size for every family, if the images' is not known.
_ANY_SIZE = 96


def application(
  name: str,
  *,
  input_shape: Sequence[int | None],
  num_classes: int,
  dtype: str | None = None,
) -> tf.keras.Model:
  """Builds a classifier of tf.keras.applications, with random weights.

  Args:
    name: Its name there, one of `keras_names.FAMILY_OF`.
    input_shape: (height, width, channels) of an image; height and width may be
      None. Gray images are repeated to three channels.
    num_classes: Number of logits, at least 1.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    A functional `tf.keras.Model`: images [batch, height, width, channels],
    uint8 or float in 0..255, to logits [batch, num_classes] float32.

  Raises:
    ConfigError: This TensorFlow has no such network, or the network takes no
      such images.
  """
  family = FAMILY_OF[name]
  if not hasattr(tf.keras.applications, name):
    raise ConfigError(
      f"model keras:{name} is not in the Keras of TensorFlow {tf.__version__}"
      f"{', but in Keras 2' if family.keras_2_only else ''}: take another model"
    )
  require_image_shape(name, input_shape)
  if num_classes < 1:
    raise ConfigError(f"num_classes must be at least 1, got {num_classes}")
  height, width, channels = input_shape
  size = (height or _ANY_SIZE, width or _ANY_SIZE)
  with global_policy(dtype):
    pixels = tf.keras.Input((*size, channels), dtype="float32", name="pixels")
    logits = _logits(pixels, name, family, num_classes)
    model = tf.keras.Model(pixels, logits, name=name)
    if family.always_inside or None in (height, width):
      if any(map(keras_compat.is_functional, model.layers)):
        raise one_size_error(name)
      model = _copied(model, input_shape)
    logits = _float32(model.outputs[0])
  return tf.keras.Model(model.inputs[0], logits, name=name)


def _logits(
  pixels: tf.Tensor, name: str, family: Family, num_classes: int
) -> tf.Tensor:
  """Calls Keras' network on pixels, preprocessed as it was made for."""
  make = getattr(tf.keras.applications, name)
  arguments: dict[str, Any] = {
    "classes": num_classes,
    "classifier_activation": None,
    "input_shape": (*pixels.shape[1:3], 3),
    "weights": None,
  }
  if "include_preprocessing" in inspect.signature(make).parameters:
    arguments["include_preprocessing"] = False
  images = pixels
  if pixels.shape[-1] == 1:
    images = _concatenated([pixels] * 3, "rgb")
  if not family.always_inside:
    images = _preprocessed(images, family.preprocessing)
  network = make(input_tensor=images, **arguments)
  found, _ = keras_compat.producer(images)
  if found in network.layers:
    return network.outputs[0]
  # Keras 2's ConvNeXt and RegNet begin at the pixels, whatever comes after.
  return make(**arguments)(images)


def _preprocessed(rgb: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
  """Preprocesses images [batch, height, width, 3] in 0..255, in float32."""
  if preprocessing.bgr:
    rgb = _concatenated([_channel(rgb, index) for index in (2, 1, 0)], "bgr")
  return layers.Rescaling(
    scale=list(preprocessing.scale),
    offset=list(preprocessing.offset),
    dtype="float32",
    name="normalize",
  )(rgb)


def _channel(rgb: tf.Tensor, index: int) -> tf.Tensor:
  """Returns one channel, [batch, height, width, 1]."""
  # It crops the last two axes, which are width and channels.
  return layers.Cropping2D(
    ((0, 0), (index, 2 - index)),
    data_format="channels_first",
    dtype="float32",
    name=("red", "green", "blue")[index],
  )(rgb)


def _concatenated(channels: list[tf.Tensor], name: str) -> tf.Tensor:
  return layers.Concatenate(dtype="float32", name=name)(channels)


def _copied(
  model: tf.keras.Model, input_shape: Sequence[int | None]
) -> tf.keras.Model:
  """Copies a model for images of another shape; new random weights."""
  pixels = tf.keras.Input(tuple(input_shape), dtype="float32", name="pixels")
  return tf.keras.models.clone_model(
    model, input_tensors=pixels, clone_function=_copied_layer
  )


def _copied_layer(layer: keras_compat.Layer) -> keras_compat.Layer:
  """Copies a layer; one that preprocesses computes in float32."""
  config = layer.get_config()
  if isinstance(layer, (layers.Rescaling, layers.Normalization)):
    config["dtype"] = "float32"
  if isinstance(layer, layers.Normalization):
    config["mean"] = list(MEAN)
    config["variance"] = [deviation**2 for deviation in DEVIATION]
  return type(layer).from_config(config)


def _float32(output: tf.Tensor) -> tf.Tensor:
  """Lets the layers from the last kernel on compute in float32."""
  if output.dtype == "float32":
    return output
  layer, inputs = keras_compat.producer(output)
  if keras_compat.is_functional(layer):
    inner = tf.keras.Model(
      layer.inputs[0], _float32(layer.outputs[0]), name=layer.name
    )
    return inner(inputs[0])
  has_kernel = bool(keras_compat.kernels(layer))
  before = inputs[0] if has_kernel else _float32(inputs[0])
  copy = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
  outputs = copy(before)
  copy.set_weights(layer.get_weights())
  return outputs
