# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras' layers with a bias whose gradient is right in half precision on a CPU.

On a CPU TensorFlow sums BiasAdd's gradient in the dtype of its terms. In
bfloat16, of 8 bits, a sum of ones ends at 256 or 512: the gradient of the bias
of a convolution or a hidden Dense layer has little to do with the right one.
The gradient of a plain sum is added up in float32. `fusing` puts these layers
in the place of Keras' own.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from train_loop.models import policies
from tricks import keras_compat

_KINDS = (
  *("Conv1D", "Conv2D", "Conv3D"),
  *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
  *("Dense", "DepthwiseConv1D", "DepthwiseConv2D", "EinsumDense"),
  *("SeparableConv1D", "SeparableConv2D"),
)


class _ExactBias:
  """A layer of Keras that adds its bias by a plain sum."""

  @keras_compat.unconverted
  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Computes what Keras' layer does."""
    own = {name: getattr(self, name) for name in ("activation", "bias")}
    # Past Keras' setters, which would take the variable for a new one.
    vars(self).update(activation=None, bias=None, use_bias=False)
    try:
      outputs = super().call(inputs)  # type: ignore[misc]
    finally:
      vars(self).update(own, use_bias=True)
    outputs = tf.add(outputs, tf.cast(own["bias"], outputs.dtype))
    return outputs if own["activation"] is None else own["activation"](outputs)


def _with_exact_bias(kind: type) -> type:
  ours = type(
    kind.__name__, (_ExactBias, kind), {"__doc__": _ExactBias.__doc__}
  )
  register = tf.keras.utils.register_keras_serializable
  return register(package="train_loop.exact_bias")(ours)


_OURS: dict[type, Any] = {
  kind: _with_exact_bias(kind)
  for kind in (getattr(tf.keras.layers, name) for name in _KINDS)
}


def is_inexact(layer: keras_compat.Layer) -> bool:
  """Returns whether the gradient of a layer's bias is wrong on this machine.

  Args:
    layer: a layer of any kind; only of Keras' own it is known.
  """
  return (
    type(layer) in _OURS
    and layer.built  # One that is never called has no bias, nor the attribute.
    and layer.bias is not None
    and layer.compute_dtype in ("bfloat16", "float16")
    and getattr(layer, "data_format", "channels_last") == "channels_last"
    and policies.on_cpu()
  )


def exact(layer: keras_compat.Layer) -> keras_compat.Layer:
  """Returns a new layer of ours in place of one that `is_inexact`.

  Args:
    layer: Keras' own, built; its weights have to be copied.
  """
  config = keras_compat.config_with_objects(layer)
  return _OURS[type(layer)].from_config(config)
