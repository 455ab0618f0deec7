# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources as `tf.data` pipelines: the training stream and the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from data import augment, order
from data.sources import Source

Batch = dict[str, tf.Tensor]


def train_dataset(
  source: Source,
  *,
  global_batch_size: int,
  seed: int,
  start_step: int = 0,
  flip: bool = False,
  pad_crop: int = 0,
  erasing_probability: float = 0.0,
  erasing_area: tuple[float, float] = (0.02, 0.4),
  erasing_aspect: tuple[float, float] = (0.3, 3.3),
  erasing_fill: int | Sequence[int] = 0,
) -> tf.data.Dataset:
  """The endless training stream, from a step on.

  The batch of a step is a function of `(seed, step)`: a stream that starts at
  `start_step` goes on exactly as one that started at 0, and starting costs the
  same whatever the step. Batches run on across the ends of epochs, so each
  example comes exactly once an epoch whatever the batch size.

  Args:
    source: the examples; TensorFlow holds one copy of them, however many
      batches are in flight, and no graph does (so 2 GB is no limit).
    global_batch_size: examples a step, over all replicas; at least 1.
    seed: in [0, 2^63); decides order and augmentation.
    start_step: the step of the first batch; at least 0.
    flip: flips each example left to right in every other epoch.
    pad_crop: pixels of zero padding on each side before a random crop.
    erasing_probability: of random erasing.
    erasing_area: the part of the image that is erased, least and greatest.
    erasing_aspect: height / width of the rectangle, least and greatest.
    erasing_fill: the value the rectangle gets, or one a channel.

  Returns:
    Batches {"image": [global_batch_size, height, width, channels] uint8,
    "label": [global_batch_size] int32}, without end.

  Raises:
    ValueError: where an argument is out of range.
  """
  if global_batch_size < 1:
    raise ValueError(
      f"global_batch_size must be at least 1, got {global_batch_size}"
    )
  if start_step < 0:
    raise ValueError(f"start_step must be at least 0, got {start_step}")
  images, labels = _on_host(source)

  def batch_at(step: tf.Tensor) -> Batch:
    epochs, indices = order.examples_at(
      order.batch_positions(step, global_batch_size),
      num_examples=source.num_examples,
      seed=seed,
    )
    keys = augment.example_keys(seed, epochs, indices)
    flips = augment.alternating_flips(seed, epochs, indices)
    batch = augment.crop_and_flip(
      tf.gather(images, indices),
      keys,
      pad_crop=pad_crop,
      flipped=flips if flip else None,
    )
    batch = augment.random_erasing(
      batch,
      keys,
      erasing_probability=erasing_probability,
      erasing_area=erasing_area,
      erasing_aspect=erasing_aspect,
      erasing_fill=erasing_fill,
    )
    return {"image": batch, "label": tf.gather(labels, indices)}

  steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
  return _in_parallel(steps, batch_at)


def eval_dataset(source: Source, *, batch_size: int) -> tf.data.Dataset:
  """Every example once, in the source's order; the last batch may be short.

  Args:
    source: the examples.
    batch_size: at least 1.

  Returns:
    Batches as of `train_dataset`, without augmentation.

  Raises:
    ValueError: where batch_size is out of range.
  """
  if batch_size < 1:
    raise ValueError(f"batch_size must be at least 1, got {batch_size}")
  images, labels = _on_host(source)
  num_examples = source.num_examples

  def batch_from(start: tf.Tensor) -> Batch:
    end = tf.minimum(start + batch_size, num_examples)
    return {"image": images[start:end], "label": labels[start:end]}

  starts = tf.data.Dataset.range(0, num_examples, batch_size)
  return _in_parallel(starts, batch_from)


def _on_host(source: Source) -> tuple[tf.Tensor, tf.Tensor]:
  """The arrays as tensors in host memory, which each batch reads in place.

  On a machine with an accelerator TensorFlow would place them there, out of
  the pipeline's reach.
  """
  with tf.device("/CPU:0"):
    images = tf.convert_to_tensor(source.images)
    labels = tf.convert_to_tensor(source.labels)
  return images, labels


def _in_parallel(
  numbers: tf.data.Dataset, batch_of: Callable[[tf.Tensor], Batch]
) -> tf.data.Dataset:
  """Maps numbers to batches on several threads, in their order."""
  # Unconverted, so that an error keeps its own one line.
  batch_of = tf.autograph.experimental.do_not_convert(batch_of)
  dataset = numbers.map(
    batch_of, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
  ).prefetch(tf.data.AUTOTUNE)
  options = tf.data.Options()
  # Rewriting the graph would copy all captured images into it, each time that
  # an iterator is made, and find nothing to improve in two stages.
  options.experimental_optimization.apply_default_optimizations = False
  return dataset.with_options(options)
