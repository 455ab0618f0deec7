# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The synthetic problem: the same for a seed, balanced, and learnable."""

from __future__ import annotations

import numpy as np
import pytest

from data import DataError
from data.sources import synthetic


def class_means(source) -> np.ndarray:
  return np.stack(
    [
      source.images[source.labels == label].mean(0)
      for label in range(source.num_classes)
    ]
  )


def nearest_mean_top1(train, test) -> float:
  means = class_means(train).reshape(train.num_classes, -1)
  images = test.images.reshape(test.num_examples, -1).astype(float)
  distances = (
    (means**2).sum(1) - 2 * images @ means.T  # + |image|^2, the same for all.
  )
  return float((distances.argmin(1) == test.labels).mean())


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (6, 9, 3), (28, 28, 1)])
@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_nearest_class_mean_solves_it(image_shape, num_classes):
  train, test = synthetic.make(400, image_shape, num_classes=num_classes)
  assert train.image_shape == test.image_shape == image_shape
  assert (train.num_examples, test.num_examples) == (400, 100)
  assert nearest_mean_top1(train, test) > 0.95


def test_labels_say_which_template():
  train, test = synthetic.make(400, (8, 8, 1))
  shuffled = np.random.default_rng(0).permutation(test.labels)
  wrong = type(test)(test.images, shuffled, test.class_names, test.name)
  assert nearest_mean_top1(train, wrong) < 0.3


@pytest.mark.parametrize("num_examples", [1, 7, 30])
def test_classes_are_balanced(num_examples):
  for source in synthetic.make(
    num_examples, (4, 4, 1), num_classes=3, num_test_examples=num_examples
  ):
    counts = np.bincount(source.labels, minlength=3)
    assert counts.sum() == num_examples
    assert counts.max() - counts.min() <= 1


def test_the_seed_decides_everything():
  fingerprints = [
    [source.fingerprint() for source in synthetic.make(8, (4, 4, 1), seed=seed)]
    for seed in (0, 0, 1)
  ]
  assert fingerprints[0] == fingerprints[1]
  assert len({*fingerprints[0], *fingerprints[2]}) == 4


def test_another_seed_is_another_problem():
  first, other = (
    synthetic.make(100, (8, 8, 1), seed=seed)[0] for seed in (0, 1)
  )
  assert nearest_mean_top1(first, other) < 0.5


def test_every_image_has_its_own_noise():
  train, test = synthetic.make(
    40, (8, 8, 1), num_classes=1, num_test_examples=40
  )
  images = np.concatenate([train.images, test.images])
  assert len({image.tobytes() for image in images}) == 80
  assert images.std(0).min() > 10


@pytest.mark.parametrize(
  ("num_examples", "image_shape", "options", "message"),
  [
    (0, (4, 4, 1), {}, "num_examples must be at least 1, got 0"),
    (4, (4, 0, 1), {}, "image_shape must be at least 1, got 0"),
    (4, (4, 4, 1), {"num_classes": 0}, "num_classes must be at least 1"),
    (4, (4, 4, 1), {"num_test_examples": 0}, "num_test_examples must be"),
  ],
)
def test_ranges_are_checked(num_examples, image_shape, options, message):
  with pytest.raises(DataError, match=message):
    synthetic.make(num_examples, image_shape, **options)
