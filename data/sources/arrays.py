# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A source made of arrays that a program already has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import logging

from data.errors import DataError
from data.sources.source import Source, check_labels

# A larger label is an identifier of something, not the number of a class.
_MAX_CLASSES = 1 << 20


def from_arrays(
  images: np.ndarray,
  labels: np.ndarray,
  *,
  class_names: Sequence[str] | None = None,
  multi_label: bool = False,
  name: str = "arrays",
) -> Source:
  """Makes a source of images and labels, after checking them.

  Args:
    images: [examples, height, width, channels] or [examples, height, width],
      any integer or float dtype, values in 0..255. Floats are rounded to the
      nearest integer. Floats that never exceed 1 are refused: they are scaled
      to 0..1 already, and rounding would leave nothing of them.
    labels: [examples] or [examples, 1], integers (or whole floats) in
      [0, num_classes); with multi_label [examples, num_classes], true or 1 for
      each label of an image, and false or 0 for the others.
    class_names: one name per class; None names the classes "0", "1", ... up to
      the highest label.
    multi_label: whether an image may have any number of labels.
    name: the data set's name, for messages.

  Returns:
    The source; its images are uint8, its labels int32.

  Raises:
    DataError: names the array, the value and the remedy.

  >>> images = np.full([3, 4, 4], 254.6)
  >>> source = from_arrays(images, np.array([0, 2, 1]))
  >>> source.image_shape, source.num_classes, int(source.images.max())
  ((4, 4, 1), 3, 255)
  """
  images, labels = np.asarray(images), np.asarray(labels)
  if images.ndim == 3:
    images = images[..., np.newaxis]
  if images.ndim != 4:
    raise DataError(
      f"images of {name} must be [examples, height, width, channels] or"
      f" [examples, height, width], got {list(images.shape)}"
    )
  _require_channels_last(images.shape, name)
  if images.size == 0:
    raise DataError(f"images of {name} are empty: shape {list(images.shape)}")
  labels = (_rows if multi_label else _int32_labels)(labels, name)
  if len(images) != len(labels):
    raise DataError(
      f"{name} has {len(images)} images and {len(labels)} labels;"
      " give one label per image"
    )
  if class_names is None:
    class_names = _numbered(labels, name)
  return Source(
    images=_uint8_images(images, name),
    labels=labels,
    class_names=tuple(class_names),
    name=name,
  )


def _require_channels_last(shape: tuple[int, ...], name: str) -> None:
  """Raises if the images look like PyTorch's: gray or RGB, channels first."""
  _, first, height, width = shape
  if first in (1, 3) and first < height == width:
    raise DataError(
      f"images of {name} must be [examples, height, width, channels], got"
      f" {list(shape)}, channels first; np.moveaxis(images, 1, -1) puts them"
      " last"
    )


def _numbered(labels: np.ndarray, name: str) -> list[str]:
  """Returns the classes up to the highest label, named by their numbers."""
  if labels.ndim == 2:
    return [str(label) for label in range(labels.shape[1])]
  count, found = int(labels.max()) + 1, len(np.unique(labels))
  missing = count - found
  if missing > found:
    raise DataError(
      f"labels of {name} must number the classes 0, 1, 2 and so on, got"
      f" {missing} of {count} classes without an example;"
      " np.unique(labels, return_inverse=True)[1] numbers them"
    )
  if missing:
    logging.warning(
      "%d of the %d classes of %s have no example", missing, count, name
    )
  return [str(label) for label in range(count)]


def _uint8_images(images: np.ndarray, name: str) -> np.ndarray:
  if images.dtype == np.uint8:
    return images
  if images.dtype.kind not in "iuf":
    raise DataError(
      f"images of {name} must be integers or floats, got {images.dtype}"
    )
  lowest, highest = images.min(), images.max()
  if not (lowest >= 0 and highest <= 255):  # NaN compares false.
    raise DataError(
      f"images of {name} must be in 0..255, got {lowest} to {highest};"
      " scale or clip them first"
    )
  if images.dtype.kind != "f":
    return images.astype(np.uint8)
  if 0 < highest <= 1:
    raise DataError(
      f"images of {name} must be in 0..255, got floats from {lowest} to"
      f" {highest}; multiply them by 255"
    )
  return np.rint(images).astype(np.uint8)


def _rows(labels: np.ndarray, name: str) -> np.ndarray:
  """Returns rows of 0 and 1 as uint8."""
  if labels.ndim != 2:
    raise DataError(
      f"labels of {name} must be [examples, classes] with task=multi_label, 1"
      f" for each label of an image, got {list(labels.shape)}"
    )
  if not np.isin(labels, (0, 1)).all():
    raise DataError(
      f"labels of {name} must be 0 and 1 with task=multi_label, got"
      f" {labels.dtype} from {labels.min()} to {labels.max()}"
    )
  return labels.astype(np.uint8)


def _int32_labels(labels: np.ndarray, name: str) -> np.ndarray:
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim != 1:
    raise DataError(
      f"labels of {name} must be class numbers [examples], got"
      f" {list(labels.shape)}; np.argmax(labels, axis=-1) turns one-hot rows"
      " into class numbers; or set task=multi_label"
    )
  whole = labels.dtype.kind in "iu" or (
    labels.dtype.kind == "f"
    and bool(np.all(np.isfinite(labels)))
    and bool(np.all(labels == np.rint(labels)))
  )
  if not whole:
    raise DataError(
      f"labels of {name} must be whole numbers, got {labels.dtype}"
      f" {labels[:3].tolist()}..."
    )
  check_labels(labels, _MAX_CLASSES, name)
  return labels.astype(np.int32)
