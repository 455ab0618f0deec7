# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet-10: a wide and shallow residual network for small images.

A 3x3 convolution at full resolution, then four stages of one basic block each,
from a half to a sixteenth of the resolution; 10 layers. Few wide layers reach a
given accuracy in fewer epochs than many narrow ones, most of the parameters
stand where the images are smallest, and a CPU computes wide layers nearer to
its peak. Only the stem, of few channels, sees the full resolution: it costs no
more than a 4x4 convolution of stride 2 and a first stage of stride 1, and is
more accurate. Of the paper's tweaks only D applies, as in ResNet-20.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

import tricks
from train_loop.models import layers

# Whatever the width: 24 make a bfloat16 step of width 48 a third longer.
STEM_CHANNELS = 16


def compact_resnet(
  width: int,
  *,
  model_variant: str = "d",
  input_shape: Sequence[int | None] = (28, 28, 1),
  num_classes: int = 10,
  mean: Sequence[float] = (0.0,),
  std: Sequence[float] = (1.0,),
  stochastic_depth: float = 0.0,
  dtype: str | None = None,
) -> tf.keras.Model:
  """Builds a ResNet-10.

  Args:
    width: Channels of the first stage, at least 1; each later stage has twice
      those of the one before.
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

  Reference: He et al. 2018 (arXiv 1812.01187), section 4, for the shortcuts.
  """
  if width < 1:
    raise ValueError(f"width must be at least 1, got {width}")
  layers.check_variant(model_variant)
  pixels, images = layers.pixel_input(input_shape, mean=mean, std=std)
  features = layers.conv_bn(
    images,
    STEM_CHANNELS,
    3,
    names=("stem_conv1", "stem_bn1"),
    activation="stem_relu1",
    dtype=dtype,
  )
  drops = tricks.drop_probabilities(4, stochastic_depth=stochastic_depth)
  for stage, drop_probability in enumerate(drops, start=1):
    features = layers.basic_block(
      features,
      width * 2 ** (stage - 1),
      strides=2,
      model_variant=model_variant,
      name=f"stage{stage}_block1",
      dtype=dtype,
      drop_probability=drop_probability,
    )
  logits = layers.classifier(features, num_classes, dtype=dtype)
  return tf.keras.Model(
    pixels, logits, name=f"resnet10_{width}_{model_variant}"
  )
