# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""NumPy archives whose arrays are memory-mapped.

NumPy stores an archive's arrays one after another in a ZIP file, uncompressed,
so that each can be mapped; here each also begins at a multiple of 64 bytes, as
TensorFlow wants it to use the memory without a copy. `np.load` reads them too.

Reference: APPNOTE.TXT 6.3.10, sections 4.3.7 and 4.5.1 (ZIP), and
  numpy/lib/format.py.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from data.errors import DataError

_ALIGNMENT = 64
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SIGNATURE = b"PK\x03\x04"
_ARRAY_HEADER = struct.Struct("<8sH")
_MAGIC = b"\x93NUMPY\1\0"
# As NumPy writes it, and not all that Python would read.
_DESCRIPTION = re.compile(
  rb"\{'descr': '([<|][iu][1248])', 'fortran_order': False,"
  rb" 'shape': \(([0-9]{1,15}),\), \} *\n"
)
# An extra field that means nothing to anybody, as Android's zipalign writes.
_PADDING_FIELD = 0xD935
# zipfile writes it for members that may be large.
_ZIP64_FIELD_BYTES = 20
_PART = 1 << 22


class Mapped(np.memmap):
  """An array in a file, which pickles as its place there.

  It is mapped copy-on-write, for others take only memory that they could write.
  """

  def __reduce__(self) -> Any:
    if isinstance(self.base, mmap.mmap):  # The whole, and no part of it.
      return _open, (self.filename, self.dtype, self.offset, self.shape)
    return np.asarray(self).__reduce__()


def _open(path: str, dtype: Any, offset: int, shape: tuple[int, ...]) -> Mapped:
  array = Mapped(path, dtype, "c", offset, shape)
  if hasattr(mmap, "MADV_RANDOM") and isinstance(array.base, mmap.mmap):
    # No pages around those that are used.
    array.base.madvise(mmap.MADV_RANDOM)
  return array


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an archive that `read` can map.

  Args:
    file: open to write, at its start.
    arrays: by name.
  """
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    for name, array in arrays.items():
      member = zipfile.ZipInfo(f"{name}.npy")
      start = file.tell() + _LOCAL_HEADER.size + len(member.filename)
      start += _ZIP64_FIELD_BYTES + 4
      padding = -start % _ALIGNMENT
      member.extra = struct.pack("<HH", _PADDING_FIELD, padding) + bytes(
        padding
      )
      with archive.open(member, "w", force_zip64=True) as opened:
        np.lib.format.write_array(opened, np.asarray(array), allow_pickle=False)


def read(path: str) -> dict[str, np.ndarray]:
  """Maps the arrays of an archive; reads none of them.

  Args:
    path: of a NumPy archive.

  Returns:
    The arrays by name; one that is not mapped, as an empty one, is read.

  Raises:
    DataError: the archive is damaged, or compressed.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
    size = os.path.getsize(path)
    with open(path, "rb") as file:
      return {
        member.filename.removesuffix(".npy"): _map(file, member, size)
        for member in members
      }
  except (
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
  ) as error:
    raise DataError(
      f"{path} is not a NumPy archive that can be mapped: {error}"
    ) from error


def _map(file: IO[bytes], member: zipfile.ZipInfo, size: int) -> np.ndarray:
  if member.compress_type != zipfile.ZIP_STORED:
    raise ValueError(f"{member.filename} is compressed")
  file.seek(member.header_offset)
  header = file.read(_LOCAL_HEADER.size)
  signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
  if signature != _SIGNATURE:
    raise ValueError(f"{member.filename} has no header")
  start = file.seek(name_bytes + extra_bytes, os.SEEK_CUR)
  magic, header_bytes = _ARRAY_HEADER.unpack(file.read(_ARRAY_HEADER.size))
  described = _DESCRIPTION.fullmatch(file.read(header_bytes))
  if magic != _MAGIC or described is None:
    raise ValueError(f"{member.filename} is no plain array of rank 1")
  shape, dtype = (int(described[2]),), np.dtype(described[1].decode())
  first, num_bytes = file.tell(), shape[0] * dtype.itemsize
  if first + num_bytes > size or first - start + num_bytes != member.file_size:
    raise ValueError(f"{member.filename} is outside the file")
  if not num_bytes:
    return np.empty(shape, dtype)
  return _open(file.name, dtype, first, shape)


def is_aligned(array: np.ndarray) -> bool:
  """Returns whether TensorFlow can use a mapped array without a copy."""
  start = array.ctypes.data
  return isinstance(array, np.memmap) and start % _ALIGNMENT == 0


def parts(array: np.ndarray) -> Iterator[np.ndarray]:
  """Yields an array in parts; of a mapped one, they leave memory again.

  Args:
    array: of rank 1.
  """
  for start in range(0, len(array), _PART):
    yield np.ascontiguousarray(array[start : start + _PART])
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
      base = array.base
      if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
