# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The layers of a network as plain operations, for tests of whole networks."""

from __future__ import annotations

import tensorflow as tf

from tricks.keras_compat import tf_variable


def conv_bn(model, x, name, stride=1):
  """The convolution of that name and its BatchNorm, in training."""
  kernel = tf_variable(model.get_layer(name).kernel)
  # The output is ceil(size / stride); an odd pixel of padding comes last.
  sizes = zip(x.shape[1:3], kernel.shape[:2])
  pads = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in sizes]
  ends = [[pad // 2, pad - pad // 2] for pad in pads]
  x = tf.nn.conv2d(tf.pad(x, [[0, 0], *ends, [0, 0]]), kernel, stride, "VALID")
  bn = model.get_layer(name.replace("conv", "bn"))
  moments = tf.nn.moments(x, [0, 1, 2])
  parameters = tf_variable(bn.beta), tf_variable(bn.gamma)
  return tf.nn.batch_normalization(x, *moments, *parameters, 1e-5)


def logits(model, x):
  """The mean over positions, then the dense layer."""
  dense = model.get_layer("logits")
  x = tf.reduce_mean(x, [1, 2])
  return x @ tf_variable(dense.kernel) + tf_variable(dense.bias)
