# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Knowledge distillation: a student learns what its teacher predicts."""

from __future__ import annotations

import math

import tensorflow as tf


def distillation_loss(
  logits: tf.Tensor, teacher_logits: tf.Tensor, *, temperature: float
) -> tf.Tensor:
  """Returns the student's loss against its teacher, at a temperature.

  T²·CE(softmax(r/T), softmax(z/T))

  T² keeps the gradient's size as T grows: for large T it is (z − r)/K. The
  caller adds the loss of the labels, CE(p, softmax(z)). The teacher gets no
  gradient.

  Args:
    logits: z, the student's, [batch, num_classes] floating.
    teacher_logits: r, the teacher's, of the same shape.
    temperature: T, > 0; the paper's is 20; 1 is plain cross-entropy.

  Returns:
    [batch] float32.

  Raises:
    ValueError: temperature is out of its range.

  Reference: He et al. 2018, section 5.3; Hinton et al. 2015.
  """
  logits, teacher_logits = _softened(logits, teacher_logits, temperature)
  cross_entropy = tf.nn.softmax_cross_entropy_with_logits(
    labels=tf.nn.softmax(teacher_logits), logits=logits
  )
  return temperature**2 * cross_entropy


def multi_label_distillation_loss(
  logits: tf.Tensor, teacher_logits: tf.Tensor, *, temperature: float
) -> tf.Tensor:
  """Returns the loss against the teacher if each label is a yes or a no.

  T²/K·Σ_k BCE(sigmoid(r_k/T), sigmoid(z_k/T))

  Args:
    logits: z, the student's, [batch, num_classes] floating.
    teacher_logits: r, the teacher's, of the same shape.
    temperature: T, > 0.

  Returns:
    [batch] float32.

  Raises:
    ValueError: temperature is out of its range.

  Reference: Hinton et al. 2015, for each label's two classes.
  """
  logits, teacher_logits = _softened(logits, teacher_logits, temperature)
  cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(
    labels=tf.nn.sigmoid(teacher_logits), logits=logits
  )
  return temperature**2 * tf.reduce_mean(cross_entropy, axis=-1)


def _softened(
  logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns z/T and r/T, float32; the teacher's gets no gradient."""
  if not 0.0 < temperature < math.inf:
    raise ValueError(f"temperature must be finite and > 0, got {temperature}")
  teacher_logits = tf.stop_gradient(tf.cast(teacher_logits, tf.float32))
  return tf.cast(logits, tf.float32) / temperature, teacher_logits / temperature
