# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exchanges layers of Keras and better ones of ours in any functional model.

Our BatchNorm runs on TensorFlow's fused op, which Keras 3's layer left. Keras'
own opens without our package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import tensorflow as tf

from train_loop.fields import ConfigError
from train_loop.models import batch_norm, depthwise, exact_bias
from tricks import keras_compat

Layer = keras_compat.Layer


def with_our_layers(
  model: tf.keras.Model, *, fuse_batch_norm: bool
) -> tf.keras.Model:
  """Puts layers of ours in the place of Keras' own that are worse here.

  These are our BatchNorm; and in half precision on a CPU depthwise convolutions
  that are slow (`depthwise`), and layers whose bias would get a wrong gradient
  (`exact_bias`). All is kept that `fuse_batch_norm` keeps.

  Args:
    model: as of `fuse_batch_norm`.
    fuse_batch_norm: whether to do what `fuse_batch_norm` does.

  Returns:
    As `fuse_batch_norm`.

  Raises:
    ValueError: BatchNorm is to be fused, and the model is not functional.
  """
  if fuse_batch_norm:
    _require_functional(model, "fuse_batch_norm")

  def replacement(layer: Layer) -> Callable[[Layer], Layer] | None:
    if fuse_batch_norm and _is_fusable(layer):
      return _fused
    if depthwise.is_slow(layer):
      return depthwise.in_float32
    return exact_bias.exact if exact_bias.is_inexact(layer) else None

  return _replaced(model, replacement)


def fuse_batch_norm(model: tf.keras.Model) -> tf.keras.Model:
  """Puts our BatchNorm in the place of each BatchNormalization of Keras' own.

  Outputs, gradients and moving statistics stay as they were, but for rounding.
  Weights, names of layers, `trainable`, dtype policies, nested models, and the
  order of all variables are kept, so that a checkpoint of the one can be read
  into the other.

  Left alone are layers that normalise another axis than the last, an input of
  another rank than 2 or 4, or in float64; that ask for batch renormalisation, a
  virtual batch, an epsilon below the fused op's, or `fused=False`; a subclass;
  and those within a layer that is no functional model.

  Args:
    model: a functional Keras model; functional models nested in it are searched
      too.

  Returns:
    A functional model of the same layers otherwise: go on with this one, for
    what trains the one changes the other's other layers. `model` itself if
    nothing is to be replaced.

  Raises:
    ValueError: the model is not functional, so that its graph is not known.
  """
  _require_functional(model, "fuse_batch_norm")
  return _replaced(model, lambda x: _fused if _is_fusable(x) else None)


def unfuse_batch_norm(model: tf.keras.Model) -> tf.keras.Model:
  """Puts Keras' own BatchNormalization in the place of each BatchNorm of ours.

  The inverse of `fuse_batch_norm`, for a file that opens without our package.
  Which variance the moving one follows is then as Keras has it.

  Args:
    model: as of `fuse_batch_norm`.

  Returns:
    As `fuse_batch_norm`.

  Raises:
    ValueError: the model is not functional, so that its graph is not known.
  """
  _require_functional(model, "unfuse_batch_norm")
  return _replaced(model, lambda x: unfused if _is_ours(x) else None)


def synchronize_batch_norm(model: tf.keras.Model) -> None:
  """Lets each BatchNorm of a model use the statistics of the global batch.

  Args:
    model: a functional Keras model.

  Raises:
    ConfigError: it has a BatchNormalization of Keras' own, which
      `fuse_batch_norm` left alone.
  """
  for layer in _layers(model):
    if _is_ours(layer):
      layer.synchronized = True
    elif isinstance(layer, tf.keras.layers.BatchNormalization):
      raise ConfigError(
        "sync_batch_norm must be false for a network whose BatchNormalization "
        f"ours cannot replace, got true and the layer {layer.name!r}"
      )


def can_fuse(model: tf.keras.Model) -> bool:
  """Returns whether `fuse_batch_norm` would replace a layer.

  Args:
    model: any Keras model.
  """
  return any(map(_is_fusable, _layers(model)))


def _is_fusable(layer: Layer) -> bool:
  """Returns whether a layer is Keras' own and ours can do the same."""
  if type(layer) is not tf.keras.layers.BatchNormalization or not layer.built:
    return False
  rank = layer.input_spec.ndim
  return (
    rank in (2, 4)
    and tf.nest.flatten(layer.get_config()["axis"]) in ([-1], [rank - 1])
    and layer.compute_dtype in batch_norm.COMPUTE_DTYPES
    and layer.moving_mean.dtype == "float32"
    and layer.epsilon >= batch_norm.MIN_EPSILON
    and not getattr(layer, "renorm", False)
    and getattr(layer, "virtual_batch_size", None) is None
    and getattr(layer, "adjustment", None) is None
    # Keras 2 sets it by itself for an input of rank 2, and if synchronized.
    and (getattr(layer, "fused", True) or rank == 2 or layer.synchronized)
  )


def _fused(layer: Layer) -> Layer:
  return batch_norm.BatchNorm.from_config(
    {
      **keras_compat.config_with_objects(layer),
      "synchronized": layer.synchronized,  # Keras 2 leaves it out.
      # Off the fused op Keras 2's layer follows the biased variance too.
      "unbiased_variance": bool(getattr(layer, "fused", False)),
    }
  )


def _is_ours(layer: Layer) -> bool:
  return type(layer) is batch_norm.BatchNorm and layer.built


def unfused(layer: Layer) -> Layer:
  """Returns a new BatchNormalization of Keras' own, in place of one BatchNorm.

  Args:
    layer: ours; its weights have to be copied.
  """
  config = keras_compat.config_with_objects(layer)
  del config["unbiased_variance"]
  return tf.keras.layers.BatchNormalization.from_config(config)


def _require_functional(model: tf.keras.Model, caller: str) -> None:
  if not keras_compat.is_functional(model):
    raise ValueError(
      f"{caller} needs a functional model, whose graph of layers is known, got"
      f" {type(model).__name__} {model.name!r}; build it with"
      " tf.keras.Model(inputs, outputs)"
    )


def _layers(model: Layer) -> Iterator[Layer]:
  """Lists the layers of a model and of functional models nested in it."""
  if not keras_compat.is_functional(model):
    yield model
    return
  for layer in model.layers:
    yield from _layers(layer)


def _replaced(
  model: tf.keras.Model,
  replacement: Callable[[Layer], Callable[[Layer], Layer] | None],
) -> tf.keras.Model:
  """Puts new layers in the place of some.

  Args:
    model: any; nothing is replaced in one that is not functional.
    replacement: from a layer to what makes the one for it; None keeps it.
  """
  places: dict[int, tuple[Any, Any]] = {}  # id -> a layer, the one for it

  def in_place_of(layer: Layer) -> Layer:
    # A layer or model that is called twice, or in two models, stays one.
    if id(layer) not in places:
      places[id(layer)] = (layer, made_for(layer))
    return places[id(layer)][1]

  def made_for(layer: Layer) -> Layer:
    if keras_compat.is_functional(layer):
      if not any(map(replacement, _layers(layer))):
        return layer
      return keras_compat.rebuilt(layer, in_place_of)
    make = replacement(layer)
    return make(layer) if make else layer

  new_model = in_place_of(model)
  for layer, new in places.values():
    if keras_compat.is_functional(layer):
      keras_compat.set_own_trainable(new, layer.trainable)
    elif new is not layer:
      new.trainable = layer.trainable
      values = keras_compat.tf_variables(layer.weights)
      for variable, value in zip(new.weights, values):
        variable.assign(value.read_value())
  return new_model
