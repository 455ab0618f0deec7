# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a folder of JPEG files as large as photographs of ImageNet.

python -m benchmarks.jpegs FOLDER
"""

from __future__ import annotations

import pathlib
import sys

WIDTH, HEIGHT = 500, 375
# What the files become, and in what batches.
IMAGE_SIZE = 224
BATCH_SIZE = 64
CLASSES = ("left", "right")
FILES_A_CLASS = 256


def make(folder: str) -> None:
  """Writes the files, a subfolder a class.

  Soft shapes and a little noise: about 100 kB a file, as a photograph has.
  """
  import tensorflow as tf

  for seed, name in enumerate(CLASSES):
    (pathlib.Path(folder) / name).mkdir(parents=True)
    for index in range(FILES_A_CLASS):
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
