# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of test-time augmentation by flip against NumPy and Keras' layers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import flip_tta

KERNEL = np.random.default_rng(1).normal(scale=0.2, size=(5 * 4 * 3, 7))


def pictures(count=6, dtype=np.float32):
  rng = np.random.default_rng(0)
  return rng.uniform(0, 3, (count, 5, 4, 3)).astype(dtype)


def logits_of(images):
  """A network that tells left from right: a product with all pixels."""
  flat = tf.reshape(tf.cast(images, tf.float32), [len(images), 60])
  return flat @ tf.constant(KERNEL, tf.float32)


def numpy_reference(images):
  """The mean of two softmaxes, in float64."""
  mean = 0.0
  for x in (images, images[:, :, ::-1]):
    logits = x.reshape(len(x), -1).astype(np.float64) @ KERNEL
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean += exponentials / exponentials.sum(axis=1, keepdims=True) / 2
  return mean


@pytest.mark.parametrize("mode", modes.MODES)
def test_softmax_is_the_mean_of_both_softmaxes(mode):
  images = pictures()
  found = modes.run(lambda x: flip_tta(logits_of, x), mode, images)
  assert found.dtype == np.float32 and (found <= 0).all()
  np.testing.assert_allclose(
    np.exp(found), numpy_reference(images), rtol=1e-4, atol=1e-6
  )


def test_it_is_keras_average_of_two_softmaxes_with_its_loss():
  images, labels = pictures(), np.arange(6)
  layers = tf.keras.layers
  mean = layers.Average()(
    [layers.Softmax()(logits_of(x)) for x in (images, images[:, :, ::-1])]
  )
  expected = tf.keras.losses.sparse_categorical_crossentropy(labels, mean)
  found = tf.nn.sparse_softmax_cross_entropy_with_logits(
    labels, flip_tta(logits_of, images)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_far_logits_neither_overflow_nor_vanish():
  found = flip_tta(lambda x: logits_of(x) * 1e4, pictures()).numpy()
  assert np.isfinite(found).all()
  np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-5)


def test_a_symmetric_image_changes_no_prediction():
  half = pictures()
  images = np.concatenate([half, half[:, :, ::-1]], axis=2)[:, :, 2:6]
  np.testing.assert_array_equal(images, images[:, :, ::-1])
  np.testing.assert_allclose(
    flip_tta(logits_of, images),
    tf.nn.log_softmax(logits_of(images)),
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_images_of_every_dtype_give_float32(dtype):
  images = pictures(dtype=dtype)
  found = flip_tta(lambda x: tf.cast(logits_of(x), tf.bfloat16), images)
  assert found.dtype == tf.float32
