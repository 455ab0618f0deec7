# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""No bias decay: weight decay for kernels only.

L2 regularisation keeps the kernels of convolutions and dense layers small;
biases and BatchNorm's γ and β are not regularised.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tricks import keras_compat


def decay_mask(
  model: tf.keras.Model, *, decay_kernels_only: bool = True
) -> list[bool]:
  """Says which trainable variables decay: the kernels, or all.

  Args:
    model: a built Keras model.
    decay_kernels_only: False decays each variable, as the paper's baseline.

  Returns:
    A bool for each of `model.trainable_variables`, in their order.

  Reference: He et al. 2018, section 3.1 (no bias decay); Jia et al. 2018.
  """
  if not decay_kernels_only:
    return [True] * len(model.trainable_variables)
  return kernel_mask(model)


def kernel_mask(model: tf.keras.Model) -> list[bool]:
  """Says which trainable variables are kernels.

  A variable is a kernel if the layer that owns it holds it as one
  (`keras_compat.kernels`): convolutions, depthwise and separable ones, dense
  and einsum-dense layers, recurrent cells; in nested models too. Biases, γ, β
  and embedding tables are none, whatever their rank and name.

  Args:
    model: a built Keras model.

  Returns:
    A bool for each of `model.trainable_variables`, in their order.
  """
  kernels = {
    id(kernel)
    for layer in keras_compat.flat_layers(model)
    for kernel in keras_compat.kernels(layer)
  }
  return [id(variable) in kernels for variable in model.trainable_variables]


def undecayed_matrices(model: tf.keras.Model) -> list[str]:
  """Names the trainable variables of rank > 1 that are no kernels.

  Embedding tables, biases of attention, and the kernels of custom layers that
  do not say so (`keras_compat.kernels`).

  Args:
    model: a built Keras model.

  Returns:
    The variables' names in the order of `model.trainable_variables`, which do
    not decay if kernels alone do.
  """
  return [
    keras_compat.variable_name(variable)
    for variable, is_kernel in zip(
      model.trainable_variables, kernel_mask(model)
    )
    if not is_kernel and len(variable.shape) > 1
  ]


def l2_gradient(
  gradient: tf.Tensor, parameter: tf.Tensor, weight_decay: float
) -> tf.Tensor:
  """Adds the gradient of the L2 penalty ½λ‖w‖², the coupled weight decay.

  g' = g + λ·w

  Args:
    gradient: g, of the parameter's shape.
    parameter: w, float32.
    weight_decay: λ, >= 0; 0 is the identity.

  Returns:
    g', in the parameter's dtype.

  Raises:
    ValueError: weight_decay is out of its range.

  Reference: He et al. 2018, section 3.1.
  """
  check_weight_decay(weight_decay)
  gradient = tf.cast(gradient, parameter.dtype)
  return gradient + weight_decay * parameter if weight_decay else gradient


def check_weight_decay(weight_decay: float) -> None:
  """Raises ValueError unless weight_decay is finite and >= 0."""
  if not 0.0 <= weight_decay < math.inf:
    raise ValueError(
      f"weight_decay must be finite and >= 0, got {weight_decay}"
    )
