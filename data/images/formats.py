# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The formats of encoded images, told by their bytes; needs no TensorFlow.

`decode` reads JPEG, PNG, BMP and the PPM of `netpbm` as graph operations, and
asks `pillow_reader` for all others.
"""

from __future__ import annotations

import dataclasses

# What `--exif_orientation` and `--jpeg_dct` take.
APPLY, IGNORE = EXIF_ORIENTATIONS = ("apply", "ignore")
ACCURATE, FAST = JPEG_DCTS = ("accurate", "fast")
# Transparent images are laid on white, as on a page.
BACKGROUND = 255
# An image that declares more is refused before it is decoded, as by Pillow.
# PNG and BMP are refused by TensorFlow, from 2^29 bytes on: 3 a pixel.
MOST_PIXELS = 2**29 // 3
TOO_LARGE = f"the image declares more than {MOST_PIXELS} pixels"


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How encoded images become pixels.

  Attributes:
    exif_orientation: "apply" turns an image upright, before it is cut; "ignore"
      takes it as it is stored.
    jpeg_dct: how the cosine transform of JPEG is undone: "accurate", with
      Pillow's colours; or "fast", TensorFlow's default, which saves no more
      than 1 % of the time.
  """

  exif_orientation: str = APPLY
  jpeg_dct: str = ACCURATE

  @property
  def dct_method(self) -> str:
    """As TensorFlow names it."""
    return "INTEGER_ACCURATE" if self.jpeg_dct == ACCURATE else "INTEGER_FAST"


DEFAULT = Decoding()

_BEGINNINGS = (
  (b"\xff\xd8\xff", "JPEG"),
  (b"\x89PNG\r\n\x1a\n", "PNG"),
  (b"BM", "BMP"),
  (b"GIF87a", "GIF"),
  (b"GIF89a", "GIF"),
  (b"P5", "PGM"),
  (b"P6", "PPM"),
  (b"II*\0", "TIFF"),
  (b"MM\0*", "TIFF"),
  (b"II+\0", "TIFF"),
  (b"MM\0+", "TIFF"),
  (b"\xff\x0a", "JPEG XL"),
  (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
)
# The brands of an ISO media file, as in bytes 8 to 12.
_BRANDS = (
  (b"avif", "AVIF"),
  (b"avis", "AVIF"),
  (b"heic", "HEIC"),
  (b"heix", "HEIC"),
  (b"mif1", "HEIC"),
)


def kind_of(contents: bytes) -> str:
  """Returns the format that an encoded image begins as, or "" if none is known.

  Args:
    contents: the image, or its first 64 bytes at least.

  >>> kind_of(b"RIFF....WEBPVP8 ")
  'WebP'
  >>> kind_of(b"a text")
  ''
  """
  if contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
    return "WebP"
  if contents[4:8] == b"ftyp":
    end = min(int.from_bytes(contents[:4], "big"), 64)
    brands = [contents[8:12]]
    brands += [contents[place : place + 4] for place in range(16, end, 4)]
    return next((kind for brand, kind in _BRANDS if brand in brands), "")
  for beginning, kind in _BEGINNINGS:
    if contents.startswith(beginning):
      return kind
  return ""
