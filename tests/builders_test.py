# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks of a user's own builder."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from train_loop.fields import ConfigError
from train_loop.models import build_model, heads

SHAPE, CLASSES = (8, 8, 3), 4

MODULE = """
import tensorflow as tf
layers = tf.keras.layers


def end(x, num_classes, **options):
  return layers.Dense(num_classes, **options)(layers.Flatten()(x))


def logits(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  y = layers.Rescaling(1 / 255)(x)
  return tf.keras.Model(x, end(y, num_classes), name="mine")


def softmax(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  return tf.keras.Model(x, end(x, num_classes, activation="softmax"))


def sigmoid(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  return tf.keras.Model(x, end(x, num_classes, activation="sigmoid"))


def sequential(input_shape, num_classes):
  return tf.keras.Sequential([
    layers.Input(input_shape), layers.Flatten(), layers.Dense(num_classes),
  ])


def any_size(input_shape, num_classes):
  x = tf.keras.Input((None, None, input_shape[-1]))
  y = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(x, layers.Dense(num_classes)(y))


def unbuilt(input_shape, num_classes):
  return tf.keras.Sequential([layers.Flatten(), layers.Dense(num_classes)])


class Subclassed(tf.keras.Model):
  def call(self, inputs):
    return inputs


def subclassed(input_shape, num_classes):
  return Subclassed()


def two_inputs(input_shape, num_classes):
  x, y = tf.keras.Input(input_shape), tf.keras.Input((3,))
  return tf.keras.Model([x, y], end(x, num_classes))


def two_outputs(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  return tf.keras.Model(x, [end(x, num_classes), end(x, num_classes)])


def dict_output(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  return tf.keras.Model(x, {"logits": end(x, num_classes)})


def other_shape(input_shape, num_classes):
  x = tf.keras.Input((9, 8, 3))
  return tf.keras.Model(x, end(x, num_classes))


def channels_first(input_shape, num_classes):
  x = tf.keras.Input((3, 8, 8))
  return tf.keras.Model(x, end(x, num_classes))


def integers(input_shape, num_classes):
  x = tf.keras.Input(input_shape, dtype="uint8")
  return tf.keras.Model(x, end(layers.Rescaling(1 / 255)(x), num_classes))


def other_classes(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  return tf.keras.Model(x, end(x, num_classes + 1))


def feature_map(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  return tf.keras.Model(x, layers.Conv2D(num_classes, 3)(x))


def nothing(input_shape, num_classes):
  pass


def failing(input_shape, num_classes):
  raise KeyError("depth")


def other_arguments(shape):
  pass


NUMBER = 3
"""


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
  """The current folder holds networks.py and a package with a broken module."""
  folder = tmp_path_factory.mktemp("networks")
  (folder / "networks_of_test.py").write_text(MODULE)
  (folder / "package_of_test").mkdir()
  (folder / "package_of_test" / "good.py").write_text(MODULE)
  (folder / "package_of_test" / "bad.py").write_text("import no_such_module")
  (folder / "package_of_test" / "worse.py").write_text("def f(:")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.syspath_prepend("/nowhere")  # So that sys.path is restored.
    yield folder


def build(name, *, shape=SHAPE, dtype=None):
  return build_model(
    f"python:{name}",
    input_shape=shape,
    num_classes=CLASSES,
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
    dtype=dtype,
  )


def images():
  return np.random.default_rng(0).uniform(0, 255, (2, *SHAPE)).astype("float32")


@pytest.mark.parametrize(
  "name",
  [
    "networks_of_test.logits",
    "package_of_test.good.logits",
    "networks_of_test.sequential",
    "networks_of_test.any_size",
    "networks_of_test.dict_output",
  ],
)
def test_a_builder_gives_the_network(name):
  model = build(name)
  assert model.output_shape == (None, CLASSES)
  assert model(images()).shape == (2, CLASSES)
  if name.endswith("logits"):
    assert model.name == "mine"


def test_a_closing_softmax_is_removed_and_the_log_says_so(caplog):
  with caplog.at_level("INFO", "absl"):
    model = build("networks_of_test.softmax")
  assert heads.closing_activation(model) is None
  assert "networks_of_test.softmax: its closing softmax is rem" in caplog.text


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_layers_follow_the_policy_and_logits_are_float32(dtype):
  before = tf.keras.mixed_precision.global_policy().name
  model = build("networks_of_test.logits", dtype=dtype)
  assert tf.keras.mixed_precision.global_policy().name == before
  computed_in = {layer.compute_dtype for layer in model.layers}
  assert dtype.removeprefix("mixed_") in computed_in
  assert model(images()).dtype == tf.float32


def test_the_policy_is_restored_after_an_error():
  with pytest.raises(ConfigError):
    build("networks_of_test.failing", dtype="mixed_bfloat16")
  assert tf.keras.mixed_precision.global_policy().name == "float32"


def test_any_size_asks_for_it():
  build("networks_of_test.any_size", shape=(None, None, 3))
  with pytest.raises(ConfigError, match="raised ValueError"):
    build("networks_of_test.logits", shape=(None, None, 3))


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("sigmoid", "ends in sigmoid: leave the last activation out"),
    ("unbuilt", r"unbuilt or .* Sequential: return tf.keras.Model\(x, "),
    ("subclassed", r"subclassed Subclassed: return tf.keras.Model\(x, "),
    ("two_inputs", "one input, the images, got 2 inputs"),
    ("two_outputs", "one output, the logits, got 2 outputs"),
    ("other_shape", r"\[None, 8, 8, 3\], got \[None, 9, 8, 3\]"),
    ("channels_first", r"\[None, 8, 8, 3\], got \[None, 3, 8, 8\]"),
    ("integers", "float32 inputs, .* got uint8"),
    ("other_classes", r"\[None, 4\], .* got \[None, 5\]"),
    ("feature_map", r"\[None, 4\], .* got \[None, 6, 6, 4\]"),
    ("nothing", "a tf.keras.Model, got NoneType"),
    ("failing", r"raised KeyError: 'depth'; to see where: python -c 'import"),
    ("other_arguments", "raised TypeError: .* unexpected keyword argument"),
    ("NUMBER", "has no function 'NUMBER', but end, logits"),
    ("missing", "has no function 'missing', but end, logits"),
  ],
)
def test_what_is_no_classifier_is_one_line(name, words):
  with pytest.raises(
    ConfigError, match=f"model python:networks_of_test.{name}"
  ) as caught:
    build(f"networks_of_test.{name}")
  assert caught.match(words)
  assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("no_module_of_test.f", "ModuleNotFoundError: No module named 'no_mod"),
    ("package_of_test.bad.f", "ModuleNotFoundError: No module named 'no_such"),
    ("package_of_test.worse.f", "SyntaxError: "),
  ],
)
def test_a_module_that_cannot_be_imported_is_one_line(name, words):
  with pytest.raises(ConfigError, match=f"python:{name}: .*{words}") as caught:
    build(name)
  assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["python:", "python:f", "python:a.b c.f"])
def test_a_name_that_is_no_path_is_refused(name):
  with pytest.raises(ConfigError, match=r"python:package\.module\.function"):
    build_model(name, input_shape=SHAPE, num_classes=4, mean=(), std=())
