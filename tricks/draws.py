# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random numbers that eager mode, graph mode and XLA agree on.

They are stateless, and made from integers of the Philox algorithm. The floats
of stateless_uniform, and any algorithm that it chooses itself, differ under
XLA; stateless_gamma, stateless_shuffle and index_shuffle have no XLA kernel.

A draw for each example of a batch can be one for the examples of a `Part`: then
an example's number depends on the seed and on its place in the whole batch, and
not on how many replicas share the batch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Part:
  """Which of several equal parts of a batch a replica has.

  Attributes:
    index: of the part, 0-based; a Python integer or an int32 scalar.
    count: the number of parts.
  """

  index: int | tf.Tensor = 0
  count: int = 1


WHOLE = Part()


def part_of_replica() -> Part:
  """Returns the part of the global batch that the replica in scope has.

  Outside a replica the batch is whole.
  """
  replica = tf.distribute.get_replica_context()
  if replica is None:
    return WHOLE
  return Part(replica.replica_id_in_sync_group, replica.num_replicas_in_sync)


def random_permutation(
  size: tf.Tensor, seed: tf.Tensor, *, groups: int = 1, part: Part = WHOLE
) -> tf.Tensor:
  """Draws a permutation of range(size) that moves nothing out of its group.

  The whole batch is cut into `groups` groups of consecutive places. As long as
  that number stays, and is a multiple of `part.count`, all parts together are
  permuted as the whole batch would be.

  Args:
    size: of the part, int32 scalar; a multiple of groups / part.count.
    seed: [2] int32.
    groups: of the whole batch, a multiple of part.count.
    part: of the batch.

  Returns:
    [size] int32, places within the part.
  """
  own = groups // part.count
  bits = _random_bits([part.count, own, size // own], seed)[part.index]
  starts = tf.range(own)[:, tf.newaxis] * (size // own)
  places = tf.argsort(bits, axis=-1, stable=True) + starts
  return tf.reshape(places, [size])


def uniform(
  shape: list[Any], seed: tf.Tensor, *, part: Part = WHOLE
) -> tf.Tensor:
  """Draws numbers uniform in (0, 1): midpoints of 2^32 equal parts of it.

  Args:
    shape: of the result.
    seed: [2] int32.
    part: of the batch; the first dimension of shape is the part's.

  Returns:
    float64 of that shape; neither 0 nor 1 occurs.
  """
  drawn = _random_bits([part.count, *shape], seed)[part.index]
  bits = tf.cast(drawn, tf.float64)
  return (bits + 2.0**31 + 0.5) / 2.0**32


def split_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
  """Derives `number` independent seeds, [number, 2] int32, from one."""
  return tf.random.split(seed, number, alg="philox")


def _random_bits(shape: list[Any], seed: tf.Tensor) -> tf.Tensor:
  return tf.random.stateless_uniform(
    shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
  )
