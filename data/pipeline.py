# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources as `tf.data` pipelines: the training stream and the evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from data import order, reading
from data.augmentation import Augmentation
from data.images import decode
from data.sources.encoded import AnySource, EncodedSource, require_sizes
from data.sources.source import Source

Batch = dict[str, tf.Tensor]
# Called with the index of an example that cannot be decoded.
OnBadImage = Callable[[int], None]

# A bad training image gives way to the first good one of so many after it.
_REPLACEMENTS = 8
_CORES = os.cpu_count() or 1
# Of examples some more than there are threads, which would stand idle a sixth
# of the time: what follows on an example that is done takes a while to start.
_EXAMPLES_A_THREAD = 4
# Of whole batches, which take room, there are fewer.
_BATCHES_AT_ONCE = min(_CORES, 8)
_BATCHES_AHEAD = 4


def train_dataset(
  source: AnySource,
  *,
  global_batch_size: int,
  seed: int,
  start_step: int = 0,
  image_size: int = 0,
  augmentation: Augmentation = Augmentation(),
  on_bad_image: OnBadImage | None = None,
  input_threads: int = 0,
  data_service: str = "",
) -> tf.data.Dataset:
  """The endless training stream, from a step on.

  The batch of a step is a function of `(seed, step)`: a stream that starts at
  `start_step` goes on exactly as one that started at 0, and starting costs the
  same whatever the step. Batches run on across the ends of epochs, so each
  example comes exactly once an epoch whatever the batch size.

  Args:
    source: the examples; of arrays TensorFlow holds one copy, however many
      batches are in flight, and no graph does (so 2 GB is no limit).
    global_batch_size: examples a step, over all replicas; at least 1.
    seed: in [0, 2^63); decides order and augmentation.
    start_step: the step of the first batch; at least 0.
    image_size: height and width that encoded images get; 0 for arrays.
    augmentation: what is done to the images.
    on_bad_image: called with the index of each encoded image that cannot be
      decoded, which the next one in the source's order then replaces; None
      fails instead, with TensorFlow's error.
    input_threads: threads that prepare batches; 0 is one a core.
    data_service: the address of a tf.data service's dispatcher, as
      grpc://host:port, whose workers prepare the batches; "" is this process.

  Returns:
    Batches {"image": [global_batch_size, height, width, channels] uint8,
    "label": [global_batch_size] int32}, without end.

  Raises:
    DataError: the augmentation or `image_size` does not fit the images.
    ValueError: another argument is out of range.
  """
  if global_batch_size < 1:
    raise ValueError(
      f"global_batch_size must be at least 1, got {global_batch_size}"
    )
  if start_step < 0:
    raise ValueError(f"start_step must be at least 0, got {start_step}")
  require_sizes(
    source,
    image_size=image_size,
    random_resized_crop=augmentation.random_resized_crop,
  )
  height, width, channels = source.image_shape
  augmentation.require_fits(
    (height or image_size, width or image_size, channels)
  )

  def order_of(step: tf.Tensor) -> Batch:
    epochs, indices = order.examples_at(
      order.batch_positions(step, global_batch_size),
      num_examples=source.num_examples,
      seed=seed,
    )
    return {"index": indices, **augmentation.draws(seed, epochs, indices)}

  def augmented(examples: Batch) -> Batch:
    # Encoded images are flipped by now, and bring no "flipped".
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

  load = _make_load(source, image_size=image_size)
  examples = mapped(steps, order_of, _BATCHES_AT_ONCE).unbatch()
  if on_bad_image is not None:
    load = _replacing(load, source, image_size, _REPLACEMENTS, on_bad_image)
  batches = mapped(
    mapped(examples, load, _EXAMPLES_A_THREAD * input_threads).batch(
      global_batch_size, drop_remainder=True
    ),
    augmented,
    _BATCHES_AT_ONCE,
  )
  return _finished(batches, input_threads, data_service)


def eval_dataset(
  source: AnySource,
  *,
  batch_size: int,
  image_size: int = 0,
  eval_resize: int = 0,
  on_bad_image: OnBadImage | None = None,
  input_threads: int = 0,
) -> tf.data.Dataset:
  """Every example once, in the source's order; the last batch may be short.

  Args:
    source: the examples.
    batch_size: at least 1.
    image_size: height and width that encoded images get; 0 for arrays.
    eval_resize: what the shorter side of an encoded image is taken to be, of
      which the central image_size is cut out; 0 is image_size.
    on_bad_image: called with the index of each encoded image that cannot be
      decoded, which is then left out; None fails instead.
    input_threads: threads that prepare batches; 0 is one a core.

  Returns:
    Batches as of `train_dataset`, without augmentation.

  Raises:
    ValueError: where an argument is out of range.
  """
  if batch_size < 1:
    raise ValueError(f"batch_size must be at least 1, got {batch_size}")
  require_sizes(source, image_size=image_size, eval_resize=eval_resize)
  num_examples = source.num_examples
  if isinstance(source, Source):
    gather = _make_gather(source)

    def batch_from(start: tf.Tensor) -> Batch:
      end = tf.minimum(start + batch_size, num_examples)
      return _image_and_label(gather({"index": tf.range(start, end)}))

    starts = tf.data.Dataset.range(0, num_examples, batch_size)
    return _finished(
      mapped(starts, batch_from, _BATCHES_AT_ONCE), input_threads
    )

  examples = central_crops(
    source,
    image_size=image_size,
    eval_resize=eval_resize,
    replace=False,
    on_bad_image=on_bad_image,
    input_threads=input_threads,
  )
  return _finished(examples.batch(batch_size), input_threads)


def central_crops(
  source: EncodedSource,
  *,
  image_size: int,
  eval_resize: int = 0,
  replace: bool,
  on_bad_image: OnBadImage | None,
  input_threads: int = 0,
) -> tf.data.Dataset:
  """Every encoded image once, in the source's order, decoded.

  Args:
    source: the examples.
    image_size: height and width of the result.
    eval_resize: as of `eval_dataset`.
    replace: whether what `train_dataset` would put in the place of a bad image
      stands there, or nothing does.
    on_bad_image: as of `train_dataset`.
    input_threads: as of `eval_dataset`.

  Returns:
    Examples {"image": [image_size, image_size, channels] uint8,
    "label": [] int32}.
  """
  load = _make_load(source, image_size=image_size, eval_resize=eval_resize)
  if on_bad_image is not None:
    candidates = _REPLACEMENTS if replace else 1
    load = _replacing(load, source, image_size, candidates, on_bad_image)
  indices = tf.data.Dataset.range(source.num_examples)
  examples = indices.map(lambda index: {"index": index})
  examples = mapped(examples, load, _EXAMPLES_A_THREAD * input_threads)
  if on_bad_image is not None:
    examples = examples.filter(lambda example: example["index"] >= 0)
  return examples.map(_image_and_label)


def _image_and_label(examples: Batch) -> Batch:
  return {"image": examples["image"], "label": examples["label"]}


def _make_gather(source: Source) -> Callable[[Batch], Batch]:
  """Returns the function that adds image and label to indices, [batch]."""
  # On a machine with an accelerator TensorFlow would place them there, out of
  # the pipeline's reach.
  with tf.device("/CPU:0"):
    images = tf.convert_to_tensor(source.images)
    labels = tf.convert_to_tensor(source.labels)

  def gather(examples: Batch) -> Batch:
    return {
      **examples,
      "image": tf.gather(images, examples["index"]),
      "label": tf.gather(labels, examples["index"]),
    }

  return gather


def _make_load(
  source: EncodedSource, *, image_size: int, eval_resize: int = 0
) -> Callable[[Batch], Batch]:
  """Returns the function that adds image and label to an index, []."""
  read = reading.make_read(source.examples)
  with tf.device("/CPU:0"):
    labels = tf.convert_to_tensor(source.labels)

  def load(example: Batch) -> Batch:
    example = dict(example)
    contents = read(example["index"])
    draws, flipped = example.pop("crop", None), example.pop("flipped", None)
    size = {"image_size": image_size, "channels": source.channels}
    if draws is not None:
      image = decode.random_resized_crop(
        contents, draws, flipped=flipped, **size
      )
    else:
      image = decode.central_crop(
        contents, eval_resize=eval_resize, flipped=flipped, **size
      )
    label = tf.gather(labels, example["index"])
    return {**example, "image": image, "label": label}

  return load


def _replacing(
  load: Callable[[Batch], Batch],
  source: EncodedSource,
  image_size: int,
  candidates: int,
  on_bad_image: OnBadImage,
) -> Callable[[Batch], Batch]:
  """Returns a `load` that takes the first good one of some examples in a row.

  Where none of them is good, the index is -1.
  """
  number = source.num_examples

  def load_good(example: Batch) -> Batch:
    asked = example["index"]
    tried = tf.data.Dataset.range(asked, asked + candidates).map(
      lambda index: load({**example, "index": index % number})
    )
    none = {"key": example["key"]} if "key" in example else {}
    none["index"] = tf.constant(-1, tf.int64)
    shape = [image_size, image_size, source.channels]
    none["image"] = tf.zeros(shape, tf.uint8)
    none["label"] = tf.constant(0, tf.int32)
    # Errors that a map meets can be caught in a dataset, and nowhere else.
    loaded = (
      tried.ignore_errors()
      .concatenate(tf.data.Dataset.from_tensors(none))
      .take(1)
      .get_single_element()
    )

    def report() -> tf.Tensor:
      return tf.numpy_function(_reporting(on_bad_image), [asked], tf.int64)

    with tf.control_dependencies(
      [tf.cond(loaded["index"] != asked, report, lambda: asked)]
    ):
      loaded["image"] = tf.identity(loaded["image"])
    if candidates > 1:
      tf.debugging.assert_greater_equal(
        loaded["index"],
        tf.constant(0, tf.int64),
        f"{candidates} images of {source.name} in a row cannot be decoded",
      )
    return loaded

  return load_good


def _reporting(on_bad_image: OnBadImage) -> Callable[[Any], Any]:
  def report(index: Any) -> Any:
    on_bad_image(int(index))
    return index

  return report


def mapped(
  dataset: tf.data.Dataset,
  function: Callable[[Any], Any],
  at_once: int = 0,
) -> tf.data.Dataset:
  """Maps on several threads, and keeps the order.

  Args:
    dataset: what is mapped.
    function: of an element, in graph operations.
    at_once: elements that are prepared at the same time; 0 is some for each
      core.
  """
  options = tf.data.Options()
  # The end of an iterator, of each evaluation's too, waits for the thread that
  # tunes it, which may miss its cancellation and sleep on: for a second after a
  # second, for ten after ten, for a minute in the end.
  options.autotune.enabled = False
  # Rewriting the graph would copy all captured images into it, each time that
  # an iterator is made, and find nothing to improve in a few maps.
  options.experimental_optimization.apply_default_optimizations = False
  return dataset.map(
    # Unconverted, so that an error keeps its own one line.
    tf.autograph.experimental.do_not_convert(function),
    num_parallel_calls=at_once or _EXAMPLES_A_THREAD * _CORES,
    deterministic=True,
  ).with_options(options)


def _finished(
  dataset: tf.data.Dataset, input_threads: int, data_service: str = ""
) -> tf.data.Dataset:
  """Prepares batches ahead of the step that takes them."""
  if input_threads:
    options = tf.data.Options()
    options.threading.private_threadpool_size = input_threads
    dataset = dataset.with_options(options)
  if data_service:
    # Each step's batch comes once. One worker gives them in order; several
    # give each in turn as it comes, so that the order is theirs.
    dataset = dataset.apply(
      tf.data.experimental.service.distribute(
        tf.data.experimental.service.ShardingPolicy.DYNAMIC, data_service
      )
    )
  return dataset.prefetch(_BATCHES_AHEAD)
