# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""PPM and PGM: plain pixels, a part of which is cut out without decoding.

    P6 WIDTH HEIGHT 255, and height * width * 3 bytes: red, green, blue, by rows
    P5 WIDTH HEIGHT 255, and height * width bytes of gray

`--mode=convert` stores reduced images in this form: it is lossless, any image
program opens it, and reading a crop costs little more than copying its rows.
The header has a fixed width, so that it needs no parsing.

Reference: Netpbm, https://netpbm.sourceforge.net/doc/ppm.html and pgm.html
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_DIGITS = 10
_HEADER = "P{:1d}\n{:10d} {:10d}\n255\n"
_HEADER_BYTES = len(_HEADER.format(6, 0, 0))
_WIDTH_AT = 3
_HEIGHT_AT = _WIDTH_AT + _DIGITS + 1
_PATTERN = r"P[56]\n[ \d]{9}\d [ \d]{9}\d\n255\n"


def encode(image: np.ndarray) -> bytes:
  """Encodes an image.

  Args:
    image: [height, width, channels] uint8; 1 channel is gray, 3 are RGB.
  """
  height, width, channels = image.shape
  header = _HEADER.format({1: 5, 3: 6}[channels], width, height)
  return header.encode() + image.tobytes()


def is_netpbm(contents: tf.Tensor) -> tf.Tensor:
  """Returns whether an encoded image was written by `encode`.

  Args:
    contents: [] string, an encoded image of any kind.

  Returns:
    [] bool.
  """
  header = tf.strings.substr(contents, 0, _HEADER_BYTES)
  return tf.strings.regex_full_match(header, _PATTERN)


def shape(contents: tf.Tensor) -> tf.Tensor:
  """Returns the shape of an image that `encode` wrote.

  Args:
    contents: [] string.

  Returns:
    [height, width, channels], int32.
  """
  header = tf.strings.substr(contents, 0, _HEADER_BYTES)
  sides = tf.strings.substr(header, [_HEIGHT_AT, _WIDTH_AT], [_DIGITS] * 2)
  is_rgb = tf.equal(tf.strings.substr(header, 1, 1), b"6")
  channels = tf.where(is_rgb, 3, 1)
  return tf.concat([tf.strings.to_number(sides, tf.int32), [channels]], 0)


def decode_and_crop(contents: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
  """Cuts a part out of an image that `encode` wrote, and reads no more.

  Args:
    contents: [] string.
    window: [top, left, height, width] int32, inside the image.

  Returns:
    [height, width, channels] uint8, channels as they are stored.

  Raises:
    tf.errors.InvalidArgumentError: the image is truncated.
  """
  _, width, channels = tf.unstack(shape(contents))
  row = width * channels
  top, left, rows, columns = tf.unstack(window)
  part = tf.strings.substr(contents, _HEADER_BYTES + top * row, rows * row)
  pixels = tf.reshape(tf.io.decode_raw(part, tf.uint8), [rows, row])
  crop = tf.slice(pixels, [0, left * channels], [rows, columns * channels])
  return tf.reshape(crop, [rows, columns, channels])
