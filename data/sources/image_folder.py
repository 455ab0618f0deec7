# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A folder of images, with a folder for each class.

    DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg (or test, or both)
    DIR/CLASS/*.jpg, a part of which is held out for evaluation

Images in folders within a class's folder belong to that class. Splits are told
by the names in `data.names.SPLITS`, in any case. A folder that is a level too
high or too low is refused with the one that was meant.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence

import numpy as np
from absl import logging

from data.errors import DataError
from data.names import split_of
from data.sources import classes, image_files, splits
from data.sources.encoded import EncodedSource
from data.sources.image_files import EXTENSIONS
from data.sources.source import require_folder

_HELD_OUT = (splits.VALIDATION, splits.TEST)


def load(
  data_dir: str,
  *,
  validation_fraction: float = 0.0,
  channels: int = 3,
  eval_split: str = splits.AUTO,
  class_names: Sequence[str] | None = None,
) -> tuple[EncodedSource, EncodedSource]:
  """Loads a folder of images.

  Args:
    data_dir: the folder.
    validation_fraction: part of the training images that is held out for
      evaluation, equally from each class; 0 if the folder has a split for that.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.
    eval_split: see `splits.to_evaluate`.
    class_names: those of a run, whose order the classes keep if they are the
      same; None sorts them, as numbers if all are.

  Returns:
    The training source and the validation source.

  Raises:
    DataError: names the folder and the remedy.
  """
  require_folder(data_dir, "image_folder")
  found = _splits(data_dir)
  train_dir = found.get(splits.TRAIN, data_dir)
  chosen = splits.to_evaluate(
    [split for split in _HELD_OUT if split in found],
    data_dir + _meant_above(data_dir, found),
    eval_split=eval_split,
    validation_fraction=validation_fraction,
  )
  train = _load_split(train_dir, None, channels, class_names)
  if train.num_classes < 2:
    raise DataError(
      f"{train_dir} must hold at least two classes to tell apart, got only the"
      f" folder {train.class_names[0]}"
    )
  if validation_fraction:
    train, held_out = train.split(validation_fraction)
    if chosen is None:
      return train, held_out
  return train, _load_split(found[chosen or ""], train.class_names, channels)


def load_whole(data_dir: str, *, channels: int = 3) -> EncodedSource:
  """Loads all images of a folder of classes, for evaluation.

  Args:
    data_dir: the folder; it has no splits.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.

  Raises:
    DataError: names the folder and the remedy.
  """
  require_folder(data_dir, "image_folder")
  return _load_split(data_dir, None, channels)


def _splits(data_dir: str) -> dict[str, str]:
  """Returns the folder of each split; none if the folder holds classes.

  Raises:
    DataError: another folder was meant, or the splits are not clear.
  """
  names = image_files.folders(data_dir)
  named = [name for name in names if split_of(name)]
  # A class may be called test or train, and holds its images directly.
  deep = [name for name in named if image_files.folders(data_dir, name)]
  others = [name for name in names if name not in deep]
  if named and not deep and len(named) == len(names):
    raise DataError(
      f"{data_dir} has the folders {' and '.join(named)}, but no folder for"
      " each class in them: make one, as in train/cat, or list the images in a"
      " table (--dataset=csv)"
    )
  found: dict[str, str] = {}
  for name in deep:
    split = split_of(name) or ""
    if split in found:
      raise DataError(
        f"{data_dir} has the folders {os.path.basename(found[split])} and"
        f" {name} for {split}: keep one of them"
      )
    found[split] = os.path.join(data_dir, name)
  if found and splits.TRAIN not in found:
    for name in named:
      if split_of(name) == splits.TRAIN:
        _require_classes(os.path.join(data_dir, name), [])
    raise DataError(
      f"{data_dir} has the folder {deep[0]} of a split, but no folder train"
      " beside it: move the training images into one, or rename it"
    )
  if not found:
    _require_classes(data_dir, names)
  elif others:
    logging.warning(
      "%s: left out, for they are no split: %s", data_dir, _some(others)
    )
  for split, folder in found.items():
    if split == splits.TRAIN:
      _require_classes(folder, image_files.folders(folder))
  real = {os.path.realpath(folder) for folder in found.values()}
  if len(real) < len(found):
    logging.warning("%s: two splits are links to one folder", data_dir)
  return found


def _require_classes(folder: str, names: list[str]) -> None:
  """Raises if the folders in a folder are no classes."""
  if not names:
    has_images = image_files.find(folder, [""]).paths[0]
    meant = _parent_of_classes(folder) if has_images else ""
    raise DataError(
      f"{folder} must hold a folder of images for each class, got none"
      + (f": did you mean --data_dir={meant}?" if meant else "")
    )
  divided = [name for name in names if _has_splits(os.path.join(folder, name))]
  if len(divided) > 1:
    inner = os.path.join(folder, divided[0])
    raise DataError(
      f"{inner} has splits of its own, as have {len(divided) - 1} folders"
      " beside it: put the classes into one folder train and one folder val, or"
      f" take one of them, as in --data_dir={inner}"
    )
  meant = os.path.join(folder, divided[0]) if divided else ""
  if len(names) == 1 and not meant:
    meant = os.path.join(folder, names[0])
    while len(below := image_files.folders(meant)) == 1:
      meant = os.path.join(meant, below[0])
    meant = meant if below else ""
  if meant:
    shown = _some(image_files.folders(meant))
    raise DataError(
      f"{folder} is too high: {meant} has the folders {shown}; did you mean"
      f" --data_dir={meant}?"
    )


def _has_splits(folder: str) -> bool:
  """Returns whether a folder has one to train on, and one to evaluate."""
  found = {split_of(name) for name in image_files.folders(folder)}
  return splits.TRAIN in found and bool(found & {*_HELD_OUT})


def _parent_of_classes(folder: str) -> str:
  """Returns the folder that was meant by one with the images of a class."""
  parent, _ = os.path.split(os.path.abspath(folder))
  above, name = os.path.split(parent)
  return above if split_of(name) and _has_splits(above) else parent


def _meant_above(data_dir: str, found: dict[str, str]) -> str:
  """Returns words on the folder above, if data_dir is one of its splits."""
  above, name = os.path.split(os.path.abspath(data_dir))
  if found or not split_of(name) or not _has_splits(above):
    return ""
  logging.warning(
    "%s is a split of %s: --data_dir=%s trains on train alone",
    *(data_dir, above, above),
  )
  return f" (a split; the whole is --data_dir={above})"


def _load_split(
  folder: str,
  class_names: tuple[str, ...] | None,
  channels: int,
  known: Sequence[str] | None = None,
) -> EncodedSource:
  """Loads the classes of a folder: those of `class_names`, if it is given."""
  tops = _class_folders(folder)
  if not tops:
    raise DataError(
      f"{folder} must hold a folder of images for each class, got none"
    )
  names = class_names or _names(tops, known)
  composed = {unicodedata.normalize("NFC", name): name for name in names}
  unknown = sorted(set(tops) - set(composed))
  if unknown:
    raise DataError(
      f"{os.path.join(folder, tops[unknown[0]])} is no class of the training"
      f" data: rename or remove it (classes: {_some(names)})"
    )
  present = [name for name in composed if name in tops]
  found = image_files.find(folder, [tops[name] for name in present])
  paths: list[str] = []
  labels: list[int] = []
  numbers = {name: number for number, name in enumerate(composed)}
  for name, files in zip(present, found.paths):
    if not files and class_names is None:
      raise DataError(
        f"{os.path.join(folder, tops[name])} holds no image"
        f" ({' '.join(EXTENSIONS)}){found.why_empty(tops[name])} but counts as"
        " a class: remove it, or add images"
      )
    paths += files
    labels += [numbers[name]] * len(files)
  if not paths:
    raise DataError(f"{folder} holds no image ({' '.join(EXTENSIONS)})")
  notes = found.notes(folder)
  for note in notes:
    logging.info("%s", note)
  return image_files.from_files(
    paths,
    np.array(labels, np.int32),
    names,
    root=folder,
    name="image_folder",
    channels=channels,
    notes=notes,
  )


def _class_folders(folder: str) -> dict[str, str]:
  """Returns the name of each class's folder by the class's name.

  Raises:
    DataError: two folders have one name, or a name is no UTF-8.
  """
  tops: dict[str, str] = {}
  for top in image_files.folders(folder):
    name = classes.normalized(top, os.path.join(folder, top))
    if name in tops:
      raise DataError(
        f"{folder} has two folders called {name}, which differ in how accents"
        " are stored: keep one of them"
      )
    tops[name] = top
  return tops


def _names(
  tops: dict[str, str], known: Sequence[str] | None
) -> tuple[str, ...]:
  """Returns the classes in order: that of a run, if it has the same."""
  names = classes.in_order(tops)
  spelled = [unicodedata.normalize("NFC", name) for name in known or ()]
  if known is not None and sorted(spelled) == sorted(names):
    return tuple(known)
  return names


def _some(names: Sequence[str]) -> str:
  shown = ", ".join(names[:10])
  return shown if len(names) <= 10 else f"{shown}, ... ({len(names)})"
