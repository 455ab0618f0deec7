# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The order: each example once an epoch, and a good shuffle."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from data import order


def examples(start: int, count: int, num_examples: int, seed: int = 0):
  positions = start + tf.range(count, dtype=tf.int64)
  epochs, indices = order.examples_at(
    positions, num_examples=num_examples, seed=seed
  )
  assert epochs.dtype == indices.dtype == tf.int64
  return epochs.numpy(), indices.numpy()


def epoch_orders(num_examples: int, epochs: int, seed: int = 0) -> np.ndarray:
  _, indices = examples(0, epochs * num_examples, num_examples, seed)
  return indices.reshape(epochs, num_examples)


def first_examples(num_examples: int, epochs: int, count: int) -> np.ndarray:
  """The first `count` examples of each epoch, [epochs, count]."""
  starts = num_examples * tf.range(epochs, dtype=tf.int64)[:, tf.newaxis]
  positions = tf.reshape(starts + tf.range(count, dtype=tf.int64), [-1])
  _, indices = order.examples_at(positions, num_examples=num_examples, seed=0)
  return indices.numpy().reshape(epochs, count)


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 - 1])
@pytest.mark.parametrize("num_examples", [1, 2, 3, 16, 17, 100, 1797])
def test_each_epoch_has_each_example_once(num_examples, seed):
  epochs = 5
  numbers, _ = examples(0, epochs * num_examples, num_examples, seed)
  expected = np.repeat(np.arange(epochs), num_examples)
  np.testing.assert_array_equal(numbers, expected)
  for indices in epoch_orders(num_examples, epochs, seed):
    np.testing.assert_array_equal(np.sort(indices), np.arange(num_examples))


def test_a_large_epoch_has_each_example_once():
  _, indices = examples(2**30 * 1_281_167, 1_281_167, 1_281_167)
  np.testing.assert_array_equal(np.sort(indices), np.arange(1_281_167))


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_a_place_has_its_example_whatever_the_batch(batch):
  numbers, indices = examples(0, 1000, 97)
  for step in (0, 1, 13, 999):
    start = step * batch % 1000
    count = min(batch, 1000 - start)
    part = examples(start, count, 97)
    np.testing.assert_array_equal(part[0], numbers[start : start + count])
    np.testing.assert_array_equal(part[1], indices[start : start + count])


def test_positions_of_a_batch():
  positions = order.batch_positions(tf.constant(2**40), 3)
  assert positions.dtype == tf.int64
  assert positions.numpy().tolist() == [3 * 2**40 + i for i in range(3)]
  positions = order.batch_positions(tf.constant(7, tf.int32), 2)
  assert positions.numpy().tolist() == [14, 15]


def test_a_graph_gives_the_same():
  compiled = tf.function(
    lambda positions: order.examples_at(positions, num_examples=97, seed=3)
  )
  positions = tf.range(500, dtype=tf.int64)
  eager = order.examples_at(positions, num_examples=97, seed=3)
  for expected, got in zip(eager, compiled(positions)):
    np.testing.assert_array_equal(expected, got)


def test_the_order_is_the_same_on_every_tensorflow():
  _, indices = examples(0, 24, 12, seed=7)
  first = [1, 6, 11, 5, 9, 3, 7, 2, 0, 4, 10, 8]
  second = [6, 2, 11, 8, 4, 5, 1, 9, 10, 7, 3, 0]
  assert indices.tolist() == first + second


@pytest.mark.parametrize(("num_examples", "epochs"), [(100, 600), (1797, 600)])
def test_no_epoch_repeats_another(num_examples, epochs):
  orders = first_examples(num_examples, epochs, 10)
  assert len({indices.tobytes() for indices in orders}) == epochs


def correlation(first: np.ndarray, second: np.ndarray) -> float:
  """The correlation in units of its deviation under independence."""
  return np.corrcoef(first, second)[0, 1] * np.sqrt(len(first))


@pytest.mark.parametrize("num_examples", [100, 1797, 60_000])
def test_orders_are_uncorrelated(num_examples):
  orders = epoch_orders(num_examples, 6)
  others = epoch_orders(num_examples, 6, seed=1)
  places = np.arange(num_examples)
  pairs = [
    *zip(orders, orders[1:]),  # An epoch and the next.
    *zip(orders, others),  # A seed and the next.
    *((places, indices) for indices in orders),
    *((indices[:-1], indices[1:]) for indices in orders),  # Neighbours.
  ]
  assert max(abs(correlation(*pair)) for pair in pairs) < 4.5


@pytest.mark.parametrize("num_examples", [1797, 60_000])
def test_batches_are_mixed_as_by_chance(num_examples):
  # A source that is sorted by class: a batch's count of each class must vary
  # as a hypergeometric variable does, no more and no less.
  batch, classes = 50, 10
  labels = np.arange(num_examples) * classes // num_examples
  kept = num_examples // batch * batch
  counts = [
    np.apply_along_axis(np.bincount, 1, rows, minlength=classes)
    for rows in (
      labels[indices[:kept]].reshape(-1, batch)
      for indices in epoch_orders(num_examples, 8)
    )
  ]
  expected = batch * 0.1 * 0.9 * (num_examples - batch) / (num_examples - 1)
  ratio = np.concatenate(counts).var() / expected
  assert 0.9 < ratio < 1.1


def test_the_first_place_is_drawn_evenly():
  num_examples, epochs = 10, 3000
  first = first_examples(num_examples, epochs, 1)[:, 0]
  counts = np.bincount(first, minlength=num_examples)
  chi_square = ((counts - epochs / 10) ** 2 / (epochs / 10)).sum()
  assert chi_square < 33.7  # The 99.99th percentile with 9 degrees of freedom.


def test_ranges_are_checked():
  positions = tf.range(2, dtype=tf.int64)
  with pytest.raises(ValueError, match="num_examples must be at least 1"):
    order.examples_at(positions, num_examples=0, seed=0)
  for seed in (-1, 2**63):
    with pytest.raises(ValueError, match=f"seed must be in .* got {seed}"):
      order.examples_at(positions, num_examples=3, seed=seed)
