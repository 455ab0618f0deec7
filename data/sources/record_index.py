# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""An index of TFRecord files: the place and the label of each example.

TFRecord files by themselves can only be read in sequence. With an index they
can be read in any order, so that the order of a run is a function of the step,
as it is for data in memory.

A record is its length, uint64; the length's checksum, uint32; that many bytes,
a serialised `tf.train.Example`; and their checksum, uint32; all little-endian.
The index is made from lengths and labels alone, so that only a small part of a
file of images is read. Checksums are checked when the images are read.

Reference: tensorflow/core/lib/io/record_writer.h and
  tensorflow/core/example/example.proto; the wire format:
  https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Union

import numpy as np
import platformdirs
from absl import logging

from data import writing
from data.errors import DataError
from data.sources import npz

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
# The kinds of value in the wire format.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Buffer = Union[bytes, mmap.mmap]
# The first byte, and the one after the last.
Span = tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
  """The places and labels of the examples in TFRecord files.

  Attributes:
    sizes: [shards] int64, the files' sizes in bytes.
    shard: [examples] int32, the number of the file that holds the example.
    offset: [examples] int64, the byte at which its record begins.
    label: [examples] int64, as it is in the file.
  """

  sizes: np.ndarray
  shard: np.ndarray
  offset: np.ndarray
  label: np.ndarray


def of_shards(shards: Sequence[str], label_feature: str | None) -> Index:
  """Returns the index of TFRecord files, and keeps it in our cache.

  Args:
    shards: the paths of the files.
    label_feature: the feature that holds the label, an integer; None reads no
      label, which is 0 then.

  Returns:
    The index; from the cache, if no file has changed its size or time.

  Raises:
    DataError: names the file, the place and the fault there.
  """
  stats = [os.stat(shard) for shard in shards]
  key = hashlib.sha256(repr((1, label_feature)).encode())
  for shard, stat in zip(shards, stats):
    identity = (os.path.abspath(shard), stat.st_size, stat.st_mtime_ns)
    key.update(repr(identity).encode())
  path = os.path.join(
    platformdirs.user_cache_dir("train_loop/tfrecord"),
    f"{key.hexdigest()[:32]}.npz",
  )
  sizes = np.array([stat.st_size for stat in stats], np.int64)
  with contextlib.suppress(DataError):
    return read(path, sizes)
  logging.info("indexing %d TFRecord files, once", len(shards))
  index = build(shards, label_feature)
  try:
    write(path, index)
  except OSError as error:
    logging.warning("the index cannot be kept in %s: %s", path, error.strerror)
  return index


def build(shards: Sequence[str], label_feature: str | None) -> Index:
  """Makes an index by reading all lengths and labels.

  Args:
    shards: the paths of the files.
    label_feature: as of `of_shards`.

  Raises:
    DataError: names the file, the place and the fault there.
  """
  sizes, numbers, offsets, labels = [], [], [], []
  for number, shard in enumerate(shards):
    with open(shard, "rb") as file:
      size = os.fstat(file.fileno()).st_size
      sizes.append(size)
      if not size:
        continue
      with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        for offset, start, end in records(buffer, shard):
          try:
            label = 0
            if label_feature is not None:
              label = label_of(buffer, start, end, label_feature)
            labels.append(label)
          except DataError as error:
            raise DataError(
              f"{shard}, the record at byte {offset}: {error}"
            ) from error
          numbers.append(number)
          offsets.append(offset)
  return Index(
    np.array(sizes, np.int64),
    np.array(numbers, np.int32),
    np.array(offsets, np.int64),
    np.array(labels, np.int64),
  )


def rows_of(
  shards: Sequence[str], label_feature: str, num_classes: int
) -> np.ndarray:
  """Reads the labels of examples that have any number of them.

  Args:
    shards: the paths of the files.
    label_feature: the feature that holds the labels, integers.
    num_classes: they are in [0, num_classes).

  Returns:
    [examples, num_classes] uint8, 1 for each label of an example.

  Raises:
    DataError: names the file, the place and the fault there.
  """
  rows = []
  for shard, offset, found in _features(shards, label_feature):
    row = np.zeros(num_classes, np.uint8)
    for label in found:
      if not 0 <= label < num_classes:
        raise DataError(
          f"{shard}, the record at byte {offset}: labels must be in [0,"
          f" {num_classes}), got {label}"
        )
      row[label] = 1
    rows.append(row)
  return np.array(rows, np.uint8).reshape([-1, num_classes])


def _features(
  shards: Sequence[str], feature: str
) -> Iterator[tuple[str, int, list[int]]]:
  """Yields the file, the offset and a feature's integers of each record."""
  for shard in shards:
    if not os.path.getsize(shard):
      continue
    with open(shard, "rb") as file:
      buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with buffer:
      for offset, start, end in records(buffer, shard):
        yield shard, offset, integers_of(buffer, start, end, feature)


def write(path: str, index: Index) -> None:
  """Writes an index, its folder too if there is none.

  Raises:
    OSError: the file cannot be written.
  """
  with writing.new_file(path) as file:
    np.savez(file, **dataclasses.asdict(index))


def read(path: str, sizes: np.ndarray) -> Index:
  """Reads an index, and checks it against its TFRecord files.

  Args:
    path: of the index.
    sizes: [shards], the files' sizes as they are now.

  Raises:
    DataError: the index is missing, damaged, or of other files.
  """
  found = npz.read_arrays(path)
  try:
    index = Index(**found)
  except TypeError as error:
    raise DataError(f"{path} is not an index of TFRecord files") from error
  _check(index, sizes, path)
  return index


def _check(index: Index, sizes: np.ndarray, path: str) -> None:
  """Raises a DataError unless the index fits the files."""
  dtypes = {
    "sizes": np.int64,
    "shard": np.int32,
    "offset": np.int64,
    "label": np.int64,
  }
  for name, dtype in dtypes.items():
    array = getattr(index, name)
    if array.dtype != dtype or array.ndim != 1:
      raise DataError(
        f"{path} is damaged: {name} must be {np.dtype(dtype)} of rank 1, got"
        f" {array.dtype} {list(array.shape)}; delete it"
      )
  if not np.array_equal(index.sizes, sizes):
    raise DataError(f"{path} is the index of other files; delete it")
  if not len(index.shard) == len(index.offset) == len(index.label):
    raise DataError(
      f"{path} is damaged: its arrays differ in length; delete it"
    )
  if not len(index.shard):
    return
  inside = (index.shard >= 0) & (index.shard < len(sizes))
  if not inside.all():
    raise DataError(
      f"{path} is damaged: it names a file that does not exist; delete it"
    )
  last = sizes[index.shard] - _HEADER.size - _FOOTER_BYTES
  if not ((index.offset >= 0) & (index.offset <= last)).all():
    raise DataError(
      f"{path} is damaged: a record is outside its file; delete it"
    )


def record_bytes(length: int) -> int:
  """Returns the size of a record whose content has `length` bytes."""
  return _HEADER.size + length + _FOOTER_BYTES


def records(buffer: Buffer, name: str) -> Iterator[tuple[int, int, int]]:
  """Yields each record's offset, and the start and end of its content.

  Args:
    buffer: the content of a TFRecord file.
    name: of the file, for messages.

  Raises:
    DataError: a record ends beyond the end of the file.
  """
  offset, size = 0, len(buffer)
  while offset < size:
    start = offset + _HEADER.size
    length = 0
    if start <= size:
      length, _ = _HEADER.unpack(buffer[offset:start])
    end = start + length
    if end + _FOOTER_BYTES > size:
      raise DataError(
        f"{name} is truncated or no TFRecord file: the record at byte {offset}"
        f" would end at {end + _FOOTER_BYTES}, the file at {size}"
      )
    yield offset, start, end
    offset = end + _FOOTER_BYTES


def label_of(buffer: Buffer, start: int, end: int, feature: str) -> int:
  """Returns the integer in a feature of a serialised `tf.train.Example`.

  Args:
    buffer: holds the example.
    start: its first byte.
    end: the byte after its last.
    feature: the feature's name.

  Raises:
    DataError: there is no such feature, or it is not one integer.
  """
  integers = integers_of(buffer, start, end, feature)
  if len(integers) != 1:
    raise DataError(
      f"feature {feature!r} must hold one integer, got {len(integers)}"
    )
  return integers[0]


def integers_of(
  buffer: Buffer, start: int, end: int, feature: str
) -> list[int]:
  """Returns the integers in a feature of a serialised `tf.train.Example`.

  Args:
    buffer: holds the example.
    start: its first byte.
    end: the byte after its last.
    feature: the feature's name.

  Raises:
    DataError: there is no such feature.
  """
  wanted = feature.encode()
  names = []
  for features in _messages(buffer, (start, end), 1):
    for entry in _messages(buffer, features, 1):
      keys = _messages(buffer, entry, 1)
      name = b"".join(bytes(buffer[slice(*key)]) for key in keys)
      if name == wanted:
        return _integers(buffer, entry)
      names.append(name.decode(errors="replace"))
  found = ", ".join(map(repr, sorted(names)))
  raise DataError(f"it has no feature {feature!r}, only {found or 'none'}")


def _integers(buffer: Buffer, entry: Span) -> list[int]:
  """Returns the values of a map entry: Feature{int64_list{value}}."""
  integers: list[int] = []
  for value in _messages(buffer, entry, 2):
    for int64_list in _messages(buffer, value, 3):
      for kind, (first, last) in _values(buffer, int64_list, 1):
        if kind == _VARINT:
          integers.append(first)
          continue
        while first < last:  # Packed, as by most writers.
          integer, first = _varint(buffer, first, last)
          integers.append(integer)
  return [n - 2**64 if n >= 2**63 else n for n in integers]


def _messages(buffer: Buffer, span: Span, number: int) -> Iterator[Span]:
  """Yields the span of each value in a field of messages or strings."""
  for kind, value in _values(buffer, span, number):
    if kind == _BYTES:
      yield value


def _values(
  buffer: Buffer, span: Span, number: int
) -> Iterator[tuple[int, Span]]:
  """Yields the kind and the span of each value in a field of a message.

  For a varint the span is the integer itself, twice.
  """
  place, end = span
  while place < end:
    tag, place = _varint(buffer, place, end)
    kind = tag & 7
    if kind == _VARINT:
      integer, place = _varint(buffer, place, end)
      value = (integer, integer)
    else:
      if kind == _BYTES:
        length, place = _varint(buffer, place, end)
      elif kind in (_FIXED64, _FIXED32):
        length = 8 if kind == _FIXED64 else 4
      else:
        raise DataError("it is not a tf.train.Example")
      value = (place, place + length)
      place += length
    if place > end:
      raise DataError("it is not a tf.train.Example: a field ends outside it")
    if tag >> 3 == number:
      yield kind, value


def _varint(buffer: Buffer, place: int, end: int) -> tuple[int, int]:
  """Returns the integer, 7 bits per byte, and the place after it."""
  integer = 0
  for shift in range(0, 70, 7):
    if place >= end:
      break
    byte = buffer[place]
    place += 1
    integer |= (byte & 127) << shift
    if byte < 128:
      return integer & (2**64 - 1), place
  raise DataError("it is not a tf.train.Example: an integer does not end")
