# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the writer of TFRecord files."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data import DataError, cache, reading
from data.images import decode, netpbm
from data.preparation import convert
from data.sources import csv_table, image_folder, tfrecord
from data.sources.source import Source
from tests import disk, pictures

pytestmark = pytest.mark.any_keras


def read_all(source) -> list[bytes]:
  read = reading.make_read(source.examples)
  return [
    read(tf.constant(i, tf.int64)).numpy() for i in range(len(source.labels))
  ]


def test_encoded_images_are_copied_as_they_are(tmp_path):
  parts = image_folder.load(str(pictures.write_folder(tmp_path / "data")))
  output = str(tmp_path / "out")
  counts = convert.convert(*parts, output)
  assert counts == {"train": 24, "validation": 9}
  for part, source in zip(parts, tfrecord.load(output)):
    assert source.labels.tolist() == part.labels.tolist()
    assert source.class_names == part.class_names
    assert read_all(source) == read_all(part)


def test_our_index_is_the_one_that_reading_makes(tmp_path):
  parts = image_folder.load(str(pictures.write_folder(tmp_path / "data")))
  output = tmp_path / "out"
  convert.convert(*parts, str(output), shard_bytes=4000)
  written, _ = tfrecord.load(str(output))
  for index in output.glob("*.index.npz"):
    index.unlink()
  read, _ = tfrecord.load(str(output))
  assert written.fingerprint() == read.fingerprint()
  assert read_all(written) == read_all(read)


def test_large_images_are_reduced_once(tmp_path):
  root = pictures.write_folder(tmp_path / "data", ending=".png")
  parts = image_folder.load(str(root))
  output = str(tmp_path / "out")
  convert.convert(*parts, output, resize=12)
  source, _ = tfrecord.load(output)
  contents = tf.constant(read_all(source)[5])
  assert netpbm.is_netpbm(contents)
  image = decode.decode(contents, 3).numpy()
  assert image.shape == (12, 16, 3)
  original = np.asarray(Image.open(parts[0].examples.place(5)))
  expected = original.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3))
  inside = slice(1, -1)  # Of its wide filter the border has only a part.
  np.testing.assert_allclose(
    image[inside, inside], expected[inside, inside], atol=4
  )


def test_arrays_are_stored_as_png(tmp_path):
  random = np.random.default_rng(0)
  images = random.integers(0, 256, [9, 8, 8, 1]).astype(np.uint8)
  source = Source(
    images, np.arange(9, dtype=np.int32) % 3, ("a", "b", "c"), "x"
  )
  output = str(tmp_path / "out")
  convert.convert(source, source, output)
  read, _ = tfrecord.load(output, channels=1)
  decoded = [decode.decode(tf.constant(c), 1).numpy() for c in read_all(read)]
  np.testing.assert_array_equal(np.stack(decoded), images)


def test_bad_images_stop_it_or_are_left_out(tmp_path):
  root = pictures.write_folder(tmp_path / "data")
  bad = sorted(root.glob("train/green/*"))[2]
  bad.write_bytes(bad.read_bytes()[:200])
  parts = image_folder.load(str(root))
  with pytest.raises(DataError, match=f"image {bad} .class green.: .*skip"):
    convert.convert(*parts, str(tmp_path / "out"))
  assert [path.name for path in tmp_path.iterdir()] == ["data"]
  output = tmp_path / "again"
  convert.convert(*parts, str(output), skip_bad_images=True)
  source, _ = tfrecord.load(str(output))
  assert np.bincount(source.labels).tolist() == [8, 7, 8]
  assert str(bad) in (output / "bad_images.txt").read_text()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
  parts = image_folder.load(str(pictures.write_folder(tmp_path / "data")))
  output = str(tmp_path / "out")
  with (
    disk.files_of_at_most(2000),
    pytest.raises(DataError, match=f"output_dir={output} cannot be written"),
  ):
    convert.convert(*parts, output)
  assert [path.name for path in tmp_path.iterdir()] == ["data"]
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  with (
    disk.files_of_at_most(2000),
    pytest.raises(DataError, match=r"cannot be written: .*--cache=none"),
  ):
    cache.cached(parts[0], "disk", image_size=16, replace=True)
  assert not list(tmp_path.glob("cache/**/train-*"))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
  parts = image_folder.load(str(pictures.write_folder(tmp_path / "data")))
  with pytest.raises(DataError, match="output_dir must be new or empty"):
    convert.convert(*parts, str(tmp_path / "data"))
  (tmp_path / "out.partial").mkdir()
  with pytest.raises(DataError, match="is an unfinished conversion: delete"):
    convert.convert(*parts, str(tmp_path / "out"))


def test_a_path_is_no_pattern(tmp_path, monkeypatch):
  # TensorFlow's file functions take [, *, ? and a backslash for patterns.
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache[*]"))
  root = pictures.write_folder(tmp_path / "data[0-9]?" / "\\{a,b}")
  parts = image_folder.load(str(root))
  output = str(tmp_path / "out[*]")
  convert.convert(*parts, output, shard_bytes=4000)
  copied = [read_all(part) for part in tfrecord.load(output)]
  assert copied == [read_all(part) for part in parts]
  table = tmp_path / "table[0].csv"
  relative = [path.relative_to(root) for path in sorted(root.rglob("*.jpg"))]
  rows = [f"{path},{path.parent.name},{path.parts[0]}" for path in relative]
  table.write_text("\n".join(["path,label,split", *rows]))
  listed, _ = csv_table.load(str(root), str(table))
  assert sorted(read_all(listed)) == sorted(copied[0])
  kept = cache.cached(
    parts[0], "disk", image_size=16, random_crops=True, replace=True
  )
  assert read_all(kept) == copied[0]


def records(tmp_path, **options):
  parts = image_folder.load(str(pictures.write_folder(tmp_path / "data")))
  output = tmp_path / "out"
  convert.convert(*parts, str(output), **options)
  return output


def test_a_missing_shard_is_named(tmp_path):
  output = records(tmp_path, shard_bytes=4000)
  sorted(output.glob("train-*"))[1].unlink()
  with pytest.raises(DataError, match="number 1 is missing"):
    tfrecord.load(str(output))


def test_the_label_offset_is_that_of_the_first_class(tmp_path):
  output = records(tmp_path)
  with pytest.raises(DataError, match=r"labels must be in \[1, 4\), got 0"):
    tfrecord.load(str(output), label_offset=1)
  (output / "class_names.txt").unlink()
  train, _ = tfrecord.load(str(output), label_offset=-1)
  assert train.class_names == ("0", "1", "2", "3")
  assert train.labels.min() == 1


def test_train_files_alone_are_split(tmp_path):
  output = records(tmp_path)
  for path in output.glob("validation*"):
    path.unlink()
  with pytest.raises(DataError, match="validation_fraction must be above 0"):
    tfrecord.load(str(output))
  train, validation = tfrecord.load(str(output), validation_fraction=0.25)
  assert (train.num_examples, validation.num_examples) == (18, 6)


def test_the_split_to_evaluate_can_be_chosen(tmp_path):
  output = records(tmp_path)
  for path in output.glob("validation*"):
    path.rename(output / path.name.replace("validation", "test"))
  assert tfrecord.load(str(output))[1].num_examples == 9
  train, test = tfrecord.load(
    str(output), validation_fraction=0.25, eval_split="test"
  )
  assert (train.num_examples, test.num_examples) == (18, 9)
  with pytest.raises(DataError, match="eval_split must be a split that"):
    tfrecord.load(str(output), eval_split="validation")


def test_a_changed_byte_is_an_error(tmp_path):
  output = records(tmp_path)
  (path,) = output.glob("train-*")
  contents = bytearray(path.read_bytes())
  contents[300] ^= 1
  path.write_bytes(contents)
  source, _ = tfrecord.load(str(output))
  with pytest.raises(tf.errors.DataLossError):
    read_all(source)
