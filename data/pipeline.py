# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources as `tf.data` pipelines: the training stream and the evaluation."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from data import order
from data.augmentation import Augmentation
from data.images import decode, pillow_reader
from data.images.formats import Decoding
from data.reading import (
  Batch,
  OnBadImage,
  central_crops,
  decoded,
  image_and_label,
  mapped,
  on_host,
)
from data.sources.encoded import AnySource, EncodedSource, Files
from data.sources.source import Source

# Whole batches take memory, so fewer of them are prepared at a time.
_BATCHES_AT_ONCE = min(os.cpu_count() or 1, 8)
_BATCHES_AHEAD = 4


def train_dataset(
  source: AnySource,
  *,
  global_batch_size: int,
  seed: int,
  start_step: int = 0,
  balanced: bool = False,
  image_size: int = 0,
  augmentation: Augmentation = Augmentation(),
  on_bad_image: OnBadImage | None = None,
  input_threads: int = 0,
  data_service: str = "",
  others: decode.Others | None = pillow_reader.read_for_training,
  shard: order.Shard = order.WHOLE,
) -> tf.data.Dataset:
  """Returns the endless training stream, from a step on.

  The batch of a step is a function of `(seed, step)`: a stream that starts at
  `start_step` continues exactly as one that started at 0, and starting costs
  the same at every step. Batches run on across the ends of epochs, so each
  example comes exactly once per epoch, whatever the batch size.

  Args:
    source: the examples; of arrays TensorFlow holds one copy, however many
      batches are in flight, and no graph does (so 2 GB is no limit).
    global_batch_size: examples per step, over all replicas; at least 1.
    seed: in [0, 2^63); decides order and augmentation.
    start_step: the step of the first batch; at least 0.
    balanced: whether each class comes equally often, and not each example.
    image_size: height and width that encoded images get; arrays keep theirs.
    augmentation: what is done to the images.
    on_bad_image: called with the index of each encoded image that cannot be
      decoded, and is replaced by the next one in the source's order; None fails
      instead, with TensorFlow's error.
    input_threads: threads that prepare batches; 0 is one per core.
    data_service: the address of a tf.data service's dispatcher, as
      grpc://host:port, whose workers prepare the batches; "" is this process.
    others: as of `decode.central_crop`; None for workers of other processes.
    shard: which share of each batch is read, if several hosts train together.

  Returns:
    Batches {"image": [global_batch_size / shard.count, height, width, channels]
    uint8, "label": [global_batch_size / shard.count] int32, or [..., classes]
    uint8 if images have any number of labels}, without end.

  Raises:
    DataError: image_size or the augmentation does not fit the images.
    ValueError: another argument is out of range.
  """
  if global_batch_size < 1:
    raise ValueError(
      f"global_batch_size must be at least 1, got {global_batch_size}"
    )
  if global_batch_size % shard.count:
    raise ValueError(
      f"global_batch_size must be a multiple of the {shard.count} hosts, got "
      f"{global_batch_size}"
    )
  if start_step < 0:
    raise ValueError(f"start_step must be at least 0, got {start_step}")
  height, width, channels = source.image_shape
  augmentation.require_fits(
    (height or image_size, width or image_size, channels)
  )

  examples_of = order_of_source(source, seed=seed, balanced=balanced)

  def order_of(step: tf.Tensor) -> Batch:
    epochs, indices = examples_of(
      order.batch_positions(step, global_batch_size, shard=shard)
    )
    return {"index": indices, **augmentation.draws(seed, epochs, indices)}

  def augmented(examples: Batch) -> Batch:
    # Encoded images are flipped by now, and have no "flipped".
    images = augmentation.apply(
      examples["image"], examples["key"], examples.get("flipped")
    )
    return {"image": images, "label": examples["label"]}

  steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
  if isinstance(source, Source):
    gather = _make_gather(source)
    batches = mapped(
      steps, lambda step: augmented(gather(order_of(step))), _BATCHES_AT_ONCE
    )
    return _finished(batches, input_threads, data_service)
  examples = decoded(
    mapped(steps, order_of, _BATCHES_AT_ONCE).unbatch(),
    source,
    image_size=image_size,
    replace=True,
    on_bad_image=on_bad_image,
    input_threads=input_threads,
    others=others,
  )
  batches = examples.batch(
    global_batch_size // shard.count, drop_remainder=True
  )
  batches = mapped(batches, augmented, _BATCHES_AT_ONCE)
  return _finished(batches, input_threads, data_service)


def order_of_source(
  source: AnySource, *, seed: int, balanced: bool
) -> order.Order:
  """Returns the order of a source's examples in the training stream."""
  if balanced:
    return order.balanced_order(source.labels, seed=seed)
  return functools.partial(
    order.examples_at, num_examples=source.num_examples, seed=seed
  )


def eval_dataset(
  source: AnySource,
  *,
  batch_size: int,
  image_size: int = 0,
  eval_resize: int = 0,
  on_bad_image: OnBadImage | None = None,
  input_threads: int = 0,
  shard: order.Shard = order.WHOLE,
) -> tf.data.Dataset:
  """Returns every example once, in the source's order.

  Args:
    source: the examples.
    batch_size: at least 1; the last batch may be smaller.
    image_size: height and width that encoded images get; arrays keep theirs.
    eval_resize: the length that the shorter side of an encoded image is brought
      to, before the central image_size is cut out of it; 0 is image_size.
    on_bad_image: called with the index of each encoded image that cannot be
      decoded, and is left out; None fails instead.
    input_threads: threads that prepare batches; 0 is one per core.
    shard: which share of the examples is read: consecutive ones.

  Returns:
    Batches as of `train_dataset`, without augmentation.

  Raises:
    DataError: image_size or eval_resize is out of range.
    ValueError: batch_size is out of range.
  """
  if batch_size < 1:
    raise ValueError(f"batch_size must be at least 1, got {batch_size}")
  if isinstance(source, Source):
    gather = _make_gather(source)
    share = order.share_of_examples(source.num_examples, shard)

    def batch_from(start: tf.Tensor) -> Batch:
      end = tf.minimum(start + batch_size, share.stop)
      return image_and_label(gather({"index": tf.range(start, end)}))

    starts = tf.data.Dataset.range(share.start, share.stop, batch_size)
    batches = mapped(starts, batch_from, _BATCHES_AT_ONCE)
    return _finished(batches, input_threads)
  examples = central_crops(
    source,
    image_size=image_size,
    eval_resize=eval_resize,
    replace=False,
    on_bad_image=on_bad_image,
    input_threads=input_threads,
    share=order.share_of_examples(source.num_examples, shard),
  )
  return _finished(examples.batch(batch_size), input_threads)


def of_paths(
  paths: Sequence[str], *, channels: int, decoding: Decoding
) -> EncodedSource:
  """Returns image files that have no labels as a source.

  Args:
    paths: of the files, at least one.
    channels: 1 or 3.
    decoding: how they become pixels.

  Raises:
    DataError: there is no file, or channels is out of range.
  """
  return EncodedSource(
    Files.of(paths),
    np.zeros(len(paths), np.int32),
    class_names=("",),
    name="inputs",
    channels=channels,
    decoding=decoding,
  )


def image_dataset(
  source: EncodedSource,
  *,
  batch_size: int,
  image_size: int,
  eval_resize: int = 0,
  input_threads: int = 0,
) -> tf.data.Dataset:
  """Returns image files that have no labels, decoded as for evaluation.

  Args:
    source: of the files, as from `of_paths`.
    batch_size: at least 1; the last batch may be smaller.
    image_size: height and width of the result.
    eval_resize: as of `eval_dataset`.
    input_threads: threads that prepare batches; 0 is one per core.

  Returns:
    Batches in the order of the files, without those that cannot be decoded:
    {"image": [batch, image_size, image_size, channels] uint8, "label": [batch]
    int32}, where the label is the index of the file.

  Raises:
    DataError: a size is out of range.
  """
  examples = decoded(
    tf.data.Dataset.range(source.num_examples).map(
      lambda index: {"index": index}
    ),
    source,
    image_size=image_size,
    eval_resize=eval_resize,
    replace=False,
    on_bad_image=None,
    input_threads=input_threads,
    others=pillow_reader.read,
  )

  def numbered(example: Batch) -> Batch:
    label = tf.cast(example["index"], tf.int32)
    return {"image": example["image"], "label": label}

  good = examples.ignore_errors().map(numbered)
  return _finished(good.batch(batch_size), input_threads)


def _make_gather(source: Source) -> Callable[[Batch], Batch]:
  """Returns the function that adds images and labels to indices, [batch]."""
  images, labels = on_host(source.images), on_host(source.labels)

  def gather(examples: Batch) -> Batch:
    return {
      **examples,
      "image": tf.gather(images, examples["index"]),
      "label": tf.gather(labels, examples["index"]),
    }

  return gather


def _finished(
  dataset: tf.data.Dataset, input_threads: int, data_service: str = ""
) -> tf.data.Dataset:
  """Prepares batches ahead of the step that takes them."""
  if input_threads:
    options = tf.data.Options()
    options.threading.private_threadpool_size = input_threads
    dataset = dataset.with_options(options)
  if data_service:
    # Each step's batch comes once. One worker gives the batches in order; of
    # several, each gives its next one when it is ready, so the order varies.
    dataset = dataset.apply(
      tf.data.experimental.service.distribute(
        tf.data.experimental.service.ShardingPolicy.DYNAMIC, data_service
      )
    )
  return dataset.prefetch(_BATCHES_AHEAD)
