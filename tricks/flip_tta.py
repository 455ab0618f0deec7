# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Test-time augmentation by flip: an image and its mirror image both vote."""

from __future__ import annotations

import math
from typing import Callable

import tensorflow as tf


def flip_tta(
  forward: Callable[[tf.Tensor], tf.Tensor],
  images: tf.Tensor,
  *,
  multi_label: bool = False,
) -> tf.Tensor:
  """Averages the predictions for images and their mirror images.

  z̄ = log(½·softmax(z) + ½·softmax(z')),  z = forward(x), z' = forward(mirror x)

  softmax(z̄) is the mean of the two softmaxes, so z̄ serves as logits. If forward
  treats left and right alike, softmax(z̄) = softmax(z).

  If each label is a yes or a no, the mean is that of the sigmoids, and z̄ the
  logarithm of its odds.

  Args:
    forward: from images to logits, [batch, num_classes] floating.
    images: [batch, height, width, channels] of any real dtype.
    multi_label: whether sigmoid(z) is what is averaged.

  Returns:
    z̄, [batch, num_classes] float32; of a softmax each <= 0.

  Reference: Krizhevsky et al. 2012, section 4.1 (predictions are averaged at
    the softmax).
  """
  both = tf.stack(
    [
      tf.cast(forward(x), tf.float32)
      for x in (images, tf.image.flip_left_right(images))
    ]
  )
  if multi_label:
    yes = tf.reduce_logsumexp(tf.math.log_sigmoid(both), axis=0)
    return yes - tf.reduce_logsumexp(tf.math.log_sigmoid(-both), axis=0)
  both = tf.nn.log_softmax(both)
  return tf.reduce_logsumexp(both, axis=0) - math.log(2.0)
