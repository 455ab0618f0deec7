# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The list of the images that cannot be decoded, in the run's folder."""

from __future__ import annotations

import os
import threading

from absl import logging

from data.sources.encoded import AnySource


class BadImages:
  """Notes each bad image once, in the log and in a file; thread-safe."""

  def __init__(self, path: str) -> None:
    """Reads the file, if there is one, so as not to note an image twice.

    Args:
      path: of the file.
    """
    self._path = path
    self._lock = threading.Lock()
    try:
      with open(path, encoding="utf-8", errors="surrogateescape") as file:
        self._places = set(file.read().splitlines())
    except FileNotFoundError:
      self._places = set()

  def __len__(self) -> int:
    return len(self._places)

  def note(self, source: AnySource, index: int) -> None:
    """Notes that an example of a source is bad."""
    place = source.place(index)
    with self._lock:
      if place in self._places:
        return
      self._places.add(place)
      os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
      with open(
        self._path, "a", encoding="utf-8", errors="surrogateescape"
      ) as file:
        file.write(f"{place}\n")
    logging.warning(
      "image %s cannot be decoded and is skipped (%d so far)", place, len(self)
    )


def bad_images_file(folder: str) -> str:
  """Returns the path of the list, in a run's or a conversion's folder."""
  return os.path.join(folder, "bad_images.txt")
