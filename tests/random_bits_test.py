# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random bits against the hash in plain Python integers, and statistics."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from data.images.random_bits import below, normal, random_bits, uniform
from tests.splitmix import MASK, python_bits, python_uniform


def test_the_first_output_is_splitmix64s():
  # The published first output of SplitMix64 with the seed 0.
  assert int(random_bits(0)) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize(
  "integers",
  [(0,), (1,), (MASK,), (0, 0), (0, 1), (1, 0), (3, 2**63, 7, 2**32)],
)
def test_agrees_with_plain_python(integers):
  assert int(random_bits(*integers)) == python_bits(*integers)


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.uint64])
def test_tensors_broadcast(dtype):
  rows = tf.cast(tf.range(3)[:, tf.newaxis], dtype)
  columns = tf.cast(tf.range(4), dtype)
  expected = [[python_bits(5, i, j) for j in range(4)] for i in range(3)]
  assert random_bits(5, rows, columns).numpy().tolist() == expected


def everything(numbers: tf.Tensor) -> tuple[tf.Tensor, ...]:
  bits = random_bits(3, numbers)
  return bits, uniform(bits), below(1000, bits)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_give_the_eager_bits(jit_compile):
  numbers = tf.range(1000, dtype=tf.int64) * 2**40
  compiled = tf.function(everything, jit_compile=jit_compile)
  for eager, got in zip(everything(numbers), compiled(numbers)):
    assert eager.dtype == got.dtype
    np.testing.assert_array_equal(eager, got)


def test_uniform_and_below_are_scaled_bits():
  numbers = list(range(500))
  words = [python_bits(9, number) for number in numbers]
  bits = random_bits(9, tf.constant(numbers))
  expected = [(word >> 11) * 2.0**-53 for word in words]
  assert uniform(bits).numpy().tolist() == expected
  for bound in (1, 2, 7, 2**31 - 1):
    drawn = below(bound, bits)
    assert drawn.dtype == tf.int32
    expected = [((word >> 32) * bound) >> 32 for word in words]
    assert drawn.numpy().tolist() == expected


def test_extreme_bits_stay_in_range():
  bits = tf.constant([0, MASK], tf.uint64)
  assert uniform(bits).numpy().tolist() == [0.0, 1 - 2.0**-53]
  assert below(2**31 - 1, bits).numpy().tolist() == [0, 2**31 - 2]
  assert below(tf.constant([3, 3]), bits).numpy().tolist() == [0, 2]


def assert_uniform(counts: np.ndarray) -> None:
  """Chi-square, as a normal variable: beyond 5 is one in three million."""
  expected = counts.sum() / counts.size
  chi_square = ((counts - expected) ** 2 / expected).sum()
  degrees = counts.size - 1
  assert abs(chi_square - degrees) / np.sqrt(2 * degrees) < 5


COUNT = 1 << 17

# Streams that a pipeline draws side by side: (seed, epoch, index, purpose).
STREAMS = {
  "another purpose": (lambda i: (0, 0, i, 0), lambda i: (0, 0, i, 1)),
  "the next index": (lambda i: (0, 0, i, 0), lambda i: (0, 0, i + 1, 0)),
  "the next epoch": (lambda i: (0, 0, i, 0), lambda i: (0, 1, i, 0)),
  "the next seed": (lambda i: (0, 0, i, 0), lambda i: (1, 0, i, 0)),
  "seed for epoch": (lambda i: (1, 2, i, 0), lambda i: (2, 1, i, 0)),
  "epochs as the index": (lambda i: (0, i, 0, 0), lambda i: (0, i, 1, 0)),
}


@pytest.mark.parametrize("shift", [0, 32, 60])
@pytest.mark.parametrize("pair", STREAMS)
def test_neighbouring_streams_are_uniform_and_independent(pair, shift):
  numbers = tf.range(COUNT, dtype=tf.int64)
  first, second = (
    ((random_bits(*stream(numbers)).numpy() >> shift) & 15).astype(int)
    for stream in STREAMS[pair]
  )
  assert_uniform(np.bincount(first, minlength=16))
  assert_uniform(np.bincount(16 * first + second, minlength=256))


@pytest.mark.parametrize("bound", [2, 3, 9, 57])
def test_below_is_uniform(bound):
  drawn = below(bound, random_bits(1, tf.range(COUNT))).numpy()
  assert_uniform(np.bincount(drawn, minlength=bound))


def test_uniform_is_uniform():
  drawn = uniform(random_bits(2, tf.range(COUNT))).numpy()
  assert_uniform(np.histogram(drawn, 1000, (0, 1))[0])


def test_normal_is_box_and_mullers():
  got = normal(random_bits(6, tf.range(500)), random_bits(7, tf.range(500)))
  assert got.dtype == tf.float64
  expected = [
    math.sqrt(-2 * math.log(1 - python_uniform(6, number)))
    * math.cos(2 * math.pi * python_uniform(7, number))
    for number in range(500)
  ]
  np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_normal_is_normal():
  numbers = tf.range(COUNT)
  drawn = normal(random_bits(6, numbers), random_bits(7, numbers)).numpy()
  ranks = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in drawn]
  assert_uniform(np.histogram(ranks, 1000, (0, 1))[0])


def test_normal_is_finite_at_the_extremes():
  bits = tf.constant([0, MASK], tf.uint64)
  np.testing.assert_allclose(normal(bits, bits), [0, 8.5717], atol=1e-4)


def test_each_bit_of_the_input_flips_half_of_the_output():
  numbers = np.arange(200, dtype=np.int64)
  before = random_bits(4, tf.constant(numbers)).numpy()
  for bit, place in itertools.product((0, 1, 17, 40, 62), (0, 1)):
    changed = tf.constant(numbers ^ (1 << bit))
    words = (4, changed) if place else (4 ^ (1 << bit), tf.constant(numbers))
    after = random_bits(*words).numpy()
    flipped = np.unpackbits((before ^ after).view(np.uint8)).mean()
    assert abs(flipped - 0.5) < 5 * 0.5 / np.sqrt(64 * 200)
