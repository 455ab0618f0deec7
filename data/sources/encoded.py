# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A data set whose images stay encoded, and are read one at a time.

Where an example is read from is plain data, so that a source is made, split and
checked without TensorFlow; `data.reading` turns it into graph operations.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Union

import numpy as np

from data.errors import DataError
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


@dataclasses.dataclass(frozen=True)
class Files:
  """Examples that are a file each.

  Attributes:
    paths: one per example.
  """

  paths: tuple[str, ...]

  def __len__(self) -> int:
    return len(self.paths)

  def take(self, indices: np.ndarray) -> Files:
    """Returns the examples at `indices`, in that order."""
    return Files(tuple(self.paths[index] for index in indices))

  def place(self, index: int) -> str:
    """Returns the place of an example, for a message."""
    return self.paths[index]


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
    labels: [num_examples] int32, in [0, num_classes).
    class_names: one name per class.
    name: the data set's name, for messages and the run card.
    channels: 1 (gray) or 3 (red, green, blue), whatever the files hold.
    content: a hash that identifies the images, by their names and sizes.
    num_bytes: the size of all encoded images, as far as it is known.

  Raises:
    DataError: the attributes do not fit each other.
  """

  examples: Examples
  labels: np.ndarray
  class_names: tuple[str, ...]
  name: str
  channels: int = 3
  content: str = ""
  num_bytes: int = 0

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
    digest.update(self.labels.astype("<i4").data)
    return digest.hexdigest()

  def _place(self, index: int) -> str:
    return self.examples.place(index)

  def take(self, indices: Sequence[int] | np.ndarray) -> EncodedSource:
    indices = np.asarray(indices, np.int64)
    chosen = hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()
    return dataclasses.replace(
      self,
      examples=self.examples.take(indices),
      labels=np.ascontiguousarray(self.labels[indices]),
      content=f"{self.content}[{chosen}]",
      num_bytes=self.num_bytes * len(indices) // self.num_examples,
    )


AnySource = Union[Source, EncodedSource]
