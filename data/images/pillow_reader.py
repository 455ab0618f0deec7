# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images that TensorFlow does not read right on every version, by Pillow.

WebP, TIFF, AVIF, JPEG XL, GIF, and BMP and PPM of rarer kinds. It is Python
code, which a graph calls: slower than the graph's own operations, and no part
of a SavedModel or of another process.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import ExifTags, Image, ImageOps

from data.images import formats

# Pillow's names of the formats. It may try no other: one starts Ghostscript.
_NAMES = {
  "WebP": "WEBP",
  "TIFF": "TIFF",
  "AVIF": "AVIF",
  "JPEG XL": "JXL",
  "GIF": "GIF",
  "BMP": "BMP",
  "PGM": "PPM",
  "PPM": "PPM",
}
# What Pillow needs for a format, by the name that it is imported by.
_PLUGINS = {"JPEG XL": "pillow_jxl"}
_ORIENTATION = ExifTags.Base.Orientation
# The opposite of each of Pillow's turns.
_BACK = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_90,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_270,
}


def read(
  contents: tf.Tensor, channels: int, decoding: formats.Decoding
) -> tf.Tensor:
  """Decodes an image, in a graph too.

  Args:
    contents: [] string, the encoded image.
    channels: 1 or 3.
    decoding: whether it is turned upright.

  Returns:
    [height, width, channels] uint8.

  Raises:
    tf.errors.InvalidArgumentError: it cannot be decoded, or declares too much.
  """
  return _call(_pixels, contents, channels, decoding)


def read_for_training(
  contents: tf.Tensor, channels: int, decoding: formats.Decoding
) -> tf.Tensor:
  """As `read`; says once that there is a faster way."""
  return _call(_told_pixels, contents, channels, decoding)


def stored(contents: bytes) -> tuple[int, int]:
  """Returns the number of channels and the EXIF orientation of an image.

  Raises:
    ValueError: it cannot be read.
  """
  image, orientation = _open(contents)
  bands = len(image.getbands())
  if image.mode == "P":
    bands = 3 + image.has_transparency_data
  return bands, orientation


def _call(
  function: Callable[..., Any],
  contents: tf.Tensor,
  channels: int,
  decoding: formats.Decoding,
) -> tf.Tensor:
  turn = decoding.exif_orientation == formats.APPLY
  if tf.executing_eagerly():
    try:
      return tf.constant(function(contents.numpy(), channels, turn))
    except ValueError as error:  # As a graph would say it.
      raise tf.errors.InvalidArgumentError(None, None, str(error)) from error
  image = tf.numpy_function(function, [contents, channels, turn], tf.uint8)
  return tf.ensure_shape(image, [None, None, channels])


def _told_pixels(contents: bytes, channels: int, turn: bool) -> np.ndarray:
  logging.log_first_n(
    logging.WARNING,
    "some images are %s, which is decoded slowly, in Python: --mode=convert "
    "writes the data once in a form that is read fast",
    1,
    formats.kind_of(contents) or "of a rare format",
  )
  return _pixels(contents, channels, turn)


def _pixels(contents: bytes, channels: int, turn: bool) -> np.ndarray:
  """Decodes an image.

  Args:
    contents: the encoded image.
    channels: 1 or 3.
    turn: whether it is turned upright.

  Returns:
    [height, width, channels] uint8.

  Raises:
    ValueError: it cannot be decoded; one line.
  """
  image, orientation = _open(contents)
  try:
    image.load()
    # Pillow turns a TIFF by itself.
    is_turned = image.getexif().get(_ORIENTATION, 1) != orientation
    if turn and not is_turned and orientation != 1:
      image = ImageOps.exif_transpose(image)
    elif is_turned and not turn:
      image = image.transpose(_BACK[orientation])
    pixels = np.asarray(_with_channels(image, channels))
  # Each of its decoders raises errors of its own.
  except Exception as error:
    raise _one_line(contents, error) from error
  return pixels.reshape([*pixels.shape[:2], channels])


def _open(contents: bytes) -> tuple[Image.Image, int]:
  """Returns an image that is not decoded yet, and its EXIF orientation."""
  kind = formats.kind_of(contents)
  if kind in _PLUGINS:
    try:
      importlib.import_module(_PLUGINS[kind])
    except ImportError:
      raise ValueError(
        f"it is {kind}, which needs: pip install 'train_loop[formats]'"
      ) from None
  if kind not in _NAMES:
    raise ValueError(f"{kind or 'this'} is no format that is read here")
  try:
    image = Image.open(io.BytesIO(contents), formats=[_NAMES[kind]])
    orientation = image.getexif().get(_ORIENTATION, 1)
  except Exception as error:
    raise _one_line(contents, error) from error
  if image.width * image.height > formats.MOST_PIXELS:
    raise ValueError(formats.TOO_LARGE)
  return image, orientation if orientation in _BACK else 1


def _one_line(contents: bytes, error: Exception) -> ValueError:
  said = " ".join(str(error).split()) or type(error).__name__
  if isinstance(error, Image.UnidentifiedImageError):
    said = "it is damaged, or of a kind that Pillow does not read"
  return ValueError(f"{formats.kind_of(contents)}: {said}")


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
  """Converts any mode to gray or RGB; lays what is transparent on white."""
  if image.mode.startswith("I;16"):
    # Pillow's own conversion cuts off at 255.
    high = np.asarray(image).astype(np.uint16) >> 8
    image = Image.fromarray(high.astype(np.uint8))
  elif image.mode == "I" and image.format == "PPM":  # Of 16 bits.
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  elif image.mode in ("I", "F"):
    raise ValueError("pixels of 32 bits have no range; save them in 8 or 16")
  elif image.has_transparency_data:
    page = Image.new("RGBA", image.size, (formats.BACKGROUND,) * 4)
    image = Image.alpha_composite(page, image.convert("RGBA"))
  return image.convert("L" if channels == 1 else "RGB")
