# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an encoded image says of itself, beside its pixels; eager only."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from data.images import decode, formats, lossless, netpbm, orientation


class Stored(NamedTuple):
  """What an encoded image says of itself.

  Attributes:
    format: its name; "" of an array in memory.
    channels: their number, as they are stored.
    orientation: the EXIF orientation, 1 to 8; 1 is upright.
    is_slow: whether it is decoded in Python, by Pillow.
  """

  format: str
  channels: int
  orientation: int = 1
  is_slow: bool = False


def stored(contents: tf.Tensor) -> Stored:
  """Returns what an encoded image says of itself.

  Args:
    contents: [] string, an image that can be decoded.
  """
  kind = formats.kind_of(contents.numpy()[:64])
  if not decode.is_read_in_graph(contents):
    from data.images import pillow_reader

    return Stored(kind, *pillow_reader.stored(contents.numpy()), True)
  if tf.io.is_jpeg(contents):
    channels = tf.io.extract_jpeg_shape(contents)[2]
    return Stored(
      kind,
      int(channels),
      int(orientation.of_exif(orientation.exif_of_jpeg(contents))),
    )
  if netpbm.is_netpbm(contents):
    return Stored(kind, int(netpbm.shape(contents)[2]))
  if lossless.is_png(contents):
    channels = tf.io.decode_png(contents).shape[-1]
    return Stored(
      kind,
      channels,
      int(orientation.of_exif(orientation.png_chunks(contents)[0])),
    )
  channels = tf.io.decode_bmp(contents).shape[-1]
  return Stored(kind, 3 if channels == 1 else channels)  # 1 is a palette.
