# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras' own classifiers, compared with Keras: names, pixels and outputs."""

from __future__ import annotations

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf

from tests import short_networks
from train_loop.fields import ConfigError
from train_loop.models import build_model, keras_names, names
from train_loop.models.heads import closing_activation
from tricks import keras_compat

applications = tf.keras.applications
OFFERED = {name for name in dir(applications) if name[0].isupper()}
# The smallest member of each family.
MEMBERS = [
  family.members[0]
  for family in keras_names.FAMILIES
  if family.members[0] in OFFERED
]
# One of each kind of preprocessing; one built as Keras does, and one copied.
KINDS = ["MobileNet", "ResNet50", "DenseNet121", "EfficientNetB0"]
QUICK = ["MobileNet", "EfficientNetB0"]
PREPROCESSING = (tf.keras.layers.Rescaling, tf.keras.layers.Normalization)


@pytest.fixture(scope="module", autouse=True)
def short():
  with pytest.MonkeyPatch.context() as patch:
    for name in MEMBERS:
      short_networks.shorten(patch, name)
    yield


def side(name):
  return keras_names.FAMILY_OF[name].smallest


def build(name, *shape, dtype="float32", **arguments):
  tf.keras.utils.set_random_seed(0)
  return build_model(
    f"keras:{name}",
    input_shape=shape,
    num_classes=10,
    mean=(0.0,) * shape[-1],
    std=(1.0,) * shape[-1],
    dtype=dtype,
    **arguments,
  )


@functools.cache
def network(name, dtype):
  return build(name, side(name), side(name), 3, dtype=dtype)


def keras_network(name):
  return getattr(applications, name)(
    weights=None,
    classes=10,
    input_shape=(side(name), side(name), 3),
    classifier_activation=None,
  )


def preprocess_input(name, images):
  """What the module of Keras' network does to images."""
  module = short_networks.module_of(name)
  return module.preprocess_input(np.array(images, "float32"))


def pixels(name, channels=3):
  # Blended by mixup: between two pixel values, so more than 8 bits.
  rng = np.random.default_rng(0)
  return rng.uniform(0, 255, (2, side(name), side(name), channels)).astype(
    "float32"
  )


def last_preprocessing(model):
  """A model of what comes before the first kernel, in Keras' own network."""
  found = [layer for layer in model.layers if isinstance(layer, PREPROCESSING)]
  return tf.keras.Model(model.inputs[0], found[-1].output)


def test_the_table_holds_what_keras_offers():
  left_out = {
    name
    for family in keras_names.FAMILIES
    for name in family.members
    if family.keras_2_only
  }
  assert len(left_out) == 31
  assert set(keras_names.FAMILY_OF) - OFFERED in (left_out, set())
  assert set(keras_names.FAMILY_OF) >= OFFERED


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_takes_pixels_and_gives_float32_logits(name):
  """Under a policy that would round pixels to 8 bits; built once for all."""
  model = build(name, side(name), side(name), 3, dtype="mixed_bfloat16")
  require_preprocessing_of_keras(name, model)
  assert model.output_shape == (None, 10)
  assert closing_activation(model) is None
  flat = [
    layer
    for layer in keras_compat.flat_layers(model)
    if not keras_compat.is_functional(layer)
  ]
  for layer in flat:  # Of Keras alone, so that anybody can open its file.
    assert type(layer).__module__.split(".")[0] in ("keras", "tf_keras")
  assert {layer.compute_dtype for layer in flat} == {"float32", "bfloat16"}
  with_kernels = [layer for layer in flat if keras_compat.kernels(layer)]
  assert with_kernels[0].compute_dtype == "bfloat16"
  assert with_kernels[-1].compute_dtype == "float32"
  variables = keras_compat.tf_variables(model.variables)
  assert {v.dtype for v in variables if v.dtype.is_floating} == {tf.float32}
  logits = model(pixels(name).astype("uint8"))
  assert logits.dtype == tf.float32
  assert np.all(np.isfinite(logits))


def require_preprocessing_of_keras(name, model):
  """Fails unless pixels become what Keras preprocesses them to."""
  ours = last_preprocessing(model)(pixels(name))
  expected = preprocess_input(name, pixels(name))
  # EfficientNet's gets its mean and deviation with the weights; V2 has them.
  twin = name.replace("EfficientNetB", "EfficientNetV2B")
  make = getattr(applications, twin)
  if "include_preprocessing" in inspect.signature(make).parameters:
    expected = last_preprocessing(keras_network(twin))(expected)
  assert ours.dtype == tf.float32
  np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=2e-5)
  assert np.ptp(expected) > 0.9


@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_those_of_keras_on_preprocessed_pixels(name):
  ours, theirs = network(name, "float32"), keras_network(name)
  weights = iter(ours.get_weights())
  for layer in theirs.layers:
    if isinstance(layer, tf.keras.layers.Normalization):
      mean, variance = keras_names.MEAN, np.square(keras_names.DEVIATION)
      count = np.array(layer.get_weights()[-1])
      layer.set_weights([np.array(mean), variance, count])
      layer.finalize_state()
    else:
      layer.set_weights([next(weights) for _ in layer.weights])
  np.testing.assert_allclose(
    ours(pixels(name)),
    theirs(preprocess_input(name, pixels(name))),
    rtol=1e-4,
    atol=1e-6,
  )


@pytest.mark.parametrize("name", QUICK)
def test_the_precision_changes_no_weight(name):
  """A teacher in float32 reads the checkpoint of a run in bfloat16."""
  float32, mixed = network(name, "float32"), network(name, "mixed_bfloat16")
  for one, other in zip(float32.weights, mixed.weights):
    assert one.name == other.name
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", QUICK)
def test_gray_images_are_repeated(name):
  gray = build(name, side(name), side(name), 1)
  color = network(name, "float32")
  gray.set_weights(color.get_weights())
  images = pixels(name, channels=1)
  np.testing.assert_array_equal(
    gray(images), color(np.repeat(images, 3, axis=-1))
  )


@pytest.mark.parametrize("name", QUICK)
def test_one_network_takes_images_of_several_sizes(name):
  flexible = build(name, None, None, 3)
  fixed = network(name, "float32")
  flexible.set_weights(fixed.get_weights())
  np.testing.assert_allclose(
    flexible(pixels(name)), fixed(pixels(name)), rtol=1e-4, atol=1e-6
  )
  assert flexible(np.zeros((1, 64, 48, 3))).shape == (1, 10)


@pytest.mark.parametrize("name", QUICK)
def test_a_saved_network_gives_the_same(name, tmp_path):
  model = network(name, "mixed_bfloat16")
  path = str(tmp_path / "model.keras")
  model.save(path)
  loaded = tf.keras.models.load_model(path)
  np.testing.assert_array_equal(loaded(pixels(name)), model(pixels(name)))


def test_the_global_policy_is_restored():
  before = tf.keras.mixed_precision.global_policy().name
  build("MobileNet", 32, 32, 3, dtype="mixed_bfloat16")
  assert tf.keras.mixed_precision.global_policy().name == before


@pytest.mark.parametrize(
  ("name", "shape", "message"),
  [
    ("InceptionV3", (74, 80, 3), "from 75 x 75 pixels on, got 74 x 80"),
    ("Xception", (64, 64, 3), "from 71 x 71 pixels on, got 64 x 64"),
    ("MobileNet", (32, 32, 2), r"1 or 3 channels, got \(32, 32, 2\)"),
    ("VGG16", (None, None, 3), "images of one size only"),
  ],
)
def test_images_that_do_not_fit_are_refused(name, shape, message):
  with pytest.raises(ConfigError, match=f"model keras:{name} .*{message}"):
    build(name, *shape)


@pytest.mark.parametrize("name", MEMBERS)
def test_the_smallest_size_is_that_of_keras(name):
  shape = (side(name) - 1, side(name) - 1, 3)
  with pytest.raises(ValueError, match=f"{side(name)}"):
    getattr(applications, name)(weights=None, input_shape=shape)


def test_no_classes():
  with pytest.raises(ConfigError, match="num_classes must be at least 1"):
    build_model(
      "keras:MobileNet", input_shape=(32, 32, 3), num_classes=0, mean=(), std=()
    )


def test_a_network_that_this_keras_lacks_is_refused(monkeypatch):
  monkeypatch.delattr(applications, "MobileNet")
  with pytest.raises(ConfigError, match="keras:MobileNet is not in the Keras"):
    build("MobileNet", 32, 32, 3)


@pytest.mark.parametrize(
  "arguments",
  [{"model_variant": "d"}, {"stochastic_depth": 0.1}, {"padding": "symmetric"}],
)
def test_arguments_of_our_networks_are_refused(arguments):
  (name,) = arguments
  with pytest.raises(ValueError, match=f"{name} must be left out with model"):
    build("MobileNet", 32, 32, 3, **arguments)


@pytest.mark.parametrize(
  ("model", "meant"),
  [
    ("MobileNet", "keras:MobileNet"),
    ("keras:mobilenet_v2", "keras:MobileNetV2"),
    ("keras:inceptionv3", "keras:InceptionV3"),
    ("resnet19", "resnet1"),
    ("Resnet50", "resnet50"),
  ],
)
def test_a_misspelt_name_is_told_what_was_meant(model, meant):
  with pytest.raises(ConfigError, match=f"did you mean '{meant}") as caught:
    names.parts(model)
  for spelling in ("resnet50", "keras:NAME", "python:package.module.function"):
    assert spelling in str(caught.value)


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_every_name_is_known(name):
  assert names.parts(f"keras:{name}") == ("keras", name)
