# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares batches, for the tests of the pipelines."""

from __future__ import annotations

import numpy as np


def assert_same(first, second) -> None:
  """Asserts that two lists of (images, labels) are equal."""
  assert len(first) == len(second)
  for (images, labels), (other_images, other_labels) in zip(first, second):
    np.testing.assert_array_equal(images, other_images)
    np.testing.assert_array_equal(labels, other_labels)
