# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNets as PyTorch's libraries name and store their weights: `.safetensors`.

torchvision's ResNets are variant B here. timm's resnet18 to resnet152 are, too;
its names that end in "c" and "d" are variants C and D. This module imports no
TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.models import keras_names
from train_loop.models.names import RESNETS, STAGE_BLOCKS

# Of ImageNet's pixels, as torchvision and timm have them, for 0..255.
MEAN = tuple(255 * mean for mean in keras_names.MEAN)
STD = tuple(255 * deviation for deviation in keras_names.DEVIATION)
# The name here of each vector of a BatchNorm.
_BATCH_NORM = {
  "weight": "gamma",
  "bias": "beta",
  "running_mean": "moving_mean",
  "running_var": "moving_variance",
}
# How many steps a BatchNorm has seen: nothing computes with it.
_IGNORED = "num_batches_tracked"
_HEAD = {"fc.weight", "fc.bias"}


@dataclasses.dataclass(frozen=True)
class Network:
  """What a file holds.

  Attributes:
    model: the network's name here, such as "resnet50".
    model_variant: "b", "c" or "d".
    names: the name in the file by the name here, as "logits/kernel".
  """

  model: str
  model_variant: str
  names: dict[str, str]


def network_of(path: str) -> Network:
  """Returns which network a file holds, by the names in it.

  Args:
    path: of a `.safetensors` file; the classifier may be missing.

  Raises:
    ConfigError: it is no such file, is damaged, or holds another network.
  """
  import safetensors

  with _errors(path), safetensors.safe_open(path, framework="np") as file:
    names = file.keys()  # The file itself is not iterable.
  found = {name for name in names if not name.endswith(_IGNORED)}
  variant = "b"
  if "conv1.0.weight" in found:
    variant = "c" if "layer2.0.downsample.0.weight" in found else "d"
  networks = [
    Network(model, variant, _names(depth, variant))
    for model, depth in RESNETS.items()
  ]
  nearest = min(networks, key=lambda n: len(found ^ {*n.names.values()}))
  expected = {*nearest.names.values()}
  other = sorted((found ^ expected) - _HEAD)
  if len(other) > len(expected) / 2:
    raise ConfigError(
      f"weights must be of one of {', '.join(RESNETS)}, named as by torchvision"
      f" and timm, got {path!r} with {_some(sorted(found)) or 'nothing'}"
    )
  if other:
    raise ConfigError(
      f"weights must be of one of {', '.join(RESNETS)}, got {path!r}, which "
      f"differs from {nearest.model} in {_some(other)}"
    )
  held = {ours: name for ours, name in nearest.names.items() if name in found}
  return dataclasses.replace(nearest, names=held)


def read(path: str, network: Network) -> dict[str, np.ndarray]:
  """Returns the weights of a file as they are laid out here.

  Args:
    path: of a `.safetensors` file.
    network: what it holds.

  Returns:
    float32 by the name here: kernels of convolutions [height, width, inputs,
    outputs], of the classifier [inputs, outputs].

  Raises:
    ConfigError: the file is damaged.
  """
  import safetensors.numpy

  with _errors(path):
    arrays = safetensors.numpy.load_file(path)
  return {
    ours: _laid_out(arrays[theirs].astype(np.float32))
    for ours, theirs in network.names.items()
  }


def _laid_out(array: np.ndarray) -> np.ndarray:
  """[outputs, inputs, height, width] or [outputs, inputs] as TensorFlow's."""
  return array.transpose((2, 3, 1, 0) if array.ndim == 4 else None)


def _names(depth: int, variant: str) -> dict[str, str]:
  """Returns the name in PyTorch's libraries by the name here."""
  layers = {"stem_conv1": "conv1", "stem_bn1": "bn1"}
  if variant != "b":
    layers = {f"stem_conv{i + 1}": f"conv1.{3 * i}" for i in range(3)}
    layers |= {f"stem_bn{i + 1}": f"conv1.{3 * i + 1}" for i in range(2)}
    layers["stem_bn3"] = "bn1"
  # Before the projection of D stands its pooling, which has no weights.
  projection = 1 if variant == "d" else 0
  for stage, num_blocks in enumerate(STAGE_BLOCKS[depth], start=1):
    for index in range(num_blocks):
      ours, theirs = f"stage{stage}_block{index + 1}", f"layer{stage}.{index}"
      for i in range(1, 3 if depth < 50 else 4):
        layers[f"{ours}_conv{i}"] = f"{theirs}.conv{i}"
        layers[f"{ours}_bn{i}"] = f"{theirs}.bn{i}"
      if index == 0 and (stage > 1 or depth >= 50):
        shortcut = f"{theirs}.downsample"
        layers[f"{ours}_shortcut_conv"] = f"{shortcut}.{projection}"
        layers[f"{ours}_shortcut_bn"] = f"{shortcut}.{projection + 1}"
  names = {"logits/kernel": "fc.weight", "logits/bias": "fc.bias"}
  for ours, theirs in layers.items():
    parts = _BATCH_NORM if "_bn" in ours else {"weight": "kernel"}
    names |= {f"{ours}/{o}": f"{theirs}.{t}" for t, o in parts.items()}
  return names


@contextlib.contextmanager
def _errors(path: str) -> Iterator[None]:
  """Turns an error of reading a file into one line that names it."""
  import safetensors

  try:
    yield
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise ConfigError(
      f"weights must be a file that safetensors can read, got {path!r} "
      f"({first_line(error)})"
    ) from error


def _some(names: Sequence[str]) -> str:
  return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
