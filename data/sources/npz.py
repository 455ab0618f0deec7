# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A NumPy archive of images and labels.

The arrays may be called as Keras calls them (`x_train`, `y_train`, `x_test`,
`y_test`; and `x_val`, `y_val`), as MedMNIST does (`train_images`,
`train_labels`, `val_images`, `val_labels`, `test_images`, `test_labels`), or
`images` and `labels`, a part of which is held out.
"""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib

import numpy as np

from data.errors import DataError
from data.sources import arrays, splits
from data.sources.idx import DEFLATE_RATIO, require_free_memory
from data.sources.source import Source

# The names of the images and the labels of each split.
_SPLITS: tuple[dict[str, tuple[str, str]], ...] = (
  {
    splits.TRAIN: ("x_train", "y_train"),
    splits.VALIDATION: ("x_val", "y_val"),
    splits.TEST: ("x_test", "y_test"),
  },
  {
    splits.TRAIN: ("train_images", "train_labels"),
    splits.VALIDATION: ("val_images", "val_labels"),
    splits.TEST: ("test_images", "test_labels"),
  },
)
_WHOLE = ("images", "labels")


def load(
  path: str,
  *,
  validation_fraction: float = 0.0,
  eval_split: str = splits.AUTO,
  multi_label: bool = False,
) -> tuple[Source, Source]:
  """Loads a NumPy archive, and refuses pickled objects without reading them.

  Args:
    path: the .npz file.
    validation_fraction: part of `images` that is held out for evaluation,
      equally from each class; 0 if the archive has arrays for that.
    eval_split: see `splits.to_evaluate`.
    multi_label: whether labels are [examples, classes], 1 for each label of an
      image.

  Returns:
    The training source and the source to evaluate.

  Raises:
    DataError: names the file and its fault.
  """
  if not path:
    raise DataError("data_dir must be given for dataset=npz: --data_dir=FILE")
  if not os.path.isfile(path):
    raise DataError(f"data_dir must be an .npz file, got {path!r}")
  found = read_arrays(path)
  for spelling in _SPLITS:
    parts = {
      split: (found[names[0]], found[names[1]])
      for split, names in spelling.items()
      if set(names) <= set(found)
    }
    if splits.TRAIN in parts:
      break
  else:
    if not set(_WHOLE) <= set(found):
      known = [names for each in _SPLITS for names in each.values()]
      listed = "; ".join(", ".join(names) for names in (*known, _WHOLE))
      raise DataError(
        f"{path} must hold the arrays {listed}, got"
        f" {', '.join(sorted(found)) or 'none'}"
      )
    parts = {splits.TRAIN: (found["images"], found["labels"])}
  train = arrays.from_arrays(
    *parts.pop(splits.TRAIN), multi_label=multi_label, name="npz"
  )
  chosen = splits.to_evaluate(
    tuple(parts),
    path,
    eval_split=eval_split,
    validation_fraction=validation_fraction,
  )
  whole = train
  if validation_fraction:
    train, held_out = whole.split(validation_fraction)
    if chosen is None:
      return train, held_out
  return train, _of_same_kind(parts[chosen or ""], whole)


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
    tokenize.TokenError,
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


def _of_same_kind(
  images_and_labels: tuple[np.ndarray, np.ndarray], train: Source
) -> Source:
  """Returns the source to evaluate, of the training images' shape."""
  held_out = arrays.from_arrays(
    *images_and_labels,
    class_names=train.class_names,
    multi_label=train.multi_label,
    name="npz",
  )
  if train.image_shape != held_out.image_shape:
    raise DataError(
      f"images of npz must have one shape, got {train.image_shape} for training"
      f" and {held_out.image_shape} for evaluation"
    )
  return held_out
