# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of sources of image files: folders and tables."""

from __future__ import annotations

import hashlib
import os
import shutil

import numpy as np
import pytest

from data import DataError
from data.sources import csv_table, image_files, image_folder
from tests import pictures


def test_a_folder_a_part_and_class(tmp_path):
  root = pictures.write_folder(tmp_path / "data")
  train, validation = image_folder.load(str(root))
  assert train.class_names == validation.class_names == pictures.CLASSES
  assert (train.num_examples, validation.num_examples) == (24, 9)
  assert np.bincount(train.labels).tolist() == [8, 8, 8]
  for index in range(train.num_examples):
    class_name = train.class_names[train.labels[index]]
    assert f"/train/{class_name}/" in train.examples.place(index)
  assert train.place(0).endswith("(class blue)")


@pytest.mark.parametrize("part", ["validation", "test"])
def test_other_names_of_the_part_to_evaluate(tmp_path, part):
  root = pictures.write_folder(tmp_path, counts=(("train", 2), (part, 1)))
  _, validation = image_folder.load(str(root))
  assert validation.num_examples == 3


def test_one_folder_is_split_in_proportion(tmp_path):
  root = pictures.write_folder(tmp_path, counts=(("all", 10),))
  train, validation = image_folder.load(
    str(root / "all"), validation_fraction=0.2
  )
  assert np.bincount(train.labels).tolist() == [8, 8, 8]
  assert np.bincount(validation.labels).tolist() == [2, 2, 2]
  paths = {*train.examples.paths, *validation.examples.paths}
  assert len(paths) == 30
  again, _ = image_folder.load(str(root / "all"), validation_fraction=0.2)
  assert again.examples.paths == train.examples.paths


def test_nested_folders_hidden_and_other_files(tmp_path):
  root = pictures.write_folder(tmp_path / "data", counts=(("train", 2),))
  inner = root / "train" / "red" / "more"
  inner.mkdir()
  shutil.copy(next((root / "train" / "red").glob("*.jpg")), inner / "x.JPEG")
  (root / "train" / "red" / ".hidden.jpg").write_bytes(b"")
  (root / "train" / "red" / "notes.txt").write_text("not an image")
  train, _ = image_folder.load(str(root), validation_fraction=0.5)
  _, held = image_folder.load(str(root), validation_fraction=0.5)
  assert train.num_examples + held.num_examples == 7


def test_the_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
  root = pictures.write_folder(tmp_path / "a")
  shutil.copytree(root, tmp_path / "b")
  first, _ = image_folder.load(str(root))
  copy, _ = image_folder.load(str(tmp_path / "b"))
  assert first.fingerprint() == copy.fingerprint()
  with open(copy.examples.paths[3], "ab") as file:
    file.write(b"x")
  changed, _ = image_folder.load(str(tmp_path / "b"))
  assert changed.fingerprint() != first.fingerprint()


@pytest.mark.parametrize("seconds", [0.0, 60.0])  # Of a network's; of a disk's.
def test_sizes_are_the_files_on_every_file_system(
  tmp_path, monkeypatch, seconds
):
  monkeypatch.setattr(image_files, "_LOCAL_SECONDS", seconds)
  monkeypatch.setattr(image_files, "_CHUNK", 4)
  root = pictures.write_folder(tmp_path / "data")
  train, _ = image_folder.load(str(root))
  sizes = [os.path.getsize(path) for path in train.examples.paths]
  assert train.num_bytes == sum(sizes)
  listing = "".join(
    f"{os.path.relpath(path, root / 'train')}\0{size}\n"
    for path, size in zip(train.examples.paths, sizes)
  )
  assert train.content == hashlib.sha256(listing.encode()).hexdigest()


def break_empty_class(root):
  (root / "train" / "yellow").mkdir()


def break_unknown_class(root):
  os.rename(root / "val" / "red", root / "val" / "pink")


def break_empty_file(root):
  next((root / "train" / "green").glob("*.jpg")).write_bytes(b"")


def break_two_spellings(root):
  shutil.copytree(root / "val", root / "Valid")


def break_one_class(root):
  for name in ("red", "green"):
    shutil.rmtree(root / "train" / name)


def break_no_part(root):
  shutil.rmtree(root / "val")


def break_no_classes(root):
  for name in pictures.CLASSES:
    shutil.rmtree(root / "train" / name)


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (break_empty_class, "train/yellow holds no image"),
    (break_unknown_class, "val/pink is no class of the training data"),
    (break_empty_file, "jpg is empty: replace it"),
    (break_two_spellings, "the folders Valid and val for validation: keep one"),
    (break_one_class, "at least two classes .* only the folder blue"),
    (break_no_part, "validation_fraction must be above 0, as in 0.1"),
    (break_no_classes, "must hold a folder of images for each"),
  ],
)
def test_what_is_wrong_with_a_folder_is_named(tmp_path, damage, message):
  root = pictures.write_folder(tmp_path)
  damage(root)
  with pytest.raises(DataError, match=message):
    image_folder.load(str(root))


def test_a_fraction_besides_a_part_is_refused(tmp_path):
  root = pictures.write_folder(tmp_path)
  with pytest.raises(DataError, match="validation_fraction must be 0"):
    image_folder.load(str(root), validation_fraction=0.1)


@pytest.mark.parametrize("data_dir", ["", "/no/such/folder"])
def test_no_folder(data_dir):
  with pytest.raises(DataError, match="data_dir must be"):
    image_folder.load(data_dir)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0, 0.001])
def test_fractions_out_of_range(tmp_path, fraction):
  root = pictures.write_folder(tmp_path, counts=(("all", 3),))
  with pytest.raises(DataError, match="validation_fraction"):
    image_folder.load(str(root / "all"), validation_fraction=fraction)


def test_take_keeps_image_and_label_together(tmp_path):
  train, _ = image_folder.load(str(pictures.write_folder(tmp_path)))
  some = train.take([20, 3])
  assert some.labels.tolist() == [train.labels[20], train.labels[3]]
  assert some.place(0) == train.place(20)
  assert some.fingerprint() != train.take([3, 20]).fingerprint()


def write_table(root, text: str) -> str:
  path = root / "labels.csv"
  path.write_text(text, encoding="utf-8")
  return str(path)


def paths_of(root) -> list[str]:
  return sorted(str(p.relative_to(root)) for p in root.rglob("*.jpg"))


def test_a_table_with_splits(tmp_path):
  root = pictures.write_folder(tmp_path / "data")
  rows = [f"{p},{p.split('/')[1]},{p.split('/')[0]}" for p in paths_of(root)]
  table = write_table(tmp_path, "path,label,split\n" + "\n".join(rows))
  train, validation = csv_table.load(str(root), table)
  expected, expected_validation = image_folder.load(str(root))
  assert train.examples.paths == expected.examples.paths
  assert train.class_names == expected.class_names
  assert validation.labels.tolist() == expected_validation.labels.tolist()


def test_a_table_without_heading_beside_its_images(tmp_path):
  root = pictures.write_folder(tmp_path, counts=(("all", 4),))
  rows = [f"{p},{10 - len(p.split('/')[1])}" for p in paths_of(root)]
  table = write_table(tmp_path, "\n".join(rows) + "\n")
  train, validation = csv_table.load("", table, validation_fraction=0.25)
  assert train.class_names == ("5", "6", "7")
  assert (train.num_examples, validation.num_examples) == (9, 3)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "has no rows"),
    ("path,label\n", "has no rows"),
    ("a.jpg,cat,7,x\n", "line 1 must be path,label or path,label,split"),
    ("path,label,split\na.jpg,cat\n", "line 2 must have 3 cells, got 2"),
    ("a.jpg,\n", "line 1 must have one label, got none; --task=multi_label"),
    ("a.jpg,cat|dog\n", "must have one label, got 'cat', 'dog'; --task="),
    ("a.jpg,cat\n ,dog\n", "line 2 has no path"),
    (
      "path,label,split\na.jpg,cat,train\nb.jpg,dog,kept\n",
      "line 3: split must be one of train, training",
    ),
    ("photo,kind\na.jpg,cat\n", "line 1 must name the column of paths"),
    ("path,kind\na.jpg,cat\n", "line 1 must name a column of labels"),
    ('a.jpg,"c\nat"\n', "the name of a class must be one line"),
    ("a.jpg,cat\nb.jpg,dog\na.jpg,dog\n", "lists 'a.jpg' 2 times"),
    ('"a.jpg,cat\n', "line 1 must be path,label"),
    ('a.jpg,cat\n"b.jpg,dog\n', "line 2 must have 2 cells, got 1"),
    ("a.jpg,cat\0\n", "must be one line"),
    ("nowhere.jpg,cat\n", "nowhere.jpg is missing"),
  ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, message):
  with pytest.raises(DataError, match=message):
    csv_table.load("", write_table(tmp_path, text), validation_fraction=0.5)


def test_a_table_that_is_not_there(tmp_path):
  with pytest.raises(DataError, match="labels must be given"):
    csv_table.load("", "")
  with pytest.raises(DataError, match="labels must be a CSV file"):
    csv_table.load("", str(tmp_path / "none.csv"))
  with pytest.raises(DataError, match="validation_fraction must be above 0"):
    csv_table.load("", write_table(tmp_path, "a.jpg,cat\n"))
