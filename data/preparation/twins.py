# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images that are nearly the same: resized, encoded anew, brighter, shifted.

An image's perceptual hash is the signs of the 255 lowest frequencies of its
discrete cosine transform, so that it depends on no size, brightness or
contrast. Two images are twins if their hashes differ in at most MOST bits; so
that a shift by a little counts too, one of them is compared at nine places.

Hashes are 16 words of 16 bits. If two differ in fewer bits than there are
words, one word is the same: only pairs that share a word are compared, which is
not quadratic.

Reference: Zauner, "Implementation and benchmarking of perceptual image hash
  functions" (2010), section 3.2.1; with the sign in the place of the median.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

MOST = 20
_WORDS = 16
# In parts of height and width: 8 pixels of 224, one of 28.
_SHIFTS = (0.0, -1 / 28, 1 / 28)
# An image with less contrast, in 0..255 units, has no structure to compare.
_LEAST_DEVIATION = 2.0
# Of the images that share a word with another so many are compared, and so many
# pairs at once.
_MOST_SHARING = 1000
_PAIRS_AT_ONCE = 1 << 18
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def hashes(pixels: np.ndarray, *, shifted: bool = False) -> np.ndarray | None:
  """Returns an image's hash, or those of it at nine places.

  Args:
    pixels: [height, width, channels] uint8.
    shifted: whether the image is moved; if not, there is one hash.

  Returns:
    [hashes, 16] uint16; None if the image has too little contrast.
  """
  image = pixels.astype(np.float32)
  gray = image @ _LUMA if image.shape[-1] == 3 else image.mean(axis=-1)
  if gray.std() < _LEAST_DEVIATION:
    return None
  height, width = gray.shape
  shifts = _SHIFTS if shifted else _SHIFTS[:1]
  rows = [_cosines(height, shift) @ gray for shift in shifts]
  frequencies = np.stack(
    [
      row @ _cosines(width, shift).T
      for row, shift in itertools.product(rows, shifts)
    ]
  )
  bits = (frequencies > 0).reshape([len(frequencies), -1])
  bits[:, 0] = False  # Brightness.
  return np.packbits(bits, axis=1).view(np.uint16)


@functools.lru_cache(maxsize=256)
def _cosines(size: int, shift: float) -> np.ndarray:
  """Returns the lowest 16 functions of the transform, [16, size] float32."""
  places = (np.arange(size) + 0.5) / size + shift
  return np.cos(np.pi * np.outer(np.arange(_WORDS), places)).astype(np.float32)


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns the number of bits in which hashes differ.

  Args:
    first: [..., 16] uint16.
    second: of the same shape.

  Returns:
    [...] int64, in 0..255.
  """
  return _bits_of_words()[first ^ second].sum(axis=-1, dtype=np.int64)


@functools.lru_cache(maxsize=1)
def _bits_of_words() -> np.ndarray:
  """Returns the number of bits in each number below 2^16, as uint8."""
  words = np.arange(1 << 16, dtype=np.uint16)
  return np.unpackbits(words.view(np.uint8)).reshape([-1, 16]).sum(1, np.uint8)


def pairs(first: np.ndarray, second: np.ndarray) -> dict[tuple[int, int], int]:
  """Returns the pairs of twins between two sets of images, with distances.

  All pairs are found that differ in at most 15 bits, and nearly all of up to
  MOST; unless more than 1,000 images share a word.

  Args:
    first: [examples, 16] uint16, a hash each.
    second: [examples, hashes, 16] uint16.

  Returns:
    The least distance by (place in first, place in second).
  """
  found: dict[tuple[int, int], int] = {}
  if not len(first) or not len(second):
    return found
  number = second.shape[1]
  asked = second.reshape([-1, _WORDS])
  for word in range(_WORDS):
    order = np.argsort(first[:, word], kind="stable")
    words = first[order, word]
    start = np.searchsorted(words, asked[:, word], "left")
    end = np.searchsorted(words, asked[:, word], "right")
    counts = np.minimum(end - start, _MOST_SHARING)
    # As many questions at once as give _PAIRS_AT_ONCE pairs.
    groups = np.cumsum(counts) // _PAIRS_AT_ONCE
    for group in np.unique(groups):
      questions = np.flatnonzero(groups == group)
      sizes = counts[questions]
      question = np.repeat(questions, sizes)
      within = np.arange(len(question)) - np.repeat(
        np.cumsum(sizes) - sizes, sizes
      )
      example = order[start[question] + within]
      apart = distances(first[example], asked[question])
      for place in np.flatnonzero(apart <= MOST):
        pair = int(example[place]), int(question[place]) // number
        found[pair] = min(found.get(pair, MOST), int(apart[place]))
  return found
