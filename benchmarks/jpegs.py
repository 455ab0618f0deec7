# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a folder of JPEG files of the size of ImageNet's photographs.

python -m benchmarks.jpegs FOLDER
"""

from __future__ import annotations

import pathlib
import sys

WIDTH, HEIGHT = 500, 375
# The size that they are resized to, and the batch size.
IMAGE_SIZE = 224
BATCH_SIZE = 64
CLASSES = ("left", "right")
FILES_PER_CLASS = 256


def make(folder: str) -> None:
  """Writes the files, in one subfolder per class.

  Soft shapes and a little noise give about 100 kB per file, as photographs do.
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
      path.write_bytes(encoded.numpy())


if __name__ == "__main__":
  make(sys.argv[1])
