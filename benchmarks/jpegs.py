# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a folder of JPEG files of the size of ImageNet's photographs.

python -m benchmarks.jpegs FOLDER [EXIF_ORIENTATION]
"""

from __future__ import annotations

import pathlib
import struct
import sys

WIDTH, HEIGHT = 500, 375
# The size that they are resized to, and the batch size.
IMAGE_SIZE = 224
BATCH_SIZE = 64
CLASSES = ("left", "right")
FILES_PER_CLASS = 256


def make(folder: str, exif_orientation: int = 0) -> None:
  """Writes the files, in one subfolder per class.

  Soft shapes and a little noise give about 100 kB per file, as photographs do.

  Args:
    folder: the new folder.
    exif_orientation: 1 to 8, which the files say as a camera's do; 0 writes no
      EXIF.
  """
  import tensorflow as tf

  for seed, name in enumerate(CLASSES):
    (pathlib.Path(folder) / name).mkdir(parents=True)
    for index in range(FILES_PER_CLASS):
      shapes = tf.random.stateless_uniform([9, 12, 3], [seed, index])
      pixels = 255.0 * tf.image.resize(shapes, [HEIGHT, WIDTH], "bicubic")
      noise = tf.random.stateless_normal([HEIGHT, WIDTH, 3], [seed, index])
      encoded = tf.io.encode_jpeg(
        tf.cast(tf.clip_by_value(pixels + 8.0 * noise, 0, 255), tf.uint8),
        quality=90,
      )
      path = pathlib.Path(folder) / name / f"{index:04}.jpg"
      path.write_bytes(_with_exif(encoded.numpy(), exif_orientation))


def _with_exif(jpeg: bytes, orientation: int) -> bytes:
  """Puts a camera's Exif segment in the place of JFIF's 18 bytes."""
  if not orientation:
    return jpeg
  # Twelve entries, as a camera writes them: tag, type, count and value.
  entries = [(0x100 + number, 4, 1, number) for number in range(12)]
  entries[5] = (0x112, 3, 1, orientation)
  packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
  tiff = b"II*\0" + struct.pack("<IH", 8, 12) + packed + bytes(8000)
  content = b"Exif\0\0" + tiff
  head = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(content) + 2)
  return head + content + jpeg[20:]


if __name__ == "__main__":
  make(sys.argv[1], *map(int, sys.argv[2:]))
