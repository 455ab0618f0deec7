# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""AutoAugment's operations, an image at a time: Pillow's and NumPy's."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

COLORS = {
  "identity": lambda image, _: image,
  "brightness": lambda image, x: ImageEnhance.Brightness(image).enhance(x),
  "color": lambda image, x: ImageEnhance.Color(image).enhance(x),
  "contrast": lambda image, x: ImageEnhance.Contrast(image).enhance(x),
  "sharpness": lambda image, x: ImageEnhance.Sharpness(image).enhance(x),
  "posterize": lambda image, x: ImageOps.posterize(image, x),
  "solarize": lambda image, x: ImageOps.solarize(image, x),
  "autocontrast": lambda image, _: ImageOps.autocontrast(image),
  "equalize": lambda image, _: ImageOps.equalize(image),
}

GEOMETRY = {
  "shear_x": lambda x, y, slope: (x + slope * y, y),
  "shear_y": lambda x, y, slope: (x, y + slope * x),
  "translate_x": lambda x, y, pixels: (x - pixels, y),
  "translate_y": lambda x, y, pixels: (x, y - pixels),
}


def applied(name: str, image: np.ndarray, amount: float = 0) -> np.ndarray:
  """One operation by its name; [height, width, channels] uint8."""
  if name in COLORS:
    single = image.shape[-1] == 1
    pillow = Image.fromarray(image[..., 0] if single else image)
    return np.asarray(COLORS[name](pillow, amount)).reshape(image.shape)
  height, width, _ = image.shape
  y, x = np.mgrid[:height, :width].astype(float)
  if name == "rotate":
    # About the centre; y points down, so counterclockwise is this way round.
    cos, sin = math.cos(math.radians(amount)), math.sin(math.radians(amount))
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    x, y = cos * x - sin * y, sin * x + cos * y
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
  else:
    x, y = GEOMETRY[name](x, y, amount)
  return nearest(image, x, y)


def nearest(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """The pixel nearest to each place, black outside."""
  height, width, _ = image.shape
  x, y = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
  taken = image[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
  return np.where(inside[..., np.newaxis], taken, 0).astype(np.uint8)
