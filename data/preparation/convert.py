# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes any source as TFRecord files in ImageNet's layout, with an index.

Encoded images are copied unchanged, with their EXIF orientation; or reduced
once, upright, so that every epoch decodes less. Those that are decoded slowly
(WebP, TIFF, ...) are stored as PNG, as training sees them. A reduced image is
stored as PPM or PGM, which is lossless and takes 0.26 MB for 256 by 341 pixels;
reading a crop of it costs little more than copying. Arrays are stored as PNG.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from data import reading
from data.bad_images import bad_images_file
from data.errors import DataError
from data.images import netpbm
from data.preparation import scan
from data.sources import tfrecord
from data.sources.encoded import AnySource, EncodedSource
from data.sources.record_writer import SHARD_BYTES, write_part

Progress = Callable[[Iterable, str, int], Iterable]


def convert(
  train: AnySource,
  validation: AnySource,
  output_dir: str,
  *,
  resize: int = 0,
  shard_bytes: int = SHARD_BYTES,
  skip_bad_images: bool = False,
  progress: Progress = lambda items, part, count: items,
) -> dict[str, int]:
  """Writes two sources to a new folder, which appears when it is complete.

  Every image is decoded once, so that no bad image is written.

  Args:
    train: the training source.
    validation: the validation source, of the same classes.
    output_dir: the folder, which must not exist or be empty.
    resize: the shorter side that larger images are reduced to; 0 stores all
      images as they are encoded.
    shard_bytes: the approximate size of a file.
    skip_bad_images: whether images that cannot be decoded are left out and
      listed in the folder's bad_images.txt; if not, they are an error.
    progress: wraps the examples of a part, as tqdm does.

  Returns:
    The number of examples written for each part.

  Raises:
    DataError: a setting is out of range, the folder is not empty or cannot be
      written, or an image cannot be decoded.
  """
  if resize < 0 or shard_bytes < 1:
    raise DataError(
      f"convert_resize must be at least 0, got {resize};"
      f" shard_bytes at least 1, got {shard_bytes}"
    )
  if train.multi_label:
    raise DataError(
      "task must be single_label for mode convert, which writes one label an"
      " image, got multi_label"
    )
  if os.path.isdir(output_dir) and os.listdir(output_dir):
    raise DataError(f"output_dir must be new or empty, got {output_dir!r}")
  partial = output_dir.rstrip(os.sep) + ".partial"
  try:
    os.makedirs(partial)
  except FileExistsError as error:
    raise DataError(
      f"{partial} is an unfinished conversion: delete it first"
    ) from error
  bad: list[str] | None = [] if skip_bad_images else None
  counts = {}
  try:
    for part, source in (("train", train), ("validation", validation)):
      examples = progress(
        _examples(source, resize, bad), part, source.num_examples
      )
      counts[part] = write_part(
        partial, part, examples, source.class_names, shard_bytes=shard_bytes
      )
    names_file = os.path.join(partial, tfrecord.CLASS_NAMES_FILE)
    _write_lines(names_file, train.class_names)
    if bad:
      _write_lines(bad_images_file(partial), bad)
    if os.path.isdir(output_dir):
      os.rmdir(output_dir)
    os.rename(partial, output_dir)
  except OSError as error:
    raise DataError(
      f"output_dir={output_dir} cannot be written: {error.strerror}; choose"
      " another folder"
    ) from error
  finally:
    # Nothing of a conversion that fails or is stopped can be used.
    shutil.rmtree(partial, ignore_errors=True)
  return counts


def _write_lines(path: str, lines: Iterable[str]) -> None:
  with open(path, "w", encoding="utf-8") as file:
    file.writelines(f"{line}\n" for line in lines)


def _examples(
  source: AnySource,
  resize: int,
  bad: list[str] | None,
) -> Iterator[tuple[bytes, int]]:
  """Yields the stored form and the label of each image that can be decoded."""
  if isinstance(source, EncodedSource):
    read = reading.make_read(source.examples)

    def stored(index: int) -> bytes:
      contents = read(tf.constant(index, tf.int64))
      image = reading.whole(contents, source)
      if resize and min(image.shape[:2]) > resize:
        return netpbm.encode(_shrunk(image, resize))
      return reading.readable(contents, source)
  else:

    def stored(index: int) -> bytes:
      return tf.io.encode_png(source.images[index]).numpy()

  for index, contents in scan.each(source, stored):
    if not isinstance(contents, scan.BadExample):
      yield contents, int(source.labels[index])
    elif bad is None:
      raise DataError(
        f"image {contents.message}: replace it, or leave out all such images"
        " with --on_bad_image=skip"
      )
    else:
      bad.append(contents.message)


def _shrunk(image: tf.Tensor, resize: int) -> np.ndarray:
  height, width = image.shape[:2]
  scale = resize / min(height, width)
  size = [max(resize, round(side * scale)) for side in (height, width)]
  resized = tf.image.resize(image, size, antialias=True)
  return np.clip(np.rint(resized.numpy()), 0, 255).astype(np.uint8)
