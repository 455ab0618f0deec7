# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parsers on damaged files: an error that names the file, or what is there.

Each file is a valid one with a few bytes changed, cut off, or put in. By
default a few hundred of each; FUZZ_EXAMPLES=100000 tries more.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import tempfile

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from data import DataError, csv_table, idx, npz, record_index

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
LABEL = "image/class/label"
SIZES = np.array([500, 900], np.int64)


def valid_idx() -> bytes:
  pixels = bytes(range(24))
  return struct.pack(">HBBIII", 0, 8, 3, 2, 3, 4) + pixels


def valid_npz() -> bytes:
  file = io.BytesIO()
  images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
  np.savez_compressed(file, images=images, labels=np.array([0, 1, 2]))
  return file.getvalue()


def valid_csv() -> bytes:
  return 'path,label,split\na/1.jpg,cat,train\n"b,2.png",dög,test\n'.encode()


def valid_index() -> bytes:
  file = io.BytesIO()
  np.savez(
    file,
    sizes=SIZES,
    shard=np.array([0, 0, 1], np.int32),
    offset=np.array([0, 200, 0]),
    label=np.array([3, 4, 5]),
  )
  return file.getvalue()


def valid_records() -> bytes:
  with tempfile.NamedTemporaryFile() as file:
    with tf.io.TFRecordWriter(file.name) as writer:
      for label in (3, 400):
        int64_list = tf.train.Int64List(value=[label])
        bytes_list = tf.train.BytesList(value=[b"image"])
        features = {
          LABEL: tf.train.Feature(int64_list=int64_list),
          "image/encoded": tf.train.Feature(bytes_list=bytes_list),
        }
        message = tf.train.Features(feature=features)
        writer.write(tf.train.Example(features=message).SerializeToString())
    return file.read()


PARSERS = {
  "idx": (valid_idx, idx.read_idx),
  "idx.gz": (lambda: gzip.compress(valid_idx()), idx.read_idx),
  "npz": (valid_npz, npz.read_arrays),
  "csv": (valid_csv, csv_table.read_rows),
  "index": (valid_index, lambda path: record_index.read(path, SIZES)),
  "records": (valid_records, lambda path: record_index.build([path], LABEL)),
}


@st.composite
def damaged(draw, contents: bytes) -> bytes:
  """Draws a file with a few changes."""
  changed = bytearray(contents)
  for _ in range(draw(st.integers(1, 4))):
    place = draw(st.integers(0, max(len(changed) - 1, 0)))
    kind = draw(st.sampled_from(("set", "cut", "insert", "delete")))
    if kind == "set" and changed:
      changed[place] = draw(st.integers(0, 255))
    elif kind == "cut":
      del changed[place:]
    elif kind == "insert":
      changed[place:place] = draw(st.binary(min_size=1, max_size=8))
    else:
      del changed[place : place + draw(st.integers(1, 8))]
  return bytes(changed)


@pytest.mark.parametrize("name", PARSERS)
def test_a_valid_file_is_read(name, tmp_path):
  valid, parse = PARSERS[name]
  path = tmp_path / "file"
  path.write_bytes(valid())
  parse(str(path))


@pytest.mark.parametrize("name", PARSERS)
def test_a_damaged_file_is_told_in_one_line(name, tmp_path):
  valid, parse = PARSERS[name]
  path = str(tmp_path / "file")

  @hypothesis.settings(
    max_examples=EXAMPLES, deadline=5000, database=None, derandomize=True
  )
  @hypothesis.given(damaged(valid()))
  def try_one(contents: bytes) -> None:
    with open(path, "wb") as file:
      file.write(contents)
    with contextlib.suppress(DataError):
      parse(path)

  try_one()
