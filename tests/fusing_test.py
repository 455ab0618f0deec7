# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models with our BatchNorm against the same models with Keras' own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import short_networks
from train_loop.models.batch_norm import BatchNorm
from train_loop.models.fusing import (
  can_fuse,
  fuse_batch_norm,
  unfuse_batch_norm,
)
from tricks import keras_compat

layers = tf.keras.layers
KerasNorm = layers.BatchNormalization
# The smallest member of each family of Keras Applications that has
# BatchNormalization, and a side at which the last maps are not single pixels.
FAMILIES = {
  "DenseNet121": 64,
  "EfficientNetB0": 64,
  "EfficientNetV2B0": 64,
  "InceptionResNetV2": 107,
  "InceptionV3": 107,
  "MobileNet": 64,
  "MobileNetV2": 64,
  "MobileNetV3Small": 64,
  "NASNetMobile": 64,
  "RegNetX002": 64,
  "RegNetY002": 64,
  "ResNet50": 64,
  "ResNet50V2": 64,
  "ResNetRS50": 64,
  "Xception": 71,
}
EXACT = 1e-5


def tame(model, seed=0):
  """Gives a network weights that let rounding errors not grow.

  A deep network with random weights is chaotic in training: float32 and
  float64 agree on no digit. This one is nearly linear, for most of what enters
  a ReLU is positive; all γ, β and statistics differ. Dropout is off.
  """
  rng = np.random.default_rng(seed)
  for layer in keras_compat.flat_layers(model):
    if "Dropout" in type(layer).__name__:
      layer.rate = 0.0
    if isinstance(layer, layers.DepthwiseConv2D):
      kernel = layer.weights[0]
      kernel.assign(rng.normal(0.0, 0.5, kernel.shape))
    if isinstance(layer, (KerasNorm, BatchNorm)):
      deviation = 1.0
      if layer.gamma is not None:
        deviation = 0.3
        layer.gamma.assign(rng.uniform(0.2, 0.4, layer.gamma.shape))
      if layer.beta is not None:
        shift = rng.uniform(3.5, 4.5, layer.beta.shape) * deviation
        layer.beta.assign(shift)
      shape = layer.moving_mean.shape
      layer.moving_mean.assign(rng.normal(0.0, 0.1, shape))
      layer.moving_variance.assign(rng.uniform(0.5, 2.0, shape))
  return model


def images(shape, batch=4, seed=1):
  rng = np.random.default_rng(seed)
  x = rng.normal(128.0, 50.0, (batch, 1, 1, shape[-1]))
  return tf.constant(x + rng.normal(0.0, 50.0, (batch, *shape)), tf.float32)


def pictures(model, seed=1):
  """A batch for each input of the model."""
  batch = [
    images(tensor.shape[1:], seed=seed + i)
    for i, tensor in enumerate(model.inputs)
  ]
  return batch if len(batch) > 1 else batch[0]


def numpy_of(values):
  return [np.array(tf.convert_to_tensor(v)) for v in values]


def trained_once(model, x, seed=2):
  """Outputs, gradients and statistics of a step in training."""
  parameters = keras_compat.tf_variables(model.trainable_variables)
  with tf.GradientTape() as tape:
    outputs = model(x, training=True)
  rng = np.random.default_rng(seed)
  upstream = tf.constant(rng.normal(size=outputs.shape), outputs.dtype)
  gradients = tape.gradient(outputs, parameters, output_gradients=upstream)
  statistics = numpy_of(model.non_trainable_variables)
  return outputs, gradients, statistics


def difference(a, b):
  """The largest difference, relative to the largest value."""
  a, b = (np.asarray(tf.cast(x, tf.float64)) for x in (a, b))
  return np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)


def names(variables):
  # Without the name scope that a layer was built in, as Keras 2 has it.
  paths = [getattr(v, "path", v.name).split("/")[-2:] for v in variables]
  return list(zip(paths, [tuple(v.shape) for v in variables]))


def flags(model):
  return [
    (layer.name, layer.trainable)
    for layer in keras_compat.flat_layers(model)
    if not isinstance(layer, layers.InputLayer)
  ]


def norms(model, kind):
  return [x for x in keras_compat.flat_layers(model) if type(x) is kind]


def require_same_form(model, other):
  """All that a checkpoint or a caller sees but for the class of a layer."""
  assert other.name == model.name
  assert [x.name for x in other.layers] == [x.name for x in model.layers]
  assert names(other.trainable_variables) == names(model.trainable_variables)
  assert names(other.non_trainable_variables) == names(
    model.non_trainable_variables
  )
  assert flags(other) == flags(model)
  assert other.output_names == model.output_names


def require_equal(model, other, *, tolerance=EXACT, of_gradient=10 * EXACT):
  """Inference, then one step in training; both from the same variables."""
  x = pictures(model)
  require_same_form(model, other)
  for got, want in zip(numpy_of(other.variables), numpy_of(model.variables)):
    np.testing.assert_array_equal(got, want)
  want, got = model(x, training=False), other(x, training=False)
  assert got.dtype == want.dtype
  assert difference(want, got) < tolerance
  outputs, gradients, statistics = trained_once(model, x)
  others, other_gradients, other_statistics = trained_once(other, x)
  assert difference(outputs, others) < tolerance
  for want, got in zip(statistics, other_statistics):
    assert difference(want, got) < tolerance
  norm = tf.linalg.global_norm(gradients)
  error = [a - b for a, b in zip(gradients, other_gradients)]
  assert tf.linalg.global_norm(error) / norm < max(of_gradient, tolerance)


@pytest.mark.parametrize("name", FAMILIES)
def test_published_network(name, monkeypatch):
  build = getattr(tf.keras.applications, name, None)
  if build is None:
    pytest.skip(f"{name} is Keras 2's")
  short_networks.shorten(monkeypatch, name)
  size = FAMILIES[name]
  tf.keras.utils.set_random_seed(0)
  model = tame(
    build(
      weights=None,
      input_shape=(size, size, 3),
      classes=5,
      classifier_activation=None,
    )
  )
  count = len(norms(model, KerasNorm))
  fused = fuse_batch_norm(model)
  assert len(norms(fused, BatchNorm)) == count > 0
  assert not norms(fused, KerasNorm)
  # If rounding changes which of two values is the largest of a max pooling, the
  # gradient takes the other's way. Inception's and NASNet's have many.
  ties = 1e-3 if name.startswith(("Inception", "NASNet")) else 10 * EXACT
  require_equal(model, fused, of_gradient=ties)


def conv_norm(x, name, **options):
  x = layers.Conv2D(6, 3, padding="same", name=f"{name}_conv")(x)
  return layers.ReLU()(KerasNorm(name=name, **options)(x))


def block(name, **options):
  x = tf.keras.Input((8, 8, 6), name=f"{name}_in")
  return tf.keras.Model(x, conv_norm(x, f"{name}_bn", **options), name=name)


def nested_model():
  """Models in a model, twice called, frozen, in inference; two inputs."""
  tf.keras.utils.set_random_seed(0)
  one, two = tf.keras.Input((8, 8, 3)), tf.keras.Input((8, 8, 6), name="two")
  inner = block("inner")
  z = tf.keras.Input((8, 8, 6))
  outer = tf.keras.Model(z, inner(conv_norm(z, "outer_bn")), name="outer")
  frozen, fixed = block("frozen"), block("fixed", momentum=0.5)
  plain = tf.keras.Sequential([layers.Conv2D(6, 1)], name="plain")
  stack = tf.keras.Sequential(
    [tf.keras.Input((8, 8, 6)), layers.Conv2D(6, 1), KerasNorm()], name="stack"
  )
  shared = KerasNorm(name="shared")
  x = outer(conv_norm(one, "stem", scale=False))
  x = shared(outer(x)) + shared(inner(two))
  x = fixed(frozen(plain(x)), training=False)
  x = layers.GlobalAveragePooling2D()(stack(x) * 2.0)
  x = KerasNorm(name="flat", center=False, axis=1)(x)
  model = tf.keras.Model([one, two], layers.Dense(3)(x), name="nest")
  frozen.trainable = False
  model.get_layer("stem").trainable = False
  return tame(model)


def test_nested_shared_frozen_and_twice_called_layers():
  model = nested_model()
  fused = fuse_batch_norm(model)
  assert not norms(fused, KerasNorm)
  assert len(norms(fused, BatchNorm)) == 8
  kinds = [type(fused.get_layer(x.name)) for x in model.layers]
  assert kinds.count(tf.keras.Sequential) == 2
  assert not fused.get_layer("frozen").trainable
  assert fused.get_layer("plain") is model.get_layer("plain")
  # The last one, over four examples alone, magnifies what rounding differs.
  require_equal(model, fused, tolerance=10 * EXACT)


def test_there_and_back():
  model = nested_model()
  fused = fuse_batch_norm(model)
  trained_once(fused, pictures(model))  # Other statistics than the model's.
  back = unfuse_batch_norm(fused)
  assert not norms(back, BatchNorm)
  assert len(norms(back, KerasNorm)) == 8
  require_equal(fused, back, tolerance=10 * EXACT)


def test_unfused_model_opens_without_our_layer(tmp_path):
  x = tf.keras.Input((8, 8, 3))
  y = BatchNorm(name="bn", gamma_initializer="zeros")(layers.Conv2D(4, 3)(x))
  model = tame(tf.keras.Model(x, layers.Flatten()(y)))
  plain = unfuse_batch_norm(model)
  path = tmp_path / "model.keras"
  plain.save(path)
  assert b"train_loop" not in path.read_bytes()
  loaded = tf.keras.models.load_model(path)
  assert type(loaded.get_layer("bn")) is KerasNorm
  x = pictures(model)
  assert difference(model(x), loaded(x)) < EXACT


def test_a_checkpoint_of_either_is_read_by_the_other(tmp_path):
  model, other = nested_model(), fuse_batch_norm(nested_model())
  for variable in other.variables:
    variable.assign(tf.zeros_like(variable))

  def saved(model):
    return tf.train.Checkpoint(
      parameters=keras_compat.tf_variables(model.trainable_variables),
      untrained=keras_compat.tf_variables(model.non_trainable_variables),
    )

  for source, target in ((model, other), (other, model)):
    path = saved(source).write(str(tmp_path / source.name))
    source_values = numpy_of(source.variables)
    for variable in target.variables:
      variable.assign(tf.ones_like(variable))
    saved(target).read(path).assert_consumed()
    for got, want in zip(numpy_of(target.variables), source_values):
      np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_dtype_policies_are_kept(policy):
  x = tf.keras.Input((8, 8, 3))
  y = layers.Conv2D(4, 3, dtype=policy)(x)
  y = KerasNorm(dtype=policy, name="half")(y)
  y = KerasNorm(dtype="float32", name="full")(y)
  model = tame(tf.keras.Model(x, layers.Flatten(dtype="float32")(y)))
  fused = fuse_batch_norm(model)
  assert fused.get_layer("half").compute_dtype == policy.removeprefix("mixed_")
  assert fused.get_layer("full").compute_dtype == "float32"
  require_equal(model, fused, tolerance=2e-2)


def test_trainable_of_a_model_is_kept_beside_that_of_its_layers():
  inner = block("inner")
  x = tf.keras.Input((8, 8, 6))
  model = tf.keras.Model(x, layers.Flatten()(conv_norm(inner(x), "last")))
  model.trainable = False
  inner.get_layer("inner_bn").trainable = True
  require_same_form(model, fuse_batch_norm(model))


class OwnNorm(KerasNorm):
  """Somebody's own."""


@pytest.mark.parametrize(
  ("shape", "make"),
  [
    ((8, 6), lambda: KerasNorm()),
    ((4, 4, 4, 6), lambda: KerasNorm()),
    ((8, 8, 6), lambda: KerasNorm(axis=1)),
    ((8, 8, 6), lambda: KerasNorm(dtype="float64")),
    ((8, 8, 6), lambda: KerasNorm(epsilon=1e-6)),
    ((8, 8, 6), lambda: KerasNorm(renorm=True)),
    ((8, 8, 6), lambda: KerasNorm(virtual_batch_size=2)),
    ((8, 8, 6), lambda: KerasNorm(fused=False)),
    ((8, 8, 6), lambda: OwnNorm()),
    ((8, 6), lambda: layers.TimeDistributed(KerasNorm())),
  ],
)
def test_layers_that_ours_cannot_replace_are_left(shape, make):
  try:
    layer = make()
  except (TypeError, ValueError) as error:
    pytest.skip(f"not in this Keras: {error}")
  x = tf.keras.Input(shape)
  model = tf.keras.Model(x, layer(x))
  assert not can_fuse(model)
  assert fuse_batch_norm(model) is model


@pytest.mark.parametrize(
  ("argument", "function"),
  [
    ("gamma_initializer", lambda shape, dtype=None: tf.fill(shape, 0.25)),
    ("beta_regularizer", lambda beta: tf.reduce_sum(beta**2)),
    ("beta_constraint", lambda beta: beta),
  ],
)
def test_a_function_of_your_own_is_kept(argument, function):
  """Keras cannot read such a function from the config that it writes."""
  x = tf.keras.Input((8, 8, 6))
  model = tf.keras.Model(x, KerasNorm(name="own", **{argument: function})(x))
  fused = fuse_batch_norm(model)
  for changed, kind in (
    (fused, BatchNorm),
    (unfuse_batch_norm(fused), KerasNorm),
  ):
    layer = changed.get_layer("own")
    assert type(layer) is kind
    assert getattr(layer, argument) is function


def test_what_can_be_fused():
  assert can_fuse(block("inner"))
  assert not can_fuse(fuse_batch_norm(block("inner")))
  x = tf.keras.Input((8, 8, 6))
  outer = tf.keras.Model(x, block("inner")(x))
  assert can_fuse(outer)
  assert not can_fuse(tf.keras.Sequential([KerasNorm()]))
  assert unfuse_batch_norm(outer) is outer


def test_synchronized_and_regularized_layers_stay_so():
  x = tf.keras.Input((8, 8, 6))
  y = KerasNorm(
    synchronized=True,
    name="bn",
    gamma_regularizer="l2",
    beta_constraint="non_neg",
  )(x)
  model = tf.keras.Model(x, y)
  fused = fuse_batch_norm(model)
  assert fused.get_layer("bn").synchronized
  assert isinstance(
    fused.get_layer("bn").beta_constraint, tf.keras.constraints.NonNeg
  )
  assert float(fused.losses[0]) == pytest.approx(float(model.losses[0]))
  back = unfuse_batch_norm(fused).get_layer("bn")
  assert back.synchronized
  assert float(back.losses[0]) == pytest.approx(float(model.losses[0]))


def test_keras_fits_a_fused_model():
  x = tf.keras.Input((8, 8, 3))
  y = layers.Flatten()(conv_norm(x, "bn"))
  model = tf.keras.Model(x, layers.Dense(3)(y))
  fused = fuse_batch_norm(model)
  loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  fused.compile("sgd", loss)
  before = numpy_of(fused.get_layer("bn").weights)
  fused.fit(images((8, 8, 3)) / 128.0, tf.constant([0, 1, 2, 0]), verbose=0)
  after = numpy_of(fused.get_layer("bn").weights)
  assert all(np.any(a != b) for a, b in zip(before, after))


def test_model_that_is_not_functional_is_refused():
  class Subclassed(tf.keras.Model):
    def call(self, x):
      return x

  for exchange in (fuse_batch_norm, unfuse_batch_norm):
    message = f"{exchange.__name__} needs a functional model"
    for model in (Subclassed(name="mine"), tf.keras.Sequential(name="mine")):
      with pytest.raises(ValueError, match=message):
        exchange(model)
