# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Any classifier as a teacher: from a student's pixels to float32 logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from train_loop.fields import ConfigError
from train_loop.models import heads, keras_names
from tricks.progressive_resizing import resize_weights


class _AsSeen(tf.keras.layers.Layer):
  """Makes a student's images those that a teacher was trained on."""

  def __init__(
    self,
    size: tuple[int, int] | None,
    channels: int,
    preprocessing: str,
    **options: Any,
  ) -> None:
    # float32 under every policy, as the step's images are.
    super().__init__(dtype="float32", **options)
    self._size = size
    self._channels = channels
    self._preprocessing = preprocessing

  def call(self, images: tf.Tensor) -> tf.Tensor:
    """Repeats gray, resizes and scales; [batch, height, width, channels]."""
    if self._size is not None and self._size != tuple(images.shape[1:3]):
      # tf.image.resize(antialias=True) has no GPU or XLA kernel.
      rows, columns = (
        resize_weights(old, new)
        for old, new in zip(images.shape[1:3], self._size)
      )
      images = tf.einsum("yh,bhwc->bywc", rows, images)
      images = tf.einsum("xw,bywc->byxc", columns, images)
    if images.shape[-1] != self._channels:
      images = tf.repeat(images, self._channels, axis=-1)
    preprocessing = keras_names.MODES[self._preprocessing]
    if preprocessing.bgr:
      images = tf.reverse(images, [-1])
    scale, offset = preprocessing.scale, preprocessing.offset
    return images * tf.constant(scale) + tf.constant(offset)


def as_teacher(
  model: tf.keras.Model,
  *,
  image_shape: Sequence[int],
  num_classes: int,
  image_size: tuple[int, int] | None = None,
  preprocessing: str = "none",
) -> tf.keras.Model:
  """Returns a classifier as `train_step` takes a teacher.

  All that lies between the student's images and the teacher is in the graph of
  the returned model: gray becomes RGB, the size becomes the teacher's, pixels
  become what the teacher was trained on. A closing softmax is removed.

  Args:
    model: from images [batch, height, width, channels] to [batch, num_classes]
      logits or probabilities.
    image_shape: height, width and channels of the student's images.
    num_classes: of the student.
    image_size: height and width that the teacher was trained on, if its input
      does not say so; None takes the student's.
    preprocessing: what the teacher expects of pixels: "none", 0..255; "unit",
      0..1; or a mode of Keras' `imagenet_utils.preprocess_input`: "tf", -1..1;
      "torch", by ImageNet's mean and deviation; "caffe", BGR minus the mean.

  Returns:
    A model that is not trained, from the student's raw pixels to float32 logits
    [batch, num_classes].

  Raises:
    ConfigError: the teacher has other inputs or outputs.
  """
  shape = getattr(model, "input_shape", None)
  if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] is None:
    raise ConfigError(
      "teacher must be a model of one input, images [batch, height, width, "
      f"channels], got input shape {shape}"
    )
  outputs = getattr(model, "output_shape", None)
  if outputs != (None, num_classes):
    raise ConfigError(
      f"teacher must have one output, [batch, {num_classes}], as the student "
      f"has {num_classes} classes, got output shape {outputs}"
    )
  _, height, width, channels = shape
  if channels != image_shape[-1] and (image_shape[-1], channels) != (1, 3):
    raise ConfigError(
      f"teacher must take images of {image_shape[-1]} channels, as the student "
      f"does, or RGB if those are gray, got {channels}"
    )
  if channels != 3 and preprocessing in ("torch", "caffe"):
    raise ConfigError(
      "teacher_preprocessing must be none, unit or tf for a teacher of "
      f"{channels} channels, got {preprocessing!r}"
    )
  if height is not None and width is not None:
    image_size = (height, width)
  model.trainable = False
  images = tf.keras.Input(tuple(image_shape), dtype="float32")
  seen = _AsSeen(image_size, channels, preprocessing)(images)
  logits = _without_softmax(model)(seen)
  logits = tf.keras.layers.Activation("linear", dtype="float32")(logits)
  teacher = tf.keras.Model(images, logits, name="teacher")
  teacher.trainable = False
  return teacher


def _without_softmax(model: tf.keras.Model) -> tf.keras.Model:
  """Returns the model up to its logits, or refuses another activation."""
  closing = heads.closing_activation(model)
  if closing is None:
    return model
  if closing != "softmax":
    raise ConfigError(
      f"teacher must end in logits or a softmax, got a closing {closing}"
    )
  logging.info("the teacher's closing softmax is removed")
  return heads.without_softmax(model)
