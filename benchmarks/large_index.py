# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Opens an index of a hundred million records, and reads batches by it.

    python -m benchmarks.large_index

The index is sparse: a file whose arrays are holes, so that each entry reads as
record 0 of file 0, which is there. Each size is measured by a process of its
own: seconds to open, memory that this takes, images/s of batches in the order
of training, and memory afterwards.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil
import tabulate

from data.sources import record_index, tfrecord

COUNTS = (10_000, 1_000_000, 100_000_000)
_NAMES = ("cat", "dog")
_BATCH_SIZE = 64
_PART = 1 << 20


def write_sparse(path: str, count: int, shard: str) -> None:
  """Writes an index of so many records, all of them the first of a file.

  Args:
    path: of the index; nothing of it but headers is on the disk.
    count: the number of records.
    shard: the path of the TFRecord file.
  """
  summary = record_index.Summary([os.path.basename(shard)], "", 0, 0)
  text = json.dumps(dataclasses.asdict(summary)).encode()
  known: dict[str, np.ndarray] = {
    "sizes": np.array([os.path.getsize(shard)], np.int64),
    "summary": np.frombuffer(text, np.uint8),
  }
  holes = {"shard": "<i4", "label": "<i4", "offset": "<i8"}
  directory = b""
  with open(path, "wb") as file:
    for name, array in known.items():
      content = io.BytesIO()
      np.save(content, array)
      directory += _member(file, name, content.getvalue(), 0)
    for name, dtype in holes.items():
      header = io.BytesIO()
      np.lib.format.write_array_header_1_0(
        header, {"descr": dtype, "fortran_order": False, "shape": (count,)}
      )
      size = count * np.dtype(dtype).itemsize
      directory += _member(file, name, header.getvalue(), size)
    start = file.tell()
    file.write(directory)
    entries = len(known) + len(holes)
    file.write(
      struct.pack(
        "<4s4H2IH",
        *(b"PK\x05\x06", 0, 0, entries, entries, len(directory), start, 0),
      )
    )


def _member(
  file: io.BufferedWriter, name: str, content: bytes, hole: int
) -> bytes:
  """Writes a member that ends in a hole; returns its entry of the directory."""
  encoded = f"{name}.npy".encode()
  place, size = file.tell(), len(content) + hole
  padding = -(place + 30 + len(encoded) + 4) % 64
  extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
  checksum = zlib.crc32(content)
  # Of an index that is mapped it is not looked at.
  for start in range(0, hole if hole < 1 << 24 else 0, _PART):
    checksum = zlib.crc32(bytes(min(_PART, hole - start)), checksum)
  shared = (20, 0, 0, 0, 33, checksum, size, size, len(encoded))
  file.write(struct.pack("<4s5H3I2H", b"PK\x03\x04", *shared, len(extra)))
  file.write(encoded + extra + content)
  if hole:
    file.truncate(file.tell() + hole)
    file.seek(hole, os.SEEK_CUR)
  entry = struct.pack(
    "<4s6H3I5H2I",
    *(b"PK\x01\x02", 20, *shared, 0, 0, 0, 0, 0, place),
  )
  return entry + encoded


def write_data(folder: str, count: int, image: bytes) -> None:
  """Writes one record, and an index that names it many times."""
  from data.sources import record_writer

  for part in ("train", "validation"):
    record_writer.write_part(folder, part, [(image, 0)], _NAMES)
  with open(os.path.join(folder, tfrecord.CLASS_NAMES_FILE), "w") as file:
    file.write("\n".join(_NAMES))
  write_sparse(
    tfrecord.index_path(folder, "train"),
    count,
    os.path.join(folder, "train-00000-of-00001"),
  )


def measure(folder: str, batches: int) -> dict[str, Any]:
  """Returns the figures of one folder; in a process that did nothing else."""
  memory = psutil.Process().memory_info
  import tensorflow as tf

  from data import pipeline

  tf.constant(0)
  before, shared, start = memory().rss, memory().shared, time.perf_counter()
  source, _ = tfrecord.load(folder)
  opened, opened_memory = time.perf_counter() - start, memory().rss - before
  begun = time.perf_counter()
  source.fingerprint()
  fingerprint = time.perf_counter() - begun
  fingerprint_memory = memory().rss - before
  start = time.perf_counter()
  dataset = pipeline.train_dataset(
    source, global_batch_size=_BATCH_SIZE, seed=0, image_size=32
  )
  iterator = iter(dataset)
  next(iterator)
  first = time.perf_counter() - start
  start = time.perf_counter()
  for _ in range(batches):
    next(iterator)
  rate = batches * _BATCH_SIZE / (time.perf_counter() - start)
  return {
    "records": source.num_examples,
    "seconds to open": round(opened, 3),
    "to first batch": round(first, 2),
    "to fingerprint": round(fingerprint, 2),
    "MB to open": round(opened_memory / 1e6, 1),
    "with fingerprint": round(fingerprint_memory / 1e6, 1),
    "images/s": round(rate),
    "MB after": round((memory().rss - before) / 1e6, 1),
    "of it shared": round((memory().shared - shared) / 1e6, 1),
  }


def main() -> None:
  """Prints a table of the figures."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--batches", type=int, default=500)
  parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.folder:
    print(json.dumps(measure(options.folder, options.batches)))
    return
  from data.images import netpbm

  image = netpbm.encode(np.zeros([32, 32, 3], np.uint8))
  rows: list[Mapping[str, Any]] = []
  for count in COUNTS:
    with tempfile.TemporaryDirectory() as folder:
      write_data(folder, count, image)
      words = ["-m", "benchmarks.large_index", f"--folder={folder}"]
      words.append(f"--batches={options.batches}")
      done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True
      )
      rows.append(json.loads(done.stdout))
  print(tabulate.tabulate(rows, headers="keys", tablefmt="github"))


if __name__ == "__main__":
  main()
