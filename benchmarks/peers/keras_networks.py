# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The networks as a Keras user writes them, with Keras' own layers only.

They have the same layers in the same order as in `train_loop.models`, and the
same number of parameters; BatchNormalization is Keras' own. The Keras module is
an argument, so that Keras 3 (`tf.keras`) and legacy Keras (`tf_keras`) build
the same network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case


def network(keras: Any, case: Case) -> Any:
  """Builds the case's network, from raw pixels to logits.

  Args:
    keras: the module: `tf.keras` or `tf_keras`.
    case: "resnet50" in variants b and d, "resnet20" in variant b, "resnet8".

  Returns:
    A functional model of that Keras.
  """
  layers = Layers(keras)
  pixels = keras.Input(case.image_shape)
  if case.network.startswith("keras:"):
    build = getattr(keras.applications, case.network.removeprefix("keras:"))
    images = keras.layers.Rescaling(1.0 / 127.5, -1.0)(pixels)
    return build(
      weights=None,
      input_tensor=images,
      classes=case.num_classes,
      classifier_activation=None,
    )
  images = keras.layers.Rescaling(
    [1.0 / std for std in case.std],
    [-mean / std for mean, std in zip(case.mean, case.std)],
    dtype="float32",
  )(pixels)
  bodies: dict[str, Callable[..., Any]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet50": functools.partial(resnet50, is_d=case.model_variant == "d"),
  }
  features = bodies[case.network](layers, images)
  features = keras.layers.GlobalAveragePooling2D()(features)
  logits = keras.layers.Dense(case.num_classes, dtype="float32")(features)
  return keras.Model(pixels, logits)


@dataclasses.dataclass(frozen=True)
class Layers:
  """The building blocks of the networks."""

  keras: Any

  def conv_bn(
    self, x: Any, filters: int, size: int, strides: int = 1, relu: bool = True
  ) -> Any:
    """Adds a convolution without bias, BatchNormalization, and a ReLU."""
    keras = self.keras.layers
    x = keras.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    x = keras.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return keras.ReLU()(x) if relu else x

  def basic(self, x: Any, filters: int, strides: int = 1) -> Any:
    """The residual branch of two 3x3 convolutions."""
    x = self.conv_bn(x, filters, 3, strides)
    return self.conv_bn(x, filters, 3, relu=False)

  def bottleneck(self, x: Any, filters: int, strides: int = 1) -> Any:
    """The residual branch of a 1x1, a 3x3 and a 1x1 convolution."""
    x = self.conv_bn(x, filters, 1)
    x = self.conv_bn(x, filters, 3, strides)
    return self.conv_bn(x, 4 * filters, 1, relu=False)

  def add_relu(self, branch: Any, shortcut: Any) -> Any:
    """The end of a residual block."""
    return self.keras.layers.ReLU()(self.keras.layers.Add()([branch, shortcut]))


def resnet8(layers: Layers, x: Any, width: int = 32) -> Any:
  """The recipe's network: three stages of average pooling and one block."""
  x = layers.conv_bn(layers.conv_bn(x, 8, 3), 16, 3)
  for stage in range(3):
    filters = width * 2**stage
    x = layers.keras.layers.AveragePooling2D(2 + x.shape[1] % 2, 2)(x)
    shortcut = layers.conv_bn(x, filters, 1, relu=False)
    x = layers.add_relu(layers.basic(x, filters), shortcut)
  return x


def resnet20(layers: Layers, x: Any) -> Any:
  """Three stages of three blocks; shortcuts without parameters."""
  x = layers.conv_bn(x, 16, 3)
  for filters in (16, 32, 64):
    for index in range(3):
      strides = 2 if filters > 16 and index == 0 else 1
      shortcut = x
      if strides > 1:
        shortcut = layers.keras.layers.AveragePooling2D(1, 2)(x)
        # Pads with zero channels. Keras only pads height and width, so swap
        # channels and height, pad, and swap back.
        shortcut = layers.keras.layers.Permute((3, 2, 1))(shortcut)
        shortcut = layers.keras.layers.ZeroPadding2D(((0, filters // 2), 0))(
          shortcut
        )
        shortcut = layers.keras.layers.Permute((3, 2, 1))(shortcut)
      x = layers.add_relu(layers.basic(x, filters, strides), shortcut)
  return x


def resnet50(layers: Layers, x: Any, *, is_d: bool) -> Any:
  """Four stages of bottleneck blocks; the stride is in the 3x3 convolution."""
  stem = ((32, 3, 2), (32, 3, 1), (64, 3, 1)) if is_d else ((64, 7, 2),)
  for filters, size, strides in stem:
    x = layers.conv_bn(x, filters, size, strides)
  x = layers.keras.layers.MaxPooling2D(3, 2, padding="same")(x)
  for stage, blocks in enumerate((3, 4, 6, 3)):
    filters = 64 * 2**stage
    for index in range(blocks):
      strides = 2 if stage and index == 0 else 1
      shortcut = x
      if index == 0 and is_d:
        if strides > 1:
          shortcut = layers.keras.layers.AveragePooling2D(2)(x)
        shortcut = layers.conv_bn(shortcut, 4 * filters, 1, relu=False)
      elif index == 0:
        shortcut = layers.conv_bn(x, 4 * filters, 1, strides, relu=False)
      x = layers.add_relu(layers.bottleneck(x, filters, strides), shortcut)
  return x
