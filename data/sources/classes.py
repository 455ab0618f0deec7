# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names of classes, as folders and tables spell them, and their order."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from data.errors import DataError


def normalized(name: str, place: str) -> str:
  """Returns a class's name, composed: macOS stores é as e and an accent.

  Args:
    name: as it was found.
    place: where, for the message.

  Raises:
    DataError: it is no UTF-8, or has a line break or a zero byte.
  """
  if not name.isprintable():
    try:
      name.encode()
    except UnicodeEncodeError:
      raise DataError(
        f"{place!r}: the name of a class must be UTF-8: rename it"
      ) from None
    if set(name) & set("\0\n\r"):
      raise DataError(
        f"{place!r}: the name of a class must be one line: rename it"
      )
  return unicodedata.normalize("NFC", name)


def in_order(names: Collection[str]) -> tuple[str, ...]:
  """Returns the names of the classes in the order of their labels.

  Args:
    names: each once.

  Returns:
    In numeric order if all are whole numbers, else sorted as text.

  >>> in_order({"10", "9", "0"}), in_order({"10", "9", "x"})
  (('0', '9', '10'), ('10', '9', 'x'))
  """
  if all(name.isascii() and name.isdigit() for name in names):
    return tuple(sorted(names, key=_number))
  return tuple(sorted(names))


def _number(digits: str) -> tuple[int, str, str]:
  """Returns what sorts as the number does; int() refuses 5,000 digits."""
  significant = digits.lstrip("0")
  return len(significant), significant, digits
