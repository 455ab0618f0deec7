# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of ResNet-8 and ResNet-14: their parameters, resolutions, shortcuts."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tricks
from train_loop.models import build_model
from train_loop.models.compact_resnet import compact_resnet
from train_loop.models.halving_mean import HalvingMean


def counted(blocks: int, width: int, channels: int, num_classes: int) -> int:
  """Counts the trainable parameters from the description alone."""
  widths = [width * 2**stage for stage in range(3)]
  total, inputs = 0, channels
  for outputs in [8, *[16] * blocks]:
    total += 9 * inputs * outputs + 2 * outputs
    inputs = outputs
  for outputs in widths:
    total += 9 * inputs * outputs + 9 * outputs * outputs + 2 * 2 * outputs
    total += inputs * outputs + 2 * outputs
    total += (blocks - 1) * (2 * 9 * outputs * outputs + 2 * 2 * outputs)
    inputs = outputs
  return total + inputs * num_classes + num_classes


@pytest.mark.parametrize(
  ("blocks", "width", "channels", "num_classes"),
  [(1, 4, 1, 10), (1, 8, 3, 7), (1, 32, 1, 10), (2, 40, 1, 10), (3, 4, 1, 10)],
)
def test_the_parameters_are_those_of_the_description(
  blocks, width, channels, num_classes
):
  model = compact_resnet(
    6 * blocks + 2,
    width,
    input_shape=(28, 28, channels),
    num_classes=num_classes,
    mean=(72.0,) * channels,
    std=(90.0,) * channels,
  )
  trainable = sum(int(tf.size(v)) for v in model.trainable_variables)
  assert trainable == counted(blocks, width, channels, num_classes)


def test_each_stage_halves_the_resolution_and_doubles_the_channels():
  model = compact_resnet(14, 4)
  shapes = [
    tuple(model.get_layer(f"stage{stage}_block2_relu").output.shape[1:])
    for stage in (1, 2, 3)
  ]
  stem = [model.get_layer(f"stem_relu{n}").output for n in (1, 2, 3)]
  assert [tuple(x.shape[1:]) for x in stem] == [
    (28, 28, channels) for channels in (8, 16, 16)
  ]
  assert shapes == [(14, 14, 4), (7, 7, 8), (3, 3, 16)]


def test_a_stage_averages_before_its_branch_and_its_shortcut():
  model = compact_resnet(14, 4)
  for stage in (1, 2, 3):
    name = f"stage{stage}_block1"
    pool = model.get_layer(f"{name}_pool")
    assert isinstance(pool, HalvingMean)
    for layer in ("conv1", "shortcut_conv"):
      conv = model.get_layer(f"{name}_{layer}")
      assert conv.input is pool.output
      assert conv.strides == (1, 1)


@pytest.mark.parametrize(("depth", "blocks"), [(8, 3), (14, 6)])
def test_zero_gamma_leaves_only_shortcuts(depth, blocks):
  model = compact_resnet(depth, 4)
  assert len(tricks.zero_gamma(model)) == blocks
  images = np.random.default_rng(0).uniform(0, 255, (2, 28, 28, 1))
  assert np.isfinite(model(images.astype(np.float32))).all()


def test_bad_arguments_are_named():
  with pytest.raises(ValueError, match="width must be at least 1, got 0"):
    compact_resnet(8, 0)
  for depth in (2, 9):
    with pytest.raises(ValueError, match=f"8, 14, 20, ..., got {depth}"):
      compact_resnet(depth, 4)
  with pytest.raises(ValueError, match="model_variant must be one of"):
    build_model(
      "resnet8",
      model_variant="e",
      input_shape=(28, 28, 1),
      num_classes=10,
      mean=(72.0,),
      std=(90.0,),
    )
