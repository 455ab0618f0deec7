# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of NumPy archives."""

from __future__ import annotations

import gzip
import types
import zipfile

import numpy as np
import pytest

from data import DataError
from data.sources import idx, npz

IMAGES = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4)
LABELS = np.array([0, 1] * 5)


@pytest.mark.parametrize(
  "names",
  [
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
  ],
)
def test_the_names_of_keras_and_medmnist(tmp_path, names):
  path = str(tmp_path / "a.npz")
  values = (IMAGES, LABELS[:, np.newaxis], IMAGES[:2], LABELS[:2])
  np.savez(path, **dict(zip(names, values)), other=np.zeros(3))
  train, test = npz.load(path)
  np.testing.assert_array_equal(train.images[..., 0], IMAGES)
  np.testing.assert_array_equal(train.labels, LABELS)
  assert (test.num_examples, test.class_names) == (2, ("0", "1"))


def test_validation_arrays_are_evaluated_and_test_arrays_on_demand(tmp_path):
  path = str(tmp_path / "pathmnist.npz")
  np.savez(
    path,
    **{
      f"{split}_{what}": values[:count]
      for split, count in (("train", 10), ("val", 4), ("test", 3))
      for what, values in (("images", IMAGES), ("labels", LABELS[:, None]))
    },
  )
  assert npz.load(path)[1].num_examples == 4
  assert npz.load(path, eval_split="test")[1].num_examples == 3
  with pytest.raises(DataError, match="validation_fraction must be 0 if"):
    npz.load(path, validation_fraction=0.5)


def test_one_part_is_split(tmp_path):
  path = str(tmp_path / "a.npz")
  np.savez_compressed(path, images=IMAGES, labels=LABELS)
  train, test = npz.load(path, validation_fraction=0.4)
  assert np.bincount(train.labels).tolist() == [3, 3]
  rows = {image.tobytes() for image in (*train.images, *test.images)}
  assert rows == {image.tobytes() for image in IMAGES}
  with pytest.raises(DataError, match="validation_fraction must be above 0"):
    npz.load(path)


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"x": IMAGES}, "must hold the arrays .* got x"),
    (
      {"images": IMAGES, "labels": np.array([object()] * 10)},
      "not a NumPy archive of plain arrays: Object arrays",
    ),
    ({"images": IMAGES, "labels": LABELS[:3]}, "10 images and 3 labels"),
    (
      dict(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:, 1:], y_test=LABELS),
      "must have one shape",
    ),
    (
      dict(x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS + 1),
      r"must be in \[0, 2\)",
    ),
  ],
)
def test_what_is_wrong_with_an_archive_is_named(tmp_path, arrays, message):
  path = str(tmp_path / "a.npz")
  np.savez(path, **arrays)
  fraction = 0.5 if "labels" in arrays else 0.0
  with pytest.raises(DataError, match=message):
    npz.load(path, validation_fraction=fraction)


def test_an_archive_that_declares_more_than_it_holds(tmp_path):
  path = tmp_path / "a.npz"
  header = (
    b"\x93NUMPY\x01\x00v\x00"
    + (
      b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }"
    ).ljust(117)
    + b"\n"
  )
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("images.npy", header)
  with pytest.raises(DataError, match="not a NumPy archive of plain arrays"):
    npz.read_arrays(path)


def test_a_header_that_is_no_python(tmp_path):
  path = tmp_path / "a.npz"
  header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', (".ljust(117) + b"\n"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("images.npy", header)
  with pytest.raises(DataError, match="not a NumPy archive of plain arrays"):
    npz.read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_another_file(tmp_path, content):
  path = tmp_path / "a.npz"
  path.write_bytes(content)
  with pytest.raises(DataError, match="is not a NumPy archive"):
    npz.load(str(path))


def test_a_single_array_is_no_archive(tmp_path):
  path = tmp_path / "a.npy"
  np.save(path, IMAGES)
  with pytest.raises(DataError):
    npz.load(str(path))


@pytest.mark.parametrize("path", ["", "/no/such/file.npz"])
def test_no_file(path):
  with pytest.raises(DataError, match="data_dir must be"):
    npz.load(path)


def test_a_missing_file_is_not_blamed_on_data_dir(tmp_path):
  path = tmp_path / "train.index.npz"
  with pytest.raises(DataError, match=f"^{path} is missing or no file$"):
    npz.read_arrays(path)


def test_an_archive_that_memory_cannot_hold_is_not_unpacked(
  tmp_path, monkeypatch
):
  path = tmp_path / "zeros.npz"
  np.savez_compressed(path, images=np.zeros((100, 100, 100, 1), np.uint8))
  assert path.stat().st_size < 3000
  free = types.SimpleNamespace(available=999_999)
  monkeypatch.setattr(idx.psutil, "virtual_memory", lambda: free)
  with pytest.raises(DataError, match=r"declares \d+ bytes .* 999999 bytes of"):
    npz.read_arrays(path)
  file = tmp_path / "x.gz"
  header = bytes([0, 0, 8, 1]) + (10**6).to_bytes(4, "big")
  file.write_bytes(gzip.compress(header + bytes(10**6)))
  with pytest.raises(DataError, match="declares 1000000 bytes"):
    idx.read_idx(file)
  free.available = 10**8
  assert idx.read_idx(file).size == 10**6
