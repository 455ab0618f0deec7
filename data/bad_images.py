# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A list of the images that cannot be decoded, kept beside the run."""

from __future__ import annotations

import os
import threading

from absl import logging

from data.sources.encoded import AnySource


class BadImages:
  """Notes each bad image once, in the log and in a file; for any thread."""

  def __init__(self, path: str) -> None:
    """Args: path: of the file; what stands in it already is not noted again."""
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
    """Notes an example of a source."""
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
  """Returns where a run, or a conversion, lists the images that it skips."""
  return os.path.join(folder, "bad_images.txt")
