# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What timm computes with random weights: the reference of weights_test.

    python -m tests.timm_oracle FOLDER [NAME...]

writes FOLDER/NAME.safetensors and FOLDER/NAME.json: the shape of each of timm's
tensors, and the logits of `images` of each size. tests/timm/ holds the latter,
written by timm 1.0.31 with torch 2.14.1; with them `tensors` gives the weights
again, so that most runs of the tests need no PyTorch (5.5 GB with timm).
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

NUM_CLASSES = 5
# In 64 all strided convolutions see even sizes, in 65 odd, in 72 both.
SIZES = (64, 65, 72)
# Both kinds of blocks, and each variant.
NAMES = ("resnet18", "resnet18d", "resnet50", "resnet50c", "resnet50d")


def images(size: int) -> np.ndarray:
  """Returns raw pixels of coloured squares, uint8 [2, size, size, 3]."""
  colors = np.random.RandomState(size).randint(0, 256, (2, 5, 5, 3), "u1")
  place = np.arange(size) * 5 // size
  return colors[:, place][:, :, place]


def tensors(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
  """Returns random values for tensors, each by its own name and shape.

  BatchNorm's are such that each of its four vectors matters.
  """
  found = {}
  for name, shape in shapes.items():
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
      found[name] = np.zeros(shape, np.int64)
      continue
    if len(shape) > 1:
      deviation = (2 / math.prod(shape[1:])) ** 0.5
      values = random.normal(0.0, deviation, shape)
    elif name.endswith("running_var"):
      values = random.uniform(0.5, 1.5, shape)
    elif name.endswith("weight"):
      values = random.uniform(0.4, 1.2, shape)
    else:
      values = random.normal(0.0, 0.05, shape)
    if name == "fc.weight":  # For logits of about 1.
      values /= 32
    found[name] = values.astype(np.float32)
  return found


def write(folder: pathlib.Path, name: str) -> None:
  """Writes one network's weights and logits, as timm has them."""
  import safetensors.numpy
  import timm
  import torch

  model = timm.create_model(name, num_classes=NUM_CLASSES).eval()
  shapes = {key: list(t.shape) for key, t in model.state_dict().items()}
  values = tensors(shapes)
  model.load_state_dict({k: torch.from_numpy(v) for k, v in values.items()})
  mean, std = (
    torch.tensor(model.pretrained_cfg[key])[:, None, None]
    for key in ("mean", "std")
  )
  logits = {}
  for size in SIZES:
    pixels = torch.from_numpy(images(size)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
      logits[size] = model((pixels - mean) / std).tolist()
  safetensors.numpy.save_file(values, folder / f"{name}.safetensors")
  record = {"shapes": shapes, "logits": logits}
  text = json.dumps(record).replace('], "', '],\n"') + "\n"
  (folder / f"{name}.json").write_text(text)


if __name__ == "__main__":
  for network in sys.argv[2:] or NAMES:
    write(pathlib.Path(sys.argv[1]), network)
