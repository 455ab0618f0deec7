# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds for every network: names, pixels, dtypes, saving, gradients."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests import project
from train_loop.models import (
  MODEL_VARIANTS,
  MODELS,
  build_model,
  layers,
  names,
  resnet,
)
from train_loop.models.batch_norm import BatchNorm
from tricks.keras_compat import tf_variables

# One that stands for each file: its construction is what these tests judge.
KINDS = [("resnet18", "a"), ("resnet50", "d"), ("resnet20", "b")]
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
MEAN, STD = (100.0, 120.0, 140.0), (50.0, 60.0, 70.0)


@functools.cache
def model_of(model, variant, dtype="float32"):
  return build_model(
    model,
    model_variant=variant,
    input_shape=(32, 32, 3),
    num_classes=10,
    mean=MEAN,
    std=STD,
    dtype=dtype,
  )


def random_images(batch=4):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (batch, 32, 32, 3), "uint8")


@pytest.mark.parametrize(
  "model", [name for name in MODELS if name not in names.RESNETS]
)
def test_every_name_builds(model):
  built = model_of(model, "b")
  assert tuple(built.output_shape) == (None, 10)
  assert tuple(built.input_shape) == (None, 32, 32, 3)
  if model in names.SMALL_RESNETS:
    # The number in a name is the depth: the layers with kernels.
    depth = sum(hasattr(layer, "kernel") for layer in built.layers)
    assert model == f"resnet{depth}"


@pytest.mark.parametrize("model", names.RESNETS)
def test_every_large_name_is_handed_on(model, monkeypatch):
  """resnet_test.py builds them."""
  calls = []
  monkeypatch.setattr(
    resnet,
    "resnet",
    lambda depth, **arguments: calls.append((depth, arguments)),
  )
  arguments = {
    "model_variant": "c",
    "input_shape": (64, 48, 3),
    "num_classes": 7,
    "mean": MEAN,
    "std": STD,
    "stochastic_depth": 0.3,
    "padding": "symmetric",
    "dtype": "mixed_float16",
  }
  build_model(model, **arguments)
  assert calls == [(int(model[len("resnet") :]), arguments)]


@pytest.mark.parametrize("variant", MODEL_VARIANTS)
@pytest.mark.parametrize("model", ["resnet18", "resnet20"])
def test_every_variant_builds(model, variant):
  assert model_of(model, variant)(random_images()).shape == (4, 10)


def test_unknown_name_is_told_the_names():
  message = ", ".join(MODELS) + ", or keras:NAME .*, got 'resnet19'"
  with pytest.raises(ValueError, match=f"model must be one of {message}"):
    model_of("resnet19", "b")


def test_names_need_no_tensorflow():
  code = (
    "import sys; from train_loop.models import MODELS, MODEL_VARIANTS; "
    "print(*MODELS, *MODEL_VARIANTS, 'tensorflow' in sys.modules)"
  )
  finished = subprocess.run(
    [sys.executable, "-c", code],
    cwd=project.ROOT,
    capture_output=True,
    check=True,
    text=True,
  )
  assert finished.stdout.split() == [*MODELS, *MODEL_VARIANTS, "False"]


@pytest.mark.parametrize("dtype", POLICIES)
@pytest.mark.parametrize(("model", "variant"), KINDS)
def test_dtypes(model, variant, dtype):
  built = model_of(model, variant, dtype)
  compute = {"float32": "float32"}.get(dtype, dtype[len("mixed_") :])
  for layer in built.layers:
    float32 = ("pixels", "normalize", "logits")
    expected = "float32" if layer.name in float32 else compute
    assert layer.compute_dtype == expected, layer.name
    assert tf.as_dtype(layer.output.dtype).name == expected, layer.name
  variables = tf_variables(built.variables)
  assert {variable.dtype for variable in variables} == {tf.float32}
  for training in (True, False):
    logits = built(random_images(), training=training)
    assert logits.dtype == tf.float32
    assert np.all(np.isfinite(logits))


@pytest.mark.parametrize("dtype", POLICIES)
def test_global_policy_is_the_default(dtype):
  before = tf.keras.mixed_precision.global_policy()
  tf.keras.mixed_precision.set_global_policy(dtype)
  try:
    built = build_model(
      "resnet20",
      input_shape=(32, 32, 3),
      num_classes=10,
      mean=MEAN,
      std=STD,
    )
  finally:
    tf.keras.mixed_precision.set_global_policy(before)
  explicit = model_of("resnet20", "b", dtype)
  explicit.set_weights(built.get_weights())
  for ours, theirs in zip(built.layers, explicit.layers):
    assert ours.output.dtype == theirs.output.dtype, ours.name
  # And pixels are not rounded to the policy's dtype on their way in.
  blended = random_images().astype("float32") * 0.7 + 0.3
  inside = tf.keras.Model(built.input, built.get_layer("normalize").output)
  expected = (blended.astype("float64") - MEAN) / STD
  np.testing.assert_allclose(inside(blended), expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(built(blended), explicit(blended))


@pytest.mark.parametrize("dtype", POLICIES)
@pytest.mark.parametrize(("model", "variant"), KINDS)
def test_pixels_are_normalised_per_channel(model, variant, dtype):
  built = model_of(model, variant, dtype)
  inside = tf.keras.Model(built.input, built.get_layer("normalize").output)
  images = random_images()
  # Blended by mixup: between two pixel values, so more than 8 bits.
  blended = images.astype("float32") * 0.7 + 0.3
  for pixels in (images, images.astype("float32"), blended):
    np.testing.assert_allclose(
      inside(pixels),
      (pixels.astype("float64") - MEAN) / STD,
      rtol=1e-5,
      atol=1e-6,
    )


@pytest.mark.parametrize(("model", "variant"), KINDS)
def test_uint8_and_float_pixels_give_the_same(model, variant):
  built = model_of(model, variant)
  images = random_images()
  np.testing.assert_array_equal(built(images), built(images.astype("float32")))
  np.testing.assert_array_equal(
    built(tf.constant(images)), built(tf.constant(images, tf.float32))
  )


@pytest.mark.parametrize(("model", "variant"), KINDS)
def test_layer_names_are_unique_and_stable(model, variant):
  names = [layer.name for layer in model_of(model, variant).layers]
  again = model_of.__wrapped__(model, variant)
  assert len(set(names)) == len(names)
  assert [layer.name for layer in again.layers] == names


@pytest.mark.parametrize(("model", "variant"), KINDS)
def test_no_convolution_has_a_bias(model, variant):
  for layer in model_of(model, variant).layers:
    if isinstance(layer, tf.keras.layers.Conv2D):
      assert not layer.use_bias


@pytest.mark.parametrize(
  ("model", "variant", "dtype"),
  [
    ("resnet18", "d", "float32"),
    ("resnet20", "b", "float32"),
    ("resnet20", "b", "mixed_bfloat16"),
  ],
)
def test_save_load_and_clone(model, variant, dtype, tmp_path):
  built = model_of(model, variant, dtype)
  images = random_images()
  built(images, training=True)  # So that the statistics are not the first ones.
  path = str(tmp_path / "model.keras")
  built.save(path)
  clone = tf.keras.models.clone_model(built)
  clone.set_weights(built.get_weights())
  for copy in (tf.keras.models.load_model(path), clone):
    np.testing.assert_array_equal(copy(images), built(images))
    assert [type(a) for a in copy.layers] == [type(b) for b in built.layers]


def one_block(dtype):
  """A network of each piece once, which XLA compiles soon."""
  pixels, images = layers.pixel_input((32, 32, 3), mean=MEAN, std=STD)
  stem = layers.conv_bn(
    images,
    8,
    3,
    strides=2,
    names=("conv", "bn"),
    activation="relu",
    dtype=dtype,
  )
  branch = layers.basic_branch(stem, 8, strides=1, name="block", dtype=dtype)
  features = layers.add_relu(branch, stem, name="block", dtype=dtype)
  logits = layers.classifier(features, 10, dtype=dtype)
  return tf.keras.Model(pixels, logits)


@pytest.mark.parametrize("dtype", POLICIES)
@pytest.mark.parametrize(
  ("make_model", "jit_compile"),
  [
    (functools.partial(model_of, "resnet20", "d"), False),
    (one_block, False),
    (one_block, True),
  ],
)
def test_every_parameter_gets_a_gradient(make_model, jit_compile, dtype):
  built = make_model(dtype=dtype)
  variables = tf_variables(built.trainable_variables)

  @tf.function(jit_compile=jit_compile)
  def forward_backward(images, labels):
    with tf.GradientTape() as tape:
      logits = built(images, training=True)
      losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
      loss = tf.reduce_mean(losses)
    return tape.gradient(loss, variables)

  images = tf.constant(random_images())
  gradients = forward_backward(images, tf.constant([0, 1, 2, 3]))
  for variable, gradient in zip(variables, gradients):
    assert gradient.dtype == tf.float32
    assert np.all(np.isfinite(gradient)), variable.name
    assert np.any(gradient != 0.0), variable.name


def test_training_moves_every_statistic():
  built = model_of("resnet20", "b")
  statistics = tf_variables(built.non_trainable_variables)
  before = [variable.numpy() for variable in statistics]
  built(random_images())
  for old, variable in zip(before, statistics):
    np.testing.assert_array_equal(variable, old)
  built(random_images(), training=True)
  assert len(before) == 2 * sum(
    isinstance(layer, BatchNorm) for layer in built.layers
  )
  for old, variable in zip(before, statistics):
    assert np.all(old != variable.numpy())


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (
      {"input_shape": (32, 32)},
      r"input_shape must be \(height.* got \(32, 32\)",
    ),
    (
      {"input_shape": (32, 32, None)},
      r"input_shape must be \(height.* got \(32, 32, None\)",
    ),
    ({"mean": (0.0,)}, r"mean must have one number a channel, 3 .* \(0.0,\)"),
    ({"std": (1.0,) * 4}, "std must have one number a channel, 3 of them"),
    ({"std": (1.0, 0.0, 1.0)}, r"std must be > 0, got \(1.0, 0.0, 1.0\)"),
    ({"model_variant": "e"}, "model_variant must be one of .*; got 'e'"),
  ],
)
@pytest.mark.parametrize("model", ["resnet50", "resnet20"])
def test_arguments_out_of_range(model, arguments, message):
  valid = {
    "input_shape": (32, 32, 3),
    "num_classes": 10,
    "mean": MEAN,
    "std": STD,
  }
  with pytest.raises(ValueError, match=message):
    build_model(model, **{**valid, **arguments})


def test_no_classes():
  features = tf.keras.Input((4, 4, 2))
  with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
    layers.classifier(features, 0)


def test_one_pixel_has_no_stride_and_its_unseen_kernel_no_gradient():
  """In bfloat16 oneDNN gives other tensors' numbers as such a gradient."""
  pixel = tf.keras.Input((1, 1, 16))
  names = ("conv", "bn")
  made = layers.conv_bn(
    pixel, 8, 3, strides=2, names=names, dtype="mixed_bfloat16"
  )
  model = tf.keras.Model(pixel, made)
  conv = model.get_layer("conv")
  values = np.random.default_rng(0).normal(size=(4, 1, 1, 16)).astype("f")
  strided = tf.nn.conv2d(values, tf.constant(conv.kernel), 2, "SAME")
  for _ in range(5):
    junk = 1e30 * tf.random.normal([3, 3, 16, 8])
    with tf.GradientTape() as tape:
      outputs = tf.cast(conv(tf.cast(values, tf.bfloat16)), tf.float32)
      loss = tf.reduce_sum(outputs * outputs)
    del junk
    gradient = np.array(tape.gradient(loss, conv.kernel))
    np.testing.assert_allclose(outputs, strided, rtol=0.02, atol=0.02)
    gradient[1, 1] = 0.0
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
