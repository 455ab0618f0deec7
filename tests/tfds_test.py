# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of data sets of TensorFlow Datasets, made here."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from data import DataError, pipeline
from data.sources import image_folder, tfds
from tests import pictures

datasets = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """A data set in TFDS' own files, and the folder that it was made from."""
  if not hasattr(datasets, "core"):
    pytest.skip("this TensorFlow Datasets wants a newer TensorFlow")
  root = tmp_path_factory.mktemp("tfds")
  folder = pictures.write_folder(
    root / "pictures", counts=(("train", 4), ("test", 2)), ending=".png"
  )

  class TinyPictures(datasets.core.GeneratorBasedBuilder):
    VERSION = datasets.core.Version("1.0.0")
    pkg_dir_path = root

    def _info(self):
      return datasets.core.DatasetInfo(
        builder=self,
        features=datasets.features.FeaturesDict(
          {
            "image": datasets.features.Image(shape=(None, None, 3)),
            "label": datasets.features.ClassLabel(names=pictures.CLASSES),
          }
        ),
        supervised_keys=("image", "label"),
      )

    def _split_generators(self, dl_manager):
      return {part: self._examples(part) for part in ("train", "test")}

    def _examples(self, part):
      for path in sorted((folder / part).rglob("*.png")):
        yield path.name, {"image": str(path), "label": path.parent.name}

    _generate_examples = _examples

  builder = TinyPictures(data_dir=str(root), file_format="tfrecord")
  builder.download_and_prepare()
  return str(root), str(folder)


def test_a_data_set_gives_its_own_images(prepared):
  root, folder = prepared
  train, test = tfds.load("tiny_pictures", root)
  files, _ = image_folder.load(folder)
  assert train.class_names == pictures.CLASSES
  assert (train.num_examples, test.num_examples) == (12, 6)

  def images(source):
    batches = pipeline.eval_dataset(source, batch_size=5, image_size=24)
    return {
      (image.tobytes(), int(label))
      for batch in batches
      for image, label in zip(batch["image"].numpy(), batch["label"].numpy())
    }

  assert images(train) == images(files)


def test_a_part_can_be_held_out(prepared):
  train, validation = tfds.load(
    "tiny_pictures", prepared[0], validation_fraction=0.25
  )
  assert np.bincount(train.labels).tolist() == [3, 3, 3]
  assert validation.num_examples == 3


def test_the_split_to_evaluate_can_be_chosen(prepared):
  train, test = tfds.load(
    "tiny_pictures",
    prepared[0],
    validation_fraction=0.25,
    eval_split="test",
  )
  assert (train.num_examples, test.num_examples) == (9, 6)
  with pytest.raises(DataError, match="eval_split must be a split that tfds:"):
    tfds.load("tiny_pictures", prepared[0], eval_split="validation")


def test_an_unknown_name_is_told_in_one_line(prepared):
  with pytest.raises(DataError, match="tfds:no_such_data cannot be loaded"):
    tfds.load("no_such_data", prepared[0])


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  with pytest.raises(DataError, match=r"pip install 'train_loop\[tfds\]'"):
    tfds.load("mnist")
