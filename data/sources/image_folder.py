# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A folder of images, with a folder for each class.

    DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg (or validation, or test)
    DIR/CLASS/*.jpg, a part of which is held out for evaluation

Images in folders within a class's folder belong to that class.
"""

from __future__ import annotations

import os

import numpy as np
from absl import logging

from data.errors import DataError
from data.names import TRAIN, VALIDATION
from data.sources.encoded import EncodedSource
from data.sources.image_files import EXTENSIONS, from_files
from data.sources.source import require_folder


def load(
  data_dir: str, *, validation_fraction: float = 0.0, channels: int = 3
) -> tuple[EncodedSource, EncodedSource]:
  """Loads a folder of images.

  Args:
    data_dir: the folder.
    validation_fraction: part of the training images that is held out for
      evaluation, equally from each class; 0 if the folder has a part for that.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.

  Returns:
    The training source and the validation source; classes sorted by name.

  Raises:
    DataError: names the folder and the remedy.
  """
  require_folder(data_dir, "image_folder")
  train_dir = os.path.join(data_dir, TRAIN)
  parts = [part for part in VALIDATION if _has_folder(data_dir, part)]
  if not os.path.isdir(train_dir):
    train_dir, parts = data_dir, []
  if bool(parts) == bool(validation_fraction):
    raise DataError(_remedy(data_dir, parts, validation_fraction))
  if len(parts) > 1:
    raise DataError(
      f"{data_dir} has the folders {' and '.join(parts)}: keep one of them"
    )
  train = _load_part(train_dir, None, channels)
  if validation_fraction:
    return train.split(validation_fraction)
  held_out = os.path.join(data_dir, parts[0])
  return train, _load_part(held_out, train.class_names, channels)


def load_whole(data_dir: str, *, channels: int = 3) -> EncodedSource:
  """Loads all images of a folder of classes, for evaluation.

  Args:
    data_dir: the folder; it has no parts.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.

  Raises:
    DataError: names the folder and the remedy.
  """
  require_folder(data_dir, "image_folder")
  return _load_part(data_dir, None, channels)


def _has_folder(data_dir: str, name: str) -> bool:
  return os.path.isdir(os.path.join(data_dir, name))


def _remedy(data_dir: str, parts: list[str], fraction: float) -> str:
  if parts:
    return (
      f"validation_fraction must be 0 if {data_dir} has the folder {parts[0]}"
      f" for evaluation, got {fraction}"
    )
  return (
    f"{data_dir} has no folder train beside one of {', '.join(VALIDATION)}: set"
    " --validation_fraction, as in 0.1, to evaluate a part of its images"
  )


def _load_part(
  folder: str, class_names: tuple[str, ...] | None, channels: int
) -> EncodedSource:
  """Loads the classes of a folder: those of `class_names`, if it is given."""
  found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
  names = class_names if class_names is not None else tuple(found)
  unknown = sorted(set(found) - set(names))
  if unknown:
    raise DataError(
      f"{os.path.join(folder, unknown[0])} is no class of the training"
      f" data: rename or remove it (classes: {_some(names)})"
    )
  paths: list[str] = []
  labels: list[int] = []
  for label, name in enumerate(names):
    files = _image_paths(folder, name)
    if not files and class_names is None:
      raise DataError(
        f"{os.path.join(folder, name)} holds no image ({' '.join(EXTENSIONS)})"
        " but counts as a class: remove it, or add images"
      )
    paths += files
    labels += [label] * len(files)
  if not paths:
    raise DataError(
      f"{folder} must hold a folder of images for each class, got none"
    )
  return from_files(
    paths,
    np.array(labels, np.int32),
    names,
    root=folder,
    name="image_folder",
    channels=channels,
  )


def _image_paths(root: str, class_name: str) -> list[str]:
  """Returns the images under a class's folder, relative to root, sorted."""
  paths, others = [], 0
  top = os.path.join(root, class_name)
  for folder, _, files in os.walk(top, followlinks=True):
    inner = os.path.relpath(folder, root)
    for file in files:
      if file.startswith("."):
        continue
      if file.lower().endswith(EXTENSIONS):
        paths.append(f"{inner}{os.sep}{file}")  # os.path.join is slow.
      else:
        others += 1
  if others:
    logging.warning(
      "%s: %d files without an image's ending are left out", top, others
    )
  return sorted(paths)


def _some(names: tuple[str, ...]) -> str:
  shown = ", ".join(names[:10])
  return shown if len(names) <= 10 else f"{shown}, ... ({len(names)})"
