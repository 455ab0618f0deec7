# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of zero γ on published networks and on small graphs made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tricks import zero_gamma

layers = tf.keras.layers


def conv(x, *, kernel=3, channels=4):
  return layers.Conv2D(channels, kernel, padding="same", use_bias=False)(x)


def norm(x, name, *, scale=True):
  # An initial γ other than 1 tells what was touched.
  return layers.BatchNormalization(
    name=name, scale=scale, gamma_initializer="random_uniform"
  )(x)


def conv_norm(x, name, **options):
  return norm(conv(x, **options), name)


def relu(x):
  return layers.ReLU()(x)


def image():
  return tf.keras.Input([6, 6, 4])


def zeroed(model):
  """Applies the trick; checks that it set those γ, and those only."""
  before = {x.name: x.get_weights() for x in norms(model)}
  found = zero_gamma(model)
  names = [layer.name for layer in found]
  assert len(set(names)) == len(names)
  for layer in norms(model):
    after, (gamma, *rest) = layer.get_weights(), before[layer.name]
    expected = np.zeros_like(gamma) if layer.name in names else gamma
    for x, y in zip(after, [expected, *rest]):
      np.testing.assert_array_equal(x, y)
  return names


def norms(model):
  for layer in model.layers:
    if isinstance(layer, layers.BatchNormalization):
      yield layer
    elif isinstance(layer, tf.keras.Model):
      yield from norms(layer)


def values(model, x):
  return np.array(model(tf.constant(x), training=False))


def pictures():
  return np.random.default_rng(0).normal(size=[2, 6, 6, 4]).astype(np.float32)


def basic_block(x, name):
  y = relu(conv_norm(x, f"{name}_1"))
  return layers.Add()([conv_norm(y, f"{name}_2"), x])


def test_basic_block_becomes_its_shortcut():
  x = image()
  model = tf.keras.Model(x, basic_block(basic_block(x, "a"), "b"))
  assert not np.allclose(values(model, pictures()), pictures())
  assert zeroed(model) == ["a_2", "b_2"]
  np.testing.assert_array_equal(values(model, pictures()), pictures())


@pytest.mark.parametrize("shortcut_first", [False, True])
def test_projection_shortcut_is_untouched(shortcut_first):
  x = image()
  y = relu(conv_norm(x, "1", kernel=1))
  y = relu(conv_norm(y, "2"))
  branch = conv_norm(y, "3", kernel=1, channels=8)
  shortcut = layers.AveragePooling2D(1)(x)
  shortcut = conv_norm(shortcut, "shortcut", kernel=1, channels=8)
  inputs = [shortcut, branch] if shortcut_first else [branch, shortcut]
  model = tf.keras.Model(x, relu(layers.Add()(inputs)))
  assert zeroed(model) == ["3"]


@pytest.mark.parametrize(
  "add",
  [
    lambda x, y: x + y,
    lambda x, y: layers.add([x, y]),
    # What Keras 3 has for tf.math.add, which Keras 2 takes as it is.
    lambda x, y: getattr(tf.keras, "ops", tf.math).add(x, y),
  ],
)
def test_other_ways_to_add(add):
  x = image()
  y = conv_norm(relu(conv_norm(x, "1")), "2")
  assert zeroed(tf.keras.Model(x, add(x, y))) == ["2"]


def test_three_inputs_have_one_residual_branch():
  x = image()
  one = conv_norm(x, "one")
  two = conv_norm(relu(conv_norm(x, "two_1")), "two_2")
  assert zeroed(tf.keras.Model(x, layers.Add()([x, two, one]))) == ["two_2"]


def test_layers_between_the_norm_and_the_add_are_passed():
  class StochasticDepth(layers.Layer):
    def call(self, x):
      return x * 0.5

  x = image()
  y = conv_norm(relu(conv_norm(x, "1")), "2")
  y = layers.Activation("tanh")(layers.Dropout(0.5)(y))
  y = layers.SpatialDropout2D(0.1)(relu(StochasticDepth()(y)))
  y = layers.Cropping2D(1)(layers.ZeroPadding2D(1)(y))
  model = tf.keras.Model(x, layers.Add()([x, y]))
  assert zeroed(model) == ["2"]
  np.testing.assert_array_equal(values(model, pictures()), pictures())


def squeeze_excite(y):
  gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
  gate = layers.Conv2D(2, 1, activation="relu")(gate)
  gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
  return gate


@pytest.mark.parametrize("gate_first", [False, True])
@pytest.mark.parametrize("operator", [False, True])
def test_squeeze_and_excitation_is_seen_through(gate_first, operator):
  x = image()
  y = conv_norm(relu(conv_norm(x, "1")), "2")
  factors = [squeeze_excite(y), y] if gate_first else [y, squeeze_excite(y)]
  product = factors[0] * factors[1] if operator else layers.Multiply()(factors)
  model = tf.keras.Model(x, layers.Add()([x, product]))
  assert zeroed(model) == ["2"]
  np.testing.assert_array_equal(values(model, pictures()), pictures())


def test_norm_within_the_gate_is_left_alone():
  x = image()
  y = relu(conv_norm(x, "1"))
  y = layers.Multiply()([y, squeeze_excite(conv_norm(y, "gate"))])
  assert zeroed(tf.keras.Model(x, layers.Add()([x, y]))) == ["1"]


def test_one_factor_of_a_product_is_enough():
  # With both zero neither γ would ever get a gradient.
  x = image()
  y = layers.Multiply()([conv_norm(x, "1"), conv_norm(x, "2")])
  model = tf.keras.Model(x, layers.Add()([x, y]))
  assert zeroed(model) == ["1"]


def test_concatenated_branches_are_silenced_together():
  x = image()
  parts = [conv_norm(x, name, channels=2) for name in ("1", "2")]
  model = tf.keras.Model(x, layers.Add()([x, layers.Concatenate()(parts)]))
  assert zeroed(model) == ["1", "2"]
  np.testing.assert_array_equal(values(model, pictures()), pictures())


def test_concatenation_with_a_kernel_is_left_alone():
  x = image()
  parts = [conv_norm(x, "1", channels=2), conv(x, channels=2)]
  model = tf.keras.Model(x, layers.Add()([x, layers.Concatenate()(parts)]))
  assert zeroed(model) == []


def test_residual_branches_within_a_branch_are_found_too():
  x = image()
  y = basic_block(conv_norm(x, "first"), "inner")
  model = tf.keras.Model(x, layers.Add()([x, conv_norm(y, "last")]))
  assert zeroed(model) == ["inner_2", "last"]


@pytest.mark.parametrize("sequential", [False, True])
def test_branch_in_a_nested_model_is_found(sequential):
  parts = [
    layers.Conv2D(4, 3, padding="same"),
    layers.BatchNormalization(name="1"),
    layers.ReLU(),
    layers.Conv2D(4, 3, padding="same"),
    layers.BatchNormalization(name="2"),
  ]
  if sequential:
    branch = tf.keras.Sequential(parts)
  else:
    z = y = image()
    for part in parts:
      z = part(z)
    branch = tf.keras.Model(y, z)
  x = image()
  model = tf.keras.Model(x, layers.Add()([x, branch(x)]))
  assert zeroed(model) == ["2"]
  np.testing.assert_array_equal(values(model, pictures()), pictures())


def test_blocks_in_nested_models_are_found():
  x, y, z = image(), image(), image()
  block = tf.keras.Model(x, basic_block(x, "a"))
  stage = tf.keras.Model(y, block(block(relu(y))))
  model = tf.keras.Model(z, layers.Dense(2)(stage(conv_norm(z, "stem"))))
  assert zeroed(model) == ["a_2"]


def test_norm_shared_by_the_ends_of_branches_is_zeroed_once():
  x = y = image()
  last = layers.BatchNormalization(name="last")
  for name in ("a", "b"):
    branch = last(conv(relu(conv_norm(y, name))))
    y = layers.Add()([y, branch])
  assert zeroed(tf.keras.Model(x, y)) == ["last"]


@pytest.mark.parametrize("within_branch", [False, True])
def test_norm_shared_with_another_place_is_left_alone(within_branch):
  x = image()
  shared = layers.BatchNormalization(name="shared")
  start = x if within_branch else relu(shared(conv(x)))
  branch = conv(start)
  branch = relu(shared(branch) if within_branch else norm(branch, "other"))
  model = tf.keras.Model(x, layers.Add()([start, shared(conv(branch))]))
  assert zeroed(model) == []


def test_norm_shared_with_another_model_is_zeroed():
  x, y = image(), image()
  last = layers.BatchNormalization(name="last")
  tf.keras.Model(y, last(y))
  branch = last(conv(relu(conv_norm(x, "first"))))
  assert zeroed(tf.keras.Model(x, layers.Add()([x, branch]))) == ["last"]


@pytest.mark.parametrize(
  "end",
  [
    pytest.param(conv, id="ends with a kernel"),
    pytest.param(
      lambda y: norm(conv(y), "2", scale=False), id="norm without γ"
    ),
    pytest.param(
      lambda y: layers.Activation("sigmoid")(conv_norm(y, "2")),
      id="activation that is not 0 at 0",
    ),
  ],
)
def test_branch_that_cannot_be_silenced_is_left_alone(end):
  x = image()
  y = relu(conv_norm(x, "1"))
  assert zeroed(tf.keras.Model(x, layers.Add()([x, end(y)]))) == []


def test_inputs_with_equally_many_kernels_are_left_alone():
  x = image()
  y = layers.Add()([conv_norm(x, "a"), conv_norm(x, "b")])
  assert zeroed(tf.keras.Model(x, y)) == []
  stem = conv_norm(x, "stem")
  y = layers.Add()([layers.Dropout(0.1)(stem), stem, stem])
  assert zeroed(tf.keras.Model(x, y)) == []


def test_inputs_with_nothing_in_common_are_left_alone():
  x, y = image(), image()
  tower = conv_norm(relu(conv_norm(x, "a_1")), "a_2")
  model = tf.keras.Model([x, y], layers.Add()([tower, conv_norm(y, "b")]))
  assert zeroed(model) == []


def test_the_norm_before_the_block_is_left_alone():
  # A gate on the block's input: its only norm is outside of the branch.
  x = image()
  start = conv_norm(x, "stem")
  y = layers.Multiply()([start, squeeze_excite(start)])
  assert zeroed(tf.keras.Model(x, layers.Add()([start, y]))) == []


def test_adding_a_constant_is_no_shortcut():
  x = image()
  assert zeroed(tf.keras.Model(x, conv_norm(x, "1") + 1.0)) == []


def test_kernels_of_composite_layers_count():
  # Attention is one layer to the graph, with four kernels inside.
  x = tf.keras.Input([5, 4])
  y = layers.MultiHeadAttention(2, 3)(x, x)
  branch = layers.BatchNormalization(name="branch")(y)
  shortcut = layers.BatchNormalization(name="shortcut")(layers.Dense(4)(x))
  model = tf.keras.Model(x, layers.Add()([shortcut, branch]))
  assert zeroed(model) == ["branch"]


def test_norm_of_another_make_is_zeroed():
  class Norm(layers.Layer):
    def build(self, shape):
      for name in ("gamma", "moving_mean", "moving_variance"):
        weight = self.add_weight(
          name=name, shape=shape[-1:], initializer="ones"
        )
        setattr(self, name, weight)

    def call(self, x):
      return self.gamma * x

  x = image()
  model = tf.keras.Model(x, layers.Add()([x, Norm(name="n")(conv(x))]))
  assert [layer.name for layer in zero_gamma(model)] == ["n"]
  np.testing.assert_array_equal(values(model, pictures()), pictures())


def test_mixed_precision_model():
  tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
  try:
    x = image()
    model = tf.keras.Model(x, basic_block(x, "a"))
  finally:
    tf.keras.mixed_precision.set_global_policy("float32")
  assert zeroed(model) == ["a_2"]


def test_doing_it_twice_changes_nothing():
  x = image()
  model = tf.keras.Model(x, basic_block(x, "a"))
  assert zeroed(model) == zeroed(model) == ["a_2"]


@pytest.mark.parametrize(
  ("name", "count", "suffix"),
  [
    ("ResNet50", 16, "_3_bn"),
    ("ResNet50V2", 0, ""),
    ("MobileNetV2", 10, "_project_BN"),
  ],
)
def test_published_networks(name, count, suffix):
  model = getattr(tf.keras.applications, name)(
    weights=None, input_shape=(32, 32, 3), include_top=False
  )
  names = zeroed(model)
  assert len(names) == count
  assert all(found.endswith(suffix) for found in names)


def test_norm_that_is_used_twice_within_its_branch_is_zeroed():
  x = image()
  last = conv_norm(relu(conv_norm(x, "1")), "last")
  y = layers.Multiply()([last, squeeze_excite(relu(last))])
  assert zeroed(tf.keras.Model(x, layers.Add()([y, x]))) == ["last"]


def test_nasnet_keeps_a_signal_in_each_add():
  """With all ends zeroed, 19 of NASNetMobile's 80 Adds gave 0."""
  model = tf.keras.applications.NASNetMobile(
    weights=None, input_shape=(32, 32, 3), include_top=False
  )
  adds = [x.output for x in model.layers if isinstance(x, layers.Add)]
  assert len(zeroed(model)) > 0
  x = tf.random.stateless_normal([2, 32, 32, 3], [1, 2])
  sums = tf.keras.Model(model.inputs, adds)(x, training=True)
  assert [i for i, y in enumerate(sums) if not np.any(y)] == []


def test_model_that_is_not_functional_is_refused():
  class Subclassed(tf.keras.Model):
    def call(self, x):
      return x

  for model in (Subclassed(name="mine"), tf.keras.Sequential(name="mine")):
    with pytest.raises(ValueError, match="zero_gamma needs a functional model"):
      zero_gamma(model)


def test_a_norm_that_also_feeds_what_is_outside_the_branch_is_untouched():
  """As in NASNet, whose cells add what other cells use too."""
  x = image()
  branch = conv_norm(relu(conv_norm(x, "1")), "2")
  added = layers.Add()([branch, x])
  used_again = layers.Concatenate()([added, branch])
  assert zeroed(tf.keras.Model(x, used_again)) == []


def test_a_norm_that_feeds_the_outside_through_another_layer_is_untouched():
  x = image()
  branch = relu(conv_norm(relu(conv_norm(x, "1")), "2"))
  added = layers.Add()([branch, x])
  used_again = layers.Concatenate()([added, conv(branch)])
  assert zeroed(tf.keras.Model(x, used_again)) == []


def test_an_add_of_what_another_add_holds_has_a_branch_of_its_own():
  x = image()
  first = layers.Add()([conv_norm(x, "1"), x])
  second = layers.Add()([conv_norm(first, "2"), first])
  joined = layers.Concatenate()([first, second])
  assert zeroed(tf.keras.Model(x, joined)) == ["1", "2"]


def test_a_frozen_norm_is_untouched():
  x = image()
  y = basic_block(basic_block(x, "a"), "b")
  model = tf.keras.Model(x, y)
  model.get_layer("a_2").trainable = False
  assert zeroed(model) == ["b_2"]
