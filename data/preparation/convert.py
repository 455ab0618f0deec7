# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes any source as TFRecord files in ImageNet's layout, with an index.

Encoded images are copied as they are, or reduced once so that every epoch has
less to decode. A reduced image is stored as PPM or PGM: it loses nothing, and
reading a crop of it is little more than copying, at 0.26 MB for 256 by 341
pixels. Arrays are stored as PNG.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from data import reading
from data.bad_images import bad_images_file
from data.images import decode, netpbm
from data.preparation import scan
from data.sources import record_index, tfrecord
from data.sources.encoded import AnySource, EncodedSource
from data.sources.source import DataError

# Small enough to be moved about, large enough to be read in long stretches.
SHARD_BYTES = 1 << 27

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
  """Writes two sources to a new folder, which appears when it is whole.

  Every image is decoded once, so that none that cannot be is written.

  Args:
    train: the training source.
    validation: the validation source, of the same classes.
    output_dir: the folder, which must not exist or be empty.
    resize: the shorter side of what is stored, of images larger than that;
      0 stores the images as they are encoded.
    shard_bytes: about what a file is to hold.
    skip_bad_images: leave out what cannot be decoded, and list it in the
      folder's bad_images.txt, rather than raise.
    progress: wraps the examples of a part, as tqdm does.

  Returns:
    The number of examples written of each part.

  Raises:
    DataError: the folder is not empty, an image cannot be decoded, or the disk
      is full.
  """
  if resize < 0 or shard_bytes < 1:
    raise DataError(
      f"convert_resize must be at least 0, got {resize};"
      f" shard_bytes at least 1, got {shard_bytes}"
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
      f"output_dir={output_dir} cannot be written: {error.strerror}; mend that,"
      " or choose another"
    ) from error
  finally:
    # Of a conversion that fails or is stopped nothing can be used.
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
  """Yields what is stored of each image that can be decoded, and its label."""
  if isinstance(source, EncodedSource):
    read = reading.make_read(source.examples)

    def stored(index: int) -> bytes:
      contents = read(tf.constant(index, tf.int64))
      image = decode.decode(contents, source.channels)
      if resize and min(image.shape[:2]) > resize:
        return netpbm.encode(_shrunk(image, resize))
      return contents.numpy()
  else:

    def stored(index: int) -> bytes:
      return tf.io.encode_png(source.images[index]).numpy()

  for index, contents in scan.each(source, stored):
    if not isinstance(contents, scan.BadExample):
      yield contents, int(source.labels[index])
    elif bad is None:
      raise DataError(
        f"image {contents.message}: replace it, or leave such out with"
        " --on_bad_image=skip"
      )
    else:
      bad.append(contents.message)


def _shrunk(image: tf.Tensor, resize: int) -> np.ndarray:
  height, width = image.shape[:2]
  scale = resize / min(height, width)
  size = [max(resize, round(side * scale)) for side in (height, width)]
  resized = tf.image.resize(image, size, antialias=True)
  return np.clip(np.rint(resized.numpy()), 0, 255).astype(np.uint8)


def _example(
  contents: bytes, label: int, class_names: tuple[str, ...]
) -> tf.train.Example:
  def of_bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

  label_list = tf.train.Int64List(value=[label])
  features = {
    tfrecord.IMAGE_FEATURE: of_bytes(contents),
    tfrecord.LABEL_FEATURE: tf.train.Feature(int64_list=label_list),
    "image/class/text": of_bytes(class_names[label].encode()),
  }
  return tf.train.Example(features=tf.train.Features(feature=features))


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
  """Raises TensorFlow's error of a file, as of a full disk, as an OSError."""
  try:
    yield
  except tf.errors.OpError as error:
    raise OSError(errno.EIO, error.message) from error


@dataclasses.dataclass
class _Shards:
  """Writes records into files of about one size, and notes where they stand."""

  folder: str
  part: str
  shard_bytes: int
  places: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
  sizes: list[int] = dataclasses.field(default_factory=list)
  writer: tf.io.TFRecordWriter | None = None

  def path(self, number: int) -> str:
    return os.path.join(self.folder, f"{self.part}-{number:05d}.partial")

  @_os_errors()
  def write(self, record: bytes, label: int) -> None:
    if self.writer is None or self.sizes[-1] >= self.shard_bytes:
      self.close()
      self.sizes.append(0)
      self.writer = tf.io.TFRecordWriter(self.path(len(self.sizes) - 1))
    self.places.append((len(self.sizes) - 1, self.sizes[-1], label))
    self.writer.write(record)
    self.sizes[-1] += record_index.record_bytes(len(record))

  @_os_errors()
  def close(self) -> None:
    if self.writer is not None:
      self.writer.close()
      self.writer = None


def write_part(
  folder: str,
  part: str,
  examples: Iterable[tuple[bytes, int]],
  class_names: tuple[str, ...],
  *,
  shard_bytes: int = SHARD_BYTES,
) -> int:
  """Writes one part's TFRecord files and their index.

  Args:
    folder: an empty or new folder.
    part: how the files' names begin.
    examples: encoded images and labels.
    class_names: one name a class.
    shard_bytes: about what a file is to hold.

  Returns:
    The number of examples.

  Raises:
    DataError: there are none.
    OSError: a file cannot be written.
  """
  shards = _Shards(folder, part, shard_bytes)
  for contents, label in examples:
    example = _example(contents, label, class_names)
    shards.write(example.SerializeToString(), label)
  shards.close()
  if not shards.places:
    raise DataError(f"no image of {part} can be decoded")
  total = len(shards.sizes)
  for number in range(total):
    name = f"{part}-{number:05d}-of-{total:05d}"
    os.rename(shards.path(number), os.path.join(folder, name))
  columns = np.array(shards.places, np.int64)
  index = record_index.Index(
    np.array(shards.sizes, np.int64),
    columns[:, 0].astype(np.int32),
    columns[:, 1],
    columns[:, 2],
  )
  record_index.write(tfrecord.index_path(folder, part), index)
  return len(shards.places)
