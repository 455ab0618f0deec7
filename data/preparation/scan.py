# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A pass over all examples of a source, on several threads, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import NamedTuple, TypeVar

import tensorflow as tf

from data import reading
from data.sources.encoded import AnySource

_CHUNK = 512

Result = TypeVar("Result")


class BadExample(NamedTuple):
  """The place of an example that cannot be decoded, and the reason."""

  message: str


def each(
  source: AnySource, look: Callable[[int], Result]
) -> Iterator[tuple[int, Result | BadExample]]:
  """Calls `look` on each example, and yields its result or its error.

  Args:
    source: the examples.
    look: a function of an example's index, called from several threads.

  Yields:
    The index, and what `look` returned, or a BadExample if it failed.
  """

  def attempt(index: int) -> tuple[int, Result | BadExample]:
    try:
      return index, look(index)
    except tf.errors.OpError as error:
      return index, BadExample(
        f"{source.place(index)}: {reading.reason(error)}"
      )

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for start in range(0, source.num_examples, _CHUNK):
      end = min(start + _CHUNK, source.num_examples)
      yield from pool.map(attempt, range(start, end))
