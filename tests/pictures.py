# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small folders of pictures, for the tests that read files."""

from __future__ import annotations

import io
import os
import pathlib

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")
PHOTOGRAPHS = ("china", "flower")


def picture(index: int, label: int, size=(24, 32)) -> np.ndarray:
  """Returns a smooth picture in its class's colour, [height, width, 3] uint8.

  No two indices give the same pixels.
  """
  random = np.random.default_rng((index, label))
  rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
  slope = random.uniform(1, 3, 2)
  image = np.zeros([*size, 3])
  image[..., 2 - label] = 120 + slope[0] * rows + slope[1] * columns
  image += random.uniform(0, 25)
  image[0, 0] = index % 256, index // 256, 0
  return np.clip(image, 0, 255).astype(np.uint8)


def write_folder(
  root: str | os.PathLike[str],
  *,
  counts=(("train", 8), ("val", 3)),
  classes=CLASSES,
  ending=".jpg",
  size=(24, 32),
) -> pathlib.Path:
  """Writes a folder a part and class; returns the root."""
  index = 0
  for part, count in counts:
    for label, name in enumerate(classes):
      folder = pathlib.Path(root, part, name)
      folder.mkdir(parents=True)
      for _ in range(count):
        image = Image.fromarray(picture(index, label, size))
        image.save(folder / f"{index:04d}{ending}")
        index += 1
  return pathlib.Path(root)


def turned_png(pixels: np.ndarray) -> bytes:
  """Returns a picture as a camera on its side stores it: EXIF orientation 6."""
  exif = Image.Exif()
  exif[0x112] = 6
  file = io.BytesIO()
  # Upright is what is stored, turned clockwise.
  Image.fromarray(np.rot90(pixels)).save(file, "PNG", exif=exif)
  return file.getvalue()


def write_photographs(
  root: str | os.PathLike[str], *, counts=(("train", 16), ("val", 8))
) -> pathlib.Path:
  """Writes JPEGs of several sizes: random crops of scikit-learn's photographs.

  They are a flower and a temple, which are the classes. Returns the root.
  """
  from sklearn import datasets

  random = np.random.default_rng(0)
  for part, count in counts:
    for name in PHOTOGRAPHS:
      photograph = datasets.load_sample_image(f"{name}.jpg")
      folder = pathlib.Path(root, part, name)
      folder.mkdir(parents=True)
      for index in range(count):
        size = random.integers(40, 120, 2)
        top, left = random.integers(0, photograph.shape[:2] - size)
        crop = photograph[top : top + size[0], left : left + size[1]]
        Image.fromarray(crop).save(folder / f"{index:04d}.jpg", quality=90)
  return pathlib.Path(root)
