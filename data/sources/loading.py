# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads a data set by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from data.errors import DataError
from data.fields import check, setting
from data.images.formats import (
  ACCURATE,
  APPLY,
  EXIF_ORIENTATIONS,
  FAST,
  IGNORE,
  JPEG_DCTS,
  Decoding,
)
from data.names import DATASETS, EVAL_SPLITS, TASKS
from data.sources.encoded import AnySource, EncodedSource

# The options that each data set uses; the others must be left out.
_FILES = (
  *("data_dir", "validation_fraction", "eval_split"),
  *("image_channels", "exif_orientation", "jpeg_dct"),
)
_USED = {
  "fashion_mnist": ("data_dir",),
  "digits": (),
  "synthetic": (),
  "image_folder": _FILES,
  "csv": (*_FILES, "labels", "task"),
  "tfrecord": (*_FILES, "label_offset"),
  "npz": ("data_dir", "validation_fraction", "eval_split", "task"),
  "tfds": (*_FILES, "task"),
}


@dataclasses.dataclass(frozen=True)
class SourceOptions:
  """A data set's name, and how it is loaded.

  Raises:
    DataError: the name is unknown, or an option is out of range or not used by
      the data set.
  """

  dataset: str = setting(
    "fashion_mnist", f"The data to train on: one of {', '.join(DATASETS)}."
  )
  data_dir: str = setting(
    "",
    "The folder or file that holds the data. Without it, fashion_mnist looks "
    "in the system's folders and in the cache, and downloads if it must. Mode "
    "eval takes another folder of the same classes too: all of DIR/CLASS, "
    "or the part for evaluation.",
    path=True,
  )
  labels: str = setting(
    "",
    "The table of image paths and labels, a CSV file, for dataset csv.",
    path=True,
  )
  task: str = setting(
    TASKS[0],
    "Whether an image has a single_label, or multi_label, any number of them, "
    "for datasets csv, npz and tfds.",
    choices=TASKS,
  )
  label_offset: int = setting(
    0,
    "The label of the first class, for dataset tfrecord; 1 in ImageNet's "
    "files.",
    low=0,
    high=2**31 - 1,
  )
  validation_fraction: float = setting(
    0.0,
    "The part of the training images, taken equally from each class, that is "
    "held out for evaluation; for data without a part of their own for that.",
    low=0.0,
    high=1.0,
    open_high=True,
  )
  eval_split: str = setting(
    "auto",
    "Which split of the data is evaluated, if they have two for that: "
    "validation, test, or auto, which is validation if there is one. Mode eval "
    "may take another one than the run.",
    choices=EVAL_SPLITS,
  )
  image_channels: int = setting(
    3, "What encoded images become: 1 is gray, 3 is RGB.", low=1, high=3
  )
  exif_orientation: str = setting(
    APPLY,
    "Turn encoded images upright, as the EXIF orientation says that a camera "
    "wrote into them; or ignore it.",
    choices=EXIF_ORIENTATIONS,
  )
  jpeg_dct: str = setting(
    ACCURATE,
    "How the cosine transform of a JPEG is undone: accurate, with the colours "
    "that Pillow gives; or fast, TensorFlow's default, as runs of older builds "
    "were trained.",
    choices=JPEG_DCTS,
  )

  def __post_init__(self) -> None:
    check(self)
    kind, _, name = self.dataset.partition(":")
    if kind not in _USED or bool(name) != (kind == "tfds"):
      raise DataError(
        f"dataset must be one of {', '.join(DATASETS)}, got {self.dataset!r}"
      )
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value != field.default and field.name not in ("dataset", *_USED[kind]):
        raise DataError(
          f"{field.name} must be left out for dataset={kind}, which does not"
          f" use it, got {value!r}"
        )

  @property
  def decoding(self) -> Decoding:
    """How encoded images become pixels."""
    return Decoding(self.exif_orientation, self.jpeg_dct)


def of_older_builds(dataset: str) -> dict[str, Any]:
  """Returns what runs did for which there was no setting yet.

  Args:
    dataset: of the run.

  Returns:
    Values of `SourceOptions` by name, other than the defaults.
  """
  used = _USED.get(dataset.partition(":")[0], ())
  older = {"exif_orientation": IGNORE, "jpeg_dct": FAST}
  return {name: value for name, value in older.items() if name in used}


def load(
  options: SourceOptions, class_names: Sequence[str] | None = None
) -> tuple[AnySource, AnySource]:
  """Loads a data set by its name.

  Args:
    options: the name, and how it is loaded.
    class_names: those of a run, whose order an image folder's classes keep if
      they are the same.

  Returns:
    The training source and the test source.

  Raises:
    DataError: the data are missing, damaged or of the wrong kind.
  """
  train, test = _load(options, class_names)
  return _decoded(train, options), _decoded(test, options)


def _decoded(source: AnySource, options: SourceOptions) -> AnySource:
  """Returns the source, if it is encoded, to be decoded as asked."""
  if not isinstance(source, EncodedSource):
    return source
  return dataclasses.replace(source, decoding=options.decoding)


def _load(
  options: SourceOptions, class_names: Sequence[str] | None
) -> tuple[AnySource, AnySource]:
  kind, _, name = options.dataset.partition(":")
  data_dir = options.data_dir
  channels = options.image_channels
  split: dict[str, Any] = {
    "validation_fraction": options.validation_fraction,
    "eval_split": options.eval_split,
  }
  multi_label = options.task == "multi_label"
  if kind == "fashion_mnist":
    from data.sources import fashion_mnist

    return fashion_mnist.load(data_dir)
  if kind == "digits":
    from data.sources import digits

    return digits.load()
  if kind == "synthetic":
    from data.sources import synthetic

    return synthetic.make(2048, (32, 32, 3))
  if kind == "image_folder":
    from data.sources import image_folder

    return image_folder.load(
      data_dir, channels=channels, class_names=class_names, **split
    )
  if kind == "csv":
    from data.sources import csv_table

    return csv_table.load(
      data_dir,
      options.labels,
      channels=channels,
      multi_label=multi_label,
      **split,
    )
  if kind == "tfrecord":
    from data.sources import tfrecord

    return tfrecord.load(
      data_dir,
      label_offset=options.label_offset,
      channels=channels,
      **split,
    )
  if kind == "npz":
    from data.sources import npz

    return npz.load(data_dir, multi_label=multi_label, **split)
  from data.sources import tfds

  return tfds.load(
    name, data_dir, channels=channels, multi_label=multi_label, **split
  )
