# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labelled images, and the kind of them that is in memory."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import os
import unicodedata
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from data.errors import DataError

Self = TypeVar("Self", bound="LabelledImages")


class LabelledImages(abc.ABC):
  """What all kinds of source have in common.

  Attributes:
    labels: [num_examples] int32, in [0, num_classes); or, if an image may have
      any number of labels, [num_examples, num_classes] uint8, 1 for each of
      them and 0 for the others.
    class_names: one name per class.
    name: the data set's name, for messages and the run card.
  """

  labels: np.ndarray
  class_names: tuple[str, ...]
  name: str

  @property
  def num_examples(self) -> int:
    return len(self.labels)

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  @property
  def multi_label(self) -> bool:
    """Whether an image may have any number of labels."""
    return self.labels.ndim == 2

  def classes_of(self, index: int) -> list[str]:
    """Returns the names of the classes of an example."""
    if self.multi_label:
      return [self.class_names[k] for k in np.flatnonzero(self.labels[index])]
    return [self.class_names[self.labels[index]]]

  def class_counts(self) -> list[int]:
    """Returns the number of examples of each class."""
    if self.multi_label:
      return self.labels.sum(axis=0, dtype=np.int64).tolist()
    return np.bincount(self.labels, minlength=self.num_classes).tolist()

  @property
  @abc.abstractmethod
  def image_shape(self) -> tuple[int | None, int | None, int]:
    """Height, width and channels; None if an image must be decoded first."""

  def place(self, index: int) -> str:
    """Returns the place and the class of an example, for a message."""
    names = ", ".join(self.classes_of(index)) or "none"
    return f"{self.place_of(index)} (class {names})"

  @abc.abstractmethod
  def place_of(self, index: int) -> str:
    """Returns the place of an example: its file, or its number."""

  @abc.abstractmethod
  def take(self: Self, indices: Sequence[int] | np.ndarray) -> Self:
    """Returns a source of some of the examples, in the order of `indices`.

    Args:
      indices: [examples] integers in [0, num_examples).
    """

  def require_sizes(
    self,
    *,
    image_size: int,
    random_resized_crop: bool = False,
    eval_resize: int = 0,
  ) -> None:
    """Checks that encoded images get a size, and that arrays keep theirs.

    Args:
      image_size: height and width that encoded images are brought to.
      random_resized_crop: whether training crops encoded images at random.
      eval_resize: length of an encoded image's shorter side in evaluation; 0
        or at least image_size.

    Raises:
      DataError: names the setting and the remedy.
    """
    if None not in self.image_shape:
      if image_size or random_resized_crop or eval_resize:
        raise DataError(
          "image_size, random_resized_crop and eval_resize are for encoded"
          f" images: leave them out for {self.name}, whose images are arrays"
          f" {list(self.image_shape)}"
        )
    elif image_size < 1:
      raise DataError(
        f"image_size must be given for {self.name}, as in 224, got {image_size}"
      )
    elif eval_resize and eval_resize < image_size:
      raise DataError(
        f"eval_resize must be 0 or at least image_size ({image_size}), got"
        f" {eval_resize}"
      )

  def split(
    self: Self, validation_fraction: float, *, seed: int = 0
  ) -> tuple[Self, Self]:
    """Splits the examples in two, each class in proportion.

    If images have any number of labels, each set of labels in proportion.

    Args:
      validation_fraction: of the examples, for the second part; in (0, 1).
      seed: of the split; not the run's, so that all runs share one split.

    Returns:
      The training source and the validation source, each in this order.

    Raises:
      DataError: the fraction is out of range, or leaves a part empty.
    """
    if not 0 < validation_fraction < 1:
      raise DataError(
        f"validation_fraction must be in (0, 1), got {validation_fraction}"
      )
    random = np.random.default_rng(seed)
    if self.multi_label:
      # Equal sets of labels in a row: equal steps take their share of each.
      shuffled = random.permutation(self.num_examples)
      ordered = shuffled[np.lexsort(self.labels[shuffled].T)]
      count = round(self.num_examples * validation_fraction)
      places = (np.arange(count) + random.random()) / validation_fraction
      validation = np.sort(ordered[places.astype(np.int64) % self.num_examples])
    else:
      held_out = []
      # Once over all labels, and not once for each of many classes.
      by_class = np.argsort(self.labels, kind="stable")
      ends = np.cumsum(self.class_counts())
      for members in np.split(by_class, ends[:-1]):
        # A class of one example stays in the training data.
        count = min(round(len(members) * validation_fraction), len(members) - 1)
        held_out.append(random.permutation(members)[: max(count, 0)])
      validation = np.sort(np.concatenate(held_out))
    if not len(validation):
      raise DataError(
        f"validation_fraction={validation_fraction} of {self.name} leaves no"
        f" example of {self.num_examples} to evaluate; raise it"
      )
    training = np.setdiff1d(np.arange(self.num_examples), validation)
    return self.take(training), self.take(validation)


@dataclasses.dataclass(frozen=True, eq=False)
class Source(LabelledImages):
  """Images in memory, checked once, when they enter.

  The arrays are read-only, so that every reader sees the same data and
  `fingerprint` stays true. `data.sources.arrays.from_arrays` converts arrays
  of another form.

  Attributes:
    images: [num_examples, height, width, channels] uint8.
    labels: as of `LabelledImages`.
    class_names: one name per class.
    name: the data set's name, for messages and the run card.

  Raises:
    DataError: the arrays have another form.

  >>> source = Source(
  ...   images=np.zeros([2, 8, 8, 1], np.uint8),
  ...   labels=np.array([0, 1], np.int32),
  ...   class_names=("cat", "dog"),
  ...   name="pets",
  ... )
  >>> source.num_examples, source.num_classes, source.image_shape
  (2, 2, (8, 8, 1))
  """

  images: np.ndarray
  labels: np.ndarray
  class_names: tuple[str, ...]
  name: str

  def __post_init__(self) -> None:
    images, labels = self.images, self.labels
    if images.dtype != np.uint8 or images.ndim != 4:
      raise DataError(
        f"images of {self.name} must be uint8 [examples, height, width,"
        f" channels], got {images.dtype} {list(images.shape)};"
        " data.sources.arrays.from_arrays converts"
      )
    if (labels.dtype, labels.ndim) not in ((np.int32, 1), (np.uint8, 2)):
      raise DataError(
        f"labels of {self.name} must be int32 [examples], got"
        f" {labels.dtype} {list(labels.shape)};"
        " data.sources.arrays.from_arrays converts"
      )
    if images.size == 0:
      raise DataError(
        f"images of {self.name} are empty: shape {list(images.shape)}"
      )
    if len(images) != len(labels):
      raise DataError(
        f"{self.name} has {len(images)} images and {len(labels)} labels;"
        " give one label per image"
      )
    check_labels(labels, len(self.class_names), self.name)
    object.__setattr__(self, "images", _read_only(images))
    object.__setattr__(self, "labels", _read_only(labels))
    object.__setattr__(self, "class_names", tuple(self.class_names))

  @property
  def image_shape(self) -> tuple[int, int, int]:
    height, width, channels = self.images.shape[1:]
    return height, width, channels

  def place_of(self, index: int) -> str:
    return f"example {index} of {self.name}"

  def take(self, indices: Sequence[int] | np.ndarray) -> Source:
    indices = np.asarray(indices, np.int64)
    return dataclasses.replace(
      self, images=self.images[indices], labels=self.labels[indices]
    )

  def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and standard deviation of each channel's pixels.

    They are exact, from a histogram of the 256 values, and so the same on every
    machine. The deviation of a constant channel is 1, so that normalising gives
    0.

    Returns:
      The means and the standard deviations, each [channels], in 0..255 units.
    """
    values = np.arange(256, dtype=np.float64)
    means, deviations = [], []
    for channel in range(self.image_shape[2]):
      counts = np.zeros(256, np.int64)
      for start in range(0, self.num_examples, 1024):
        pixels = self.images[start : start + 1024, ..., channel]
        counts += np.bincount(pixels.ravel(), minlength=256)
      mean = counts @ values / counts.sum()
      variance = counts @ (values - mean) ** 2 / counts.sum()
      means.append(float(mean))
      deviations.append(float(np.sqrt(variance)) or 1.0)
    return tuple(means), tuple(deviations)

  def fingerprint(self) -> str:
    """Returns the SHA-256 of shape, images, labels and class names, in hex."""
    digest = hashlib.sha256(
      repr((self.images.shape, self.class_names)).encode()
    )
    digest.update(self.images.data)
    kind = "u1" if self.multi_label else "<i4"
    digest.update(np.ascontiguousarray(self.labels, kind).data)
    return digest.hexdigest()


def require_folder(data_dir: str, dataset: str) -> None:
  """Checks that data_dir is a folder.

  Raises:
    DataError: it is not given, or no folder.
  """
  if not data_dir:
    raise DataError(
      f"data_dir must be given for dataset={dataset}: --data_dir=DIR"
    )
  if not os.path.isdir(data_dir):
    raise DataError(f"data_dir must be a folder, got {data_dir!r}")


def with_classes(source: Any, class_names: Sequence[str]) -> Any:
  """Numbers the classes of a source as a run does, by their names.

  Args:
    source: the examples; it may have fewer classes.
    class_names: of the run.

  Returns:
    The source, with other labels.

  Raises:
    DataError: a class is none of the run's; shows both lists.
  """
  if list(source.class_names) == list(class_names):
    return source
  # Older cards have names as macOS stores them, decomposed.
  numbers = {_composed(name): n for n, name in enumerate(class_names)}
  found = [_composed(name) for name in source.class_names]
  if not set(found) <= set(numbers):
    raise DataError(
      f"{source.name} must have the classes of the run, or some of them: "
      f"{', '.join(class_names)}; got {', '.join(source.class_names)}"
    )
  new = np.array([numbers[name] for name in found], np.int32)
  if source.multi_label:
    labels = np.zeros([source.num_examples, len(class_names)], np.uint8)
    labels[:, new] = source.labels
  else:
    labels = new[source.labels]
  return dataclasses.replace(
    source, labels=labels, class_names=tuple(class_names)
  )


def _composed(name: str) -> str:
  return unicodedata.normalize("NFC", name)


def check_labels(labels: np.ndarray, num_classes: int, name: str) -> None:
  """Checks that each label is in [0, num_classes), or that each row is 0 and 1.

  Raises:
    DataError: names the first label that is not, and its example.
  """
  if labels.ndim == 2:
    wrong = (labels > 1).any(axis=1)
    if labels.shape[1] != num_classes or wrong.any():
      example = int(np.argmax(wrong))
      raise DataError(
        f"labels of {name} must be rows of {num_classes} numbers, 1 for each"
        f" label of the image and 0 for the others, got {labels.shape[1]}"
        f" numbers, {labels[example][:5].tolist()}... at example {example}"
      )
    return
  if isinstance(labels, np.memmap):  # Of an index, which knows their range.
    return
  outside = (labels < 0) | (labels >= num_classes)
  if outside.any():
    example = int(np.argmax(outside))
    raise DataError(
      f"labels of {name} must be in [0, {num_classes}), got"
      f" {labels[example]} at example {example}"
    )


def _read_only(array: np.ndarray) -> np.ndarray:
  view = np.ascontiguousarray(array).view()
  view.flags.writeable = False
  return view
