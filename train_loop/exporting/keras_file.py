# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A .keras file of Keras' own layers, which opens without this package."""

from __future__ import annotations

import json
import pathlib
import zipfile
from typing import Any

import tensorflow as tf

from train_loop.exporting.classifier import Classifier
from train_loop.fields import ConfigError
from train_loop.models import fusing
from train_loop.models.batch_norm import BatchNorm
from train_loop.models.halving_mean import HalvingMean
from train_loop.models.small_resnet import PadChannels
from train_loop.models.stochastic_depth_layer import StochasticDepth
from tricks import keras_compat

CLASS_NAMES = "class_names.json"
THRESHOLDS = "thresholds.json"
# Whose layers Keras opens in its safe mode: Lambda holds a function's code.
_KERAS = ("keras", "tf_keras", "tensorflow")
# Functions that Keras 3 writes by names that it cannot read.
_ACTIVATIONS = {
  tf.nn.log_softmax: "log_softmax",
  tf.nn.softmax: "softmax",
  tf.nn.swish: "swish",
}


def write(classifier: Classifier, path: pathlib.Path) -> None:
  """Writes a .keras file: pixels [batch, *image_shape] to probabilities.

  The names of the classes are the file class_names.json in it, and their
  thresholds, if they have any, thresholds.json; a .keras file is a zip.

  Args:
    classifier: what is written; its network knows the size of its images.
    path: the new file, which ends with .keras.

  Raises:
    ConfigError: the network has layers that are not Keras' own.
  """
  model = of_keras_layers(classifier.model)
  images = model.inputs[0]
  activation = (
    tf.keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")
    if classifier.multi_label
    else tf.keras.layers.Softmax(dtype="float32", name="probabilities")
  )
  if classifier.flip_tta:
    pixels = tf.keras.Input(classifier.image_shape, name="images")
    mirrored = keras_compat.flip(pixels, axis=2)
    mean = tf.keras.layers.Average(dtype="float32", name="mean_of_both")
    answers = mean([activation(model(pixels)), activation(model(mirrored))])
    images = pixels
  else:
    answers = activation(model.outputs[0])
  tf.keras.Model(images, answers, name=model.name).save(path)
  with zipfile.ZipFile(path, "a") as file:
    file.writestr(CLASS_NAMES, json.dumps(list(classifier.class_names)))
    if classifier.thresholds is not None:
      file.writestr(THRESHOLDS, json.dumps(list(classifier.thresholds)))


def of_keras_layers(model: tf.keras.Model) -> tf.keras.Model:
  """Returns a copy of a network, with Keras' layers in place of ours.

  In inference both give the same; StochasticDepth, which is the identity
  there, is left out.

  Args:
    model: a functional model, or a Sequential one.

  Raises:
    ConfigError: it is none, or a layer is neither Keras' own nor one of ours.
  """
  if not keras_compat.is_functional(model):
    raise ConfigError(
      "export_format=keras must be of a functional model, got a "
      f"{type(model).__name__}: take another format"
    )
  copy = tf.keras.models.clone_model(model, clone_function=_of_keras)
  for layer, copied in zip(model.layers, copy.layers):
    if not isinstance(layer, StochasticDepth):
      copied.set_weights(layer.get_weights())
  return copy


def _of_keras(layer: Any) -> Any:
  """Returns a new layer of Keras' own, without weights, for one layer."""
  layers = tf.keras.layers
  if keras_compat.is_functional(layer):
    return of_keras_layers(layer)
  own = {"name": layer.name, "dtype": layer.get_config()["dtype"]}
  if isinstance(layer, BatchNorm):
    return fusing.unfused(layer)
  if isinstance(layer, StochasticDepth):
    return layers.Activation("linear", **own)
  if isinstance(layer, HalvingMean):
    windows = [min(side, 2 + side % 2) for side in layer.input.shape[1:3]]
    return layers.AveragePooling2D(windows, 2, "valid", **own)
  if isinstance(layer, PadChannels):
    channels = layer.filters - layer.input.shape[-1]
    return tf.keras.Sequential(
      [
        layers.Permute((1, 3, 2)),
        layers.ZeroPadding2D(((0, 0), (0, channels))),
        layers.Permute((1, 3, 2)),
      ],
      name=layer.name,
    )
  kind = type(layer)
  if kind.__module__.partition(".")[0] in _KERAS and kind.__name__ != "Lambda":
    config = layer.get_config()
    if "activation" in config:
      named = _ACTIVATIONS.get(layer.activation, config["activation"])
      config["activation"] = named
    return kind.from_config(config)
  raise ConfigError(
    "export_format=keras must be of a network of Keras' own layers, got "
    f"{layer.name!r}, a {kind.__name__}: take another format"
  )
