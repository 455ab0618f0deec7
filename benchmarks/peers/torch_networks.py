# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The networks as a PyTorch user writes them, in the style of torchvision."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.cases import Case


def network(case: Case) -> nn.Module:
  """Builds the case's network, from raw pixels to logits.

  Args:
    case: "resnet50" in variants b and d, "resnet20" in variant b, "resnet8".
  """
  channels = case.image_shape[-1]
  bodies: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet50": functools.partial(resnet50, is_d=case.model_variant == "d"),
  }
  body, features = bodies[case.network](channels)
  return nn.Sequential(
    Normalize(case.mean, case.std),
    body,
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(features, case.num_classes),
  )


class Normalize(nn.Module):
  """(pixels - mean) / std, of uint8 or float pixels."""

  mean: torch.Tensor
  std: torch.Tensor

  def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    super().__init__()
    column = (1, len(mean), 1, 1)
    for name, values in (("mean", mean), ("std", std)):
      tensor = torch.tensor(values).reshape(column)
      self.register_buffer(name, tensor, persistent=False)

  def forward(self, pixels: torch.Tensor) -> torch.Tensor:
    """Normalises [batch, channels, height, width]."""
    return (pixels.float() - self.mean) / self.std


class Block(nn.Module):
  """max(branch(x) + shortcut(x), 0)."""

  def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
    super().__init__()
    self.branch = branch
    self.shortcut = shortcut
    self.relu = nn.ReLU(inplace=True)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Adds and cuts off."""
    return self.relu(self.branch(x) + self.shortcut(x))


def last_batch_norm(block: Block) -> nn.BatchNorm2d:
  """Returns the BatchNorm that ends a block's branch."""
  norms = [m for m in block.branch.modules() if isinstance(m, nn.BatchNorm2d)]
  return norms[-1]


class SubsampleAndPad(nn.Module):
  """Every second pixel, and new channels of zeros: no parameters."""

  def __init__(self, new_channels: int) -> None:
    super().__init__()
    self.new_channels = new_channels

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """[b, c, h, w] to [b, c + new_channels, h / 2, w / 2]."""
    padding = (0, 0, 0, 0, 0, self.new_channels)
    return nn.functional.pad(x[:, :, ::2, ::2], padding)


def conv_bn(
  inputs: int, outputs: int, size: int, stride: int = 1, relu: bool = True
) -> nn.Sequential:
  """Convolution without a bias, BatchNorm, and a ReLU."""
  padding = (size - 1) // 2
  parts: list[nn.Module] = [
    nn.Conv2d(inputs, outputs, size, stride, padding, bias=False),
    nn.BatchNorm2d(outputs),
  ]
  return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if relu else []))


def basic(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
  """The residual branch of two 3x3 convolutions."""
  return nn.Sequential(
    conv_bn(inputs, outputs, 3, stride),
    conv_bn(outputs, outputs, 3, relu=False),
  )


class HalvingMean(nn.Module):
  """Averages 2 x 2 pixels, or 3 x 3 if the side is odd."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Halves height and width."""
    return nn.functional.avg_pool2d(x, 2 + x.shape[-1] % 2, 2)


def resnet8(channels: int, width: int = 32) -> tuple[nn.Module, int]:
  """The recipe's network: three stages of average pooling and one block."""
  inputs = 16
  parts: list[nn.Module] = [conv_bn(channels, 8, 3), conv_bn(8, inputs, 3)]
  for stage in range(3):
    outputs = width * 2**stage
    parts.append(HalvingMean())
    shortcut = conv_bn(inputs, outputs, 1, relu=False)
    parts.append(Block(basic(inputs, outputs), shortcut))
    inputs = outputs
  return nn.Sequential(*parts), inputs


def resnet20(channels: int) -> tuple[nn.Module, int]:
  """Three stages of three blocks; shortcuts without parameters."""
  parts: list[nn.Module] = [conv_bn(channels, 16, 3)]
  inputs = 16
  for outputs in (16, 32, 64):
    for _ in range(3):
      stride = 2 if outputs != inputs else 1
      shortcut: nn.Module = nn.Identity()
      if stride > 1:
        shortcut = SubsampleAndPad(outputs - inputs)
      parts.append(Block(basic(inputs, outputs, stride), shortcut))
      inputs = outputs
  return nn.Sequential(*parts), inputs


def resnet50(channels: int, *, is_d: bool) -> tuple[nn.Module, int]:
  """Four stages of bottleneck blocks; the stride is in the 3x3 convolution."""
  parts: list[nn.Module] = []
  inputs = channels
  stem = ((32, 3, 2), (32, 3, 1), (64, 3, 1)) if is_d else ((64, 7, 2),)
  for filters, size, stride in stem:
    parts.append(conv_bn(inputs, filters, size, stride))
    inputs = filters
  parts.append(nn.MaxPool2d(3, 2, padding=1))
  for stage, blocks in enumerate((3, 4, 6, 3)):
    filters = 64 * 2**stage
    for index in range(blocks):
      stride = 2 if stage and index == 0 else 1
      branch = nn.Sequential(
        conv_bn(inputs, filters, 1),
        conv_bn(filters, filters, 3, stride),
        conv_bn(filters, 4 * filters, 1, relu=False),
      )
      shortcut: nn.Module = nn.Identity()
      if index == 0 and is_d:
        shortcut = conv_bn(inputs, 4 * filters, 1, relu=False)
        if stride > 1:
          shortcut = nn.Sequential(nn.AvgPool2d(2), shortcut)
      elif index == 0:
        shortcut = conv_bn(inputs, 4 * filters, 1, stride, relu=False)
      parts.append(Block(branch, shortcut))
      inputs = 4 * filters
  return nn.Sequential(*parts), inputs
