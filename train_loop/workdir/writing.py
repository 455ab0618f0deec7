# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes files atomically, and reports a full disk and the like in one line.

This module imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterator

from train_loop.failures import first_line
from train_loop.fields import ConfigError


@contextlib.contextmanager
def writing(
  path: str | os.PathLike[str], *errors: type[Exception]
) -> Iterator[None]:
  """Turns an error of writing a file into one that names the file.

  Args:
    path: the file or folder that is written.
    *errors: what is caught besides OSError.

  Raises:
    ConfigError: names path, reason and remedy.
  """
  caught: tuple[type[Exception], ...] = (OSError, *errors)
  try:
    yield
  except caught as error:
    raise ConfigError(
      f"{os.fspath(path)} cannot be written ({first_line(error)}): mend that, "
      "and give the same command again"
    ) from error


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
  """Writes a text file; a reader sees the old text or the new one, whole.

  Args:
    path: the file, in a folder that exists.
    text: its new contents; written as UTF-8.

  Raises:
    ConfigError: the disk is full, or the like; the old file is unchanged.
  """
  path = pathlib.Path(path)
  # Another process may write the same file at the same time.
  partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
  with writing(path):
    try:
      with partial.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
      os.replace(partial, path)
    finally:
      partial.unlink(missing_ok=True)


def readable(text: str) -> str:
  """Returns a text that can be written in UTF-8; names of files may be others.

  >>> readable("caf\\udce9") == "caf\\ufffd"
  True
  """
  return text.encode(errors="surrogateescape").decode(errors="replace")


def flush(path: str | os.PathLike[str]) -> None:
  """Returns when what was written to a file or folder is on the disk.

  Args:
    path: the file; or the folder, whose names are then there after a power cut.
      A file system that flushes no folders is left to itself.

  Raises:
    OSError: a file cannot be flushed.
  """
  folder = os.path.isdir(path)
  with contextlib.suppress(*([OSError] if folder else [])):
    descriptor = os.open(path, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)
