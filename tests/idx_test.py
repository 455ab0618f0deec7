# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The IDX reader against a writer of our own, and against garbage."""

from __future__ import annotations

import gzip
import math
import os
import struct
import tracemalloc
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from data.errors import DataError
from data.sources.idx import read_idx

pytestmark = pytest.mark.any_keras

CODES = {
  "u1": 0x08,
  "i1": 0x09,
  "i2": 0x0B,
  "i4": 0x0C,
  "f4": 0x0D,
  "f8": 0x0E,
}
SHAPES = [(1,), (7,), (2, 3), (3, 4, 5), (2, 3, 4, 2)]


def header(dtype: str, shape: tuple[int, ...]) -> bytes:
  dimensions = b"".join(size.to_bytes(4, "big") for size in shape)
  return bytes([0, 0, CODES[dtype], len(shape)]) + dimensions


def encoded(array: np.ndarray) -> bytes:
  dtype = array.dtype.str[1:]
  return header(dtype, array.shape) + array.astype(f">{dtype}").tobytes()


def written(folder, content: bytes) -> str:
  path = folder / "some-idx"
  path.write_bytes(content)
  return str(path)


def refusal(folder, content: bytes) -> str:
  path = written(folder, content)
  with pytest.raises(DataError) as error:
    read_idx(path)
  message = str(error.value)
  assert path in message
  assert "\n" not in message
  return message


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", CODES)
def test_reads_what_was_written(tmp_path, dtype, shape, compress):
  bits = np.random.default_rng(0).integers(0, 200, shape)
  array = (bits - (0 if dtype == "u1" else 100)).astype(dtype)
  read = read_idx(written(tmp_path, compress(encoded(array))))
  assert read.dtype == array.dtype
  np.testing.assert_array_equal(read, array)
  assert read.dtype.isnative


BYTES = np.arange(6, dtype=np.uint8)
SOUND = encoded(BYTES.reshape(2, 3))


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "ends within its header"),
    (SOUND[:3], "ends within its header"),
    (SOUND[:11], "ends within its header"),
    (SOUND[:-1], "declares 6 bytes"),
    (SOUND + b"\0", "bytes follow the 6"),
    (b"\0\1" + SOUND[2:], "magic number is 0x00010802"),
    (b"\0\0\x0a" + SOUND[3:], "magic number is 0x00000a02"),
    (b"\0\0\x08\0" + BYTES.tobytes(), "rank is 0"),
    (header("u1", (1,) * 5) + b"\0", "rank is 5"),
    (header("u1", (0, 3)), "holds nothing"),
    (header("u1", (2**32 - 1,) * 4), "more than it can hold"),
    (b"\x89PNG\r\n\x1a\n", "magic number is 0x89504e47"),
    (b"<!DOCTYPE html>", "magic number"),
  ],
)
def test_refuses_plain_and_gzipped_alike(tmp_path, content, reason):
  assert reason in refusal(tmp_path, content)
  assert reason.split(" bytes")[0] in refusal(tmp_path, gzip.compress(content))


@pytest.mark.parametrize("length", [2, 9, 15, 20, 25, 30])
def test_refuses_a_truncated_gzip(tmp_path, length):
  whole = gzip.compress(SOUND)
  assert length < len(whole)
  refusal(tmp_path, whole[:length])


@pytest.mark.parametrize("place", [-8, -1])
def test_refuses_a_wrong_checksum_or_length_of_gzip(tmp_path, place):
  damaged = bytearray(gzip.compress(SOUND))
  damaged[place] ^= 1
  refusal(tmp_path, bytes(damaged))


def test_refuses_what_is_not_a_file(tmp_path):
  fifo = tmp_path / "pipe"
  os.mkfifo(fifo)
  for path in (tmp_path, tmp_path / "absent", fifo):
    with pytest.raises(DataError, match="is not a file") as error:
      read_idx(path)
    assert str(path) in str(error.value)


def zeros_gzipped(size: int) -> bytes:
  compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
  block = bytes(1 << 20)
  parts = [compressor.compress(block) for _ in range(size >> 20)]
  return b"".join(parts) + compressor.flush()


@pytest.mark.parametrize(
  "start",
  [
    header("u1", (10,)),  # Declares far less than follows.
    header("u1", (2**32 - 1, 2**32 - 1)),  # Declares far more.
    b"",
  ],
)
def test_a_gzip_bomb_takes_no_memory(tmp_path, start):
  # Two gzip members after one another are one stream.
  bomb = gzip.compress(start) + zeros_gzipped(64 << 20)
  assert len(bomb) < 100_000
  tracemalloc.start()
  try:
    refusal(tmp_path, bomb)
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert peak < 4 << 20


def decoded(content: bytes) -> np.ndarray | None:
  """What a file holds, or None; written down without regard to memory."""
  if content[:2] == b"\x1f\x8b":
    try:
      content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
      return None
  if len(content) < 4 or content[:2] != b"\0\0":
    return None
  dtypes = {code: np.dtype(f">{dtype}") for dtype, code in CODES.items()}
  dtype, rank = dtypes.get(content[2]), content[3]
  if dtype is None or not 1 <= rank <= 4 or len(content) < 4 + 4 * rank:
    return None
  shape = struct.unpack_from(f">{rank}I", content, 4)
  data = content[4 + 4 * rank :]
  if len(data) == 0 or len(data) != math.prod(shape) * dtype.itemsize:
    return None
  return np.frombuffer(data, dtype).reshape(shape)


arrays = strategies.tuples(
  strategies.sampled_from(sorted(CODES)), strategies.sampled_from(SHAPES)
).map(lambda kind: np.ones(kind[1], kind[0]))


@strategies.composite
def damaged_files(draw) -> bytes:
  """Sound files with bytes changed, cut, added; or nothing but noise."""
  content = draw(
    strategies.one_of(
      strategies.binary(max_size=64),
      arrays.map(encoded),
      strategies.builds(
        lambda code, shape, data: (
          bytes([0, 0, code, len(shape)])
          + struct.pack(f">{len(shape)}I", *shape)
          + data
        ),
        strategies.sampled_from([*CODES.values(), 0x0A]),
        strategies.lists(strategies.integers(0, 5), max_size=5),
        strategies.binary(max_size=48),
      ),
    )
  )
  if draw(strategies.booleans()):
    content = gzip.compress(content, mtime=0)
  content = bytearray(content)
  for _ in range(draw(strategies.integers(0, 3))):
    if content:
      place = draw(strategies.integers(0, len(content) - 1))
      content[place] = draw(strategies.integers(0, 255))
  end = draw(strategies.integers(0, len(content)) | strategies.none())
  return bytes(content[:end]) + draw(strategies.binary(max_size=3))


EXAMPLES = int(os.environ.get("IDX_FUZZ_EXAMPLES", "1000"))


def test_any_file_is_read_right_or_refused_in_one_line(tmp_path):
  @hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None)
  @hypothesis.given(damaged_files())
  def check(content: bytes) -> None:
    expected = decoded(content)
    if expected is None:
      refusal(tmp_path, content)
    else:
      read = read_idx(written(tmp_path, content))
      assert read.dtype == expected.dtype.newbyteorder("=")
      np.testing.assert_array_equal(read, expected)

  check()
