# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small ResNets against published counts and against plain operations."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests import plain
from train_loop.models import small_resnet
from train_loop.models.batch_norm import BatchNorm
from tricks.zero_gamma import zero_gamma

# He et al. 2015, table 6, in millions; exactly, by the sum over its layers.
PUBLISHED = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}
EXACT = {
  20: 269_722,
  32: 464_154,
  44: 658_586,
  56: 853_018,
  110: 1_727_962,
}


@functools.cache
def model_of(depth, variant="b"):
  return small_resnet.small_resnet(
    depth, model_variant=variant, input_shape=(None, None, 3)
  )


def count_parameters(variables):
  return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.mark.parametrize("variant", "abcd")
@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_parameter_count(depth, variant):
  variables = model_of(depth, variant).trainable_variables
  assert count_parameters(variables) == EXACT[depth]
  millions = count_parameters(variables) / 1e6
  assert float(f"{millions:.2g}") == PUBLISHED[depth]


@pytest.mark.parametrize("depth", PUBLISHED)
def test_depth_counts_the_layers_with_kernels(depth):
  kernels = [
    layer for layer in model_of(depth).layers if hasattr(layer, "kernel")
  ]
  assert len(kernels) == depth


@pytest.mark.parametrize("variant", "abcd")
def test_output_shape_of_each_block(variant):
  model = model_of(20, variant)
  names = [f"stage{s}_block{b}_relu" for s in (1, 2, 3) for b in (1, 2, 3)]
  blocks = tf.keras.Model(
    model.input, [model.get_layer(name).output for name in names]
  )
  for height, width in ((32, 32), (28, 17), (1, 2)):
    shapes = blocks.compute_output_shape((2, height, width, 3))
    assert [tuple(shape) for shape in shapes] == [
      (2, -(-height // divisor), -(-width // divisor), channels)
      for divisor, channels in ((1, 16), (2, 32), (4, 64))
      for _ in range(3)
    ]
  assert tuple(model.output_shape) == (None, 10)


@pytest.mark.parametrize("variant", "abcd")
def test_only_the_first_block_of_a_later_stage_strides(variant):
  strided = {
    layer.name
    for layer in model_of(20, variant).layers
    if tuple(getattr(layer, "strides", (1, 1))) == (2, 2)
  }
  assert strided == {
    f"stage{stage}_block1_{what}"
    for stage in (2, 3)
    for what in ("conv1", "shortcut_pool")
  }


def test_shortcuts_have_no_parameters():
  shortcuts = [
    layer for layer in model_of(20).layers if "shortcut" in layer.name
  ]
  assert len(shortcuts) == 4
  assert not any(layer.weights for layer in shortcuts)


def reference_logits(model, depth, variant, images):
  """The network in training, as plain operations: option A of 2015."""

  conv = functools.partial(plain.conv_bn, model)

  mean, std = small_resnet.CIFAR10_MEAN, small_resnet.CIFAR10_STD
  x = (tf.cast(images, tf.float32) - mean) / std
  x = tf.nn.relu(conv(x, "stem_conv1"))
  for stage in (1, 2, 3):
    for block in range(1, (depth - 2) // 6 + 1):
      stride = 2 if stage > 1 and block == 1 else 1
      name = f"stage{stage}_block{block}"
      branch = tf.nn.relu(conv(x, f"{name}_conv1", stride))
      branch = conv(branch, f"{name}_conv2")
      if stride > 1:
        if variant == "d":
          x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
        else:
          x = x[:, ::2, ::2]
        x = tf.concat([x, tf.zeros_like(x)], axis=-1)
      x = tf.nn.relu(x + branch)
  return plain.logits(model, x)


@pytest.mark.parametrize("size", [32, 27])
@pytest.mark.parametrize("variant", "abcd")
@pytest.mark.parametrize("depth", [20, 32])
def test_forward_equals_plain_operations(depth, variant, size):
  model = model_of(depth, variant)
  rng = np.random.default_rng(3)
  for layer in model.layers:
    if isinstance(layer, BatchNorm):
      channels = layer.gamma.shape[0]
      layer.gamma.assign(rng.uniform(0.5, 1.0, channels))
      layer.beta.assign(rng.uniform(-0.3, 0.3, channels))
  images = rng.integers(0, 256, (4, size, size, 3), "uint8")
  logits = model(images, training=True).numpy()
  expected = reference_logits(model, depth, variant, images).numpy()
  scale = np.abs(expected).max()
  np.testing.assert_allclose(
    logits / scale, expected / scale, rtol=0, atol=1e-4
  )
  # What is the same for any image would say little.
  assert np.std(expected[0] - expected[1]) > 1e-2 * scale


def test_pad_channels_appends_zeros():
  layer = small_resnet.PadChannels(5)
  inputs = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype("float32")
  outputs = layer(inputs).numpy()
  np.testing.assert_array_equal(outputs[..., :2], inputs)
  np.testing.assert_array_equal(outputs[..., 2:], np.zeros((2, 3, 3, 3)))


def test_zero_gamma_finds_the_last_batch_norm_of_each_block():
  model = small_resnet.small_resnet(20)
  assert [layer.name for layer in zero_gamma(model)] == [
    f"stage{stage}_block{block}_bn2"
    for stage in (1, 2, 3)
    for block in (1, 2, 3)
  ]


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(channels):
  model = small_resnet.small_resnet(
    20,
    input_shape=(28, 28, channels),
    num_classes=7,
    mean=(72.9,) * channels,
    std=(90.0,) * channels,
  )
  assert model(np.zeros((2, 28, 28, channels), "uint8")).shape == (2, 7)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"depth": 18}, "depth must be one of 20, 32, 44, 56, 110; got 18"),
    (
      {"depth": 20, "model_variant": "e"},
      "model_variant must be one of a, b, c, d; got 'e'",
    ),
  ],
)
def test_arguments_out_of_range(arguments, message):
  with pytest.raises(ValueError, match=message):
    small_resnet.small_resnet(**arguments)
