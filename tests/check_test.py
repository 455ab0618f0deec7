# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what a data set is said to hold."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data import Inputs
from data.preparation import check, picture
from data.sources import image_folder
from data.sources.source import Source
from tests import pictures

pytestmark = pytest.mark.any_keras


@pytest.fixture
def root(tmp_path):
  return pictures.write_folder(tmp_path / "data")


def report_of(root) -> check.Report:
  return check.check(*image_folder.load(str(root)))


def test_counts_sizes_and_channels(root):
  gray = Image.fromarray(pictures.picture(900, 0, (10, 20))).convert("L")
  gray.save(root / "train" / "blue" / "gray.jpg")
  report = report_of(root)
  assert report.train.examples == 25
  assert report.train.class_counts == {"blue": 9, "green": 8, "red": 8}
  assert report.train.sizes == {(24, 32): 24, (10, 20): 1}
  assert report.train.channels == {3: 24, 1: 1}
  assert report.validation.class_counts == {"blue": 3, "green": 3, "red": 3}
  assert not (report.bad or report.repeated or report.leaked)
  text = check.as_text(report)
  assert "train: 25 images, 0 bad" in text
  assert "24 x 32 (24), 10 x 20 (1)" in text
  assert "classes: 3: blue 9, green 8, red 8" in text


def test_bad_images_are_listed(root):
  bad = sorted(root.glob("val/red/*"))[0]
  bad.write_bytes(bad.read_bytes()[:200])
  report = report_of(root)
  (line,) = report.bad
  assert line.startswith(f"{bad} (class red): ")
  assert report.validation.class_counts["red"] == 2
  assert line in check.as_text(report)


def test_the_same_pixels_are_found_in_any_file(tmp_path):
  root = pictures.write_folder(tmp_path, ending=".bmp")
  blue = sorted(root.glob("train/blue/*"))
  shutil.copy(blue[0], root / "train" / "blue" / "again.bmp")
  # The same pixels in another kind of file, evaluated under another class.
  Image.open(blue[1]).save(root / "val" / "green" / "leak.png")
  report = report_of(root)
  ((first, second),) = report.repeated
  assert {str(blue[0]), str(root / "train/blue/again.bmp")} == {
    place.split(" (class ")[0] for place in (first, second)
  }
  ((train, validation),) = report.leaked
  assert train.startswith(str(blue[1])) and "leak.png" in validation
  assert report.contradictions == report.leaked


def test_arrays_are_checked_too():
  images = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4, 1)
  images[3] = images[0]
  source = Source(images, np.array([0, 1, 0, 1], np.int32), ("a", "b"), "x")
  report = check.check(source, source)
  assert len(report.repeated) == 2 and len(report.leaked) == 4
  assert report.train.sizes == {(4, 4): 4}


def test_the_report_is_json(root, tmp_path):
  path = tmp_path / "check.json"
  check.save(report_of(root), path)
  found = json.loads(path.read_text())
  assert found["train"]["examples"] == 24
  assert found["validation"]["sizes"] == {"24x32": 9}
  assert found["leaked"] == []


@pytest.mark.parametrize("colour", [(97,), (200, 30, 90)])
def test_a_picture_of_the_training_images(tmp_path, colour):
  source = Source(
    np.full((20, 16, 16, len(colour)), colour, np.uint8),
    np.arange(20, dtype=np.int32) % 3,
    pictures.CLASSES,
    "arrays",
  )
  inputs = Inputs(train=source, validation=source, global_batch_size=20)
  path = tmp_path / "check.png"
  picture.save(path, inputs)
  pixels = np.asarray(Image.open(path).convert("RGB"))
  assert pixels.shape[1] == 1100 and pixels.shape[0] > 400
  colours = [np.broadcast_to(colour, 3), (31, 119, 180), (255, 127, 14)]
  # The training images, and bars of two parts.
  for shown, least in zip(colours, (100_000, 5000, 5000)):
    assert (pixels == shown).all(axis=-1).sum() > least
