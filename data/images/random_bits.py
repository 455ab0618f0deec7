# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random bits as a function of integers, for each element of a tensor.

TensorFlow's stateless generators take one seed per call. An input pipeline
needs one seed per *example*, so that an example's augmentation depends on the
example and not on its batch. A hash gives that: the same integers give the same
bits in eager mode, in a graph and under XLA, on every TensorFlow.
"""

from __future__ import annotations

import enum
import math
from typing import Union

import tensorflow as tf

_GOLDEN = 0x9E3779B97F4A7C15

Integer = Union[int, tf.Tensor]


class Purpose(enum.IntEnum):
  """The use of an example's random bits, each a stream of its own.

  `random_bits(keys, purpose, ...)`. A number must keep its meaning: if it
  changed, old runs would be continued with other random bits.
  """

  FLIP = 0
  CROP_ROW = 1
  CROP_COLUMN = 2
  ERASE = 3
  COLOR = 4
  RAND_AUGMENT = 5
  TRIVIAL_AUGMENT = 6
  RESIZED_CROP = 7


def random_bits(*integers: Integer) -> tf.Tensor:
  """Hashes integers to 64 random bits.

  h = 0; for each x: h = mix((h + golden) xor x), where mix is the finaliser of
  SplitMix64. Each step is a bijection in x, so that two examples that differ
  only in their last integer never get the same bits.

  Args:
    *integers: Python integers in [0, 2^64), or integer tensors that broadcast.

  Returns:
    The bits, uint64, in the broadcast shape.

  Reference: Steele et al. 2014, Fast Splittable Pseudorandom Number Generators.
  """
  golden = tf.constant(_GOLDEN, tf.uint64)
  bits = tf.constant(0, tf.uint64)
  for integer in integers:
    if isinstance(integer, int):
      words = tf.constant(integer, tf.uint64)
    else:
      words = tf.cast(integer, tf.uint64)
    bits = _mix(tf.bitwise.bitwise_xor(bits + golden, words))
  return bits


def uniform(bits: tf.Tensor) -> tf.Tensor:
  """Turns random bits, uint64, into float64 in [0, 1) with 53 random bits."""
  return tf.cast(_shift_right(bits, 11), tf.float64) * 2.0**-53


def between(bounds: tuple[float, float], bits: tf.Tensor) -> tf.Tensor:
  """Turns random bits, uint64, into uniform float64 in [low, high)."""
  low, high = bounds
  return low + (high - low) * uniform(bits)


def normal(radius_bits: tf.Tensor, angle_bits: tf.Tensor) -> tf.Tensor:
  """Turns two words of random bits, uint64, into one normal deviate, float64.

  sqrt(-2 ln(1 - u)) * cos(2 pi v), where u and v are `uniform` of the words.

  Reference: Box and Muller 1958, A Note on the Generation of Random Normal
    Deviates.
  """
  # 1 - u is never 0: the largest deviate is 8.6.
  radius = tf.sqrt(-2.0 * tf.math.log(1.0 - uniform(radius_bits)))
  return radius * tf.cos(2.0 * math.pi * uniform(angle_bits))


def below(bound: Integer, bits: tf.Tensor) -> tf.Tensor:
  """Turns random bits, uint64, into int32 in [0, bound), bound < 2^31.

  floor(top 32 bits * bound / 2^32). The probabilities of two values differ by
  at most one part in 2^32 / bound.
  """
  product = _shift_right(bits, 32) * tf.cast(bound, tf.uint64)
  return tf.cast(_shift_right(product, 32), tf.int32)


def _mix(bits: tf.Tensor) -> tf.Tensor:
  for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
    bits = tf.bitwise.bitwise_xor(bits, _shift_right(bits, shift))
    bits *= tf.constant(factor, tf.uint64)
  return tf.bitwise.bitwise_xor(bits, _shift_right(bits, 31))


def _shift_right(bits: tf.Tensor, shift: int) -> tf.Tensor:
  return tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))
