# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""PIL, as PyTorch's data loaders use it: one process on one core.

    python -m benchmarks.peers.pil_way --task=jpeg --folder=FOLDER

Task `jpeg`: the input of JPEG files, with random crops resized to 224, and
flips.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import pathlib
import random

import numpy as np
from PIL import Image

from benchmarks import jpegs
from benchmarks.peers import child

Box = tuple[float, float, float, float]


def random_box(width: int, height: int, rng: random.Random) -> Box:
  """Returns the box of torchvision's RandomResizedCrop with its defaults."""
  for _ in range(10):
    area = width * height * rng.uniform(0.08, 1.0)
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= width and 0 < h <= height:
      left, top = rng.randint(0, width - w), rng.randint(0, height - h)
      return left, top, left + w, top + h
  side = min(width, height)
  left, top = (width - side) // 2, (height - side) // 2
  return left, top, left + side, top + side


def load(path: pathlib.Path, rng: random.Random) -> np.ndarray:
  """Returns one augmented image, [224, 224, 3] uint8."""
  size = (jpegs.IMAGE_SIZE, jpegs.IMAGE_SIZE)
  with Image.open(path) as file:
    image = file.convert("RGB")
  box = random_box(image.width, image.height, rng)
  image = image.resize(size, Image.Resampling.BILINEAR, box=box)
  if rng.random() < 0.5:
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
  return np.asarray(image)


def jpeg(options: argparse.Namespace) -> child.Measure:
  """Times one core of PIL."""
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  rng = random.Random(options.seed)
  paths = sorted(pathlib.Path(options.folder).rglob("*.jpg"))
  rng.shuffle(paths)
  endless = itertools.cycle(paths)

  def run(batches: int) -> None:
    for _ in range(batches):
      batch = itertools.islice(endless, jpegs.BATCH_SIZE)
      np.stack([load(path, rng) for path in batch])

  return child.input_rate(
    run, batch_size=jpegs.BATCH_SIZE, seconds=options.seconds, cores=1
  )


if __name__ == "__main__":
  child.main(__doc__, {"jpeg": jpeg})
