# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""CutMix: a box in each image is replaced by the same box of another image."""

from __future__ import annotations

import tensorflow as tf

from tricks.draws import WHOLE, Part, random_permutation, split_seed, uniform
from tricks.mixup import as_floating, check_alpha, sample_lam


def cutmix(
  images: tf.Tensor,
  targets: tf.Tensor,
  *,
  alpha: float,
  seed: tf.Tensor,
  groups: int = 1,
  part: Part = WHOLE,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Pastes a box of another example of the batch into each image.

  x̂ = M⊙x_i + (1 − M)⊙x_j,  ŷ = λ·y_i + (1 − λ)·y_j

  M is 0 in a box and 1 elsewhere. The box's sides are √(1 − λ') of the image's,
  λ' ~ Beta(α, α); its centre is uniform, and it is clipped to the image. λ is
  the exact share of the pixels outside the box. j is a permutation of the
  batch; the whole batch has one box.

  Args:
    images: [batch, height, width, channels] of any real dtype.
    targets: [batch, num_classes] floating, one-hot or smoothed.
    alpha: α, >= 0; Yun et al. take 1; 0 is the identity.
    seed: [2] int32, new for each step.
    groups: groups of the global batch in which partners are found, a multiple
      of part.count.
    part: of the global batch, if several replicas share it.

  Returns:
    (images, targets): images float32, or in their own dtype if it is floating;
    targets in theirs. With alpha = 0 both arguments untouched.

  Raises:
    ValueError: alpha is out of its range.

  Reference: Yun et al. 2019, section 3.
  """
  check_alpha("cutmix_alpha", alpha)
  if not alpha:
    return images, targets
  lam_seed, box_seed, permutation_seed = tf.unstack(split_seed(seed, 3))
  size = tf.shape(images)
  box = sample_box(size[1], size[2], sample_lam(alpha, lam_seed), box_seed)
  permutation = random_permutation(
    size[0], permutation_seed, groups=groups, part=part
  )
  return paste(images, targets, box=box, permutation=permutation)


def sample_box(
  height: tf.Tensor, width: tf.Tensor, lam: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
  """Draws a box that covers about 1 − λ of an image.

  Args:
    height: int32 scalar.
    width: int32 scalar.
    lam: λ, float32 scalar in [0, 1].
    seed: [2] int32.

  Returns:
    (top, left, bottom, right), [4] int32, clipped to the image; bottom and
    right lie outside the box.
  """
  size = tf.stack([height, width])
  side = tf.cast(tf.sqrt(1.0 - lam) * tf.cast(size, tf.float32), tf.int32)
  centre = tf.cast(uniform([2], seed) * tf.cast(size, tf.float64), tf.int32)
  start = centre - side // 2
  return tf.concat([tf.maximum(start, 0), tf.minimum(start + side, size)], 0)


def paste(
  images: tf.Tensor,
  targets: tf.Tensor,
  *,
  box: tf.Tensor,
  permutation: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Pastes a box of each example's partner: CutMix without its randomness.

  Args:
    images: [batch, height, width, channels] of any real dtype.
    targets: [batch, num_classes] floating.
    box: (top, left, bottom, right), [4] int32, within the image.
    permutation: [batch] int32, the partner of each example.

  Returns:
    (images, targets), dtypes as `cutmix`.
  """
  images = as_floating(images)
  height, width = tf.unstack(tf.shape(images)[1:3])
  top, left, bottom, right = tf.unstack(box)
  rows, columns = tf.range(height)[:, None], tf.range(width)[None, :]
  inside = (rows >= top) & (rows < bottom) & (columns >= left)
  inside = (inside & (columns < right))[None, :, :, None]
  area = tf.cast((bottom - top) * (right - left), tf.float32)
  lam = 1.0 - area / tf.cast(height * width, tf.float32)
  lam = tf.cast(lam, targets.dtype)
  partners = tf.gather(targets, permutation)
  return (
    tf.where(inside, tf.gather(images, permutation), images),
    lam * targets + (1.0 - lam) * partners,
  )
