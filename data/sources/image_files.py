# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A source of image files, from a list of paths with labels.

No file is opened for it, so that a million files take seconds.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent import futures

import numpy as np

from data.errors import DataError
from data.sources.encoded import EncodedSource, Files

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_THREADS = 16
_CHUNK = 1000
# A file system that takes longer to give a file's size is a network's.
_LOCAL_SECONDS = 1e-4


def from_files(
  paths: Sequence[str],
  labels: np.ndarray,
  class_names: Sequence[str],
  *,
  root: str,
  name: str,
  channels: int,
) -> EncodedSource:
  """Makes a source of image files.

  Args:
    paths: of the files, relative to root.
    labels: [files] int32, in [0, len(class_names)).
    class_names: one name per class.
    root: the folder that the paths start from.
    name: the data set's name, for messages.
    channels: 1 or 3.

  Returns:
    The source. Its fingerprint depends on the files' sizes and on their paths
    below root, so it is the same wherever the folder lies.

  Raises:
    DataError: a file is missing or empty.
  """
  start = os.path.join(root, "")
  # os.path.join, a million times, would be a second.
  full = [
    os.path.join(root, p) if p[:1] == os.sep else start + p for p in paths
  ]
  digest = hashlib.sha256()
  num_bytes = 0
  for path, label, size in zip(paths, labels, _all_sizes(full)):
    if not size:
      problem = "is missing" if size is None else "is empty"
      raise DataError(
        f"image {os.path.join(root, path)} of class {class_names[label]}"
        f" {problem}: replace it, or take it out"
      )
    num_bytes += size
    digest.update(f"{path}\0{size}\n".encode("utf-8", "surrogateescape"))
  return EncodedSource(
    examples=Files(tuple(full)),
    labels=np.asarray(labels, np.int32),
    class_names=tuple(class_names),
    name=name,
    channels=channels,
    content=digest.hexdigest(),
    num_bytes=num_bytes,
  )


def find_images(folder: str) -> list[str]:
  """Returns the images below a folder, sorted; hidden ones are left out.

  Args:
    folder: its path; a folder that links lead to twice is read once.

  Returns:
    Paths that begin with `folder`, of the files with an image's ending.

  Raises:
    DataError: a folder cannot be read.
  """

  def refuse(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}")

  found, seen = [], {os.path.realpath(folder)}
  for top, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
    visible = sorted(name for name in folders if not name.startswith("."))
    folders.clear()
    for name in visible:
      real = os.path.realpath(os.path.join(top, name))
      if real not in seen:
        seen.add(real)
        folders.append(name)
    found += [
      os.path.join(top, file)
      for file in files
      if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    ]
  return sorted(found)


def _all_sizes(paths: list[str]) -> Iterator[int | None]:
  """Yields the files' sizes, and None for each that is missing.

  Many threads ask a network's file system at once, to wait together. On a local
  one they would hinder each other and take three times as long.
  """
  start = time.perf_counter()
  first = _sizes(paths[:_CHUNK])
  local = time.perf_counter() - start < _LOCAL_SECONDS * len(first)
  yield from first
  chunks = (paths[i : i + _CHUNK] for i in range(_CHUNK, len(paths), _CHUNK))
  if local:
    yield from itertools.chain.from_iterable(map(_sizes, chunks))
    return
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    yield from itertools.chain.from_iterable(pool.map(_sizes, chunks))


def _sizes(paths: list[str]) -> list[int | None]:
  """Returns the files' sizes, and None for each that is missing."""
  sizes: list[int | None] = []
  for path in paths:
    try:
      sizes.append(os.stat(path).st_size)
    except OSError:
      sizes.append(None)
  return sizes
