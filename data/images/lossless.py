# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""PNG and BMP files, decoded by TensorFlow's operations.

TensorFlow leaves out what is transparent, and takes the indices of a BMP's
palette for brightness; so more than its decoders is needed.
"""

from __future__ import annotations

import tensorflow as tf

from data.images import formats

# Where a PNG's header has its kind of colours: gray, RGB or palette; from 4 on
# with alpha.
_COLOR_TYPE_AT = 25
_GRAY_ALPHA = 4
# Where a BMP's header has its size, the bits of a pixel, and what compresses
# them, 4 bytes that are zero if nothing does; and the number of its colours.
_BMP_SIZE_AT = 14
_BMP_BITS_AT = 28
_BMP_COLORS_AT = 46
_BMP_HEADER_BYTES = 54
# The weights of red, green and blue in gray, in 65536ths, as Pillow has them.
_LUMA = (19595, 38470, 7471)


def is_png(contents: tf.Tensor) -> tf.Tensor:
  """Returns whether an encoded image is a PNG, [] bool."""
  return tf.equal(tf.strings.substr(contents, 0, 8), b"\x89PNG\r\n\x1a\n")


def is_plain_bmp(contents: tf.Tensor) -> tf.Tensor:
  """Returns whether an encoded image is a BMP that `decode_bmp` takes.

  Its pixels have 8, 24 or 32 bits, and are not compressed.

  Args:
    contents: [] string.

  Returns:
    [] bool.
  """
  head = tf.io.decode_raw(contents, tf.uint8, fixed_length=_BMP_HEADER_BYTES)
  bits, rest = head[_BMP_BITS_AT], head[_BMP_BITS_AT + 1 : _BMP_BITS_AT + 6]
  return (
    tf.reduce_all(head[:2] == [*b"BM"])
    & (head[_BMP_SIZE_AT] >= 40)
    & ((bits == 8) | (bits == 24) | (bits == 32))
    & tf.reduce_all(rest == 0)
  )


def decode_png(
  contents: tf.Tensor, channels: int, transparent: tf.Tensor
) -> tf.Tensor:
  """Decodes a PNG; what is transparent is laid on white.

  Of 16 bits the upper 8 are taken.

  Args:
    contents: [] string, a PNG.
    channels: 1 or 3.
    transparent: [] bool, whether some colours may be transparent.

  Returns:
    [height, width, channels] uint8.
  """

  def opaque() -> tf.Tensor:
    return tf.io.decode_png(contents, channels=channels)

  def on_page() -> tf.Tensor:
    image = tf.cast(tf.io.decode_png(contents, channels=4), tf.int32)
    darkness = (formats.BACKGROUND - image[..., :3]) * image[..., 3:]
    image = formats.BACKGROUND - (darkness + 127) // 255
    return tf.cast(_gray(image) if channels == 1 else image, tf.uint8)

  head = tf.io.decode_raw(contents, tf.uint8, fixed_length=_COLOR_TYPE_AT + 1)
  has_alpha = head[_COLOR_TYPE_AT] >= _GRAY_ALPHA
  image = tf.cond(transparent | has_alpha, on_page, opaque)
  return tf.ensure_shape(image, [None, None, channels])


def decode_bmp(contents: tf.Tensor, channels: int) -> tf.Tensor:
  """Decodes a BMP.

  Args:
    contents: [] string, of which `is_plain_bmp` is true.
    channels: 1 or 3.

  Returns:
    [height, width, channels] uint8.
  """
  head = tf.io.decode_raw(contents, tf.uint8, fixed_length=_BMP_HEADER_BYTES)

  def of_palette() -> tf.Tensor:
    indices = tf.io.decode_bmp(contents)[..., 0]
    count = _number(head[_BMP_COLORS_AT : _BMP_COLORS_AT + 4])
    count = tf.where((count == 0) | (count > 256), 256, count)
    start = _BMP_SIZE_AT + _number(head[_BMP_SIZE_AT : _BMP_SIZE_AT + 4])
    part = tf.strings.substr(contents, start, 4 * count)
    colors = tf.reshape(tf.io.decode_raw(part, tf.uint8), [-1, 4])
    colors = tf.cast(colors[:, 2::-1], tf.int32)
    colors = _gray(colors) if channels == 1 else colors
    colors = tf.cast(colors, tf.uint8)
    return tf.gather(colors, tf.cast(indices, tf.int32))

  def of_colors() -> tf.Tensor:
    image = tf.io.decode_bmp(contents)[..., :3]
    image = tf.ensure_shape(image, [None, None, 3])
    return image if channels == 3 else tf.image.rgb_to_grayscale(image)

  image = tf.cond(head[_BMP_BITS_AT] == 8, of_palette, of_colors)
  return tf.ensure_shape(image, [None, None, channels])


def _gray(colors: tf.Tensor) -> tf.Tensor:
  """Returns the gray of colours, [..., 3] to [..., 1] int32, as Pillow's."""
  weighed = tf.reduce_sum(colors * _LUMA, axis=-1, keepdims=True)
  return (weighed + 0x8000) // 0x10000


def _number(part: tf.Tensor) -> tf.Tensor:
  """Returns the number that four bytes are, the lowest first; int32."""
  return tf.bitcast(part, tf.int32)
