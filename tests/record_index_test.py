# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the index of TFRecord files, against TensorFlow's own reader."""

from __future__ import annotations

import pickle

import numpy as np
import psutil
import pytest
import tensorflow as tf

from benchmarks import large_index
from data import DataError, reading
from data.sources import mapped, record_index, tfrecord

LABEL = "image/class/label"


def arrays_of(index) -> dict[str, np.ndarray]:
  return {name: v for name, v in vars(index).items() if name != "summary"}


def example(label, **features) -> tf.train.Example:
  int64_list = tf.train.Int64List(value=np.atleast_1d(label))
  made = {LABEL: tf.train.Feature(int64_list=int64_list)}
  for name, value in features.items():
    bytes_list = tf.train.BytesList(value=[value])
    made[name] = tf.train.Feature(bytes_list=bytes_list)
  return tf.train.Example(features=tf.train.Features(feature=made))


def write(path, examples) -> str:
  with tf.io.TFRecordWriter(str(path)) as writer:
    for each in examples:
      writer.write(each.SerializeToString())
  return str(path)


@pytest.fixture
def shards(tmp_path):
  random = np.random.default_rng(0)
  return [
    write(
      tmp_path / f"train-{shard:05d}-of-00003",
      [
        example(100 * shard + k, image=random.bytes(random.integers(400)))
        for k in range(count)
      ],
    )
    for shard, count in enumerate((5, 0, 7))
  ]


def test_labels_and_places_are_tensorflows(shards):
  index = record_index.build(shards, LABEL)
  features = {LABEL: tf.io.FixedLenFeature([], tf.int64)}
  labels, places = [], []
  for number, shard in enumerate(shards):
    offset = 0
    for record in tf.data.TFRecordDataset(shard).as_numpy_iterator():
      labels.append(int(tf.io.parse_single_example(record, features)[LABEL]))
      places.append((number, offset))
      offset += record_index.record_bytes(len(record))
  assert index.label.tolist() == labels
  assert list(zip(index.shard, index.offset)) == places


def test_the_fast_way_to_a_label_is_taken_and_equals_the_slow_one(
  shards, monkeypatch
):
  found = []
  entry_of = record_index._entry_of
  monkeypatch.setattr(
    record_index,
    "_entry_of",
    lambda *a: found.append(entry_of(*a)) or found[-1],
  )
  fast = record_index.build(shards, LABEL).label.tolist()
  assert len(found) == len(fast) and None not in found
  monkeypatch.setattr(record_index, "_entry_of", lambda *a: None)
  assert record_index.build(shards, LABEL).label.tolist() == fast


@pytest.mark.parametrize("label", [0, 1, 999, 2**40, -1, -(2**63), 2**63 - 1])
def test_integers_of_any_size(tmp_path, label):
  index = record_index.build([write(tmp_path / "a", [example(label)])], LABEL)
  assert index.label.tolist() == [label]


@pytest.mark.parametrize("label", [[], [1, 2]])
def test_a_label_is_one_integer(tmp_path, label):
  shard = write(tmp_path / "a", [example(0), example(label)])
  with pytest.raises(DataError, match="must hold one integer, got"):
    record_index.build([shard], LABEL)


def test_a_missing_feature_names_those_there_are(tmp_path):
  shard = write(tmp_path / "a", [example(0, image=b"x")])
  with pytest.raises(DataError, match=f"'label', only 'image', '{LABEL}'"):
    record_index.build([shard], "label")


@pytest.mark.parametrize("cut", [1, 4, 11, 20])
def test_a_truncated_file_is_named(tmp_path, cut):
  path = tmp_path / "train-00000-of-00001"
  write(path, [example(0, image=b"x" * 50), example(1)])
  path.write_bytes(path.read_bytes()[:-cut])
  with pytest.raises(DataError, match=f"{path} is truncated"):
    record_index.build([str(path)], LABEL)


def test_an_index_is_kept_until_a_file_changes(shards, monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  built = []
  build = record_index.build
  monkeypatch.setattr(
    record_index, "build", lambda *a: built.append(a) or build(*a)
  )
  first = record_index.of_shards(shards, LABEL)
  again = record_index.of_shards(shards, LABEL)
  assert len(built) == 1
  np.testing.assert_array_equal(first.offset, again.offset)
  write(shards[0], [example(8)])
  assert record_index.of_shards(shards, LABEL).label[0] == 8
  assert len(built) == 2


def test_a_damaged_index_in_the_cache_is_made_anew(
  shards, monkeypatch, tmp_path
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  first = record_index.of_shards(shards, LABEL)
  (path,) = (tmp_path / "cache").rglob("*.npz")
  path.write_bytes(path.read_bytes()[:100])
  again = record_index.of_shards(shards, LABEL)
  np.testing.assert_array_equal(first.label, again.label)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"sizes": np.array([1, 2, 3])}, "index of other files"),
    ({"shard": np.full(12, 3, np.int32)}, "names a file that does not exist"),
    ({"offset": np.full(12, 10**9)}, "a record is outside its file"),
    ({"offset": np.full(12, -1)}, "a record is outside its file"),
    ({"label": np.zeros(3, np.int64)}, "differ in length"),
    ({"label": np.zeros(12, np.int8)}, "label must be int64"),
  ],
)
def test_an_index_that_does_not_fit_is_refused(
  shards, tmp_path, change, message
):
  index = record_index.build(shards, LABEL)
  sizes = index.sizes
  path = str(tmp_path / "x.npz")
  record_index.write(path, index)
  np.testing.assert_array_equal(
    record_index.read(path, sizes).label, index.label
  )
  np.savez(path, **{**arrays_of(index), **change})
  with pytest.raises(DataError, match=message):
    record_index.read(path, sizes)


def test_an_old_index_and_a_new_one_are_mapped(shards, tmp_path, monkeypatch):
  index = record_index.build(shards, LABEL)
  names = [path.rsplit("/", 1)[1] for path in shards]
  old, new = str(tmp_path / "old.npz"), str(tmp_path / "new.npz")
  np.savez(old, **{**arrays_of(index), "label": index.label.astype(np.int64)})
  record_index.write(new, index, names)
  monkeypatch.setattr(record_index, "_MAPPED_BYTES", 0)
  for path in (old, new):
    found = record_index.read(path, index.sizes)
    assert isinstance(found.offset, np.memmap)
    for name, expected in arrays_of(index).items():
      np.testing.assert_array_equal(getattr(found, name), expected)
    assert found.label_range() == (0, 206)
    assert found.content(names) == index.content(names)
    assert found.content(names[::-1]) == index.content(names[::-1])
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again.offset, np.memmap)
    np.testing.assert_array_equal(again.offset[3:], index.offset[3:])
    np.testing.assert_array_equal(
      pickle.loads(pickle.dumps(found.label[3:])), index.label[3:]
    )
  assert found.summary.content == index.content(names)
  assert mapped.is_aligned(found.offset) and mapped.is_aligned(found.shard)
  tensor = reading.on_host(found.offset)
  assert tensor.numpy().tolist() == index.offset.tolist()
  # NumPy reads what is written for it, too.
  np.testing.assert_array_equal(np.load(new)["shard"], index.shard)


def test_several_processes_make_the_same_index(shards, tmp_path, monkeypatch):
  expected = record_index.build(shards, LABEL)
  monkeypatch.setattr(record_index, "_BYTES_A_PROCESS", 100)
  monkeypatch.setattr(record_index.os, "cpu_count", lambda: 2)
  asked = []
  run = record_index.subprocess.run
  monkeypatch.setattr(
    record_index.subprocess,
    "run",
    lambda *a, **k: asked.append(a) or run(*a, **k),
  )
  found = record_index.build(["/dev/null", *shards], LABEL)
  assert len(asked) == 2
  assert found.shard.tolist() == (expected.shard + 1).tolist()
  assert found.offset.tolist() == expected.offset.tolist()
  assert found.label.tolist() == expected.label.tolist()
  with open(shards[2], "ab") as file:
    file.write(b"more")
  with pytest.raises(DataError, match=f"{shards[2]} is truncated"):
    record_index.build(shards, LABEL)


@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_a_compressed_file_is_told(tmp_path, kind):
  path = str(tmp_path / "train-00000-of-00001")
  with tf.io.TFRecordWriter(path, kind) as writer:
    writer.write(example(1).SerializeToString())
  with pytest.raises(
    DataError, match=f"{path} is compressed .{kind}.*gzip -dc"
  ):
    record_index.build([path], LABEL)


@pytest.mark.parametrize("count", [5_000_000, 50_000_000])
def test_a_large_index_takes_no_memory(tmp_path, count):
  folder = str(tmp_path)
  large_index.write_data(folder, count, b"an image")
  process = psutil.Process()
  before = process.memory_info().rss
  source, _ = tfrecord.load(folder)
  read = reading.make_read(source.examples)
  labels = reading.on_host(source.labels)
  opened = process.memory_info().rss
  source.fingerprint()
  assert source.num_examples == len(labels) == count
  last = tf.constant(count - 1, tf.int64)
  assert read(last).numpy() == b"an image"
  # A byte a record would be 50 MB.
  assert opened - before < 40e6
  assert process.memory_info().rss - before < 40e6
