# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what hides the difference between Keras 2 and Keras 3."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tricks import keras_compat

layers = tf.keras.layers


def names(graph):
  return [node.layer.name for node in graph]


def test_variables_are_unwrapped_not_copied():
  layer = layers.Dense(2)
  layer.build([None, 3])
  kernel, bias = keras_compat.tf_variables(layer.trainable_variables)
  assert isinstance(kernel, tf.Variable) and isinstance(bias, tf.Variable)
  kernel.assign(tf.fill([3, 2], 7.0))
  np.testing.assert_array_equal(layer.get_weights()[0], np.full([3, 2], 7.0))


def test_tf_variable_is_its_own():
  variable = tf.Variable(1.0)
  assert keras_compat.tf_variable(variable) is variable


def test_variables_of_a_mixed_precision_layer_are_float32():
  layer = layers.Dense(2, dtype="mixed_bfloat16")
  layer.build([None, 3])
  kernel, _ = keras_compat.tf_variables(layer.trainable_variables)
  assert kernel.dtype == tf.float32


def test_flat_layers_holds_each_layer_once():
  shared = layers.Dense(4, name="shared")
  inner = tf.keras.Sequential(
    [tf.keras.Input([4]), shared, layers.ReLU(name="relu")], name="inner"
  )
  x = tf.keras.Input([4], name="x")
  model = tf.keras.Model(x, shared(inner(inner(x))), name="outer")
  found = [layer.name for layer in keras_compat.flat_layers(model)]
  assert found[0] == "outer"
  for name in ("x", "inner", "shared", "relu"):
    assert found.count(name) == 1


def test_flat_layers_of_a_subclassed_layer_are_found():
  class Block(layers.Layer):
    def __init__(self):
      super().__init__()
      self.parts = [layers.Dense(2), {"b": layers.Dense(3)}["b"]]

    def call(self, x):
      return self.parts[1](self.parts[0](x))

  block = Block()
  block(tf.zeros([1, 4]))
  found = keras_compat.flat_layers(block)
  assert found[0] is block
  assert set(map(id, block.parts)) <= set(map(id, found))


@pytest.mark.parametrize(
  ("make", "expected"),
  [
    (layers.BatchNormalization, True),
    (lambda: layers.BatchNormalization(scale=False), True),
    (layers.LayerNormalization, False),
    (lambda: layers.Dense(2), False),
    (layers.ReLU, False),
  ],
)
def test_batch_norm_is_told(make, expected):
  layer = make()
  layer(tf.zeros([2, 3]))
  assert keras_compat.is_batch_norm(layer) == expected


def test_batch_norm_of_another_make_is_told():
  class Norm(layers.Layer):
    def build(self, shape):
      self.gamma = self.add_weight(name="g", shape=shape[-1:])
      self.moving_mean = self.add_weight(name="m", shape=shape[-1:])
      self.moving_variance = self.add_weight(name="v", shape=shape[-1:])

  layer = Norm()
  layer.build([None, 3])
  assert keras_compat.is_batch_norm(layer)


def test_functional_models_are_told():
  class Subclassed(tf.keras.Model):
    def __init__(self):
      super().__init__()
      self.dense = layers.Dense(2)

    def call(self, x):
      return self.dense(x)

  subclassed = Subclassed()
  subclassed(tf.zeros([1, 3]))
  x = tf.keras.Input([3])
  assert keras_compat.is_functional(tf.keras.Model(x, layers.ReLU()(x)))
  assert keras_compat.is_functional(tf.keras.Sequential([x, layers.Dense(2)]))
  assert not keras_compat.is_functional(subclassed)
  assert not keras_compat.is_functional(tf.keras.Sequential([layers.Dense(2)]))
  assert not keras_compat.is_functional(layers.Dense(2))


def test_graph_is_in_topological_order_with_its_edges():
  x = tf.keras.Input([3], name="x")
  a = layers.Dense(3, name="a")(x)
  b = layers.Dense(3, name="b")(a)
  model = tf.keras.Model(x, layers.Add(name="sum")([a, b]))
  graph = keras_compat.layer_graph(model)
  assert names(graph) == ["x", "a", "b", "sum"]
  assert [node.inbound for node in graph] == [(), (0,), (1,), (1, 2)]


def test_graph_leaves_out_calls_that_belong_to_another_model():
  shared = layers.Dense(3, name="shared")
  x, y = (tf.keras.Input([3], name=name) for name in "xy")
  tf.keras.Model(y, shared(y))
  model = tf.keras.Model(x, shared(x))
  assert names(keras_compat.layer_graph(model)) == ["x", "shared"]


def test_graph_holds_a_nested_model_as_often_as_it_is_called():
  u, v = (tf.keras.Input([3], name=name) for name in "uv")
  w = layers.Dense(3, name="w")(v)
  inner = tf.keras.Model([u, v], [layers.Add(name="sum")([u, w]), w])
  x = tf.keras.Input([3], name="x")
  y = layers.ReLU(name="y")(x)
  first, second = inner([x, y])
  model = tf.keras.Model(x, inner([second, first])[0])
  graph = keras_compat.layer_graph(model)
  # Each call's u and v are what the outer model feeds it, in that order.
  edges = {
    (node.layer.name, tuple(graph[i].layer.name for i in node.inbound))
    for node in graph
  }
  assert sorted(names(graph)) == ["sum", "sum", "w", "w", "x", "y"]
  assert edges == {
    ("x", ()),
    ("y", ("x",)),
    ("w", ("y",)),
    ("sum", ("x", "w")),
    ("w", ("sum",)),
    ("sum", ("w", "w")),
  }
  assert graph[-1].inbound[0] < graph[-1].inbound[1]


def test_graph_sees_through_a_nested_sequential_model():
  inner = tf.keras.Sequential(
    [layers.Dense(3, name="d"), layers.ReLU(name="r")]
  )
  x = tf.keras.Input([3], name="x")
  model = tf.keras.Model(x, inner(x))
  graph = keras_compat.layer_graph(model)
  assert names(graph) == ["x", "d", "r"]
  assert [node.inbound for node in graph] == [(), (0,), (1,)]


def test_graph_knows_the_operands_of_an_operator():
  x = tf.keras.Input([3], name="x")
  y = layers.Dense(3, name="y")(x)
  model = tf.keras.Model(x, (x + y) * 2.0)
  graph = keras_compat.layer_graph(model)
  assert graph[2].inbound == (0, 1)
  assert graph[3].inbound == (2,)


def test_graph_of_a_deep_network():
  x = y = tf.keras.Input([1])
  for _ in range(300):
    y = layers.Add()([x, layers.ReLU()(y)])
  assert len(keras_compat.layer_graph(tf.keras.Model(x, y))) == 601


def test_the_producer_of_a_tensor_is_its_last_layer():
  x = tf.keras.Input([4])
  dense, add = layers.Dense(4), layers.Add()
  y = add([x, dense(x)])
  layer, inputs = keras_compat.producer(y)
  assert layer is add
  assert inputs[0] is x
  assert keras_compat.producer(inputs[1])[0] is dense
  assert keras_compat.producer(x)[1] == []


class Halving(tf.keras.layers.Layer):
  """Somebody's layer, with control flow that AutoGraph has to convert."""

  def call(self, inputs):
    if tf.reduce_max(inputs) > 1.0:
      inputs = inputs / 2.0
    return inputs

  def compute_output_shape(self, shape):
    return shape


@pytest.mark.skipif(
  not tf.__version__.startswith("2.15."), reason="Keras 3 converts no layer"
)
def test_autograph_is_kept_off_a_function_but_not_off_its_layers():
  images = tf.keras.Input((2,))
  model = tf.keras.Model(images, Halving()(images))
  converted = []

  @keras_compat.unconverted
  def forward(x):
    converted.append(inspect.currentframe().f_code.co_name != "forward")
    return model(x)

  @tf.function
  def caller(x):
    for _ in tf.range(1):
      x = forward(x)
    return x

  np.testing.assert_array_equal(caller(tf.constant([[2.0, 4.0]])), [[1.0, 2.0]])
  assert not any(converted)
