# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pipelines: exact order, exact resumption, every example once."""

from __future__ import annotations

import collections
import dataclasses
import threading

import numpy as np
import pytest
import tensorflow as tf

from data import Augmentation, order, pipeline, reading
from data.images import augment
from data.sources.source import Source
from tests.compare import assert_same

pytestmark = pytest.mark.any_keras


def numbered(num_examples: int, shape=(4, 6, 3)) -> Source:
  """A source whose images tell their index in their first two pixels."""
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (num_examples, *shape)).astype(np.uint8)
  numbers = np.arange(num_examples)
  images[:, 0, 0, 0], images[:, 0, 1, 0] = numbers % 256, numbers // 256
  return Source(
    images=images,
    labels=(numbers % 7).astype(np.int32),
    class_names=tuple("abcdefg"),
    name="numbered",
  )


def indices_of(images) -> list[int]:
  images = np.asarray(images).astype(int)
  return (images[:, 0, 0, 0] + 256 * images[:, 0, 1, 0]).tolist()


AUGMENTED = Augmentation(flip=True, pad_crop=2, erasing_probability=0.5)


def batches(source: Source, count: int, **options):
  options = {"global_batch_size": 8, "seed": 1, **options}
  dataset = pipeline.train_dataset(source, **options).take(count)
  return [(b["image"].numpy(), b["label"].numpy()) for b in dataset]


@pytest.mark.parametrize(
  "augmentation", [Augmentation(), AUGMENTED], ids=["plain", "augmented"]
)
@pytest.mark.parametrize(
  ("num_examples", "global_batch_size"), [(32, 8), (29, 8), (5, 8), (1, 3)]
)
def test_a_resumed_stream_is_the_uninterrupted_one(
  num_examples, global_batch_size, augmentation
):
  source = numbered(num_examples)
  options = {
    "global_batch_size": global_batch_size,
    "augmentation": augmentation,
  }
  whole = batches(source, 12, **options)
  for start_step in (1, 5, 11):
    resumed = batches(source, 12 - start_step, start_step=start_step, **options)
    assert_same(resumed, whole[start_step:])


@pytest.mark.parametrize("global_batch_size", [1, 8, 29, 31, 70])
def test_each_example_comes_once_an_epoch(global_batch_size):
  source, epochs = numbered(29), 5
  steps = -(-epochs * 29 // global_batch_size)
  stream = [
    index
    for images, _ in batches(source, steps, global_batch_size=global_batch_size)
    for index in indices_of(images)
  ]
  orders = [stream[29 * epoch :][:29] for epoch in range(epochs)]
  for indices in orders:
    assert sorted(indices) == list(range(29))
  assert len(set(map(tuple, orders))) == epochs


def test_images_and_labels_are_the_sources():
  source = numbered(300)
  for images, labels in batches(source, 50, global_batch_size=16):
    indices = indices_of(images)
    np.testing.assert_array_equal(images, source.images[indices])
    np.testing.assert_array_equal(labels, source.labels[indices])


def test_a_batch_is_order_then_crop_flip_then_erasing():
  source, step = numbered(29), 6
  epochs, indices = order.examples_at(
    order.batch_positions(step, 8), num_examples=29, seed=1
  )
  keys = augment.example_keys(1, epochs, indices)
  images = tf.gather(source.images, indices)
  images = augment.crop_and_flip(images, keys, pad_crop=2)
  flipped = augment.alternating_flips(1, epochs, indices).numpy()
  images = np.where(
    flipped[:, np.newaxis, np.newaxis, np.newaxis],
    images[:, :, ::-1],
    images,
  )
  options = {
    "erasing_area": (0.2, 0.3),
    "erasing_aspect": (0.5, 2.0),
    "erasing_fill": (1, 2, 3),
  }
  images = augment.random_erasing(
    images, keys, erasing_probability=0.5, **options
  )
  augmentation = dataclasses.replace(AUGMENTED, **options)
  [(got, _)] = batches(source, 1, start_step=step, augmentation=augmentation)
  np.testing.assert_array_equal(got, images)


def test_an_example_is_augmented_alike_in_batches_of_any_size():
  # Of one pass, by index: the batch's size moves examples between batches.
  source = numbered(64)

  def by_index(global_batch_size: int) -> dict[int, bytes]:
    steps = 64 // global_batch_size
    options = {"global_batch_size": global_batch_size}
    made = batches(source, steps, **options, augmentation=AUGMENTED)
    plain = batches(source, steps, **options)
    return {
      index: image.tobytes()
      for (images, _), (originals, _) in zip(made, plain)
      for index, image in zip(indices_of(originals), images)
    }

  expected = by_index(64)
  assert len(expected) == 64
  assert by_index(1) == by_index(8) == expected


def test_an_example_is_augmented_anew_each_epoch():
  source = numbered(1, (16, 16, 1))
  made = batches(
    source, 20, global_batch_size=1, augmentation=Augmentation(pad_crop=8)
  )
  assert len({images.tobytes() for images, _ in made}) > 15


def test_the_seed_decides_order_and_augmentation():
  source = numbered(29)
  assert_same(
    batches(source, 9, augmentation=AUGMENTED),
    batches(source, 9, augmentation=AUGMENTED),
  )
  first, other = (batches(source, 3, seed=seed) for seed in (1, 2))
  assert indices_of(first[0][0]) != indices_of(other[0][0])
  single = numbered(1, (16, 16, 1))
  first, other = (
    batches(single, 1, seed=seed, augmentation=Augmentation(pad_crop=8))
    for seed in (1, 2)
  )
  assert first[0][0].tobytes() != other[0][0].tobytes()


def test_a_distant_step_is_reached_at_once():
  source, step = numbered(29), 10**15
  [(images, _)] = batches(source, 1, start_step=step)
  _, indices = order.examples_at(
    order.batch_positions(step, 8), num_examples=29, seed=1
  )
  assert indices_of(images) == indices.numpy().tolist()


def test_two_iterators_of_one_dataset_agree():
  dataset = pipeline.train_dataset(
    numbered(29), global_batch_size=8, seed=1, augmentation=AUGMENTED
  )
  for first, second in zip(dataset.take(10), dataset.take(10)):
    np.testing.assert_array_equal(first["image"], second["image"])


def test_shapes_are_static_and_images_uint8():
  dataset = pipeline.train_dataset(
    numbered(29), global_batch_size=8, seed=1, augmentation=AUGMENTED
  )
  assert dataset.element_spec == {
    "image": tf.TensorSpec([8, 4, 6, 3], tf.uint8),
    "label": tf.TensorSpec([8], tf.int32),
  }
  spec = pipeline.eval_dataset(numbered(29), batch_size=8).element_spec
  assert spec == {
    "image": tf.TensorSpec([None, 4, 6, 3], tf.uint8),
    "label": tf.TensorSpec([None], tf.int32),
  }


@pytest.mark.parametrize("batch_size", [1, 8, 29, 64])
def test_evaluation_takes_each_example_once_in_order(batch_size):
  source = numbered(29)
  dataset = pipeline.eval_dataset(source, batch_size=batch_size)
  for _ in range(2):
    evaluated = list(dataset)
    sizes = [len(batch["label"]) for batch in evaluated]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert dataset.cardinality() == len(sizes) == -(-29 // batch_size)
    images = np.concatenate([batch["image"] for batch in evaluated])
    labels = np.concatenate([batch["label"] for batch in evaluated])
    np.testing.assert_array_equal(images, source.images)
    np.testing.assert_array_equal(labels, source.labels)


def test_the_end_of_an_iterator_waits_for_no_thread_that_tunes_it():
  source = numbered(8)
  for dataset in (
    pipeline.train_dataset(source, global_batch_size=4, seed=0),
    pipeline.eval_dataset(source, batch_size=4),
    reading.mapped(tf.data.Dataset.range(4), lambda index: index),
  ):
    assert dataset.options().autotune.enabled is False


def test_as_many_examples_as_asked_are_prepared_at_once():
  together = threading.Barrier(5, timeout=60)

  def wait(index):
    together.wait()  # Breaks where fewer than five come.
    return index

  dataset = reading.mapped(
    tf.data.Dataset.range(5),
    lambda index: tf.numpy_function(wait, [index], tf.int64),
    5,
  )
  options = tf.data.Options()
  options.threading.private_threadpool_size = 5
  assert list(dataset.with_options(options).as_numpy_iterator()) == [*range(5)]


def graph_sizes(dataset: tf.data.Dataset) -> list[int]:
  """The bytes of each function's graph, of the dataset and its inputs."""
  sizes = [
    function.function.graph.as_graph_def().ByteSize()
    for function in dataset._functions()
  ]
  for upstream in dataset._inputs():
    sizes += graph_sizes(upstream)
  return sizes


def test_no_graph_holds_the_images():
  source = numbered(1000, (32, 32, 3))
  for dataset in (
    pipeline.train_dataset(source, global_batch_size=8, seed=1),
    pipeline.eval_dataset(source, batch_size=8),
  ):
    [size] = graph_sizes(dataset)
    assert size < source.images.nbytes / 10
    options = dataset.options().experimental_optimization
    assert options.apply_default_optimizations is False


def test_two_replicas_share_the_global_batch(strategy):
  dataset = pipeline.train_dataset(
    numbered(29),
    global_batch_size=8,
    seed=1,
    start_step=3,
    augmentation=AUGMENTED,
  )
  distributed = strategy.experimental_distribute_dataset(dataset)
  for whole, shared in zip(dataset.take(5), distributed):
    parts = strategy.experimental_local_results(shared["image"])
    assert [len(part) for part in parts] == [4, 4]
    np.testing.assert_array_equal(np.concatenate(parts), whole["image"])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"global_batch_size": 0}, "global_batch_size must be at least 1, got 0"),
    ({"start_step": -1}, "start_step must be at least 0, got -1"),
    ({"seed": -1}, "seed must be in .*, got -1"),
    (
      {"augmentation": Augmentation(pad_crop=5)},
      "pad_crop must be at most 4 for images of 4 by 6, got 5",
    ),
  ],
)
def test_ranges_are_checked_in_one_line(options, message):
  with pytest.raises(ValueError, match=f"^{message}$"):
    batches(numbered(9), 1, **options)


def test_the_batch_size_of_an_evaluation_is_checked():
  with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
    pipeline.eval_dataset(numbered(9), batch_size=0)


def test_the_source_is_read_evenly_over_a_long_run():
  counts: collections.Counter[int] = collections.Counter()
  for images, _ in batches(numbered(13), 130, global_batch_size=10):
    counts.update(indices_of(images))
  assert set(counts.values()) == {100}
