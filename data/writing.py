# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
  """Opens a file to write, which replaces `path` when the block ends.

  The folder is made if there is none. A reader sees the old file or the whole
  new one, and an exception in the block leaves the old one.

  Args:
    path: of the file.

  Yields:
    The file, open to write bytes.

  Raises:
    OSError: the folder or the file cannot be written.
  """
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  # Another program may write the same file at the same time.
  partial = f"{os.fspath(path)}.{secrets.token_hex(4)}.partial"
  try:
    with open(partial, "wb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(partial, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(partial)
    raise
