# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Auxiliary heads: that of Inception-V3, which Keras' network leaves out."""

from __future__ import annotations

import tensorflow as tf

from train_loop.fields import ConfigError

# The last layer on the grid of 17x17, for images of 299 pixels.
_LAYER = "mixed7"


def with_auxiliary_head(
  model: tf.keras.Model, *, dtype: str | None = None
) -> tf.keras.Model:
  """Adds the auxiliary classifier to Keras' Inception-V3.

  The mean over 5x5 positions, every third of them; a 1x1 convolution to 128
  channels and a 5x5 one to 768, each with BatchNorm and a ReLU; the mean over
  what is left; a dense layer. On a grid below 5x5, which images below about
  110 pixels have, the windows are as large as the grid.

  Args:
    model: Inception-V3, from images to logits [batch, num_classes].
    dtype: Keras dtype policy of the new layers; None is the global policy.

  Returns:
    A model that shares the layers of `model`, to a list of two outputs: its
    logits, and those of the new head, [batch, num_classes] float32 each. In
    training `auxiliary_weight` weighs the second; nothing else uses it.

  Raises:
    ConfigError: `model` is no Inception-V3 of a known image size.

  Reference: Szegedy et al. 2015 (arXiv 1512.00567), section 4 and figure 8.
  """
  layers = {layer.name: layer for layer in model.layers}
  if _LAYER not in layers:
    raise ConfigError(
      f"auxiliary_weight needs keras:InceptionV3, whose layer {_LAYER} feeds "
      f"the auxiliary head, got the model {model.name!r}"
    )
  features = layers[_LAYER].output
  if None in features.shape[1:]:
    raise ConfigError(
      "auxiliary_weight needs a network for images of one size, got one for "
      f"{tuple(model.inputs[0].shape[1:])}"
    )
  side = tf.keras.layers.AveragePooling2D(
    _window(features), strides=3, dtype=dtype, name="auxiliary_pool"
  )(features)
  side = _conv_bn_relu(side, 128, (1, 1), dtype=dtype, name="auxiliary_1x1")
  side = _conv_bn_relu(side, 768, _window(side), dtype=dtype, name="auxiliary")
  side = tf.keras.layers.GlobalAveragePooling2D(
    dtype=dtype, name="auxiliary_mean"
  )(side)
  logits = model.outputs[0]
  side = tf.keras.layers.Dense(
    logits.shape[-1], dtype="float32", name="auxiliary_logits"
  )(side)
  return tf.keras.Model(model.inputs, [logits, side], name=model.name)


def main_output(model: tf.keras.Model) -> tf.keras.Model:
  """Returns the part of a model that computes its first output, the logits.

  Args:
    model: from images to logits, or to a list that begins with them.

  Returns:
    A model that shares the layers of `model`, without those that only feed its
    other outputs; `model` itself if it has no other.
  """
  if len(getattr(model, "outputs", None) or []) < 2:
    return model
  return tf.keras.Model(model.inputs, model.outputs[0], name=model.name)


def _window(features: tf.Tensor) -> tuple[int, int]:
  """Returns 5x5, or the whole grid if that is smaller."""
  return min(5, features.shape[1]), min(5, features.shape[2])


def _conv_bn_relu(
  inputs: tf.Tensor,
  filters: int,
  kernel_size: tuple[int, int],
  *,
  dtype: str | None,
  name: str,
) -> tf.Tensor:
  """A convolution as those of Keras' network are: BatchNorm without γ."""
  outputs = tf.keras.layers.Conv2D(
    filters, kernel_size, use_bias=False, dtype=dtype, name=f"{name}_conv"
  )(inputs)
  outputs = tf.keras.layers.BatchNormalization(
    scale=False, dtype=dtype, name=f"{name}_bn"
  )(outputs)
  return tf.keras.layers.ReLU(dtype=dtype, name=f"{name}_relu")(outputs)
