# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 to ResNet-152, and the paper's tweaks B, C and D.

He et al. 2018, figure 2, draws what each tweak changes:

- A, the network of 2015: a downsampling block strides in its first 1x1
  convolution, which ignores three quarters of its input.
- B strides in the 3x3 convolution instead.
- C is B, with the 7x7 convolution of the stem replaced by three 3x3 ones, of
  32, 32 and 64 channels.
- D is C, with a 2x2 average pooling of stride 2 before the 1x1 convolution of
  a downsampling shortcut, which then has stride 1.

The basic blocks of ResNet-18 and ResNet-34 stride in their first 3x3
convolution, so there A and B are the same network.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

import tricks
from train_loop.models import layers
from train_loop.models.names import STAGE_BLOCKS

# Of the pixels of ImageNet's training set, red, green, blue.
IMAGENET_MEAN: tuple[float, float, float] = (123.68, 116.779, 103.939)
IMAGENET_STD: tuple[float, float, float] = (58.393, 57.12, 57.375)


def resnet(
  depth: int,
  *,
  model_variant: str = "b",
  input_shape: Sequence[int | None] = (224, 224, 3),
  num_classes: int = 1000,
  mean: Sequence[float] = IMAGENET_MEAN,
  std: Sequence[float] = IMAGENET_STD,
  stochastic_depth: float = 0.0,
  padding: str = "same",
  dtype: str | None = None,
) -> tf.keras.Model:
  """Builds a ResNet of four stages.

  Args:
    depth: 18 or 34 (basic blocks), 50, 101 or 152 (bottleneck blocks).
    model_variant: "a", "b", "c" or "d", as above.
    input_shape: (height, width, channels); height and width may be None.
    num_classes: Number of logits, at least 1.
    mean: Mean pixel of each channel, in the units of the pixels (0 to 255).
    std: Standard deviation of each channel, > 0, in the same units.
    stochastic_depth: Drop probability of the last residual block, in [0, 1);
      it rises linearly from the first block on. 0 drops nothing.
    padding: "same", or "symmetric" for weights that PyTorch trained.
    dtype: Keras dtype policy of the layers; None is the global policy.

  Returns:
    A functional `tf.keras.Model`: images [batch, height, width, channels],
    uint8 or float in 0..255, to logits [batch, num_classes] float32.

  Raises:
    ValueError: An argument is out of range.

  Reference: He et al. 2015 (arXiv 1512.03385), table 1; He et al. 2018
    (arXiv 1812.01187), section 4.
  """
  if depth not in STAGE_BLOCKS:
    raise ValueError(
      f"depth must be one of {', '.join(map(str, STAGE_BLOCKS))}; got {depth}"
    )
  layers.check_variant(model_variant)
  layers.check_padding(padding)
  block = layers.basic_block if depth < 50 else _bottleneck_block
  pixels, images = layers.pixel_input(input_shape, mean=mean, std=std)
  features = _stem(images, model_variant, padding, dtype)
  drops = iter(
    tricks.drop_probabilities(
      sum(STAGE_BLOCKS[depth]), stochastic_depth=stochastic_depth
    )
  )
  for stage, num_blocks in enumerate(STAGE_BLOCKS[depth], start=1):
    for index in range(1, num_blocks + 1):
      features = block(
        features,
        64 * 2 ** (stage - 1),
        strides=2 if stage > 1 and index == 1 else 1,
        model_variant=model_variant,
        name=f"stage{stage}_block{index}",
        dtype=dtype,
        padding=padding,
        drop_probability=next(drops),
      )
  logits = layers.classifier(features, num_classes, dtype=dtype)
  return tf.keras.Model(pixels, logits, name=f"resnet{depth}_{model_variant}")


def _stem(
  images: tf.Tensor, model_variant: str, padding: str, dtype: str | None
) -> tf.Tensor:
  """Quarters height and width: a strided convolution, then max pooling."""
  if model_variant in ("a", "b"):
    convolutions = [(64, 7)]
  else:
    convolutions = [(32, 3), (32, 3), (64, 3)]
  features = layers.stem(
    images, convolutions, strides=2, padding=padding, dtype=dtype
  )
  # After a ReLU, padding with zeros is padding with what no maximum exceeds.
  features = tf.keras.layers.ZeroPadding2D(
    1, dtype=dtype, name="stem_pool_pad"
  )(features)
  return tf.keras.layers.MaxPooling2D(3, 2, dtype=dtype, name="stem_pool")(
    features
  )


def _bottleneck_block(
  inputs: tf.Tensor,
  filters: int,
  *,
  strides: int,
  model_variant: str,
  name: str,
  dtype: str | None,
  padding: str,
  drop_probability: float,
) -> tf.Tensor:
  """1x1, 3x3 and 1x1 convolutions; four times `filters` channels come out."""
  strides1, strides2 = (strides, 1) if model_variant == "a" else (1, strides)
  branch = inputs
  for index, size, kernel_size, step in (
    (1, filters, 1, strides1),
    (2, filters, 3, strides2),
    (3, 4 * filters, 1, 1),
  ):
    branch = layers.conv_bn(
      branch,
      size,
      kernel_size,
      strides=step,
      names=(f"{name}_conv{index}", f"{name}_bn{index}"),
      activation=f"{name}_relu{index}" if index < 3 else None,
      padding=padding,
      dtype=dtype,
    )
  shortcut = layers.shortcut(
    inputs,
    4 * filters,
    strides=strides,
    model_variant=model_variant,
    name=name,
    dtype=dtype,
  )
  return layers.add_relu(
    branch,
    shortcut,
    name=name,
    dtype=dtype,
    drop_probability=drop_probability,
  )
