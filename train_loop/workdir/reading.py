# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads small files without ever waiting for one.

This module imports no TensorFlow.
"""

from __future__ import annotations

import errno
import os
import stat


def read_file(
  path: str | os.PathLike[str], *, most: int | None = None
) -> bytes:
  """Returns the contents of a regular file.

  A FIFO, a device or a socket could make its reader wait for ever.

  Args:
    path: the file.
    most: the bytes that it may have.

  Raises:
    OSError: there is no such file, it is of another kind, or it has more bytes.
  """
  # To open a FIFO waits for its writer, unless told not to.
  descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
  with os.fdopen(descriptor, "rb") as file:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
      raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    if most is not None and found.st_size > most:
      raise OSError(
        errno.EFBIG, f"it has more than {most} bytes", os.fspath(path)
      )
    return file.read()
