# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder that fetched files and indexes are kept in."""

from __future__ import annotations

import os


def folder(name: str) -> str:
  """Our cache's folder of that name, by the XDG specification; not made."""
  base = os.environ.get("XDG_CACHE_HOME", "")
  if not os.path.isabs(base):  # The specification has it ignored then.
    base = os.path.join(os.path.expanduser("~"), ".cache")
  return os.path.join(base, "train_loop", name)
