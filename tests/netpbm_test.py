# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of PPM and PGM, against Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data.images import netpbm


def picture(height, width, channels):
  random = np.random.default_rng(0)
  return random.integers(0, 256, [height, width, channels]).astype(np.uint8)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (256, 341), (1, 12000)])
def test_pillow_reads_the_same(size, channels, mode):
  image = picture(*size, channels)
  contents = netpbm.encode(image)
  opened = Image.open(io.BytesIO(contents))
  assert (opened.format, opened.mode) == ("PPM", mode)
  np.testing.assert_array_equal(np.asarray(opened).reshape(image.shape), image)
  assert netpbm.is_netpbm(tf.constant(contents))
  assert netpbm.shape(tf.constant(contents)).numpy().tolist() == [
    *size,
    channels,
  ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
  "window", [(0, 0, 5, 7), (1, 2, 3, 4), (4, 6, 1, 1), (2, 0, 3, 7)]
)
def test_a_crop_is_that_part(window, channels):
  image = picture(5, 7, channels)
  top, left, height, width = window
  found = netpbm.decode_and_crop(
    tf.constant(netpbm.encode(image)), tf.constant(window)
  )
  np.testing.assert_array_equal(
    found, image[top : top + height, left : left + width]
  )


@pytest.mark.parametrize("size", [0, 2, 28, 29, 100, 29 + 5 * 7 * 3 - 1])
def test_what_is_truncated_is_an_error(size):
  contents = netpbm.encode(picture(5, 7, 3))[:size]
  with pytest.raises(tf.errors.InvalidArgumentError):
    netpbm.decode_and_crop(tf.constant(contents), tf.constant([0, 0, 5, 7]))


@pytest.mark.parametrize(
  "contents",
  [
    b"",
    b"P6",
    b"P6\n7 5\n255\n",
    b"P3\n         7          5\n255\n",
    b"P6\n         7          5\n999\n",
    b"P6\n         7         -5\n255\n",
    b"P6\n                    5\n255\n",
    b"\xff\xd8\xff",
  ],
)
def test_what_another_wrote_is_not_taken_for_ours(contents):
  assert not netpbm.is_netpbm(tf.constant(contents))
