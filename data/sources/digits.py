# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The handwritten digits that ship with scikit-learn: 1,797 images, 8 by 8."""

from __future__ import annotations

import numpy as np

from data.errors import DataError
from data.sources.source import Source


def load(*, test_fraction: float = 0.2, seed: int = 0) -> tuple[Source, Source]:
  """Loads the digits, and splits each class in the same proportion.

  The pixels, 0..16 in scikit-learn, are scaled to 0..255.

  Args:
    test_fraction: part of the examples for the test source; in (0, 1).
    seed: of the split.

  Returns:
    The training source and the test source, [examples, 8, 8, 1].

  Raises:
    DataError: scikit-learn is missing, or the fraction is out of range.

  Reference: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten
    Digits (UCI Machine Learning Repository).
  """
  if not 0 < test_fraction < 1:
    raise DataError(f"test_fraction must be in (0, 1), got {test_fraction}")
  try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
  except ImportError as error:
    raise DataError(
      "dataset=digits needs scikit-learn, which is not installed:"
      " pip install scikit-learn"
    ) from error
  digits = load_digits()
  pixels = np.rint(digits.images * (255 / 16))
  images = pixels.astype(np.uint8)[..., np.newaxis]
  labels = digits.target.astype(np.int32)
  train, test = train_test_split(
    np.arange(len(labels)),
    test_size=test_fraction,
    stratify=labels,
    random_state=seed,
  )
  class_names = tuple(str(digit) for digit in range(10))

  def part(examples: np.ndarray) -> Source:
    return Source(images[examples], labels[examples], class_names, "digits")

  return part(train), part(test)
