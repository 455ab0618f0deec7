# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pieces that every network here begins with, repeats and ends with."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from train_loop.models.batch_norm import BatchNorm
from train_loop.models.stochastic_depth_layer import StochasticDepth

# He et al. 2018, figure 2, and "a", the network before its tweaks.
VARIANTS: tuple[str, ...] = ("a", "b", "c", "d")
# Where a strided convolution pads an image of even sides: TensorFlow's "same"
# only after the last pixel; PyTorch, "symmetric", as much before the first.
PADDINGS: tuple[str, ...] = ("same", "symmetric")


def check_variant(model_variant: str) -> None:
  """Raises ValueError unless `model_variant` is one of `VARIANTS`."""
  if model_variant not in VARIANTS:
    raise ValueError(
      f"model_variant must be one of {', '.join(VARIANTS)}; got "
      f"{model_variant!r}"
    )


def check_padding(padding: str) -> None:
  """Raises ValueError unless `padding` is one of `PADDINGS`."""
  if padding not in PADDINGS:
    raise ValueError(
      f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}"
    )


def pixel_input(
  input_shape: Sequence[int | None],
  *,
  mean: Sequence[float],
  std: Sequence[float],
) -> tuple[tf.Tensor, tf.Tensor]:
  """Begins a network: raw pixels, normalised per channel.

      normalised = (pixels - mean) / std

  Args:
    input_shape: (height, width, channels); height and width may be None.
    mean: Mean pixel of each channel, in the units of the pixels (0 to 255).
    std: Standard deviation of each channel, > 0, in the same units.

  Returns:
    The symbolic input [batch, height, width, channels], which takes uint8 or
    float pixels, and the normalised images, float32.

  Raises:
    ValueError: `input_shape` is not (height, width, channels), or `mean` or
      `std` is not one number a channel.
  """
  if len(input_shape) != 3 or not input_shape[-1]:
    raise ValueError(
      f"input_shape must be (height, width, channels), got {tuple(input_shape)}"
    )
  for name, values in (("mean", mean), ("std", std)):
    if len(values) != input_shape[-1]:
      raise ValueError(
        f"{name} must have one number a channel, {input_shape[-1]} of them, "
        f"got {tuple(values)}"
      )
  if min(std) <= 0.0:
    raise ValueError(f"std must be > 0, got {tuple(std)}")
  pixels = tf.keras.Input(tuple(input_shape), dtype="float32", name="pixels")
  # float32 under every policy: blended pixels need more than bfloat16's 8 bits.
  normalize = tf.keras.layers.Rescaling(
    scale=[1.0 / float(s) for s in std],
    offset=[-float(m) / float(s) for m, s in zip(mean, std)],
    dtype="float32",
    name="normalize",
  )
  return pixels, normalize(pixels)


def conv_bn(
  inputs: tf.Tensor,
  filters: int,
  kernel_size: int,
  *,
  strides: int = 1,
  names: tuple[str, str],
  activation: str | None = None,
  padding: str = "same",
  dtype: str | None = None,
) -> tf.Tensor:
  """Convolution without a bias, BatchNorm, and a ReLU if asked for.

  Args:
    inputs: [batch, height, width, channels], symbolic.
    filters: Number of output channels.
    kernel_size: Side of the square kernel.
    strides: Step of the convolution in both directions.
    names: Of the convolution and of the BatchNorm.
    activation: Name of the ReLU layer; None is none.
    padding: One of `PADDINGS`; they differ for a stride > 1 alone.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    [batch, ceil(height / strides), ceil(width / strides), filters].
  """
  conv_name, bn_name = names
  if tuple(inputs.shape[1:3]) == (1, 1):
    # One pixel remains one. In bfloat16 oneDNN does not write the gradient of
    # a strided kernel there: findings/bfloat16_stride_on_one_pixel.sh.
    strides = 1
  # Never the convolution's own explicit padding: oneDNN has no backward pass
  # for it, and TensorFlow's takes twice as long.
  symmetric = padding == "symmetric" and strides > 1 and kernel_size > 1
  if symmetric:
    inputs = tf.keras.layers.ZeroPadding2D(
      kernel_size // 2, dtype=dtype, name=f"{conv_name}_pad"
    )(inputs)
  outputs = tf.keras.layers.Conv2D(
    filters,
    kernel_size,
    strides=strides,
    padding="valid" if symmetric else "same",
    use_bias=False,
    kernel_initializer="glorot_uniform",
    dtype=dtype,
    name=conv_name,
  )(inputs)
  outputs = BatchNorm(dtype=dtype, name=bn_name)(outputs)
  if activation:
    outputs = relu(outputs, name=activation, dtype=dtype)
  return outputs


def stem(
  images: tf.Tensor,
  convolutions: Sequence[tuple[int, int]],
  *,
  strides: int = 1,
  padding: str = "same",
  dtype: str | None = None,
) -> tf.Tensor:
  """A network's first convolutions, each with BatchNorm and a ReLU.

  Args:
    images: [batch, height, width, channels], symbolic.
    convolutions: Output channels and side of the square kernel, of each.
    strides: Step of the first convolution; the others take every pixel.
    padding: As of `conv_bn`.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    [batch, ceil(height / strides), ceil(width / strides), last of channels].
  """
  features = images
  for index, (filters, kernel_size) in enumerate(convolutions, start=1):
    features = conv_bn(
      features,
      filters,
      kernel_size,
      strides=strides if index == 1 else 1,
      names=(f"stem_conv{index}", f"stem_bn{index}"),
      activation=f"stem_relu{index}",
      padding=padding,
      dtype=dtype,
    )
  return features


def relu(
  inputs: tf.Tensor, *, name: str, dtype: str | None = None
) -> tf.Tensor:
  """max(inputs, 0)."""
  return tf.keras.layers.ReLU(dtype=dtype, name=name)(inputs)


def basic_branch(
  inputs: tf.Tensor,
  filters: int,
  *,
  strides: int,
  name: str,
  padding: str = "same",
  dtype: str | None = None,
) -> tf.Tensor:
  """The residual branch of a basic block: two 3x3 convolutions.

  The stride, if there is one, is in the first.

  Args:
    inputs: [batch, height, width, channels], symbolic.
    filters: Number of output channels.
    strides: Step of the first convolution.
    name: Begins the name of every layer.
    padding: As of `conv_bn`.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    [batch, ceil(height / strides), ceil(width / strides), filters].
  """
  branch = conv_bn(
    inputs,
    filters,
    3,
    strides=strides,
    names=(f"{name}_conv1", f"{name}_bn1"),
    activation=f"{name}_relu1",
    padding=padding,
    dtype=dtype,
  )
  return conv_bn(
    branch, filters, 3, names=(f"{name}_conv2", f"{name}_bn2"), dtype=dtype
  )


def add_relu(
  branch: tf.Tensor,
  shortcut: tf.Tensor,
  *,
  name: str,
  dtype: str | None = None,
  drop_probability: float = 0.0,
) -> tf.Tensor:
  """Ends a residual block: max(branch + shortcut, 0).

  Args:
    branch: [batch, height, width, channels], symbolic.
    shortcut: likewise.
    name: Begins the name of every layer.
    dtype: Keras dtype policy of the layers; None is the global policy.
    drop_probability: Of the branch in training, in [0, 1).

  Returns:
    Shape of branch and shortcut.
  """
  if drop_probability:
    branch = StochasticDepth(
      drop_probability, dtype=dtype, name=f"{name}_stochastic_depth"
    )(branch)
  outputs = tf.keras.layers.Add(dtype=dtype, name=f"{name}_add")(
    [branch, shortcut]
  )
  return relu(outputs, name=f"{name}_relu", dtype=dtype)


def basic_block(
  inputs: tf.Tensor,
  filters: int,
  *,
  strides: int,
  model_variant: str,
  name: str,
  dtype: str | None,
  padding: str = "same",
  drop_probability: float = 0.0,
) -> tf.Tensor:
  """A residual block of two 3x3 convolutions, with its shortcut.

  Args:
    inputs: [batch, height, width, channels], symbolic.
    filters: Number of output channels.
    strides: Step of the first convolution.
    model_variant: As `shortcut` takes it.
    name: Begins the name of every layer.
    dtype: Keras dtype policy of the layers; None is the global policy.
    padding: As of `conv_bn`.
    drop_probability: Of the branch in training, in [0, 1).

  Returns:
    [batch, ceil(height / strides), ceil(width / strides), filters].
  """
  branch = basic_branch(
    inputs, filters, strides=strides, name=name, padding=padding, dtype=dtype
  )
  residual = shortcut(
    inputs,
    filters,
    strides=strides,
    model_variant=model_variant,
    name=name,
    dtype=dtype,
  )
  return add_relu(
    branch,
    residual,
    name=name,
    dtype=dtype,
    drop_probability=drop_probability,
  )


def shortcut(
  inputs: tf.Tensor,
  filters: int,
  *,
  strides: int,
  model_variant: str,
  name: str,
  dtype: str | None,
) -> tf.Tensor:
  """The identity if shapes agree, else a projection by a 1x1 convolution.

  Args:
    inputs: [batch, height, width, channels], symbolic.
    filters: Number of output channels.
    strides: Of the block.
    model_variant: "d" averages strides x strides pixels before the projection;
      the others take one of them.
    name: Begins the name of every layer.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    [batch, ceil(height / strides), ceil(width / strides), filters].

  Reference: He et al. 2018, figure 2.
  """
  if strides == 1 and inputs.shape[-1] == filters:
    return inputs
  if model_variant == "d" and strides > 1:
    # "same" pools what there is at an odd border, and pads nothing into it.
    inputs = tf.keras.layers.AveragePooling2D(
      strides,
      strides,
      padding="same",
      dtype=dtype,
      name=f"{name}_shortcut_pool",
    )(inputs)
    strides = 1
  return conv_bn(
    inputs,
    filters,
    1,
    strides=strides,
    names=(f"{name}_shortcut_conv", f"{name}_shortcut_bn"),
    dtype=dtype,
  )


def classifier(
  features: tf.Tensor, num_classes: int, *, dtype: str | None = None
) -> tf.Tensor:
  """Ends a network: the mean over positions, then a dense layer.

  Args:
    features: [batch, height, width, channels], symbolic.
    num_classes: Number of logits, at least 1.
    dtype: Keras dtype policy of the mean; None is the global policy.

  Returns:
    Logits [batch, num_classes], float32 under every policy.

  Raises:
    ValueError: `num_classes` is less than 1.
  """
  if num_classes < 1:
    raise ValueError(f"num_classes must be at least 1, got {num_classes}")
  features = tf.keras.layers.GlobalAveragePooling2D(
    dtype=dtype, name="global_pool"
  )(features)
  return tf.keras.layers.Dense(
    num_classes,
    kernel_initializer="glorot_uniform",
    dtype="float32",
    name="logits",
  )(features)
