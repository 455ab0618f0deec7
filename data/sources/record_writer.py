# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes encoded images as TFRecord files in ImageNet's layout, with an index.

Needs TensorFlow, unlike the sources that read such files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from data.errors import DataError
from data.sources import record_index, tfrecord

# Small enough to be copied around, large enough to be read in long stretches.
SHARD_BYTES = 1 << 27


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
    part: the beginning of the files' names.
    examples: encoded images and labels.
    class_names: one name per class.
    shard_bytes: the approximate size of a file.

  Returns:
    The number of examples.

  Raises:
    DataError: there are no examples.
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
    columns[:, 2].astype(np.int32),
  )
  names = [f"{part}-{n:05d}-of-{total:05d}" for n in range(total)]
  record_index.write(tfrecord.index_path(folder, part), index, names)
  return len(shards.places)


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
  """Raises TensorFlow's errors about files, as of a full disk, as OSErrors."""
  try:
    yield
  except tf.errors.OpError as error:
    raise OSError(errno.EIO, error.message) from error


@dataclasses.dataclass
class _Shards:
  """Writes records into files of about one size, and notes their places."""

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
