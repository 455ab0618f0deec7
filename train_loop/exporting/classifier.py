# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is exported: from pixels, or from encoded images, to probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

import tricks

Function = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained network with all that it takes to answer.

  Attributes:
    model: the network, float32, from pixels in 0..255 to logits.
    class_names: one a logit.
    image_shape: height, width and channels of what the network is given.
    flip_tta: whether the mirror image votes too.
    thresholds: if images have any number of labels, the probability from which
      on each is said to be there; if not, None.
    crop_pixels: from images of any size, [batch, height, width, channels]
      uint8, to those that the network is given; None if it takes only those.
    crop_encoded: likewise from one encoded image, [] string to
      [*image_shape] uint8; None if there is no such way.
  """

  model: tf.keras.Model
  class_names: Sequence[str]
  image_shape: tuple[int, int, int]
  flip_tta: bool = False
  thresholds: Sequence[float] | None = None
  crop_pixels: Function | None = None
  crop_encoded: Function | None = None

  @property
  def multi_label(self) -> bool:
    """Whether an image may have any number of labels."""
    return self.thresholds is not None

  def probabilities(self, images: tf.Tensor) -> tf.Tensor:
    """Returns the probability of each class, as evaluation computes it.

    Args:
      images: [batch, *image_shape] uint8.

    Returns:
      [batch, num_classes] float32.
    """

    def forward(pixels: tf.Tensor) -> tf.Tensor:
      return tf.cast(self.model(pixels, training=False), tf.float32)

    images = tf.ensure_shape(images, [None, *self.image_shape])
    pixels = tf.cast(images, tf.float32)
    logits = (
      tricks.flip_tta(forward, pixels, multi_label=self.multi_label)
      if self.flip_tta
      else forward(pixels)
    )
    return tf.nn.sigmoid(logits) if self.multi_label else tf.nn.softmax(logits)

  def function(self) -> tf.types.experimental.GenericFunction:
    """Returns images [batch, *image_shape] uint8 to {"probabilities"}."""

    def probabilities(images: tf.Tensor) -> dict[str, tf.Tensor]:
      return {"probabilities": self.probabilities(images)}

    images = tf.TensorSpec([None, *self.image_shape], tf.uint8, name="images")
    return tf.function(probabilities, input_signature=[images])
