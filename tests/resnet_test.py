# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNets against published counts, figure 2, and other implementations."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
import tensorflow as tf

from tests import plain
from train_loop.models import resnet
from train_loop.models.batch_norm import BatchNorm
from tricks.keras_compat import tf_variable
from tricks.zero_gamma import zero_gamma

# torchvision publishes these for 1000 classes; its ResNets from 50 on stride
# in the 3x3 convolution, as B does. They count γ and β, not the statistics.
PUBLISHED = {
  18: 11_689_512,
  34: 21_797_672,
  50: 25_557_032,
  101: 44_549_160,
  152: 60_192_808,
}
ALL = [(18, "a"), (18, "d"), (34, "b"), *((50, v) for v in "abcd")]


@functools.cache
def model_of(depth, variant):
  """Each network is built once, for images of any size."""
  return resnet.resnet(
    depth,
    model_variant=variant,
    input_shape=(None, None, 3),
    mean=(120.0,) * 3,
    std=(60.0,) * 3,
  )


@contextlib.contextmanager
def restored(model):
  """Undoes what happens to a network that other tests use too."""
  weights = model.get_weights()
  try:
    yield
  finally:
    model.set_weights(weights)


def count_parameters(variables):
  return sum(int(np.prod(variable.shape)) for variable in variables)


def layers_of(model, kind):
  return [layer for layer in model.layers if isinstance(layer, kind)]


def convolutions_of(model):
  return layers_of(model, tf.keras.layers.Conv2D)


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_parameter_count(depth):
  model = model_of(depth, "b")
  assert count_parameters(model.trainable_variables) == PUBLISHED[depth]
  # Beside them: a mean and a variance for each γ.
  scales = sum(int(bn.gamma.shape[0]) for bn in layers_of(model, BatchNorm))
  assert count_parameters(model.non_trainable_variables) == 2 * scales


@pytest.mark.parametrize("depth", PUBLISHED)
def test_depth_counts_the_layers_with_kernels(depth):
  kernels = [
    layer
    for layer in model_of(depth, "b").layers
    if hasattr(layer, "kernel") and "shortcut" not in layer.name
  ]
  assert len(kernels) == depth


@pytest.mark.parametrize(
  ("variant", "difference"),
  [
    ("a", 0),
    # 3x3 kernels 3->32, 32->32, 32->64 and 64 more γ and β, for a 7x7 3->64.
    ("c", 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * 64 - 49 * 3 * 64),
    ("d", 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * 64 - 49 * 3 * 64),
  ],
)
def test_variants_parameter_count(variant, difference):
  model = model_of(50, variant)
  assert (
    count_parameters(model.trainable_variables) == PUBLISHED[50] + difference
  )


@pytest.mark.parametrize(("depth", "variant"), ALL)
def test_output_shape_of_each_block(depth, variant):
  model = model_of(depth, variant)
  widen = 4 if depth >= 50 else 1
  names, divisors, channels = ["stem_pool"], [4], [64]
  for stage, num_blocks in enumerate(resnet.STAGE_BLOCKS[depth], start=1):
    for block in range(1, num_blocks + 1):
      names.append(f"stage{stage}_block{block}_relu")
      divisors.append(2 ** (stage + 1))
      channels.append(64 * 2 ** (stage - 1) * widen)
  blocks = tf.keras.Model(
    model.input, [model.get_layer(name).output for name in names]
  )
  for height, width in ((224, 224), (65, 31), (1, 3)):
    shapes = blocks.compute_output_shape((2, height, width, 3))
    assert [tuple(shape) for shape in shapes] == [
      (2, -(-height // divisor), -(-width // divisor), size)
      for divisor, size in zip(divisors, channels)
    ]
  assert tuple(model.output_shape) == (None, 1000)


def strided_layers(model):
  """name -> kernel or pool size of each layer with a stride."""
  strided = {}
  for layer in model.layers:
    if tuple(getattr(layer, "strides", (1, 1))) != (1, 1):
      assert tuple(layer.strides) == (2, 2)
      size = getattr(layer, "kernel_size", None) or layer.pool_size
      strided[layer.name] = tuple(size)
  return strided


def expected_strides(depth, variant):
  """Where figure 2 draws a stride of 2."""
  stem = 7 if variant in "ab" else 3
  expected = {"stem_conv1": (stem, stem), "stem_pool": (3, 3)}
  for stage in (2, 3, 4):
    name = f"stage{stage}_block1"
    if depth < 50:
      expected[f"{name}_conv1"] = (3, 3)
    elif variant == "a":
      expected[f"{name}_conv1"] = (1, 1)
    else:
      expected[f"{name}_conv2"] = (3, 3)
    if variant == "d":
      expected[f"{name}_shortcut_pool"] = (2, 2)
    else:
      expected[f"{name}_shortcut_conv"] = (1, 1)
  return expected


@pytest.mark.parametrize(("depth", "variant"), ALL)
def test_strides_are_where_figure_2_draws_them(depth, variant):
  model = model_of(depth, variant)
  assert strided_layers(model) == expected_strides(depth, variant)


@pytest.mark.parametrize("variant", "abcd")
def test_stem(variant):
  convolutions = [
    (layer.filters, tuple(layer.kernel_size))
    for layer in convolutions_of(model_of(50, variant))
    if layer.name.startswith("stem")
  ]
  if variant in "ab":
    assert convolutions == [(64, (7, 7))]
  else:
    assert convolutions == [(32, (3, 3)), (32, (3, 3)), (64, (3, 3))]


@pytest.mark.parametrize(("depth", "variant"), ALL)
def test_shortcuts(depth, variant):
  """A projection opens a stage that changes the shape; D pools before it."""
  model = model_of(depth, variant)
  shortcuts = {layer.name for layer in model.layers if "shortcut" in layer.name}
  expected = set()
  for stage in (1, 2, 3, 4):
    name = f"stage{stage}_block1_shortcut"
    if stage > 1 or depth >= 50:
      expected |= {f"{name}_conv", f"{name}_bn"}
    if stage > 1 and variant == "d":
      expected.add(f"{name}_pool")
  assert shortcuts == expected


@pytest.mark.parametrize(("depth", "variant"), ALL)
def test_initial_values(depth, variant):
  model = model_of(depth, variant)
  for layer in (*convolutions_of(model), model.get_layer("logits")):
    kernel = tf_variable(layer.kernel).numpy()
    # Glorot and Bengio 2010: uniform within ±sqrt(6 / (fan_in + fan_out)).
    area = np.prod(kernel.shape[:-2])
    limit = np.sqrt(6.0 / (area * sum(kernel.shape[-2:])))
    # Bounds that a right initialiser misses once in a million kernels.
    largest = np.abs(kernel).max()
    assert limit * (1 - 20 / kernel.size) < largest <= limit * (1 + 1e-6)
    deviation = limit / np.sqrt(3)
    error = 5 * np.sqrt(0.2 / kernel.size)
    np.testing.assert_allclose(kernel.std(), deviation, rtol=error)
  for layer in convolutions_of(model):
    assert not layer.use_bias
  np.testing.assert_array_equal(
    tf_variable(model.get_layer("logits").bias).numpy(), 0.0
  )
  norms = layers_of(model, BatchNorm)
  assert len(norms) == len(convolutions_of(model))
  for layer in norms:
    values = [tf_variable(v).numpy() for v in (layer.gamma, layer.beta)]
    assert np.all(values[0] == 1.0) and np.all(values[1] == 0.0)


def shake(model):
  """Gives BatchNorm values that make each of them matter."""
  rng = np.random.default_rng(3)
  for layer in layers_of(model, BatchNorm):
    size = layer.gamma.shape[0]
    layer.gamma.assign(rng.uniform(0.5, 1.0, size))
    layer.beta.assign(rng.uniform(-0.3, 0.3, size))


def reference_logits(model, depth, variant, images):
  """The network in training, as plain operations, read off figure 2."""
  bottleneck = depth >= 50

  conv = functools.partial(plain.conv_bn, model)

  def block(x, name, stride):
    if not bottleneck:
      steps = [stride, 1]
    else:
      steps = [stride, 1, 1] if variant == "a" else [1, stride, 1]
    branch = x
    for i, step in enumerate(steps, start=1):
      branch = conv(branch, f"{name}_conv{i}", step)
      branch = tf.nn.relu(branch) if i < len(steps) else branch
    if stride > 1 and variant == "d":
      x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
      stride = 1
    if x.shape != branch.shape:
      x = conv(x, f"{name}_shortcut_conv", stride)
    return tf.nn.relu(x + branch)

  x = (tf.cast(images, tf.float32) - 120.0) / 60.0
  for i, stride in enumerate([2] if variant in "ab" else [2, 1, 1], start=1):
    x = tf.nn.relu(conv(x, f"stem_conv{i}", stride))
  x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-np.inf)
  x = tf.nn.max_pool2d(x, 3, 2, "VALID")
  for stage, num_blocks in enumerate(resnet.STAGE_BLOCKS[depth], start=1):
    for i in range(1, num_blocks + 1):
      stride = 2 if stage > 1 and i == 1 else 1
      x = block(x, f"stage{stage}_block{i}", stride)
  return plain.logits(model, x)


def assert_same_logits(logits, expected, tolerance=5e-4):
  scale = np.abs(expected).max()
  np.testing.assert_allclose(
    logits / scale, expected / scale, rtol=0, atol=tolerance
  )
  # What is the same for any image would say little.
  assert np.std(expected[0] - expected[1]) > 100 * tolerance * scale


def random_images(shape):
  """Patches of 8x8 pixels, so that they reach the last stage."""
  batch, height, width, channels = shape
  coarse = batch, -(-height // 8), -(-width // 8), channels
  pixels = np.random.default_rng(5).integers(0, 256, coarse, "uint8")
  return pixels.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


@pytest.mark.parametrize(("depth", "variant"), ALL)
def test_forward_equals_plain_operations(depth, variant):
  model = model_of(depth, variant)
  with restored(model):
    shake(model)
    for size in (64, 65):
      images = random_images((4, size, size, 3))
      expected = reference_logits(model, depth, variant, images).numpy()
      assert_same_logits(model(images, training=True).numpy(), expected)


def test_resnet_a_equals_keras_applications():
  """Keras' ResNet50 is A with biases in its convolutions; they are zero.

  It pads its stem alike on both sides. At 65 pixels, so does "same".
  """
  model = model_of(50, "a")
  keras = tf.keras.applications.ResNet50(
    weights=None, input_shape=(65, 65, 3), classifier_activation=None
  )
  biases = sum(layer.filters for layer in convolutions_of(model))
  ours = count_parameters(model.variables)
  assert count_parameters(keras.variables) == ours + biases
  images = random_images((4, 65, 65, 3))
  with restored(model):
    shake(model)
    copy_to_keras_applications(model, keras)
    logits = model(images, training=True).numpy()
  normalized = (images.astype("float32") - 120.0) / 60.0
  expected = keras(normalized, training=True).numpy()
  # Keras' epsilon is 1.001e-5, ours 1e-5.
  assert_same_logits(logits, expected)


def copy_to_keras_applications(model, keras):
  for layer in (*convolutions_of(model), *layers_of(model, BatchNorm)):
    stage, *middle, what = layer.name.split("_")
    kind = "bn" if "bn" in what else "conv"
    if stage == "stem":
      name = f"conv1_{kind}"
    else:
      index = "0" if "shortcut" in middle else what[-1]
      name = f"conv{int(stage[-1]) + 1}_{middle[0]}_{index}_{kind}"
    weights = layer.get_weights()
    if isinstance(layer, tf.keras.layers.Conv2D):
      weights.append(np.zeros(layer.filters, "float32"))
    keras.get_layer(name).set_weights(weights)
  keras.get_layer("predictions").set_weights(
    model.get_layer("logits").get_weights()
  )


def test_basic_blocks_have_no_variant_b():
  a, b = model_of(18, "a"), model_of(18, "b")
  images = random_images((2, 32, 32, 3))
  with restored(a), restored(b):
    shake(a)
    b.set_weights(a.get_weights())
    np.testing.assert_array_equal(a(images), b(images))


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels_and_any_size(channels):
  model = resnet.resnet(
    18,
    model_variant="d",
    input_shape=(None, None, channels),
    num_classes=7,
    mean=(120.0,) * channels,
    std=(60.0,) * channels,
  )
  for size in ((32, 32), (20, 47)):
    assert model(random_images((2, *size, channels))).shape == (2, 7)


@pytest.mark.parametrize(("depth", "variant"), ALL)
def test_zero_gamma_finds_the_last_batch_norm_of_each_block(depth, variant):
  model = model_of(depth, variant)
  last = 3 if depth >= 50 else 2
  with restored(model):
    zeroed = [layer.name for layer in zero_gamma(model)]
  assert zeroed == [
    f"stage{stage}_block{block}_bn{last}"
    for stage, num_blocks in enumerate(resnet.STAGE_BLOCKS[depth], start=1)
    for block in range(1, num_blocks + 1)
  ]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152; got 20"),
    (
      {"depth": 50, "model_variant": "e"},
      "model_variant must be one of a, b, c, d; got 'e'",
    ),
  ],
)
def test_arguments_out_of_range(arguments, message):
  with pytest.raises(ValueError, match=message):
    resnet.resnet(**arguments)
