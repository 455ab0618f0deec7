# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run cannot write, as on a full disk: told in one line.

This module imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from train_loop.config import ConfigError


@contextlib.contextmanager
def writing(
  path: str | os.PathLike[str], *errors: type[Exception]
) -> Iterator[None]:
  """Turns the errors of writing a file into one that names it.

  Args:
    path: what is written.
    *errors: what else than OSError says that it cannot be.

  Raises:
    ConfigError: names path, reason and remedy.
  """
  caught: tuple[type[Exception], ...] = (OSError, *errors)
  try:
    yield
  except caught as error:
    reason = getattr(error, "strerror", None) or str(error)
    # TensorFlow's own begins with "{{function_node ...}} ".
    reason = reason.rpartition("}} ")[2].partition(" [Op:")[0].strip()
    raise ConfigError(
      f"{os.fspath(path)} cannot be written ({reason}): mend that, and give the"
      " same command again"
    ) from error
