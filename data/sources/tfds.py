# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A data set of TensorFlow Datasets (the extra `[tfds]`).

Its TFRecord files are read like ours: in any order, with our own index.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from data.errors import DataError
from data.names import TRAIN
from data.sources import record_index, splits, tfrecord
from data.sources.encoded import EncodedSource


def load(
  name: str,
  data_dir: str = "",
  *,
  validation_fraction: float = 0.0,
  channels: int = 3,
  eval_split: str = splits.AUTO,
  multi_label: bool = False,
) -> tuple[EncodedSource, EncodedSource]:
  """Loads a data set, and downloads and prepares it if that is not done yet.

  Args:
    name: the name in TensorFlow Datasets: "cifar10", "my_data/config:1.0.0".
    data_dir: its folder; "" is TensorFlow Datasets' own.
    validation_fraction: part of the split train that is held out for
      evaluation, equally from each class; 0 if there is a split validation or
      test.
    channels: 1 (gray) or 3 (RGB), which all images are converted to.
    eval_split: see `splits.to_evaluate`; a fraction leaves all splits out.
    multi_label: whether its labels are a Sequence of ClassLabel.

  Returns:
    The training source and the validation source.

  Raises:
    DataError: TensorFlow Datasets is not installed, has no such data set, or it
      does not hold images with such labels in TFRecord files.
  """
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise DataError(
      f"dataset=tfds:{name} needs TensorFlow Datasets, which is not installed:"
      " pip install 'train_loop[tfds]'"
    ) from error
  try:
    builder = tfds.builder(name, data_dir=data_dir or None)
    builder.download_and_prepare()
  except Exception as error:  # Whatever the data set's own code raises.
    first = str(error).strip().partition("\n")[0]
    raise DataError(f"tfds:{name} cannot be loaded: {first}") from error
  there = builder.info.splits
  if TRAIN not in there:
    raise DataError(
      f"tfds:{name} must have a split train, got {', '.join(there)}"
    )
  train = _source(builder, TRAIN, channels, multi_label)
  found = [part for part in (splits.VALIDATION, splits.TEST) if part in there]
  chosen = splits.to_evaluate(
    # With a fraction a split of its own never counted, and is named if wanted.
    [part for part in found if not validation_fraction or part == eval_split],
    f"tfds:{name}",
    eval_split=eval_split,
    validation_fraction=validation_fraction,
  )
  if validation_fraction:
    train, held_out = train.split(validation_fraction)
    if chosen is None:
      return train, held_out
  return train, _source(builder, chosen or "", channels, multi_label)


def _source(
  builder: Any, split: str, channels: int, multi_label: bool
) -> EncodedSource:
  info = builder.info
  name = f"tfds:{info.full_name}"
  keys = info.supervised_keys
  if not (isinstance(keys, tuple) and len(keys) == 2):
    raise DataError(f"{name} must have images and labels as supervised keys")
  if info.file_format.value != "tfrecord":
    raise DataError(
      f"{name} must be in TFRecord files, got {info.file_format.value}: prepare"
      " it with file_format='tfrecord'"
    )
  image_feature, label_feature = keys
  features = [info.features[key] for key in keys]
  kinds = [type(feature).__name__ for feature in features]
  label = features[1]
  if multi_label and kinds[1] == "Sequence":
    label = label.feature
    kinds[1] += f" of {type(label).__name__}"
  wanted = "Sequence of ClassLabel" if multi_label else "ClassLabel"
  if kinds != ["Image", wanted]:
    other = "single_label" if multi_label else "multi_label"
    raise DataError(
      f"{name} must have an Image and a {wanted}, got {' and '.join(kinds)}"
      + (f": set --task={other}" if "Label" in kinds[1] else "")
    )
  shards = [str(path) for path in info.splits[split].filepaths]
  class_names = tuple(label.names)
  source = tfrecord.from_index(
    shards,
    record_index.of_shards(shards, None if multi_label else label_feature),
    class_names,
    name=name,
    channels=channels,
    image_feature=image_feature,
  )
  if not multi_label:
    return source
  rows = record_index.rows_of(shards, label_feature, len(class_names))
  return dataclasses.replace(source, labels=rows)
