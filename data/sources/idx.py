# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The IDX file format, read strictly.

IDX is the format of MNIST and of data sets modelled on it: two zero bytes, a
byte for the type, a byte for the rank, the dimensions as 32-bit integers, then
the elements; all of it big-endian, often gzipped.

Reference: http://yann.lecun.com/exdb/mnist
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
import psutil

from data.errors import DataError

_DTYPES = {
  0x08: ">u1",
  0x09: ">i1",
  0x0B: ">i2",
  0x0C: ">i4",
  0x0D: ">f4",
  0x0E: ">f8",
}
_MAX_RANK = 4
_CHUNK = 1 << 20
# A byte of deflate stream yields at most this many bytes.
DEFLATE_RATIO = 1032


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
  """Reads one IDX file, gzipped or plain.

  The file must hold the header, the elements that the header declares, and
  nothing else. A header that declares more than the file can hold is refused
  before memory is allocated, and a gzip stream is unpacked to at most one byte
  past the declared end.

  Args:
    path: the file. Gzip is recognised by the content, not by the name.

  Returns:
    The array, in the machine's byte order, shaped as the header says.

  Raises:
    DataError: names the path and the fault in the file.
  """
  # Reading anything else, such as a pipe, could wait for ever.
  if not os.path.isfile(path):
    raise DataError(f"{os.fspath(path)} is not a file")
  try:
    with open(path, "rb") as file:
      limit = os.fstat(file.fileno()).st_size
      gzipped = file.read(2) == b"\x1f\x8b"
      file.seek(0)
      if not gzipped:
        return _read(file, limit)
      with gzip.GzipFile(fileobj=file) as unpacked:
        return _read(unpacked, limit * DEFLATE_RATIO)
  except (OSError, EOFError, zlib.error, _FormatError) as error:
    reason = " ".join(str(error).split()) or type(error).__name__
    raise DataError(
      f"{os.fspath(path)} is not a sound IDX file: {reason}"
    ) from error


def require_free_memory(size: int) -> None:
  """Raises an OSError if so many bytes would not fit into the memory.

  A file of zeros is a thousand times larger once it is unpacked.
  """
  free = psutil.virtual_memory().available
  if size > free:
    raise OSError(
      f"it declares {size} bytes of data, and {free} bytes of memory are free"
    )


class _FormatError(Exception):
  """A fault in the file, raised where its path is not known."""


def _read(file: BinaryIO | gzip.GzipFile, limit: int) -> np.ndarray:
  """Reads header and elements; `limit` bounds the bytes that can follow."""
  dtype, shape = _read_header(file)
  size = math.prod(shape) * dtype.itemsize
  if size > limit:
    raise _FormatError(
      f"its header declares {size} bytes of data, more than it can hold"
    )
  require_free_memory(size)
  content = np.empty(size, np.uint8)
  filled = 0
  while filled < size:
    chunk = file.read(min(_CHUNK, size - filled))
    if not chunk:
      raise _FormatError(
        f"its header declares {size} bytes of data, it holds {filled}"
      )
    content[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
    filled += len(chunk)
  # This read also makes gzip compare its checksum.
  if file.read(1):
    raise _FormatError(f"bytes follow the {size} that its header declares")
  array = content.view(dtype).reshape(shape)
  return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
  file: BinaryIO | gzip.GzipFile,
) -> tuple[np.dtype, tuple[int, ...]]:
  magic = file.read(4)
  if len(magic) < 4:
    raise _FormatError("it ends within its header")
  zero, code, rank = struct.unpack(">HBB", magic)
  if zero != 0 or code not in _DTYPES:
    raise _FormatError(f"its magic number is 0x{magic.hex()}")
  if not 1 <= rank <= _MAX_RANK:
    raise _FormatError(f"its rank is {rank}, not 1 to {_MAX_RANK}")
  dimensions = file.read(4 * rank)
  if len(dimensions) < 4 * rank:
    raise _FormatError("it ends within its header")
  shape = struct.unpack(f">{rank}I", dimensions)
  if 0 in shape:
    raise _FormatError(f"it holds nothing: its shape is {list(shape)}")
  return np.dtype(_DTYPES[code]), shape
