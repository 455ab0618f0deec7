# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet-20 to ResNet-110: three stages, for images of about 32x32 pixels.

A 3x3 convolution, then three stages of n basic blocks with 16, 32 and 64
channels; 6n + 2 layers. Shortcuts have no parameters (He et al. 2015, option
A): if a stage downsamples, the shortcut takes every second pixel and fills
the new channels with zeros. So ResNet-20 has the published 0.27 million
parameters, 269,722 for 10 classes.

Of the paper's tweaks only D applies: its shortcut averages 2x2 pixels rather
than take one of four. B moves a stride that basic blocks do not have, and C
replaces a 7x7 stem that this network does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

import tricks
from train_loop.models import layers

DEPTHS: tuple[int, ...] = (20, 32, 44, 56, 110)

# Of the pixels of CIFAR-10's training set, red, green, blue.
CIFAR10_MEAN: tuple[float, float, float] = (125.307, 122.950, 113.865)
CIFAR10_STD: tuple[float, float, float] = (62.993, 62.089, 66.705)


def small_resnet(
  depth: int,
  *,
  model_variant: str = "b",
  input_shape: Sequence[int | None] = (32, 32, 3),
  num_classes: int = 10,
  mean: Sequence[float] = CIFAR10_MEAN,
  std: Sequence[float] = CIFAR10_STD,
  stochastic_depth: float = 0.0,
  dtype: str | None = None,
) -> tf.keras.Model:
  """Builds a ResNet of three stages.

  Args:
    depth: 20, 32, 44, 56 or 110.
    model_variant: "a", "b", "c" or "d"; the first three are the same here.
    input_shape: (height, width, channels); height and width may be None.
    num_classes: Number of logits, at least 1.
    mean: Mean pixel of each channel, in the units of the pixels (0 to 255).
    std: Standard deviation of each channel, > 0, in the same units.
    stochastic_depth: Drop probability of the last residual block, in [0, 1);
      it rises linearly from the first block on. 0 drops nothing.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    A functional `tf.keras.Model`: images [batch, height, width, channels],
    uint8 or float in 0..255, to logits [batch, num_classes] float32.

  Raises:
    ValueError: An argument is out of range.

  Reference: He et al. 2015 (arXiv 1512.03385), section 4.2.
  """
  if depth not in DEPTHS:
    raise ValueError(
      f"depth must be one of {', '.join(map(str, DEPTHS))}; got {depth}"
    )
  layers.check_variant(model_variant)
  pixels, images = layers.pixel_input(input_shape, mean=mean, std=std)
  features = layers.stem(images, [(16, 3)], dtype=dtype)
  blocks = (depth - 2) // 6
  drops = iter(
    tricks.drop_probabilities(3 * blocks, stochastic_depth=stochastic_depth)
  )
  for stage, filters in enumerate((16, 32, 64), start=1):
    for index in range(1, blocks + 1):
      name = f"stage{stage}_block{index}"
      strides = 2 if stage > 1 and index == 1 else 1
      branch = layers.basic_branch(
        features, filters, strides=strides, name=name, dtype=dtype
      )
      shortcut = features
      if strides > 1:
        shortcut = _shortcut(features, filters, model_variant, name, dtype)
      features = layers.add_relu(
        branch,
        shortcut,
        name=name,
        dtype=dtype,
        drop_probability=next(drops),
      )
  logits = layers.classifier(features, num_classes, dtype=dtype)
  return tf.keras.Model(pixels, logits, name=f"resnet{depth}_{model_variant}")


def _shortcut(
  inputs: tf.Tensor,
  filters: int,
  model_variant: str,
  name: str,
  dtype: str | None,
) -> tf.Tensor:
  # Pooling by 1x1 takes every second pixel.
  pool_size = 2 if model_variant == "d" else 1
  pooled = tf.keras.layers.AveragePooling2D(
    pool_size, 2, padding="same", dtype=dtype, name=f"{name}_shortcut_pool"
  )(inputs)
  return PadChannels(filters, dtype=dtype, name=f"{name}_shortcut_pad")(pooled)


@tf.keras.utils.register_keras_serializable(package="train_loop")
class PadChannels(tf.keras.layers.Layer):
  """Appends channels of zeros.

  Args:
    filters: Number of channels that come out.
    **kwargs: `name` and `dtype`, as every Keras layer has them.
  """

  def __init__(self, filters: int, **kwargs: Any) -> None:
    super().__init__(**kwargs)
    self.filters = filters

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """[..., channels] to [..., filters]."""
    new_channels = self.filters - inputs.shape[-1]
    unpadded = [[0, 0]] * (len(inputs.shape) - 1)
    return tf.pad(inputs, [*unpadded, [0, new_channels]])

  def compute_output_shape(
    self, input_shape: Sequence[int | None]
  ) -> tuple[int | None, ...]:
    """The shape of the input, but for the channels."""
    return (*input_shape[:-1], self.filters)

  def get_config(self) -> dict[str, Any]:
    """The arguments, as `from_config` takes them."""
    return {**super().get_config(), "filters": self.filters}
