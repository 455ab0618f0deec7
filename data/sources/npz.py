# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A NumPy archive of images and labels.

The arrays may be called as Keras calls them (`x_train`, `y_train`, `x_test`,
`y_test`), as MedMNIST does (`train_images`, `train_labels`, `test_images`,
`test_labels`), or `images` and `labels`, a part of which is held out.
"""

from __future__ import annotations

import os
import zipfile
import zlib

import numpy as np

from data.errors import DataError
from data.sources import arrays
from data.sources.idx import DEFLATE_RATIO, require_free_memory
from data.sources.source import Source

_PAIRS = (
  ("x_train", "y_train", "x_test", "y_test"),
  ("train_images", "train_labels", "test_images", "test_labels"),
)
_WHOLE = ("images", "labels")


def load(
  path: str, *, validation_fraction: float = 0.0
) -> tuple[Source, Source]:
  """Loads a NumPy archive, and refuses pickled objects without reading them.

  Args:
    path: the .npz file.
    validation_fraction: part of `images` that is held out for evaluation,
      equally from each class; 0 if the archive has test arrays.

  Returns:
    The training source and the test source.

  Raises:
    DataError: names the file and its fault.
  """
  if not path:
    raise DataError("data_dir must be given for dataset=npz: --data_dir=FILE")
  if not os.path.isfile(path):
    raise DataError(f"data_dir must be an .npz file, got {path!r}")
  found = read_arrays(path)
  for names in _PAIRS:
    if set(names) <= set(found):
      if validation_fraction:
        raise DataError(
          f"validation_fraction must be 0 if {path} has {names[2]}, got"
          f" {validation_fraction}"
        )
      return _pair([found[name] for name in names])
  if not set(_WHOLE) <= set(found):
    known = "; ".join(", ".join(names) for names in (*_PAIRS, _WHOLE))
    raise DataError(
      f"{path} must hold the arrays {known}, got"
      f" {', '.join(sorted(found)) or 'none'}"
    )
  if not validation_fraction:
    raise DataError(
      f"validation_fraction must be above 0 if {path} has no test arrays"
    )
  whole = arrays.from_arrays(found["images"], found["labels"], name="npz")
  return whole.split(validation_fraction)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads the arrays of a NumPy archive.

  An array that declares more bytes than the archive can hold is refused before
  memory is allocated.

  Args:
    path: the .npz file.

  Returns:
    The arrays by name.

  Raises:
    DataError: names the file and its fault.
  """
  if not os.path.isfile(path):
    raise DataError(f"{os.fspath(path)} is missing or no file")
  try:
    _check_sizes(path)
    with np.load(path, allow_pickle=False) as archive:
      if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{os.fspath(path)} holds one array, not an archive")
      return {name: archive[name] for name in archive.files}
  except DataError:
    raise
  except (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise DataError(
      f"{os.fspath(path)} is not a NumPy archive of plain arrays: {error}"
    ) from error


def _check_sizes(path: str | os.PathLike[str]) -> None:
  with zipfile.ZipFile(path) as archive:
    require_free_memory(sum(each.file_size for each in archive.infolist()))
    for member in archive.infolist():
      if member.file_size > DEFLATE_RATIO * max(member.compress_size, 1) + 64:
        raise DataError(
          f"{os.fspath(path)}: {member.filename!r} declares {member.file_size}"
          f" bytes, more than its {member.compress_size} can hold"
        )


def _pair(found: list[np.ndarray]) -> tuple[Source, Source]:
  images, labels, test_images, test_labels = found
  train = arrays.from_arrays(images, labels, name="npz")
  test = arrays.from_arrays(
    test_images, test_labels, class_names=train.class_names, name="npz"
  )
  if train.image_shape != test.image_shape:
    raise DataError(
      f"images of npz must have one shape, got {train.image_shape} for training"
      f" and {test.image_shape} for testing"
    )
  return train, test
