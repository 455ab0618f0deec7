# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A data set whose images stay encoded, and are read one at a time.

Where an example is read from is plain data, so that a source is made, split and
checked without TensorFlow; `data.reading` turns it into graph operations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Union

import numpy as np

from data.errors import DataError
from data.images.formats import DEFAULT, Decoding
from data.sources import mapped
from data.sources.source import (
  LabelledImages,
  Source,
  check_labels,
)

# Mean and deviation of ImageNet's channels (red, green, blue; 0..255), by which
# the paper normalises (He et al. 2018, section 2.1).
IMAGENET_MEAN = (123.68, 116.779, 103.939)
IMAGENET_STD = (58.393, 57.12, 57.375)
# Gray is 0.299 red + 0.587 green + 0.114 blue, as JPEG has it.
_LUMA = (0.299, 0.587, 0.114)
# What a TFRecord begins with.
_LENGTH_AND_CHECKSUM = 12
# As many images' bytes are looked at to tell data sets apart.
_SAMPLE = 32


def printable(path: str) -> str:
  """Returns a path for a message of one line, though it may be no UTF-8.

  >>> printable("a/caf\\udce9.jpg")
  'a/caf\\\\udce9.jpg'
  """
  return path if path.isprintable() else repr(path)[1:-1]


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
  """Examples that are a file each.

  Their names lie one after another in one string of bytes, for a million Python
  strings would take four times as much memory.

  Attributes:
    root: what each path begins with; "" or a folder with a separator.
    names: the rest of all paths, as the file system has them.
    ends: [examples] int64, the byte after each name's last.
  """

  root: str
  names: bytes
  ends: np.ndarray

  @classmethod
  def of(cls, paths: Sequence[str], root: str = "") -> Files:
    """Returns the examples at paths.

    Args:
      paths: one per example, relative to root unless they are absolute.
      root: a folder; "" is the current one.
    """
    start = os.path.join(root, "") if root else ""
    if any(path[:1] == os.sep for path in paths):
      paths, start = [os.path.join(root, path) for path in paths], ""
    names = [os.fsencode(path) for path in paths]
    ends = np.cumsum([len(name) for name in names], dtype=np.int64)
    return cls(start, b"".join(names), ends)

  def __len__(self) -> int:
    return len(self.ends)

  @property
  def paths(self) -> tuple[str, ...]:
    """The paths of all files, one per example."""
    return tuple(self.path(index) for index in range(len(self)))

  def take(self, indices: np.ndarray) -> Files:
    """Returns the examples at `indices`, in that order."""
    names = [self._name(index) for index in indices]
    ends = np.cumsum([len(name) for name in names], dtype=np.int64)
    return Files(self.root, b"".join(names), ends)

  def path(self, index: int) -> str:
    """Returns the path of an example's file, which need not be UTF-8."""
    return self.root + os.fsdecode(self._name(index))

  def place(self, index: int) -> str:
    """Returns the place of an example, for a message."""
    return printable(self.path(index))

  def read(self, index: int) -> bytes:
    """Returns an example's bytes.

    Raises:
      OSError: the file cannot be read.
    """
    with open(self.path(index), "rb") as file:
      return file.read()

  def _name(self, index: int) -> bytes:
    start = self.ends[index - 1] if index else 0
    return self.names[start : self.ends[index]]


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
  """Examples that are a `tf.train.Example` each, in TFRecord files.

  Attributes:
    shards: the TFRecord files.
    shard: [examples] int32, the number of the file that holds the example.
    offset: [examples] int64, the byte at which its record begins.
    image_feature: the feature that holds the encoded image.
    origin: the examples that these are a cache of, or None.
  """

  shards: tuple[str, ...]
  shard: np.ndarray
  offset: np.ndarray
  image_feature: str = "image/encoded"
  origin: Examples | None = None

  def __len__(self) -> int:
    return len(self.shard)

  def take(self, indices: np.ndarray) -> Records:
    """Returns the examples at `indices`, in that order."""
    return dataclasses.replace(
      self,
      shard=self.shard[indices],
      offset=self.offset[indices],
      origin=self.origin and self.origin.take(indices),
    )

  def place(self, index: int) -> str:
    """Returns the place of an example, for a message."""
    if self.origin is not None:
      return self.origin.place(index)
    return f"{self.shards[self.shard[index]]} at byte {self.offset[index]}"

  def read(self, index: int) -> bytes:
    """Returns an example's record.

    Raises:
      OSError: the file cannot be read.
    """
    with open(self.shards[self.shard[index]], "rb") as file:
      file.seek(int(self.offset[index]))
      length = int.from_bytes(file.read(_LENGTH_AND_CHECKSUM)[:8], "little")
      return file.read(min(length, os.fstat(file.fileno()).st_size))


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
  """Examples in memory, as encoded bytes: a cache of the other kinds.

  Attributes:
    contents: [examples] objects, the encoded images.
    origin: the examples that these are a cache of.
  """

  contents: np.ndarray
  origin: Examples

  def __len__(self) -> int:
    return len(self.contents)

  def read(self, index: int) -> bytes:
    """Returns an example's bytes."""
    return self.contents[index]

  def take(self, indices: np.ndarray) -> Contents:
    """Returns the examples at `indices`, in that order."""
    return Contents(self.contents[indices], self.origin.take(indices))

  def place(self, index: int) -> str:
    """Returns the place of an example, for a message."""
    return self.origin.place(index)


Examples = Union[Files, Records, Contents]


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedSource(LabelledImages):
  """Encoded images with labels.

  Attributes:
    examples: the files, records or bytes that hold the images.
    labels: as of `LabelledImages`.
    class_names: one name per class.
    name: the data set's name, for messages and the run card.
    channels: 1 (gray) or 3 (red, green, blue), whatever the files hold.
    decoding: how they become pixels.
    content: a hash that identifies the images, by their names and sizes.
    num_bytes: the size of all encoded images, as far as it is known.
    place_and_time: a hash of where the files lie and when they changed, for a
      cache of them; the same as long as nobody writes them.
    notes: what was understood and left out in reading, a line each.

  Raises:
    DataError: the attributes do not fit each other.
  """

  examples: Examples
  labels: np.ndarray
  class_names: tuple[str, ...]
  name: str
  channels: int = 3
  decoding: Decoding = DEFAULT
  content: str = ""
  num_bytes: int = 0
  place_and_time: str = ""
  notes: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if not len(self.labels):
      raise DataError(f"{self.name} has no images")
    if len(self.examples) != len(self.labels):
      raise DataError(
        f"{self.name} has {len(self.examples)} images and {len(self.labels)}"
        " labels; give one label per image"
      )
    if self.channels not in (1, 3):
      raise DataError(
        f"image_channels must be 1 (gray) or 3 (RGB), got {self.channels}"
      )
    check_labels(self.labels, len(self.class_names), self.name)

  @property
  def image_shape(self) -> tuple[None, None, int]:
    return None, None, self.channels

  def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns ImageNet's mean and deviation, by which the paper normalises.

    Returns:
      The means and the standard deviations, each [channels], in 0..255 units.
    """
    if self.channels == 3:
      return IMAGENET_MEAN, IMAGENET_STD
    return (
      (float(np.dot(_LUMA, IMAGENET_MEAN)),),
      (float(np.dot(_LUMA, IMAGENET_STD)),),
    )

  def fingerprint(self) -> str:
    """Returns the SHA-256 of `content`, labels and class names, in hex."""
    digest = hashlib.sha256(
      repr((self.content, self.channels, self.class_names)).encode()
    )
    kind = "u1" if self.multi_label else "<i4"
    for part in mapped.parts(self.labels):
      digest.update(np.ascontiguousarray(part, kind).data)
    return digest.hexdigest()

  def sample_sha256(self) -> str:
    """Returns a hash of the bytes of 32 images, spread over all.

    The fingerprint does not see that another image has the same name and size,
    as all BMP files of a camera have.
    """
    digest = hashlib.sha256()
    count = min(_SAMPLE, self.num_examples)
    for number in range(count):
      contents = b""
      with contextlib.suppress(OSError):  # Which reading it will tell.
        contents = self.examples.read(number * self.num_examples // count)
      digest.update(hashlib.sha256(contents).digest())
    return digest.hexdigest()

  def place_of(self, index: int) -> str:
    return self.examples.place(index)

  def take(self, indices: Sequence[int] | np.ndarray) -> EncodedSource:
    indices = np.asarray(indices, np.int64)
    chosen = hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()
    return dataclasses.replace(
      self,
      examples=self.examples.take(indices),
      labels=np.ascontiguousarray(self.labels[indices]),
      content=f"{self.content}[{chosen}]",
      place_and_time=f"{self.place_and_time}[{chosen}]",
      num_bytes=self.num_bytes * len(indices) // self.num_examples,
    )


AnySource = Union[Source, EncodedSource]
