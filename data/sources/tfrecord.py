# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""TFRecord files of images, in ImageNet's layout.

    DIR/train-00000-of-01024, ... and DIR/validation-00000-of-00128, ...

Each record is a `tf.train.Example` with the features `image/encoded` and
`image/class/label`. `--mode=convert` writes the same layout, with an index and
the names of the classes beside it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence

import numpy as np

from data.errors import DataError
from data.names import TRAIN, VALIDATION, split_of
from data.sources import record_index, splits
from data.sources.encoded import EncodedSource, Records
from data.sources.record_index import Index
from data.sources.source import require_folder

IMAGE_FEATURE = "image/encoded"
LABEL_FEATURE = "image/class/label"
CLASS_NAMES_FILE = "class_names.txt"
_MAX_CLASSES = 1 << 20
_NUMBERED = re.compile(r"-(\d+)-of-(\d+)")


def load(
  data_dir: str,
  *,
  label_offset: int = 0,
  validation_fraction: float = 0.0,
  channels: int = 3,
  eval_split: str = splits.AUTO,
) -> tuple[EncodedSource, EncodedSource]:
  """Loads a folder of TFRecord files.

  Args:
    data_dir: the folder.
    label_offset: the label of the first class; 1 in ImageNet's files.
    validation_fraction: part of the training examples that is held out for
      evaluation, equally from each class; 0 if there are files for that.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.
    eval_split: see `splits.to_evaluate`.

  Returns:
    The training source and the validation source.

  Raises:
    DataError: names the file and its fault.
  """
  require_folder(data_dir, "tfrecord")
  train_shards = find_shards(data_dir, TRAIN)
  if not train_shards:
    raise DataError(f"{data_dir} has no file train-00000-of-...")
  names = read_class_names(os.path.join(data_dir, CLASS_NAMES_FILE))
  train = _source(data_dir, TRAIN, train_shards, names, label_offset, channels)
  found: dict[str, tuple[str, list[str]]] = {}
  for part in VALIDATION:
    shards = find_shards(data_dir, part)
    if shards:
      found.setdefault(split_of(part) or "", (part, shards))
  chosen = splits.to_evaluate(
    tuple(found),
    data_dir,
    eval_split=eval_split,
    validation_fraction=validation_fraction,
  )
  names = train.class_names
  if validation_fraction:
    train, held_out = train.split(validation_fraction)
    if chosen is None:
      return train, held_out
  part, shards = found[chosen or ""]
  return train, _source(data_dir, part, shards, names, label_offset, channels)


def find_shards(folder: str, part: str) -> list[str]:
  """Returns the paths of a part's TFRecord files, in order.

  Raises:
    DataError: a file is missing from those that the names count.
  """
  pattern = re.compile(re.escape(part) + r"(-\d+-of-\d+)?(\.tfrecords?)?$")
  names = sorted(
    entry.name
    for entry in os.scandir(folder)
    if pattern.fullmatch(entry.name) and entry.is_file()
  )
  numbers = [match.groups() for match in map(_NUMBERED.search, names) if match]
  if numbers:
    total = int(numbers[0][1])
    missing = set(range(total)) - {int(number) for number, _ in numbers}
    if missing or len(names) != total:
      raise DataError(
        f"{folder} must hold {total} {part} files, got {len(names)}"
        + (f": number {min(missing)} is missing" if missing else "")
      )
  return [os.path.join(folder, name) for name in names]


def index_path(folder: str, part: str) -> str:
  """Returns the path at which `--mode=convert` writes the index of a part."""
  return os.path.join(folder, f"{part}.index.npz")


def read_index(folder: str, part: str, shards: Sequence[str]) -> Index:
  """Reads the index beside a part's files, and checks it against them.

  Raises:
    DataError: the index is missing, damaged, or of other files.
  """
  sizes = np.array([os.path.getsize(shard) for shard in shards], np.int64)
  return record_index.read(index_path(folder, part), sizes)


def read_class_names(path: str) -> tuple[str, ...] | None:
  """Reads the names of the classes, one per line; None if there is no file.

  Raises:
    DataError: the file is not a list of different names in UTF-8.
  """
  if os.path.exists(path) and not os.path.isfile(path):
    raise DataError(f"{path} must be a file of names")
  try:
    with open(path, encoding="utf-8") as file:
      names = tuple(file.read().splitlines())
  except FileNotFoundError:
    return None
  except UnicodeDecodeError as error:
    raise DataError(f"{path} must be UTF-8: {error}") from error
  if not names or not all(names) or len(set(names)) != len(names):
    raise DataError(f"{path} must hold one name per line, each once")
  return names


def from_index(
  shards: Sequence[str],
  index: Index,
  class_names: tuple[str, ...] | None,
  *,
  name: str,
  channels: int,
  label_offset: int = 0,
  image_feature: str = IMAGE_FEATURE,
) -> EncodedSource:
  """Makes a source of TFRecord files and their index.

  Args:
    shards: the files.
    index: of these files.
    class_names: one name per class; None names them "0", "1", ...
    name: the data set's name, for messages.
    channels: 1 or 3.
    label_offset: the label of the first class.
    image_feature: the feature that holds the encoded image.

  Raises:
    DataError: there is no record, or a label is out of range.
  """
  if not len(index.label):
    raise DataError(f"{shards[0]} and the files beside it hold no record")
  limit = len(class_names) if class_names else _MAX_CLASSES
  least, greatest = (label - label_offset for label in index.label_range())
  if least < 0 or greatest >= limit:
    labels = index.label
    outside = int(
      np.argmax((labels < label_offset) | (labels >= limit + label_offset))
    )
    raise DataError(
      f"{shards[index.shard[outside]]}: labels must be in [{label_offset},"
      f" {limit + label_offset}), got {labels[outside]} at byte"
      f" {index.offset[outside]}; label_offset={label_offset} is the label of"
      " the first class, 1 in ImageNet's files"
    )
  if class_names is None:
    class_names = tuple(str(n) for n in range(greatest + 1))
  labels = index.label - label_offset if label_offset else index.label
  if labels.dtype != np.int32:
    labels = labels.astype(np.int32)
  return EncodedSource(
    examples=Records(tuple(shards), index.shard, index.offset, image_feature),
    labels=labels,
    class_names=class_names,
    name=name,
    channels=channels,
    content=index.content([os.path.basename(shard) for shard in shards]),
    num_bytes=int(index.sizes.sum()),
    place_and_time=_place_and_time(shards),
  )


def _place_and_time(shards: Sequence[str]) -> str:
  """Returns a hash of where files lie, and of when they changed."""
  digest = hashlib.sha256()
  for shard in shards:
    line = f"{os.path.abspath(shard)} {os.stat(shard).st_mtime_ns}\n"
    digest.update(line.encode("utf-8", "surrogateescape"))
  return digest.hexdigest()


def _source(
  folder: str,
  part: str,
  shards: list[str],
  class_names: tuple[str, ...] | None,
  label_offset: int,
  channels: int,
) -> EncodedSource:
  if os.path.isfile(index_path(folder, part)):
    index = read_index(folder, part, shards)
  else:
    index = record_index.of_shards(shards, LABEL_FEATURE)
  return from_index(
    shards,
    index,
    class_names,
    name="tfrecord",
    channels=channels,
    label_offset=label_offset,
  )
