# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Encoded images, read and decoded one at a time as graph operations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from data.images import decode, pillow_reader
from data.sources import mapped as mapped_arrays
from data.sources.encoded import Contents, EncodedSource, Examples, Files

Batch = dict[str, tf.Tensor]
Load = Callable[[Batch], Batch]
Read = Callable[[tf.Tensor], tf.Tensor]
# Called with the index of an example that cannot be decoded.
OnBadImage = Callable[[int], None]

# A bad training image is replaced by the first good one among the next 8.
_REPLACEMENTS = 8
_CORES = os.cpu_count() or 1
# Several examples are in flight per thread: with only one, threads stand idle a
# sixth of the time, since what follows a finished example takes a while to
# start.
_EXAMPLES_PER_THREAD = 4


def central_crops(
  source: EncodedSource,
  *,
  image_size: int,
  eval_resize: int = 0,
  replace: bool,
  on_bad_image: OnBadImage | None,
  input_threads: int = 0,
  share: range | None = None,
) -> tf.data.Dataset:
  """Decodes the middle of each image once, in the source's order.

  Args:
    source: the examples.
    image_size: height and width of the result.
    eval_resize: as of `pipeline.eval_dataset`.
    replace: whether a bad image is replaced as in training; if not, it is left
      out.
    on_bad_image: as of `decoded`.
    input_threads: as of `decoded`.
    share: the examples; None is all.

  Returns:
    Examples {"image": [image_size, image_size, channels] uint8,
    "label": [] int32, or [classes] uint8}.

  Raises:
    DataError: image_size or eval_resize is out of range.
  """
  share = range(source.num_examples) if share is None else share
  indices = tf.data.Dataset.range(share.start, share.stop)
  examples = decoded(
    indices.map(lambda index: {"index": index}),
    source,
    image_size=image_size,
    eval_resize=eval_resize,
    replace=replace,
    on_bad_image=on_bad_image,
    input_threads=input_threads,
  )
  if on_bad_image is not None:
    examples = examples.filter(lambda example: example["index"] >= 0)
  return examples.map(image_and_label)


def decoded(
  examples: tf.data.Dataset,
  source: EncodedSource,
  *,
  image_size: int,
  eval_resize: int = 0,
  replace: bool,
  on_bad_image: OnBadImage | None,
  input_threads: int = 0,
  others: decode.Others | None = pillow_reader.read_for_training,
) -> tf.data.Dataset:
  """Adds image and label to examples of an encoded source.

  Args:
    examples: {"index": [] int64}, and what `Augmentation.draws` added.
    source: the examples.
    image_size: height and width of the result.
    eval_resize: as of `pipeline.eval_dataset`.
    replace: whether a bad image is replaced by the first good one among the
      next 8; if not, its index becomes -1.
    on_bad_image: called with the index of each image that cannot be decoded;
      None fails instead, with TensorFlow's error.
    input_threads: threads that prepare batches; 0 is one per core.
    others: as of `decode.central_crop`.

  Returns:
    The examples with "image", [image_size, image_size, channels] uint8, and
    "label", [] int32 or [classes] uint8; without the draws that decoding uses.

  Raises:
    DataError: image_size or eval_resize is out of range.
  """
  source.require_sizes(image_size=image_size, eval_resize=eval_resize)
  load = _make_load(
    source, image_size=image_size, eval_resize=eval_resize, others=others
  )
  if on_bad_image is not None:
    candidates = _REPLACEMENTS if replace else 1
    load = _replacing(load, source, image_size, candidates, on_bad_image)
  return mapped(examples, load, _EXAMPLES_PER_THREAD * input_threads)


def image_and_label(examples: Batch) -> Batch:
  """Returns the part of examples that a model is given."""
  return {"image": examples["image"], "label": examples["label"]}


def make_read(examples: Examples) -> Read:
  """Returns the function that reads an example's encoded image.

  Args:
    examples: where each image is read from.

  Returns:
    A function of an index, [] int64, to the bytes of the image, [] string.
    TensorFlow raises if the file is missing or a record's checksum is wrong.
  """
  if isinstance(examples, Contents):
    contents = on_host(examples.contents)
    return lambda index: tf.gather(contents, index)
  if isinstance(examples, Files):
    # In bytes, for a name need not be UTF-8.
    root, names = (
      os.fsencode(examples.root),
      on_host(np.array(examples.names, object)),
    )
    ends = on_host(np.append(0, examples.ends))

    def read_file(index: tf.Tensor) -> tf.Tensor:
      start, end = tf.gather(ends, index), tf.gather(ends, index + 1)
      name = tf.strings.substr(names, start, end - start)
      return tf.io.read_file(root + name)

    return read_file
  shards = on_host(np.array(examples.shards, object))
  shard, offset = on_host(examples.shard), on_host(examples.offset)
  features = {examples.image_feature: tf.io.FixedLenFeature([], tf.string)}

  def read_record(index: tf.Tensor) -> tf.Tensor:
    # The public TFRecordDataset starts at the first record; the raw op at any.
    variant = tf.raw_ops.TFRecordDatasetV2(
      filenames=tf.gather(shards, tf.gather(shard, index))[tf.newaxis],
      compression_type="",
      # No buffer: it would only be one more place to copy the record from.
      buffer_size=tf.constant(0, tf.int64),
      byte_offsets=tf.gather(offset, index)[tf.newaxis],
    )
    records = tf.data.experimental.from_variant(
      variant, tf.TensorSpec([], tf.string)
    )
    record = records.take(1).get_single_element()
    example = tf.io.parse_single_example(record, features)
    return example[examples.image_feature]

  return read_record


def on_host(array: np.ndarray) -> tf.Tensor:
  """Returns an array as a tensor in the host's memory.

  On a machine with an accelerator TensorFlow would place it there, out of the
  pipeline's reach.
  """
  with tf.device("/CPU:0"):
    if mapped_arrays.is_aligned(array):
      # Shares the memory; convert_to_tensor would read and copy all of it.
      capsule = np.asarray(array).__dlpack__()
      return tf.experimental.dlpack.from_dlpack(capsule)
    return tf.convert_to_tensor(array)


def mapped(
  dataset: tf.data.Dataset,
  function: Callable[[Any], Any],
  at_once: int = 0,
) -> tf.data.Dataset:
  """Maps on several threads, and keeps the order.

  Args:
    dataset: what is mapped.
    function: of an element, in graph operations.
    at_once: elements that are prepared at the same time; 0 is several per core.

  Returns:
    The mapped elements.
  """
  options = tf.data.Options()
  # Closing an iterator, each evaluation's too, waits for its autotune thread,
  # up to a minute.
  options.autotune.enabled = False
  # Rewriting the graph would copy all captured images into it, each time that
  # an iterator is made, and find nothing to improve in a few maps.
  options.experimental_optimization.apply_default_optimizations = False
  return dataset.map(
    # Unconverted, so that an error keeps its own one line.
    tf.autograph.experimental.do_not_convert(function),
    num_parallel_calls=at_once or _EXAMPLES_PER_THREAD * _CORES,
    deterministic=True,
  ).with_options(options)


def reason(error: tf.errors.OpError) -> str:
  """Returns TensorFlow's message without the names of its functions and op."""
  message = " ".join(str(error.message).split())
  for _ in range(2):  # "{{function_node ...}} ...", "... [Op:DecodeImage] ..."
    message = message.partition("}} ")[2] or message
  message = message.partition(" [Op:")[0].strip()
  if message.startswith("ValueError: "):  # Of Python, with its traceback.
    message = message[12:].partition(" Traceback (most recent")[0]
  return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", message)


def why_bad(
  source: EncodedSource,
  index: int,
  others: decode.Others | None = pillow_reader.read,
) -> str:
  """Returns why an image cannot be decoded, "" if it can; eager only.

  Args:
    source: the examples.
    index: of the image.
    others: as of `decode.central_crop`.
  """
  try:
    contents = make_read(source.examples)(tf.constant(index, tf.int64))
    whole(contents, source, others)
  except tf.errors.OpError as error:
    return reason(error)
  return ""


def whole(
  contents: tf.Tensor,
  source: EncodedSource,
  others: decode.Others | None = pillow_reader.read,
) -> tf.Tensor:
  """Decodes a whole image of any format, as a source has it.

  Args:
    contents: [] string, the encoded image.
    source: whose `channels` and `decoding` count.
    others: as of `decode.central_crop`.

  Returns:
    [height, width, channels] uint8.
  """
  return decode.decode(
    contents,
    source.channels,
    decoding=source.decoding,
    others=others,
  )


def readable(contents: tf.Tensor, source: EncodedSource) -> bytes:
  """Returns an image in a format that graphs read; eager only.

  Args:
    contents: [] string, the encoded image.
    source: whose `channels` and `decoding` count.

  Returns:
    The image as it is; or, if graphs do not read it, its pixels as PNG.
  """
  if decode.is_read_in_graph(contents):
    return contents.numpy()
  return tf.io.encode_png(whole(contents, source)).numpy()


def _make_load(
  source: EncodedSource,
  *,
  image_size: int,
  eval_resize: int,
  others: decode.Others | None,
) -> Load:
  """Returns the function that adds image and label to an example."""
  read = make_read(source.examples)
  labels = on_host(source.labels)

  def load(example: Batch) -> Batch:
    example = dict(example)
    contents = read(example["index"])
    crop, flipped = example.pop("crop", None), example.pop("flipped", None)
    options: dict[str, Any] = {
      "image_size": image_size,
      "channels": source.channels,
      "flipped": flipped,
      "decoding": source.decoding,
      "others": others,
    }
    if crop is not None:
      image = decode.random_resized_crop(contents, crop, **options)
    else:
      image = decode.central_crop(contents, eval_resize=eval_resize, **options)
    label = tf.gather(labels, example["index"])
    return {**example, "image": image, "label": label}

  return load


def _replacing(
  load: Load,
  source: EncodedSource,
  image_size: int,
  candidates: int,
  on_bad_image: OnBadImage,
) -> Load:
  """Returns a `load` that takes the first good one of examples in a row.

  If none of them is good, the index is -1.
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
    none["label"] = tf.zeros(source.labels.shape[1:], source.labels.dtype)
    # A graph can only catch an operation's error inside a dataset.
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
