# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A cheap look at a data set: some images in place of all.

`check` decodes all images; this decodes at most some hundred of each part.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from data.preparation import check
from data.sources.encoded import AnySource
from data.sources.source import Source

# Images of the training and the validation part that are compared.
_TRAIN, _VALIDATION = 1000, 300
# In smaller images different ones are alike: twins have 16 frequencies a side.
_LEAST_SIDE = 16


@dataclasses.dataclass(frozen=True)
class Found:
  """What a sample shows.

  Attributes:
    equal: pairs of places with the same pixels: training, validation.
    alike: pairs of places that are nearly the same.
    bad: place and reason of images that cannot be decoded.
    compared: in words, what was compared with what.
  """

  equal: list[tuple[str, str]]
  alike: list[tuple[str, str]]
  bad: list[str]
  compared: str


def look(train: AnySource, validation: AnySource, *, seed: int = 0) -> Found:
  """Compares some images of both parts; of arrays all, as to equality.

  Args:
    train: the training source.
    validation: the validation source.
    seed: of the sample.
  """
  some = some_of(train, _TRAIN, seed), some_of(validation, _VALIDATION, seed)
  report = check.check(*some)
  equal = dict.fromkeys(report.leaked)
  sides = [side for sizes in report.train.sizes for side in sizes]
  alike = []
  if min(sides, default=0) >= _LEAST_SIDE:
    alike = [(first, second) for first, second, _ in report.twins]
  compared = (
    f"{some[0].num_examples:,} of {train.num_examples:,} training with "
    f"{some[1].num_examples:,} of {validation.num_examples:,} evaluation images"
  )
  if isinstance(train, Source) and isinstance(validation, Source):
    equal = dict.fromkeys(_equal(train, validation))
    compared += " (equal ones: of all)"
  return Found(list(equal), alike, report.bad, compared)


def some_of(source: AnySource, count: int, seed: int) -> AnySource:
  """Returns at most `count` examples of a source, in its order."""
  if source.num_examples <= count:
    return source
  drawn = np.random.default_rng(seed).choice(
    source.num_examples, count, replace=False
  )
  return source.take(np.sort(drawn))


def _equal(train: Source, validation: Source) -> list[tuple[str, str]]:
  """Returns the places of equal images, one pair for each of validation."""
  first_of: dict[bytes, int] = {}
  for index, image in enumerate(train.images):
    first_of.setdefault(_digest(image), index)
  pairs = []
  for index, image in enumerate(validation.images):
    first = first_of.get(_digest(image))
    if first is not None:
      pairs.append((train.place(first), validation.place(index)))
  return pairs


def _digest(image: np.ndarray) -> bytes:
  content = np.ascontiguousarray(image).data
  return hashlib.blake2b(content, digest_size=16).digest()
