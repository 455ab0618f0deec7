# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of tables as people have them: separators, headings, many labels."""

from __future__ import annotations

import csv
import io
import itertools
import os

import numpy as np
import pytest

import data
from data import DataError
from data.sources import csv_table, table

ROWS = [("a/1.jpg", "cat", "train"), ("b, 2.jpg", 'big "dög"', "val")]


def read(tmp_path, content: str | bytes) -> table.Table:
  path = tmp_path / "labels.csv"
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return table.read(str(path))


HEADINGS = (
  None,
  ("path", "label", "split"),
  ("Image ID", " Target ", "SET"),
  ("file_name", "Category", "subset"),
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_spelling_of_a_table_is_read_alike(tmp_path, separator, encoding):
  for heading, end, quoting in itertools.product(
    HEADINGS, ("\n", "\r\n"), (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
  ):
    text = io.StringIO()
    writer = csv.writer(
      text, delimiter=separator, lineterminator=end, quoting=quoting
    )
    writer.writerows([heading, *ROWS] if heading else ROWS)
    found = read(tmp_path, text.getvalue().encode(encoding))
    assert [(row.path, *row.labels, row.split) for row in found.rows] == [
      ROWS[0],
      (*ROWS[1][:2], "validation"),
    ]


def test_what_was_understood_is_one_line(tmp_path):
  found = read(
    tmp_path,
    "id;Age;label;fold;\n1.jpg; 80 ;cat ;train;\n2.jpg;;cat;Valid\n\n;;;\n",
  )
  assert found.understood == (
    f"{tmp_path}/labels.csv: 2 rows parted by semicolons; path in column id;"
    " label in label; split in fold: 1 train, 1 validation; left out: Age"
  )
  assert found.class_names == ("cat",)
  without = read(tmp_path, "cat\t1.jpg\ndog\t2.jpg\n")
  assert [row.path for row in without.rows] == ["1.jpg", "2.jpg"]
  assert without.understood.endswith(
    "2 rows parted by tabs; no heading; path in column 2; label in 1"
  )


def test_numbered_folds_are_no_split(tmp_path):
  found = read(tmp_path, "path,label,fold\n1.jpg,cat,0\n2.jpg,dog,1\n")
  assert {row.split for row in found.rows} == {"train"}
  assert found.understood.endswith("left out: fold")


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("path,labels\n1,cat|dog\n2,\n3, dog | dog|\n", "cat dog//dog"),
    ("path,label_1,label_2\n1,cat,dog\n2,,\n3,,dog\n", "cat dog//dog"),
    ("Path,Age,cat,dog\n1,80,1,1.0\n2,70,0,\n3,60,-1,1\n", "cat dog//dog"),
    ("path,label_1,label_2\n1,1,1\n2,0,0\n", "label_1 label_2/"),
  ],
)
def test_several_labels_a_row(tmp_path, text, expected):
  found = read(tmp_path, text)
  assert "/".join(" ".join(row.labels) for row in found.rows) == expected


def write(tmp_path, *names: str) -> None:
  for name in names:
    (tmp_path / name).write_bytes(b"an image")


def test_a_column_a_class_is_one_label_if_each_row_has_one(tmp_path):
  write(tmp_path, "1.jpg", "2.jpg")
  path = tmp_path / "labels.csv"
  path.write_text("image_id,cat,dog,empty\n1,0,1,0\n2,1,0,0\n")
  with pytest.raises(DataError, match="validation_fraction must be above 0"):
    csv_table.load("", str(path))
  path.write_text("image_id,cat,dog,empty,split\n1,0,1,0,train\n2,1,0,0,test\n")
  train, test = csv_table.load("", str(path))
  assert train.class_names == ("cat", "dog")
  assert train.labels.tolist() == [1] and test.labels.tolist() == [0]
  assert train.notes[0].startswith(f"{path}: 2 rows parted by commas")


def test_labels_of_a_row_become_a_row_of_0_and_1(tmp_path):
  write(tmp_path, "1.jpg", "2.jpg", "3.jpg")
  path = tmp_path / "labels.csv"
  path.write_text(
    "path,label,split\n1.jpg,10|9,train\n2.jpg,,train\n3.jpg,9,val\n"
  )
  options = data.SourceOptions("csv", labels=str(path), task="multi_label")
  train, validation = data.load(options)
  assert train.class_names == ("9", "10")
  assert train.labels.dtype == np.uint8
  assert train.labels.tolist() == [[1, 1], [0, 0]]
  assert validation.labels.tolist() == [[1, 0]]
  path.write_text("path,cat,dog,ant\n1.jpg,1,1,0\n2.jpg,0,0,0\n3.jpg,0,1,0\n")
  train, _ = data.load(
    data.SourceOptions(
      "csv",
      labels=str(path),
      task="multi_label",
      validation_fraction=0.4,
    )
  )
  assert train.class_names == ("ant", "cat", "dog")


def test_the_split_to_evaluate_can_be_chosen(tmp_path):
  write(tmp_path, "1.jpg", "2.png", "3.jpg")
  path = tmp_path / "labels.csv"
  path.write_text("1,cat,train\n2,dog,valid\n3,dog,test\n")
  path.write_text("file,class,set\n1,7,train\n2,100,valid\n3,100,test\n")
  for split, name in (("auto", "2.png"), ("test", "3.jpg")):
    train, held_out = csv_table.load("", str(path), eval_split=split)
    assert train.class_names == ("7", "100")
    assert held_out.examples.paths == (f"{tmp_path}/{name}",)


def test_a_path_of_windows_and_a_folder(tmp_path):
  (tmp_path / "a").mkdir()
  write(tmp_path, "a/1.jpg", "2.jpg")
  path = tmp_path / "labels.csv"
  path.write_text("a\\1.jpg,cat\n2.jpg,dog\na,dog\n")
  with pytest.raises(DataError, match="/a is no file: replace it"):
    csv_table.load("", str(path), validation_fraction=0.5)
  path.write_text("path,label,split\na\\1.jpg,cat,train\n2.jpg,dog,dev\n")
  train, _ = csv_table.load("", str(path))
  assert train.examples.paths == (os.path.join(tmp_path, "a/1.jpg"),)


def test_bytes_that_are_no_utf_8_are_told_with_their_place(tmp_path):
  with pytest.raises(DataError, match=r"UTF-8: .* at byte 8"):
    read(tmp_path, b"1.jpg,ca\xe9t\n")


@pytest.mark.parametrize("digits", ["9" * 5000, "0" * 5000])
def test_a_class_of_many_digits_is_a_name(tmp_path, digits):
  write(tmp_path, "1.jpg", "2.jpg")
  path = tmp_path / "labels.csv"
  path.write_text(f"path,label,split\n1.jpg,5,train\n2.jpg,{digits},test\n")
  train, _ = csv_table.load("", str(path))
  assert set(train.class_names) == {"5", digits}
