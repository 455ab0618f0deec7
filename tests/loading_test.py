# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of loading by name."""

from __future__ import annotations

import numpy as np
import pytest

import data
from data import DataError
from data.sources import loading
from tests import pictures


def load(*arguments, **options):
  return data.load(data.SourceOptions(*arguments, **options))


def test_every_name_has_its_options():
  names = {name.partition(":")[0] for name in data.DATASETS}
  assert names == set(loading._USED)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_names_that_need_no_file(name):
  train, test = load(name)
  assert isinstance(train, data.Source)
  assert train.class_names == test.class_names


def test_names_that_take_files(tmp_path):
  root = str(pictures.write_folder(tmp_path / "data"))
  train, _ = load("image_folder", root, image_channels=1)
  assert train.image_shape == (None, None, 1)
  archive = str(tmp_path / "a.npz")
  np.savez(archive, images=np.zeros([8, 4, 4]), labels=np.arange(8) % 2)
  train, test = load("npz", archive, validation_fraction=0.5)
  assert (train.num_examples, test.num_examples) == (4, 4)
  with pytest.raises(DataError, match="labels must be given"):
    load("csv", root)
  with pytest.raises(DataError, match="has no file train-00000-of"):
    load("tfrecord", root)
  with pytest.raises(DataError, match="tfds:"):
    load("tfds:no_such_data_set", root)


@pytest.mark.parametrize("name", ["imagenet", "tfds", "tfds:", "npz:x", ""])
def test_an_unknown_name_lists_those_there_are(name):
  with pytest.raises(DataError, match="dataset must be one of fashion_mnist"):
    load(name)


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("digits", {"data_dir": "x"}),
    ("synthetic", {"validation_fraction": 0.1}),
    ("fashion_mnist", {"image_channels": 1}),
    ("image_folder", {"labels": "x.csv"}),
    ("csv", {"label_offset": 1}),
    ("npz", {"image_channels": 1}),
  ],
)
def test_an_option_that_is_not_used_is_refused(name, options):
  (option,) = options
  with pytest.raises(DataError, match=f"{option} must be left out for"):
    load(name, **options)
