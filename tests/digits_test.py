# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The digits, against scikit-learn's own arrays."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from data import DataError
from data.sources import digits

sklearn_datasets = pytest.importorskip("sklearn.datasets")


def rows(*sources) -> list[tuple[bytes, int]]:
  return [
    (image.tobytes(), int(label))
    for source in sources
    for image, label in zip(source.images, source.labels)
  ]


def test_the_two_parts_are_scikit_learns_digits():
  original = sklearn_datasets.load_digits()
  expected = [
    (bytes(int(255 * pixel / 16 + 0.5) for pixel in image.ravel()), label)
    for image, label in zip(original.images, original.target)
  ]
  train, test = digits.load()
  assert train.image_shape == (8, 8, 1)
  assert train.images.max() == 255
  assert sorted(rows(train, test)) == sorted(expected)


@pytest.mark.parametrize("test_fraction", [0.1, 0.2, 0.5])
def test_each_class_is_split_in_proportion(test_fraction):
  train, test = digits.load(test_fraction=test_fraction)
  counts = [np.bincount(part.labels) for part in (train, test)]
  expected = (counts[0] + counts[1]) * test_fraction
  np.testing.assert_allclose(counts[1], expected, atol=1)


def test_the_seed_decides_the_split():
  first, again, other = (digits.load(seed=seed)[0] for seed in (0, 0, 1))
  assert rows(first) == rows(again)
  assert rows(first) != rows(other)


@pytest.mark.parametrize("test_fraction", [0, 1, -0.1, float("nan")])
def test_the_fraction_is_checked(test_fraction):
  with pytest.raises(DataError, match="test_fraction must be in"):
    digits.load(test_fraction=test_fraction)


def test_a_missing_scikit_learn_is_told_with_the_remedy(monkeypatch):
  real_import = builtins.__import__

  def without_sklearn(name, *arguments, **options):
    if name.startswith("sklearn"):
      raise ImportError(name)
    return real_import(name, *arguments, **options)

  monkeypatch.setattr(builtins, "__import__", without_sklearn)
  with pytest.raises(DataError, match="pip install scikit-learn") as error:
    digits.load()
  assert "\n" not in str(error.value)
