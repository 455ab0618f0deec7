# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The order of the examples in the endless training stream.

The stream is one permutation of the examples after another, cut into batches
that may cross the end of an epoch. Its places are numbered, and the example at
a place is computed from the number, so that the step is the whole state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data.images.random_bits import Integer, random_bits

# TensorFlow's own index_shuffle takes 4 rounds and uses the seed unhashed. With
# 60,000 examples and the epoch as seed, the correlation between the orders of
# two epochs in a row is 0.89; with 16 rounds and a hashed seed it is too small
# to measure. The op draws from at least 2^16 numbers until one is in range, so
# that a place takes 3 microseconds with a thousand examples or more, but 35
# with 64.
_ROUNDS = 16
# What is shuffled in a balanced order.
_CLASSES, _EXAMPLES = 1, 2
# The fewest places that are shuffled together there, since the op is slow on
# less.
_FEWEST = 1024

# From places of the stream, [batch] int64, to the epoch and the example at each
# of them, [batch] int64 both.
Order = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Shard:
  """Which of several equal shares of each batch is read: that of a host.

  Attributes:
    index: 0-based.
    count: the number of shares.
  """

  index: int = 0
  count: int = 1


WHOLE = Shard()


def batch_positions(
  step: Integer, global_batch_size: int, *, shard: Shard = WHOLE
) -> tf.Tensor:
  """Returns the places of the stream that a share of a step's batch takes.

  The batch is the same for any number of shares, one after another.

  Args:
    step: [] integer, 0-based.
    global_batch_size: at least 1, a multiple of shard.count.
    shard: the share.

  Returns:
    Consecutive places, [global_batch_size / shard.count] int64; the first
    share's start at step * global_batch_size.

  >>> batch_positions(10, 4, shard=Shard(1, 2)).numpy().tolist()
  [42, 43]
  """
  size = global_batch_size // shard.count
  start = tf.cast(step, tf.int64) * global_batch_size + shard.index * size
  return start + tf.range(size, dtype=tf.int64)


def share_of_examples(num_examples: int, shard: Shard) -> range:
  """Returns the examples that a host evaluates: consecutive ones.

  Args:
    num_examples: of all hosts together.
    shard: the host's.

  >>> [share_of_examples(5, Shard(index, 2)) for index in (0, 1)]
  [range(0, 2), range(2, 5)]
  """
  first, last = (
    num_examples * (shard.index + offset) // shard.count for offset in (0, 1)
  )
  return range(first, last)


def examples_at(
  positions: tf.Tensor, *, num_examples: int, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the epoch and the example at each place of the stream.

  epoch = position // num_examples. Within an epoch each example comes exactly
  once, in an order that depends on `(seed, epoch)`.

  Args:
    positions: [batch] int64, at least 0.
    num_examples: at least 1.
    seed: a Python integer in [0, 2^63).

  Returns:
    epochs: [batch] int64.
    indices: [batch] int64 in [0, num_examples).

  Raises:
    ValueError: num_examples or seed is out of range.

  >>> epochs, indices = examples_at(
  ...   tf.range(6, dtype=tf.int64), num_examples=3, seed=0
  ... )
  >>> epochs.numpy().tolist(), sorted(indices.numpy()[:3].tolist())
  ([0, 0, 0, 1, 1, 1], [0, 1, 2])
  """
  if num_examples < 1:
    raise ValueError(f"num_examples must be at least 1, got {num_examples}")
  _check_seed(seed)
  epochs = positions // num_examples
  count = tf.constant(num_examples, tf.int64)
  return epochs, _shuffled(positions % num_examples, count, seed, epochs)


def balanced_order(labels: np.ndarray, *, seed: int) -> Order:
  """Returns the order in which each class comes equally often.

  Each class takes its turn, in an order that depends on `(seed, block)`; its
  turns walk through its examples, in an order that depends on `(seed, class,
  block)`. A block is as many turns of all classes, or passes over a class, as
  have at least 1,024 places, in which each class, or example, comes equally
  often. So the step is the whole state here too.

  Args:
    labels: [num_examples] integers, of at least one example; classes without
      one are left out.
    seed: a Python integer in [0, 2^63).

  Returns:
    As `examples_at`, from positions to (epochs, indices), in which epochs are
    the passes over the class of each example.

  Raises:
    ValueError: seed is out of range.
  """
  _check_seed(seed)
  classes, counts = np.unique(labels, return_counts=True)
  by_class = np.argsort(labels, kind="stable").astype(np.int64)
  with tf.device("/CPU:0"):
    examples = tf.constant(by_class)
    sizes = tf.constant(counts, tf.int64)
    starts = tf.constant(np.cumsum(counts) - counts, tf.int64)
    number = tf.constant(len(classes), tf.int64)

  def examples_of(positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    turns, drawn = _turns(positions, number, seed, _CLASSES)
    size = tf.gather(sizes, drawn)
    passes, within = _turns(turns, size, seed, _EXAMPLES, drawn)
    return passes, tf.gather(examples, tf.gather(starts, drawn) + within)

  return examples_of


def _turns(
  positions: tf.Tensor, count: tf.Tensor, seed: int, *numbers: Integer
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the turn of each place, and which of `count` things it takes.

  Of few things several turns are shuffled together.
  """
  together = tf.maximum(-(-_FEWEST // count), 1)
  size = count * together
  block = positions // size
  shuffled = _shuffled(positions % size, size, seed, block, *numbers)
  return block * together + shuffled // count, shuffled % count


def _check_seed(seed: int) -> None:
  if not 0 <= seed < 2**63:
    raise ValueError(f"seed must be in [0, 2^63), got {seed}")


def _shuffled(
  index: tf.Tensor, count: tf.Tensor, seed: int, *numbers: Integer
) -> tf.Tensor:
  """Returns the index that each one of [0, count) moves to.

  Args:
    index: [batch] int64.
    count: [] or [batch] int64.
    seed: of the run.
    *numbers: integers, or [batch] of them, that the order depends on.
  """
  # The raw op takes a seed per element; the public index_shuffle does not.
  return tf.raw_ops.RandomIndexShuffle(
    index=index,
    seed=_shuffle_seeds(seed, *numbers),
    max_index=count - 1,
    rounds=_ROUNDS,
  )


def _shuffle_seeds(seed: int, *numbers: Integer) -> tf.Tensor:
  """Returns hashed seeds, [batch, 3] uint32, since the op uses few bits."""
  words = [random_bits(seed, *numbers, word) for word in range(3)]
  return tf.cast(
    tf.stack(words, axis=1) % tf.constant(2**32, tf.uint64), tf.uint32
  )
