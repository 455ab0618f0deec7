# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet-8 and ResNet-14: wide, shallow residual networks for small images.

A stem of n + 1 3x3 convolutions at full resolution, then three stages of n
basic blocks, at a half, a quarter and an eighth of the resolution; 6n + 2
layers, as ResNets are counted whose stem is one of them. Few wide layers reach
a given accuracy in fewer epochs than many narrow ones, and a CPU computes wide
layers nearer to its peak. Only the stem, of few channels, sees the full
resolution; without it, or with one convolution less, the network is less
accurate. A stem of several convolutions is the paper's tweak C.

A stage begins with `HalvingMean`, shared by its branch and its shortcut. Other
residual networks have a stride in the branch instead, but a CPU computes
convolutions of stride 1 nearer to its peak. The paper's tweak D does the same
to the shortcut, so that the variants are one network here.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

import tricks
from train_loop.models import layers
from train_loop.models.halving_mean import HalvingMean

# Of the stem's first convolution, and of its others.
STEM_CHANNELS = (8, 16)
STAGES = 3


def compact_resnet(
  depth: int,
  width: int,
  *,
  input_shape: Sequence[int | None] = (28, 28, 1),
  num_classes: int = 10,
  mean: Sequence[float] = (0.0,),
  std: Sequence[float] = (1.0,),
  stochastic_depth: float = 0.0,
  dtype: str | None = None,
) -> tf.keras.Model:
  """Builds a ResNet of three stages, each of which begins with a mean.

  Args:
    depth: 6n + 2, for n blocks a stage; at least 8.
    width: Channels of the first stage, at least 1; each later stage has twice
      those of the one before.
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

  Reference: He et al. 2018 (arXiv 1812.01187), section 4.
  """
  blocks, rest = divmod(depth - 2, 2 * STAGES)
  if blocks < 1 or rest:
    raise ValueError(f"depth must be one of 8, 14, 20, ..., got {depth}")
  if width < 1:
    raise ValueError(f"width must be at least 1, got {width}")
  pixels, images = layers.pixel_input(input_shape, mean=mean, std=std)
  first, others = STEM_CHANNELS
  channels = [first, *[others] * blocks]
  features = layers.stem(images, [(c, 3) for c in channels], dtype=dtype)
  drops = iter(
    tricks.drop_probabilities(
      STAGES * blocks, stochastic_depth=stochastic_depth
    )
  )
  for stage in range(1, STAGES + 1):
    features = HalvingMean(dtype=dtype, name=f"stage{stage}_block1_pool")(
      features
    )
    for index in range(1, blocks + 1):
      features = layers.basic_block(
        features,
        width * 2 ** (stage - 1),
        strides=1,
        model_variant="d",
        name=f"stage{stage}_block{index}",
        dtype=dtype,
        drop_probability=next(drops),
      )
  logits = layers.classifier(features, num_classes, dtype=dtype)
  return tf.keras.Model(pixels, logits, name=f"resnet{depth}_{width}")
