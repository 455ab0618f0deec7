# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be known of trained weights before TensorFlow is imported.

Which network a file or folder holds, and how that network wants its pixels:
a network that is given them otherwise than in its training answers worse,
without an error.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from train_loop.failures import first_line
from train_loop.fields import ConfigError, refused
from train_loop.models import torch_resnet
from train_loop.workdir import run_card

IMAGENET = "imagenet"
# What weights may be.
KINDS = (
  "imagenet, the workdir of a run of the command, or a .safetensors, .keras or "
  ".weights.h5 file"
)
# How PyTorch saves a pickle.
_PICKLES = (".pth", ".pt", ".bin", ".pkl", ".ckpt", ".pth.tar")


@dataclasses.dataclass(frozen=True)
class Source:
  """Where weights come from.

  Attributes:
    path: of the file or folder; or "imagenet".
    network: arguments of `build_model` that the weights were trained with, as
      far as they are known: `model`, `model_variant`, `mean`, `std`, `padding`.
    class_names: of the logits, if they are known.
  """

  path: str
  network: Mapping[str, Any]
  class_names: Sequence[str] | None = None


def look(weights: str | os.PathLike[str]) -> Source:
  """Finds out what weights there are.

  Args:
    weights: "imagenet", which Keras downloads for keras:NAME; the workdir of a
      run of the command; or a .safetensors, .keras or .weights.h5 file.

  Raises:
    ConfigError: it is none of these, is damaged, or of a network that has no
      name here.
  """
  path = os.fspath(weights)
  if path == IMAGENET:
    return Source(path, {})
  if os.path.isdir(path):
    return _look_at_run(path)
  if path.endswith(_PICKLES):
    raise ConfigError(
      f"weights must be {KINDS}; got {path!r}, a pickle, which runs code when "
      "it is read: in PyTorch, safetensors.torch.save_file(model.state_dict(), "
      "'x.safetensors')"
    )
  if not path.endswith((".safetensors", ".keras", ".weights.h5")):
    raise refused("weights", path, KINDS)
  if not os.path.isfile(path):
    raise refused("weights", path, "a file that exists")
  if path.endswith(".safetensors"):
    network = torch_resnet.network_of(path)
    return Source(
      path,
      {
        "model": network.model,
        "model_variant": network.model_variant,
        "mean": torch_resnet.MEAN,
        "std": torch_resnet.STD,
        "padding": "symmetric",
      },
    )
  return Source(path, _pixels(path) if path.endswith(".keras") else {})


def _look_at_run(path: str) -> Source:
  card = run_card.read(path)
  if card is None or "network" not in card:  # A library's run has no network.
    raise refused("weights", path, KINDS)
  names = ("model", "model_variant", "mean", "std", "padding")
  network = {n: card["network"][n] for n in names if n in card["network"]}
  return Source(path, network, run_card.class_names(card))


def _pixels(path: str) -> dict[str, Any]:
  """Returns mean, std and padding of a network of ours in a .keras file."""
  try:
    with zipfile.ZipFile(path) as archive:
      config = json.loads(archive.read("config.json"))
  except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
    raise ConfigError(
      f"weights must be a .keras file that Keras saved, got {path!r} "
      f"({first_line(error)})"
    ) from error
  layers = {layer.get("name"): layer for layer in _layers(config)}
  if "normalize" not in layers or "stem_conv1" not in layers:
    return {}
  scale, offset = (layers["normalize"][name] for name in ("scale", "offset"))
  return {
    "mean": tuple(-o / s for o, s in zip(offset, scale)),
    "std": tuple(1.0 / s for s in scale),
    "padding": "symmetric" if "stem_conv1_pad" in layers else "same",
  }


def _layers(config: Any) -> list[dict[str, Any]]:
  """Returns the configurations of all layers in a saved model's."""
  if isinstance(config, list):
    return [layer for part in config for layer in _layers(part)]
  if not isinstance(config, dict):
    return []
  own = config.get("config")
  inside = [layer for part in config.values() for layer in _layers(part)]
  return [own, *inside] if isinstance(own, dict) else inside


def network_for(
  source: Source, *, model: str, model_variant: str, channels: int
) -> dict[str, Any]:
  """Returns what of a network has to be as it was when the weights were made.

  Args:
    source: of the weights.
    model: the network that is asked for.
    model_variant: of that network.
    channels: of the images. Of gray ones instead of RGB, mean and std are the
      means over the three; of RGB ones instead of gray they are repeated.

  Returns:
    `mean`, `std` and `padding`, as far as they are known.

  Raises:
    ConfigError: the weights are of another network.
  """
  asked = {"model": model, "model_variant": model_variant}
  other = [
    f"--{name}={source.network[name]}"
    for name, value in asked.items()
    if source.network.get(name, value) != value
  ]
  if other:
    raise ConfigError(
      f"weights must be of the network that is trained, got {source.path!r}: "
      f"give {' '.join(other)}"
    )
  if source.path == IMAGENET and not model.startswith("keras:"):
    raise ConfigError(
      "weights must be a file for our own networks, got 'imagenet': take a "
      ".safetensors file of timm's or torchvision's ResNets, or "
      "--model=keras:NAME"
    )
  found: dict[str, Any] = {}
  for name in ("mean", "std"):
    if name in source.network:
      values = [float(value) for value in source.network[name]]
      if len(values) != channels and 1 in (len(values), channels):
        values = [sum(values) / len(values)] * channels
      found[name] = tuple(values)
  if source.network.get("padding", "same") != "same":
    found["padding"] = source.network["padding"]
  return found
