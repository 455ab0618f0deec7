# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the decay mask on every kind of layer, and of the L2 gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import decay_mask, l2_gradient, undecayed_matrices

layers = tf.keras.layers


class Attention(layers.Layer):
  """Self-attention of one input."""

  def __init__(self):
    super().__init__()
    self.attention = layers.MultiHeadAttention(2, 3)

  def call(self, x):
    return self.attention(x, x)


class Named(layers.Layer):
  """Parameters whose names and attributes say different things."""

  def build(self, shape):
    self.kernel = self.add_weight(name="bias", shape=[shape[-1], 2])
    self.offset = self.add_weight(name="kernel", shape=[3, 3])
    self.pointwise_kernel = self.add_weight(name="kernel_1", shape=[2])

  def call(self, x):
    return x @ self.kernel


def decayed(model, **options):
  """The shapes of what is decayed and of what is not."""
  mask = decay_mask(model, **options)
  assert len(mask) == len(model.trainable_variables)
  shapes = [tuple(v.shape) for v in model.trainable_variables]
  return (
    sorted(shape for shape, on in zip(shapes, mask) if on),
    sorted(shape for shape, on in zip(shapes, mask) if not on),
  )


def around(layer, shape, dtype="float32"):
  x = tf.keras.Input(shape, dtype=dtype)
  return tf.keras.Model(x, layer(x))


@pytest.mark.parametrize(
  ("make", "shape", "kernels", "others"),
  [
    (lambda: layers.Dense(5), [4], [(4, 5)], [(5,)]),
    (lambda: layers.Conv1D(5, 3), [8, 2], [(3, 2, 5)], [(5,)]),
    (lambda: layers.Conv2D(5, 3), [8, 8, 2], [(3, 3, 2, 5)], [(5,)]),
    (lambda: layers.Conv2DTranspose(5, 3), [8, 8, 2], [(3, 3, 5, 2)], [(5,)]),
    (lambda: layers.DepthwiseConv2D(3), [8, 8, 2], [(3, 3, 2, 1)], [(2,)]),
    (
      lambda: layers.SeparableConv2D(5, 3),
      [8, 8, 2],
      [(1, 1, 2, 5), (3, 3, 2, 1)],
      [(5,)],
    ),
    (
      lambda: layers.EinsumDense("abc,cd->abd", [None, 5], bias_axes="d"),
      [8, 4],
      [(4, 5)],
      [(5,)],
    ),
    (
      # Its biases are of rank 2.
      Attention,
      [8, 4],
      [(2, 3, 4), (4, 2, 3), (4, 2, 3), (4, 2, 3)],
      [(2, 3), (2, 3), (2, 3), (4,)],
    ),
    (lambda: layers.LSTM(3), [8, 4], [(3, 12), (4, 12)], [(12,)]),
    (lambda: layers.GRU(3), [8, 4], [(3, 9), (4, 9)], [(2, 9)]),
    (
      lambda: layers.Bidirectional(layers.SimpleRNN(3)),
      [8, 4],
      [(3, 3), (3, 3), (4, 3), (4, 3)],
      [(3,), (3,)],
    ),
    (
      lambda: layers.TimeDistributed(layers.Dense(5)),
      [8, 4],
      [(4, 5)],
      [(5,)],
    ),
    (lambda: layers.Embedding(9, 4), [8], [], [(9, 4)]),
    (layers.BatchNormalization, [8, 8, 2], [], [(2,), (2,)]),
    (
      lambda: layers.LayerNormalization([1, 2, 3]),
      [8, 8, 2],
      [],
      [(8, 8, 2)] * 2,
    ),
    (layers.PReLU, [8, 2], [], [(8, 2)]),
    (Named, [4], [(4, 2)], [(2,), (3, 3)]),
    (
      lambda: layers.Dense(5, name="bias_gamma_batch_normalization"),
      [4],
      [(4, 5)],
      [(5,)],
    ),
  ],
)
def test_kernels_alone_are_decayed(make, shape, kernels, others):
  model = around(make(), shape)
  assert decayed(model) == (kernels, others)
  everything = sorted(kernels + others)
  assert decayed(model, decay_kernels_only=False) == (everything, [])


def test_mobilenet():
  model = tf.keras.applications.MobileNetV2(
    weights=None, input_shape=(32, 32, 3), alpha=0.35, classes=7
  )
  kernels, others = decayed(model)
  kinds = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
  assert len(kernels) == sum(isinstance(x, kinds) for x in model.layers) == 53
  norms = sum(isinstance(x, layers.BatchNormalization) for x in model.layers)
  assert len(others) == 2 * norms + 1  # γ and β, and the last bias.
  assert {len(shape) for shape in kernels} == {2, 4}
  assert {len(shape) for shape in others} == {1}


def test_mask_stands_in_the_order_of_the_variables():
  x = tf.keras.Input([8, 8, 3])
  inner = tf.keras.Sequential(
    [layers.BatchNormalization(), layers.Conv2D(4, 1), layers.Flatten()]
  )
  y = layers.Dense(2, use_bias=False)(inner(layers.Conv2D(5, 3)(x)))
  model = tf.keras.Model(x, y)
  mask = decay_mask(model)
  kernels = {(3, 3, 3, 5), (1, 1, 5, 4), (144, 2)}
  expected = [tuple(v.shape) in kernels for v in model.trainable_variables]
  assert mask == expected
  assert mask.count(True) == 3 and mask.count(False) == 4


def test_shared_layer_counts_once():
  dense = layers.Dense(4)
  inner = tf.keras.Sequential([tf.keras.Input([4]), dense])
  x = tf.keras.Input([4])
  model = tf.keras.Model(x, inner(dense(inner(x))))
  assert decayed(model) == ([(4, 4)], [(4,)])


def test_frozen_layers_are_not_in_the_mask():
  x = tf.keras.Input([4])
  frozen = layers.Dense(3)
  model = tf.keras.Model(x, layers.Dense(2)(frozen(x)))
  frozen.trainable = False
  assert decayed(model) == ([(3, 2)], [(2,)])


def test_subclassed_model_has_a_mask():
  class Model(tf.keras.Model):
    def __init__(self):
      super().__init__()
      self.stages = [layers.Dense(3), layers.BatchNormalization()]

    def call(self, x):
      return self.stages[1](self.stages[0](x))

  model = Model()
  model(tf.zeros([1, 4]))
  assert decayed(model) == ([(4, 3)], [(3,), (3,), (3,)])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_kernels_are_told(policy):
  model = around(layers.Conv2D(5, 3, dtype=policy), [8, 8, 2])
  assert decayed(model) == ([(3, 3, 2, 5)], [(5,)])


@pytest.mark.parametrize("weight_decay", [0.0, 1e-4, 2.0])
@pytest.mark.parametrize("mode", modes.MODES)
def test_gradient_is_the_formula(weight_decay, mode):
  rng = np.random.default_rng(0)
  g, w = rng.normal(size=[2, 3, 4])
  found = modes.run(
    lambda g, w: l2_gradient(g, w, weight_decay),
    mode,
    np.float32(g),
    np.float32(w),
  )
  np.testing.assert_allclose(found, g + weight_decay * w, rtol=1e-5, atol=1e-6)


def test_gradient_is_that_of_keras_l2_of_half_the_decay():
  w = tf.Variable(
    np.random.default_rng(0).normal(size=[3, 4]), dtype=tf.float32
  )
  with tf.GradientTape(persistent=True) as tape:
    loss = tf.reduce_sum(tf.sin(w))
    penalty = tf.keras.regularizers.L2(0.5 * 0.1)(w)
    total = loss + penalty
  found = l2_gradient(tape.gradient(loss, w), w, 0.1)
  np.testing.assert_allclose(found, tape.gradient(total, w), rtol=1e-5)


def test_no_decay_is_the_identity():
  g = tf.constant([1.0, -0.3])
  found = l2_gradient(g, tf.constant([math.inf, math.nan]), 0.0)
  np.testing.assert_array_equal(found, g)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_low_precision_gradient_becomes_float32(dtype):
  found = l2_gradient(tf.ones([2], dtype), tf.ones([2]), 1e-4)
  assert found.dtype == tf.float32
  np.testing.assert_allclose(found, 1.0001, rtol=1e-6)


@pytest.mark.parametrize("weight_decay", [-1e-4, math.inf, math.nan])
def test_weight_decay_out_of_range_is_named(weight_decay):
  message = f"weight_decay must be finite and >= 0, got {weight_decay}"
  with pytest.raises(ValueError, match=message):
    l2_gradient(tf.ones([2]), tf.ones([2]), weight_decay)


class Scaled(layers.Layer):
  """A dense layer without a bias, whose kernel is called w."""

  def build(self, input_shape):
    self.w = self.add_weight(name="w", shape=(input_shape[-1], 2))
    self.scale = self.add_weight(name="scale", shape=(2,))

  def call(self, inputs):
    return tf.matmul(inputs, self.w) * self.scale


class Declared(Scaled):
  """The same layer, which says what its kernels are."""

  @property
  def kernels(self):
    return [self.w, self.scale]


@pytest.mark.parametrize("layer", [Scaled, Declared])
def test_a_layer_of_ones_own_names_its_kernels(layer):
  x = tf.keras.Input([3])
  model = tf.keras.Model(x, layers.Dense(2)(layer()(x)))
  declared = layer is Declared
  # A variable of rank 1 is no kernel, whatever the layer says.
  assert decay_mask(model) == [declared, False, True, False]
  names = undecayed_matrices(model)
  assert [name.split("/")[-1].split(":")[0] for name in names] == (
    [] if declared else ["w"]
  )


def test_embeddings_are_listed_and_kernels_and_biases_are_not():
  x = tf.keras.Input([3])
  y = layers.Flatten()(layers.Embedding(5, 2, name="table")(x))
  model = tf.keras.Model(x, layers.Dense(2)(y))
  (name,) = undecayed_matrices(model)
  assert name.startswith("table/")
