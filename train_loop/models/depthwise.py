# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions that compute in float32 within a bfloat16 network.

On a CPU oneDNN has no fast kernels in bfloat16 for the gradient of the input of
a depthwise convolution with strides, which takes 10 to 35 times as long as in
float32, and of the kernel, if that is larger than 3 x 3 (twice as long).
`fusing` puts these layers in the place of Keras' own where that is so.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from train_loop.models import policies
from tricks import keras_compat


class _InFloat32:
  """A layer of Keras that computes in float32, and answers in another dtype.

  Args:
    output_dtype: of the outputs; that in which the network computes.
    **kwargs: as of the layer of Keras, without `dtype`.
  """

  def __init__(self, *, output_dtype: str, **kwargs: Any) -> None:
    super().__init__(**{**kwargs, "dtype": "float32"})
    self.output_dtype = output_dtype

  @keras_compat.unconverted
  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Computes what Keras' layer does, of inputs that Keras has cast."""
    return tf.cast(super().call(inputs), self.output_dtype)  # type: ignore[misc]

  def compute_output_spec(self, inputs: Any) -> Any:
    """Keras 3's view of the outputs' shape and dtype."""
    spec = super().compute_output_spec(inputs)  # type: ignore[misc]
    return type(spec)(spec.shape, dtype=self.output_dtype)

  def get_config(self) -> dict[str, Any]:
    """The arguments, as `from_config` takes them."""
    config = super().get_config()  # type: ignore[misc]
    return {**config, "output_dtype": self.output_dtype}


@tf.keras.utils.register_keras_serializable(package="train_loop")
class DepthwiseConv2D(_InFloat32, tf.keras.layers.DepthwiseConv2D):
  """Keras' DepthwiseConv2D, in float32 within a network of another dtype."""


@tf.keras.utils.register_keras_serializable(package="train_loop")
class SeparableConv2D(_InFloat32, tf.keras.layers.SeparableConv2D):
  """Keras' SeparableConv2D, in float32 within a network of another dtype."""


_OURS: dict[type, Any] = {
  tf.keras.layers.DepthwiseConv2D: DepthwiseConv2D,
  tf.keras.layers.SeparableConv2D: SeparableConv2D,
}


def is_slow(layer: keras_compat.Layer) -> bool:
  """Returns whether ours, in float32, trains faster than a layer of Keras'.

  Args:
    layer: a layer of any kind.
  """
  return (
    type(layer) in _OURS
    and layer.built
    and layer.compute_dtype == "bfloat16"
    and layer.dtype == "float32"
    and (max(layer.strides) > 1 or max(layer.kernel_size) > 3)
    and policies.on_cpu()
  )


def in_float32(layer: keras_compat.Layer) -> keras_compat.Layer:
  """Returns a new layer of ours in place of one that `is_slow`.

  Args:
    layer: Keras' own; its weights have to be copied.
  """
  config = keras_compat.config_with_objects(layer)
  return _OURS[type(layer)](**config, output_dtype=layer.compute_dtype)
