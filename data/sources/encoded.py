# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A data set whose images stay encoded, and are read one example at a time.

What an example is read from is plain data, so that a source is made, cut and
checked without TensorFlow; `data.reading` turns it into graph operations.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import TypeVar, Union

import numpy as np

from data.sources.source import DataError, Source, check_labels

# Mean and deviation of ImageNet's channels (red, green, blue; 0..255), by which
# the paper normalises (He et al. 2018, section 2.1).
IMAGENET_MEAN = (123.68, 116.779, 103.939)
IMAGENET_STD = (58.393, 57.12, 57.375)
# Gray is 0.299 red + 0.587 green + 0.114 blue, as JPEG has it.
_LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class Files:
  """Each example is a file.

  Attributes:
    paths: one an example.
  """

  paths: tuple[str, ...]

  def __len__(self) -> int:
    return len(self.paths)

  def take(self, indices: np.ndarray) -> Files:
    """Returns the examples at `indices`, in that order."""
    return Files(tuple(self.paths[index] for index in indices))

  def place(self, index: int) -> str:
    """Returns where an example stands, for a message."""
    return self.paths[index]


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
  """Each example is a `tf.train.Example` in a TFRecord file.

  Attributes:
    shards: the TFRecord files.
    shard: [examples] int32, which of the files holds the example.
    offset: [examples] int64, the byte where its record begins.
    image_feature: the feature that holds the encoded image.
    origin: where they were read from, if these are a cache.
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
    """Returns where an example stands, for a message."""
    if self.origin is not None:
      return self.origin.place(index)
    return f"{self.shards[self.shard[index]]} at byte {self.offset[index]}"


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
  """Each example is a string of bytes in memory: a cache of the other kinds.

  Attributes:
    contents: [examples] objects, the encoded images.
    origin: where they were read from.
  """

  contents: np.ndarray
  origin: Examples

  def __len__(self) -> int:
    return len(self.contents)

  def take(self, indices: np.ndarray) -> Contents:
    """Returns the examples at `indices`, in that order."""
    return Contents(self.contents[indices], self.origin.take(indices))

  def place(self, index: int) -> str:
    """Returns where an example stands, for a message."""
    return self.origin.place(index)


Examples = Union[Files, Records, Contents]


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedSource:
  """Encoded images with labels.

  Attributes:
    examples: where each image is read from.
    labels: [num_examples] int32, in [0, num_classes).
    class_names: one name a class.
    name: the data set's name, for messages and the run card.
    channels: 1 (gray) or 3 (red, green, blue); what images are turned into.
    content: what tells these images from others: a hash of names and sizes.
    num_bytes: what the encoded images take, as far as is known.

  Raises:
    DataError: where they do not fit each other.
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
        " labels; give one label an image"
      )
    if self.channels not in (1, 3):
      raise DataError(
        f"image_channels must be 1 (gray) or 3 (RGB), got {self.channels}"
      )
    check_labels(self.labels, len(self.class_names), self.name)

  @property
  def num_examples(self) -> int:
    return len(self.labels)

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  @property
  def image_shape(self) -> tuple[None, None, int]:
    return None, None, self.channels

  def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ImageNet's mean and deviation, by which the paper normalises.

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
    """SHA-256, in hexadecimal, of `content`, the labels and the class names."""
    digest = hashlib.sha256(
      repr((self.content, self.channels, self.class_names)).encode()
    )
    digest.update(self.labels.astype("<i4").data)
    return digest.hexdigest()

  def place(self, index: int) -> str:
    """Returns an example's place and class, for a message."""
    class_name = self.class_names[self.labels[index]]
    return f"{self.examples.place(index)} (class {class_name})"


AnySource = Union[Source, EncodedSource]
# Either kind; the same in and out.
Kind = TypeVar("Kind", Source, EncodedSource)


def require_sizes(
  source: AnySource,
  *,
  image_size: int,
  random_resized_crop: bool = False,
  eval_resize: int = 0,
) -> None:
  """Raises unless encoded images get a size, and arrays keep theirs.

  Args:
    source: of either kind.
    image_size: height and width that encoded images get.
    random_resized_crop: of encoded images.
    eval_resize: shorter side of encoded images in evaluation; 0 or at least
      image_size.

  Raises:
    DataError: names the argument and the remedy.
  """
  if isinstance(source, Source):
    if image_size or random_resized_crop or eval_resize:
      raise DataError(
        "image_size, random_resized_crop and eval_resize are for encoded"
        f" images: leave them out for {source.name}, whose images are arrays"
        f" {list(source.image_shape)}"
      )
    return
  if image_size < 1:
    raise DataError(
      f"image_size must be given for {source.name}, as in 224, got {image_size}"
    )
  if eval_resize and eval_resize < image_size:
    raise DataError(
      f"eval_resize must be 0 or at least image_size ({image_size}), got"
      f" {eval_resize}"
    )


def take(source: Kind, indices: Sequence[int] | np.ndarray) -> Kind:
  """Returns a source of some of the examples, in the order of `indices`.

  Args:
    source: of either kind.
    indices: [examples] integers in [0, source.num_examples).
  """
  indices = np.asarray(indices, np.int64)
  labels = np.ascontiguousarray(source.labels[indices])
  if isinstance(source, Source):
    return dataclasses.replace(
      source, images=source.images[indices], labels=labels
    )
  chosen = hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()
  return dataclasses.replace(
    source,
    examples=source.examples.take(indices),
    labels=labels,
    content=f"{source.content}[{chosen}]",
    num_bytes=source.num_bytes * len(indices) // source.num_examples,
  )


def split(
  source: Kind, *, validation_fraction: float, seed: int = 0
) -> tuple[Kind, Kind]:
  """Splits a source in two, each class in proportion.

  Args:
    source: of either kind.
    validation_fraction: of the examples, for the second part; in (0, 1).
    seed: of the split; not the run's, so that runs of all seeds share it.

  Returns:
    The training source and the validation source, each in the source's order.

  Raises:
    DataError: where the fraction is out of range, or leaves a part empty.
  """
  if not 0 < validation_fraction < 1:
    raise DataError(
      f"validation_fraction must be in (0, 1), got {validation_fraction}"
    )
  random = np.random.default_rng(seed)
  held_out = []
  for label in range(source.num_classes):
    (members,) = np.nonzero(source.labels == label)
    # A class of one example stays in the training data.
    count = min(round(len(members) * validation_fraction), len(members) - 1)
    held_out.append(random.permutation(members)[: max(count, 0)])
  validation = np.sort(np.concatenate(held_out))
  if not len(validation):
    raise DataError(
      f"validation_fraction={validation_fraction} of {source.name} leaves no"
      f" example of {source.num_examples} to evaluate; raise it"
    )
  training = np.setdiff1d(np.arange(source.num_examples), validation)
  return take(source, training), take(source, validation)
