# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of linear scaling against the article's table and the formula."""

from __future__ import annotations

import math

import pytest

from tricks import scale_learning_rate


@pytest.mark.parametrize(
  ("global_batch_size", "expected"), [(256, 0.1), (512, 0.2), (1024, 0.4)]
)
def test_rate_is_that_of_the_articles_table(global_batch_size, expected):
  assert scale_learning_rate(0.1, global_batch_size) == pytest.approx(expected)


@pytest.mark.parametrize("base", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("batch", [1, 100, 4096])
@pytest.mark.parametrize("reference", [64, 256])
def test_rate_per_example_is_constant(base, batch, reference):
  rate = scale_learning_rate(base, batch, reference_batch_size=reference)
  assert rate / batch == pytest.approx(base / reference, rel=1e-12)


@pytest.mark.parametrize("base", [0.0, 0.1, 1 / 3])
def test_reference_batch_size_is_the_identity(base):
  assert scale_learning_rate(base, 256) == base
  assert scale_learning_rate(base, 96, reference_batch_size=96) == base


@pytest.mark.parametrize(
  ("base", "batch", "reference", "message"),
  [
    (-0.1, 256, 256, "base_learning_rate must be finite and >= 0, got -0.1"),
    (math.nan, 256, 256, "base_learning_rate must be .*, got nan"),
    (0.1, math.nan, 256, "global_batch_size must be .*, got nan"),
    (0.1, 256, math.nan, "reference_batch_size must be .*, got nan"),
    (math.inf, 256, 256, "base_learning_rate must be .*, got inf"),
    (0.1, 0, 256, "global_batch_size must be >= 1, got 0"),
    (0.1, 256, 0, "reference_batch_size must be >= 1, got 0"),
  ],
)
def test_argument_out_of_range_is_named(base, batch, reference, message):
  with pytest.raises(ValueError, match=message):
    scale_learning_rate(base, batch, reference_batch_size=reference)
