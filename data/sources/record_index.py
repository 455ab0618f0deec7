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

An index that is large is memory-mapped and not read: a hundred million records
open at once, and take no memory but for the pages that are used.

Reference: tensorflow/core/lib/io/record_writer.h and
  tensorflow/core/example/example.proto; the wire format:
  https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import TypeVar, Union

import numpy as np
import platformdirs
from absl import logging

from data import writing
from data.errors import DataError
from data.sources import mapped, npz

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
# What an index holds, and the types of it.
_ARRAYS: dict[str, tuple[type, ...]] = {
  "sizes": (np.int64,),
  "shard": (np.int32,),
  "offset": (np.int64,),
  "label": (np.int32, np.int64),
}
# A larger index is memory-mapped: some millions of records.
_MAPPED_BYTES = 1 << 26
# A process takes a third of a second to start.
_BYTES_A_PROCESS = 1 << 28
_BAD_DATA = 2
# The kinds of value in the wire format.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field 1, of the kind _BYTES.
_KEY_TAG = 10

Buffer = Union[bytes, mmap.mmap]
Value = TypeVar("Value")
# The first byte, and the one after the last.
Span = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Summary:
  """What else would take a look at all records.

  Attributes:
    names: of the files, without their folder.
    content: see `Index.content`.
    least_label: of all records.
    greatest_label: of all records.
  """

  names: list[str]
  content: str
  least_label: int
  greatest_label: int


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
  """The places and labels of the examples in TFRecord files.

  Attributes:
    sizes: [shards] int64, the files' sizes in bytes.
    shard: [examples] int32, the number of the file that holds the example.
    offset: [examples] int64, the byte at which its record begins.
    label: [examples] int32 or int64, as it is in the file.
    summary: of the arrays, as `write` found it; None if it is not known.
  """

  sizes: np.ndarray
  shard: np.ndarray
  offset: np.ndarray
  label: np.ndarray
  summary: Summary | None = None

  def label_range(self) -> tuple[int, int]:
    """Returns the least and the greatest label."""
    if self.summary is not None:
      return self.summary.least_label, self.summary.greatest_label
    return int(self.label.min()), int(self.label.max())

  def content(self, names: Sequence[str]) -> str:
    """Returns a hash of the files' names and sizes, and the records' places.

    Args:
      names: of the files, without their folder.
    """
    if self.summary is not None and self.summary.names == list(names):
      return self.summary.content
    digest = hashlib.sha256(repr((list(names), self.sizes.tolist())).encode())
    for part in mapped.parts(self.offset):
      digest.update(part.astype("<i8", copy=False).data)
    return digest.hexdigest()


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
    write(path, index, [os.path.basename(shard) for shard in shards])
  except OSError as error:
    logging.warning("the index cannot be kept in %s: %s", path, error.strerror)
  return index


def build(shards: Sequence[str], label_feature: str | None) -> Index:
  """Makes an index by reading all lengths and labels.

  Large files are read by several processes, for Python's threads would wait for
  each other.

  Args:
    shards: the paths of the files.
    label_feature: as of `of_shards`.

  Raises:
    DataError: names the file, the place and the fault there.
  """
  sizes = np.array([os.path.getsize(shard) for shard in shards], np.int64)
  count = min(os.cpu_count() or 1, int(sizes.sum()) // _BYTES_A_PROCESS)
  # Equal shares of the bytes, each of files in a row.
  ends = np.cumsum(sizes)
  share = (ends - 1) * max(count, 1) // max(int(ends[-1]), 1) if count else ends
  parts = [
    (int(members[0]), [shards[int(number)] for number in members])
    for members in (np.flatnonzero(share == n) for n in range(count))
    if len(members)
  ]
  if len(parts) < 2:
    columns = [_columns(shards, label_feature)]
    parts = [(0, list(shards))]
  else:
    columns = _in_processes([part for _, part in parts], label_feature)
  numbers = [c[0] + first for c, (first, _) in zip(columns, parts)]
  labels = np.concatenate([c[2] for c in columns])
  if not len(labels) or _fits(labels.min(), labels.max()):
    labels = labels.astype(np.int32)
  return Index(
    sizes,
    np.concatenate(numbers).astype(np.int32),
    np.concatenate([c[1] for c in columns]),
    labels,
  )


def _fits(least: int, greatest: int) -> bool:
  limits = np.iinfo(np.int32)
  return bool(limits.min <= least and greatest <= limits.max)


def _columns(shards: Sequence[str], label_feature: str | None) -> np.ndarray:
  """Returns the file's number, the offset and the label of each record.

  Args:
    shards: the paths of the files.
    label_feature: as of `of_shards`.

  Returns:
    [3, examples] int64.

  Raises:
    DataError: as of `build`.
  """
  places = array.array("q")

  def label(buffer: Buffer, start: int, end: int) -> int:
    if label_feature is None:
      return 0
    return label_of(buffer, start, end, label_feature)

  for place in _each(shards, label):
    places.extend(place)
  return np.frombuffer(places, np.int64).reshape([-1, 3]).T


def _each(
  shards: Sequence[str], read: Callable[[Buffer, int, int], Value]
) -> Iterator[tuple[int, int, Value]]:
  """Reads something of each record.

  Args:
    shards: the paths of the files.
    read: of a buffer, and the start and end of a record's content in it.

  Yields:
    The file's number, the record's offset, and what was read.

  Raises:
    DataError: names the file, the place and the fault there.
  """
  for number, shard in enumerate(shards):
    if not os.path.getsize(shard):
      continue
    with open(shard, "rb") as file:
      buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with buffer:
      _require_uncompressed(buffer, shard)
      for offset, start, end in records(buffer, shard):
        try:
          value = read(buffer, start, end)
        except DataError as error:
          raise DataError(
            f"{shard}, the record at byte {offset}: {error}"
          ) from error
        yield number, offset, value


def _require_uncompressed(buffer: Buffer, name: str) -> None:
  """Raises if a file is compressed, in which no record has a place."""
  beginning = bytes(buffer[:2])
  kind = {b"\x1f\x8b": "GZIP", b"\x78\x9c": "ZLIB"}.get(beginning)
  size = int.from_bytes(buffer[:8], "little")
  if kind and size > len(buffer):
    raise DataError(
      f"{name} is compressed ({kind}), so that its records cannot be read in"
      " any order: unpack it first, as with gzip -dc"
    )


def _in_processes(
  parts: Sequence[Sequence[str]], label_feature: str | None
) -> list[np.ndarray]:
  """Returns `_columns` of each part, read by a process of its own.

  Raises:
    DataError: as of `build`; that of the first part that has one.
  """
  # Not multiprocessing, which would run a caller's script once more.
  environment = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
  }

  def ask(part: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
      [sys.executable, "-m", "data.sources.record_index"],
      input=json.dumps([part, label_feature]).encode(),
      capture_output=True,
      check=False,
      env=environment,
    )

  with futures.ThreadPoolExecutor(len(parts)) as pool:
    answers = list(pool.map(ask, parts))
  for answer in answers:
    if answer.returncode == _BAD_DATA:
      raise DataError(json.loads(answer.stdout))
    if answer.returncode:
      logging.warning("the index is made by one process: %s", answer.stderr)
      return [_columns(part, label_feature) for part in parts]
  return [
    np.frombuffer(answer.stdout, np.int64).reshape([3, -1])
    for answer in answers
  ]


def _answer() -> int:
  """Is the process that `_in_processes` asks; returns its exit status."""
  part, label_feature = json.load(sys.stdin)
  try:
    content = _columns(part, label_feature).tobytes()
  except DataError as error:
    sys.stdout.write(json.dumps(str(error)))
    return _BAD_DATA
  sys.stdout.buffer.write(content)
  return 0


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

  def row(buffer: Buffer, start: int, end: int) -> np.ndarray:
    found = np.zeros(num_classes, np.uint8)
    for label in integers_of(buffer, start, end, label_feature):
      if not 0 <= label < num_classes:
        raise DataError(f"labels must be in [0, {num_classes}), got {label}")
      found[label] = 1
    return found

  rows = [found for _, _, found in _each(shards, row)]
  return np.array(rows, np.uint8).reshape([-1, num_classes])


def write(path: str, index: Index, names: Sequence[str] = ()) -> None:
  """Writes an index, its folder too if there is none.

  Args:
    path: of the index, a NumPy archive that can be memory-mapped.
    index: what is written.
    names: of the files, without their folder.

  Raises:
    OSError: the file cannot be written.
  """
  arrays = {name: getattr(index, name) for name in _ARRAYS}
  if len(index.label):
    least, greatest = int(index.label.min()), int(index.label.max())
    content = dataclasses.replace(index, summary=None).content(names)
    summary = Summary(list(names), content, least, greatest)
    text = json.dumps(dataclasses.asdict(summary)).encode()
    arrays["summary"] = np.frombuffer(text, np.uint8)
  with writing.new_file(path) as file:
    mapped.write(file, arrays)


def read(path: str, sizes: np.ndarray) -> Index:
  """Reads an index, and checks it against its TFRecord files.

  One of more than `_MAPPED_BYTES` is memory-mapped: then what its summary says
  of labels and places is trusted, and no checksum of the whole is computed.

  Args:
    path: of the index.
    sizes: [shards], the files' sizes as they are now.

  Raises:
    DataError: the index is missing, damaged, or of other files.
  """
  is_large = os.path.isfile(path) and os.path.getsize(path) > _MAPPED_BYTES
  found = mapped.read(path) if is_large else npz.read_arrays(path)
  summary = found.pop("summary", None)
  try:
    index = Index(**found, summary=None)
  except TypeError as error:
    raise DataError(f"{path} is not an index of TFRecord files") from error
  if summary is not None:
    index = dataclasses.replace(index, summary=_parse(summary, path))
  _check(index, sizes, path)
  return index


def _parse(summary: np.ndarray, path: str) -> Summary:
  try:
    found = Summary(**json.loads(summary.tobytes()))
    _, _ = int(found.least_label), int(found.greatest_label)
    found.content.encode()
  except (ValueError, TypeError, AttributeError, RecursionError) as error:
    raise DataError(
      f"{path} is damaged: its summary cannot be read; delete it"
    ) from error
  return found


def _check(index: Index, sizes: np.ndarray, path: str) -> None:
  """Raises a DataError unless the index fits the files."""
  for name, dtypes in _ARRAYS.items():
    column = getattr(index, name)
    if column.dtype not in dtypes or column.ndim != 1:
      raise DataError(
        f"{path} is damaged: {name} must be {np.dtype(dtypes[-1])} of rank 1,"
        f" got {column.dtype} {list(column.shape)}; delete it"
      )
  if not np.array_equal(index.sizes, sizes):
    raise DataError(f"{path} is the index of other files; delete it")
  if not len(index.shard) == len(index.offset) == len(index.label):
    raise DataError(
      f"{path} is damaged: its arrays differ in length; delete it"
    )
  is_mapped = isinstance(index.offset, np.memmap)
  if not len(index.shard) or (is_mapped and index.summary is not None):
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
  entry_of_writers = _entry_of(buffer, start, end, wanted)
  if entry_of_writers is not None:
    return _integers(buffer, entry_of_writers)
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


def _entry_of(buffer: Buffer, start: int, end: int, key: bytes) -> Span | None:
  """Returns the map entry of a key, found fast; None leaves it to `_values`.

  It knows Examples as all writers write them: one field of one message, entries
  that begin with their key.
  """
  beginning = bytes((_KEY_TAG, len(key))) + key if len(key) < 128 else b""
  if not beginning or start + 2 > end or buffer[start] != _KEY_TAG:
    return None
  length, place = _varint(buffer, start + 1, end)
  if place + length != end:
    return None
  while place + 2 <= end and buffer[place] == _KEY_TAG:
    length, place = buffer[place + 1], place + 2
    if length >= 128:
      length, place = _varint(buffer, place - 1, end)
    if place + length > end:
      return None
    if buffer[place : place + len(beginning)] == beginning:
      return place, place + length
    place += length
  return None


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


if __name__ == "__main__":
  sys.exit(_answer())
