# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A learnable problem made from a seed, without a file or a download."""

from __future__ import annotations

import numpy as np

from data.errors import DataError
from data.sources.source import Source

_CONTRAST = 48.0
_NOISE = 32.0


def make(
  num_examples: int,
  image_shape: tuple[int, int, int],
  *,
  num_classes: int = 10,
  seed: int = 0,
  num_test_examples: int | None = None,
) -> tuple[Source, Source]:
  """Makes noisy pictures of one fixed template per class.

  Pixel = 128 + template[label] + noise, rounded and clipped to 0..255. A
  template is smooth (blocks of a quarter of the side), so that a slightly
  shifted image still looks like its class. The sizes of the classes differ by
  at most one, and the test set has the same templates and noise of its own.

  Args:
    num_examples: training examples, at least 1.
    image_shape: (height, width, channels).
    num_classes: at least 1.
    seed: of templates, labels and noise.
    num_test_examples: at least 1; None is a quarter of `num_examples`.

  Returns:
    The training source and the test source.

  Raises:
    DataError: a number is below 1.
  """
  if num_test_examples is None:
    num_test_examples = max(1, num_examples // 4)
  for argument, value in (
    ("num_examples", num_examples),
    ("num_test_examples", num_test_examples),
    ("num_classes", num_classes),
    ("image_shape", min(image_shape)),
  ):
    if value < 1:
      raise DataError(f"{argument} must be at least 1, got {value}")
  templates_seed, train_seed, test_seed = np.random.SeedSequence(seed).spawn(3)
  templates = _templates(num_classes, image_shape, templates_seed)
  return (
    _draw(num_examples, templates, train_seed),
    _draw(num_test_examples, templates, test_seed),
  )


def _templates(
  num_classes: int,
  image_shape: tuple[int, int, int],
  seed: np.random.SeedSequence,
) -> np.ndarray:
  """Returns random signs in a 4 by 4 grid, enlarged to the image's size."""
  height, width, channels = image_shape
  signs = np.random.default_rng(seed).choice(
    np.array([-1, 1], np.float32), (num_classes, 4, 4, channels)
  )
  rows = np.arange(height) * 4 // height
  columns = np.arange(width) * 4 // width
  return _CONTRAST * signs[:, rows][:, :, columns]


def _draw(
  num_examples: int, templates: np.ndarray, seed: np.random.SeedSequence
) -> Source:
  random = np.random.default_rng(seed)
  labels = random.permutation(
    np.arange(num_examples, dtype=np.int32) % len(templates)
  )
  images = np.empty((num_examples, *templates.shape[1:]), np.uint8)
  for example, label in enumerate(labels):
    noise = random.standard_normal(templates.shape[1:], np.float32)
    pixels = 128 + templates[label] + _NOISE * noise
    images[example] = np.clip(np.rint(pixels), 0, 255)
  return Source(
    images=images,
    labels=labels,
    class_names=tuple(str(label) for label in range(len(templates))),
    name="synthetic",
  )
