# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Colour jitter and PCA noise: one affine map of the colours per image.

Brightness, saturation, hue and noise are each affine in RGB, so that all four
together are one matrix and one offset, and an image is rounded once. The map is
a function of the example's key alone. Images stay uint8.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from data.images.random_bits import Purpose, normal, random_bits, uniform

# From RGB to NTSC's YIQ. The last two rows, the chroma, sum to 0: grey has no
# chroma.
_YIQ = np.array(
  [
    [0.299, 0.587, 0.114],
    [0.596, -0.274, -0.322],
    [0.211, -0.523, 0.312],
  ]
)


def _on_rows(yiq_map: list[list[float]]) -> np.ndarray:
  """Turns a map of YIQ columns into the map of RGB rows."""
  return (np.linalg.inv(_YIQ) @ np.array(yiq_map) @ _YIQ).T


_LUMA = _on_rows([[1, 0, 0], [0, 0, 0], [0, 0, 0]])
_CHROMA = np.eye(3) - _LUMA
_QUARTER_TURN = _on_rows([[0, 0, 0], [0, 0, -1], [0, 1, 0]])

# Eigenvalues and eigenvectors of the covariance of ImageNet's colours, 0..255;
# MXNet's numbers: a row per channel, a column per eigenvector.
_EIGENVALUES = np.array([55.46, 4.794, 1.148])
_EIGENVECTORS = np.array(
  [
    [-0.5675, 0.7192, 0.4009],
    [-0.5808, -0.0045, -0.8140],
    [-0.5836, -0.6948, 0.4203],
  ]
)


def augment_color(
  images: tf.Tensor,
  keys: tf.Tensor,
  *,
  color_jitter: float = 0.0,
  pca_noise: float = 0.0,
) -> tf.Tensor:
  """Scales hue, saturation and brightness of each image, then adds PCA noise.

  With coefficients h, s and b drawn from U(1 - color_jitter, 1 +
  color_jitter), Y the luma of a pixel and (I, Q) its chroma:

      Y' = b * Y, (I', Q') = b * s * (I, Q) turned by (h - 1) * pi
      (R', G', B') += sum over k of v_k * l_k * N(0, pca_noise)

  where l_k and v_k are the eigenvalues and eigenvectors of the covariance of
  ImageNet's colours. The result is rounded and clipped to 0..255. Images of
  one channel have no chroma: jitter is their brightness alone.

  Args:
    images: [batch, height, width, channels] uint8, channels 1 or 3.
    keys: [batch] uint64, from `augment.example_keys`.
    color_jitter: in [0, 1]; the paper's range [0.6, 1.4] is 0.4; 0 does not
      jitter.
    pca_noise: the noise's standard deviation, in [0, 1]; the paper's is 0.1;
      0 adds none; it must be 0 for images of one channel.

  Returns:
    The images, shape and dtype unchanged; the same tensor if both are 0.

  Reference: He et al. 2018, section 2.1; the formulas are those of MXNet's
    image augmenters, with YIQ's exact inverse. Noise: Krizhevsky et al. 2012,
    ImageNet Classification with Deep Convolutional Neural Networks, section
    4.1.
  """
  if color_jitter == 0 and pca_noise == 0:
    return images
  channels = images.shape[-1]
  matrices = _jitter_matrices(keys, color_jitter, channels)
  offsets = _noise_offsets(keys, pca_noise, channels)
  return _mapped(images, matrices, offsets)


def _jitter_matrices(
  keys: tf.Tensor, color_jitter: float, channels: int
) -> tf.Tensor:
  """Returns the matrix that each image's pixels, as rows, are multiplied by.

  Returns:
    [batch, channels, channels] float32.
  """

  def coefficient(number: int) -> tf.Tensor:
    drawn = uniform(random_bits(keys, Purpose.COLOR, number))
    drawn = 1.0 + color_jitter * (2.0 * drawn - 1.0)
    return drawn[:, tf.newaxis, tf.newaxis]

  brightness = coefficient(0)
  if channels == 1:
    return tf.cast(brightness, tf.float32)
  saturation, angle = coefficient(1), math.pi * (coefficient(2) - 1.0)
  turned = tf.cos(angle) * _CHROMA + tf.sin(angle) * _QUARTER_TURN
  return tf.cast(brightness * (_LUMA + saturation * turned), tf.float32)


def _noise_offsets(
  keys: tf.Tensor, pca_noise: float, channels: int
) -> tf.Tensor:
  """Returns what is added to each image's pixels: [batch, channels] float32."""
  if pca_noise == 0:
    return tf.zeros([tf.size(keys), channels])
  numbers = tf.range(3, dtype=tf.int64)
  keys = keys[:, tf.newaxis]
  deviates = normal(
    random_bits(keys, Purpose.COLOR, 3, numbers),
    random_bits(keys, Purpose.COLOR, 4, numbers),
  )
  components = _EIGENVECTORS * _EIGENVALUES * pca_noise
  return tf.cast(tf.matmul(deviates, components.T), tf.float32)


def _mapped(
  images: tf.Tensor, matrices: tf.Tensor, offsets: tf.Tensor
) -> tf.Tensor:
  """Computes round(pixel @ matrix + offset), clipped to 0..255."""
  height, width, channels = images.shape[1:]
  # A product with a 3 x 3 matrix leaves most of a vector unit idle. A row of
  # four pixels, with four copies of the matrix on a diagonal, is 1.6 times as
  # fast.
  group = math.gcd(height * width, 4)
  blocks = tf.einsum("ij,bcd->bicjd", tf.eye(group), matrices)
  blocks = tf.reshape(blocks, [-1, group * channels, group * channels])
  rows = tf.reshape(images, [-1, height * width // group, group * channels])
  # The cast truncates; with a half added it rounds.
  offsets = tf.tile(offsets + 0.5, [1, group])[:, tf.newaxis]
  mapped = tf.matmul(tf.cast(rows, tf.float32), blocks) + offsets
  mapped = tf.cast(tf.clip_by_value(mapped, 0.0, 255.0), tf.uint8)
  return tf.reshape(mapped, tf.shape(images))
