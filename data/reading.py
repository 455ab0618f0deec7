# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading one example, as graph operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data.sources.encoded import Contents, Examples, Files

Read = Callable[[tf.Tensor], tf.Tensor]


def make_read(examples: Examples) -> Read:
  """Returns the function that reads an example's encoded image.

  Args:
    examples: where each image is read from.

  Returns:
    A function of an index, [] int64, to the bytes of the image, [] string.
    TensorFlow raises where the file is missing or a record's checksum is wrong.
  """
  if isinstance(examples, Contents):
    contents = _on_host(examples.contents)
    return lambda index: tf.gather(contents, index)
  if isinstance(examples, Files):
    paths = _on_host(np.array(examples.paths, object))
    return lambda index: tf.io.read_file(tf.gather(paths, index))
  shards = _on_host(np.array(examples.shards, object))
  shard, offset = _on_host(examples.shard), _on_host(examples.offset)
  features = {examples.image_feature: tf.io.FixedLenFeature([], tf.string)}

  def read_record(index: tf.Tensor) -> tf.Tensor:
    # The public TFRecordDataset starts at the first record; the raw op at any.
    variant = tf.raw_ops.TFRecordDatasetV2(
      filenames=tf.gather(shards, tf.gather(shard, index))[tf.newaxis],
      compression_type="",
      # None: a buffer would only be one more place to copy the record from.
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


def _on_host(array: np.ndarray) -> tf.Tensor:
  with tf.device("/CPU:0"):
    return tf.convert_to_tensor(array)
