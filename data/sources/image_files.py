# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Image files: found below folders, and a source of them.

No file is opened for either, so that a million files take seconds.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent import futures

import numpy as np

from data.errors import DataError
from data.sources.encoded import EncodedSource, Files, printable

EXTENSIONS = (
  *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
  *(".tif", ".tiff", ".avif", ".jxl", ".ppm", ".pgm", ".pnm"),
)
# Files and folders that systems leave behind, besides those that begin with a
# dot; in lower case.
_LEFT_BEHIND = (
  "__macosx",
  "thumbs.db",
  "desktop.ini",
  "lost+found",
  "$recycle.bin",
  "system volume information",
  "@eadir",
)
_THREADS = 16
_CHUNK = 1000
# A file system that takes longer to give a file's size is a network's.
_LOCAL_SECONDS = 1e-4
# What stands for the size of a file that has none.
_EMPTY, _MISSING, _NO_FILE = 0, -1, -2
_PROBLEMS = {
  _EMPTY: "is empty",
  _MISSING: "is missing",
  _NO_FILE: "is no file",
}


@dataclasses.dataclass
class Found:
  """The images below some folders, and what was left out there.

  Attributes:
    paths: of the images below each folder, sorted; relative to the root.
    hidden: files and folders that are hidden, or left behind by a system.
    others: files without an image's ending.
    links: links to folders that are read already, or lie above.
    strays: images in the root beside the folders.
  """

  paths: list[list[str]]
  hidden: list[str] = dataclasses.field(default_factory=list)
  others: list[str] = dataclasses.field(default_factory=list)
  links: list[str] = dataclasses.field(default_factory=list)
  strays: list[str] = dataclasses.field(default_factory=list)

  def notes(self, root: str) -> tuple[str, ...]:
    """Returns a line on what was left out below the root, or none."""
    kinds = (
      ("hidden", self.hidden),
      ("without an image's ending", self.others),
      ("links to folders that are read already", self.links),
      ("images beside the folders of classes", self.strays),
    )
    counts = [
      f"{len(found)} {kind} ({printable(min(found))})"
      for kind, found in kinds
      if found
    ]
    if not counts:
      return ()
    return (f"{printable(root)}: left out {', '.join(counts)}",)

  def why_empty(self, folder: str) -> str:
    """Returns words for an error if a folder is a link that was left out."""
    return (
      ", for it is a link to a folder that is read already,"
      if folder in self.links
      else ""
    )


def is_hidden(name: str) -> bool:
  """Returns whether a file or folder is hidden, or left behind by a system.

  >>> is_hidden(".ipynb_checkpoints"), is_hidden("Thumbs.db"), is_hidden("cat")
  (True, True, False)
  """
  return name.startswith(".") or name.lower() in _LEFT_BEHIND


def folders(*parts: str) -> list[str]:
  """Returns the names of the folders in a folder, sorted, but hidden ones.

  Args:
    *parts: of its path.

  Raises:
    DataError: the folder cannot be read.
  """
  path = os.path.join(*parts)
  with _refusing(path), os.scandir(path) as entries:
    return sorted(
      entry.name
      for entry in entries
      if not is_hidden(entry.name) and entry.is_dir()
    )


def find(root: str, tops: Sequence[str]) -> Found:
  """Finds the images below folders, each real folder once.

  Links are followed last, so that a folder's images count where it lies.

  Args:
    root: a folder.
    tops: folders in it; "" is the root itself.

  Returns:
    What was found below each of them.

  Raises:
    DataError: a folder cannot be read.
  """
  found = Found([[] for _ in tops])
  real_root = os.path.realpath(root)
  above = [real_root] if "" not in tops else []
  while os.path.dirname(real_root) != real_root:
    real_root = os.path.dirname(real_root)
    above.append(real_root)
  if "" not in tops:
    _look_beside(root, found)
  seen = set(above)
  real: list[tuple[int, str]] = []
  links: collections.deque[tuple[int, str]] = collections.deque()
  for number, top in enumerate(tops):
    is_link = bool(top) and os.path.islink(os.path.join(root, top))
    (links if is_link else real).append((number, top))
  while real or links:
    number, folder = real.pop() if real else links.popleft()
    path = os.path.realpath(os.path.join(root, folder))
    if path in seen:
      found.links.append(folder)
      continue
    seen.add(path)
    start = f"{folder}{os.sep}" if folder else ""
    with _refusing(os.path.join(root, folder)), os.scandir(path) as entries:
      for entry in entries:
        inner = f"{start}{entry.name}"  # os.path.join is slow.
        if is_hidden(entry.name):
          found.hidden.append(inner)
        elif entry.is_dir():
          (links if entry.is_symlink() else real).append((number, inner))
        elif entry.name.lower().endswith(EXTENSIONS):
          found.paths[number].append(inner)
        else:
          found.others.append(inner)
  for paths in found.paths:
    paths.sort()
  return found


def _look_beside(root: str, found: Found) -> None:
  """Adds what lies in the root beside the folders."""
  with _refusing(root), os.scandir(root) as entries:
    for entry in entries:
      if is_hidden(entry.name):
        found.hidden.append(entry.name)
      elif entry.is_file():
        is_image = entry.name.lower().endswith(EXTENSIONS)
        (found.strays if is_image else found.others).append(entry.name)


@contextlib.contextmanager
def _refusing(folder: str) -> Iterator[None]:
  """Raises the error of a folder that cannot be read as a DataError."""
  try:
    yield
  except OSError as error:
    raise DataError(f"{folder} cannot be read: {error.strerror}") from error


def find_images(folder: str) -> list[str]:
  """Returns the images below a folder, sorted; hidden ones are left out.

  Args:
    folder: its path; a folder that links lead to twice is read once.

  Returns:
    Paths that begin with `folder`, of the files with an image's ending.

  Raises:
    DataError: a folder cannot be read.
  """
  (paths,) = find(folder, [""]).paths
  return [os.path.join(folder, path) for path in paths]


def from_files(
  paths: Sequence[str],
  labels: np.ndarray,
  class_names: Sequence[str],
  *,
  root: str,
  name: str,
  channels: int,
  notes: tuple[str, ...] = (),
) -> EncodedSource:
  """Makes a source of image files.

  Args:
    paths: of the files, relative to root.
    labels: as of `LabelledImages`.
    class_names: one name per class.
    root: the folder that the paths start from.
    name: the data set's name, for messages.
    channels: 1 or 3.
    notes: on what was read and left out.

  Returns:
    The source. Its fingerprint depends on the files' sizes and on their paths
    below root, so it is the same wherever the folder lies.

  Raises:
    DataError: a file is missing, empty, or none.
  """
  start = os.path.join(root, "")
  # os.path.join, a million times, would be a second.
  full = [
    os.path.join(root, p) if p[:1] == os.sep else start + p for p in paths
  ]
  digest = hashlib.sha256()
  place = hashlib.sha256(
    os.path.abspath(root).encode("utf-8", "surrogateescape")
  )
  num_bytes = 0
  for path, (size, changed) in zip(paths, _all_stats(full)):
    if size <= 0:
      raise DataError(
        f"image {printable(os.path.join(root, path))} {_PROBLEMS[size]}:"
        " replace it, or take it out"
      )
    num_bytes += size
    line = f"{path}\0{size}\n".encode("utf-8", "surrogateescape")
    digest.update(line)
    place.update(b"%d %b" % (changed, line))
  return EncodedSource(
    examples=Files.of(paths, root),
    labels=labels,
    class_names=tuple(class_names),
    name=name,
    channels=channels,
    content=digest.hexdigest(),
    num_bytes=num_bytes,
    notes=notes,
    place_and_time=place.hexdigest(),
  )


def _all_stats(paths: list[str]) -> Iterator[tuple[int, int]]:
  """Yields what `_stats` returns of all files.

  Many threads ask a network's file system at once, to wait together. On a local
  one they would hinder each other and take three times as long.
  """
  start = time.perf_counter()
  first = _stats(paths[:_CHUNK])
  local = time.perf_counter() - start < _LOCAL_SECONDS * len(first)
  yield from first
  chunks = (paths[i : i + _CHUNK] for i in range(_CHUNK, len(paths), _CHUNK))
  if local:
    yield from itertools.chain.from_iterable(map(_stats, chunks))
    return
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    yield from itertools.chain.from_iterable(pool.map(_stats, chunks))


def _stats(paths: list[str]) -> list[tuple[int, int]]:
  """Returns each file's size, or a key of _PROBLEMS; and when it changed."""
  found: list[tuple[int, int]] = []
  for path in paths:
    try:
      status = os.stat(path)
    except (OSError, ValueError):
      found.append((_MISSING, 0))
      continue
    is_file = stat.S_ISREG(status.st_mode)
    found.append((status.st_size if is_file else _NO_FILE, status.st_mtime_ns))
  return found
