# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A caller's dataset as batches of one size and one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, Union

import tensorflow as tf

from train_loop import config as config_lib
from train_loop.failures import REFUSED
from tricks.draws import WHOLE, Part
from tricks.keras_compat import unconverted

if TYPE_CHECKING:
  from train_loop.step import Batch

# A dataset of one epoch, or a function from a step to the endless dataset; that
# of a host's shares, if there are several.
TrainData = Union[tf.data.Dataset, Callable[[int], tf.data.Dataset]]
# A dataset of one epoch, or a function that returns a host's share of it.
EvalData = Union[tf.data.Dataset, Callable[[], tf.data.Dataset]]

# Batches that are ready before the step asks for them.
_BATCHES_AHEAD = 4


def image_and_label(element: Any) -> tuple[Any, Any] | None:
  """Finds image and label in a dataset's element, or in its element_spec.

  Args:
    element: a dict that holds `image` and `label`, perhaps among others, or a
      pair of them, as Keras takes it.

  Returns:
    The two; None if the element has neither form.
  """
  if isinstance(element, Mapping):
    found = [element[key] for key in ("image", "label") if key in element]
  else:
    found = list(element) if isinstance(element, tuple) else []
  return (found[0], found[1]) if len(found) == 2 else None


def plain_batches(
  dataset: tf.data.Dataset, num_classes: int, *, multi_label: bool = False
) -> tf.data.Dataset:
  """Makes each batch a dict of images and checked labels.

  Args:
    dataset: batches as `image_and_label` takes them; labels [batch] or
      [batch, 1] of any integer dtype, or one-hot [batch, num_classes].
    num_classes: K.
    multi_label: whether labels are rows [batch, num_classes] of any number of
      ones, and zeros.

  Returns:
    Batches of `image`, as it is, and `label`, [batch] int32, or [batch, K] if
    there are any number. A label outside [0, K), or a row of other numbers, is
    an error of TensorFlow's when its batch is read, which
    `failures.input_failures` makes a ConfigError.
  """

  @unconverted
  def plain(*element: Any) -> Batch:
    # `map` spreads a tuple over arguments.
    found = image_and_label(element[0] if len(element) == 1 else element)
    assert found, "compatibility.require comes first"
    image, label = found
    if multi_label:
      return {"image": image, "label": _zeros_and_ones(label, image)}
    if label.shape.rank == 2 and label.shape[1] > 1:
      label = _class_of_row(label)
    label = tf.reshape(tf.cast(label, tf.int64), [-1])
    outside = (label < 0) | (label >= num_classes)
    with _none_wrong(outside, label, f"label must be in [0, {num_classes})"):
      label = tf.ensure_shape(tf.cast(label, tf.int32), image.shape[:1])
    return {"image": image, "label": label}

  return dataset.map(plain)


def _class_of_row(rows: tf.Tensor) -> tf.Tensor:
  """Returns the class of each one-hot row, [batch] int64."""
  rows = tf.cast(rows, tf.float32)
  ones = tf.reduce_sum(tf.cast(rows == 1.0, tf.int32), axis=1)
  zeros = tf.reduce_sum(tf.cast(rows == 0.0, tf.int32), axis=1)
  mixed = (ones != 1) | (zeros != rows.shape[1] - 1)
  text = "label must be a class number or a one-hot row"
  with _none_wrong(mixed, rows, text):
    return tf.argmax(rows, axis=1)


def _zeros_and_ones(rows: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
  """Returns rows of 0 and 1 as they are, [batch, num_classes] int32."""
  values = tf.cast(rows, tf.float32)
  wrong = tf.reduce_any((values != 0.0) & (values != 1.0), axis=1)
  with _none_wrong(wrong, values, "label must be rows of 0 and 1"):
    rows = tf.cast(values, tf.int32)
    return tf.ensure_shape(rows, [image.shape[0], rows.shape[1]])


def _none_wrong(wrong: tf.Tensor, values: tf.Tensor, text: str) -> Any:
  """Returns the context of operations that need that no value is wrong."""
  first = tf.reshape(tf.boolean_mask(values, wrong)[:1], [-1])
  place = tf.where(wrong)[:1, 0]
  told = (text, ", got ", _joined(first[:5]), " at place ", _joined(place))
  return _needed(~tf.reduce_any(wrong), *told, " of a batch")


def _needed(right: tf.Tensor, *told: Any) -> Any:
  """Returns the context of operations that need a condition."""
  text = tf.strings.join([REFUSED, *told])
  return tf.control_dependencies([tf.debugging.Assert(right, [text])])


def _joined(values: tf.Tensor) -> tf.Tensor:
  # Also of no value: the text is made for each batch, and seldom told.
  shortest = values.dtype.is_floating
  return tf.strings.reduce_join(
    tf.strings.as_string(values, shortest=shortest), separator=" "
  )


def eval_batches(
  dataset: EvalData,
  config: config_lib.TrainConfig,
  num_classes: int,
  host: Part = WHOLE,
) -> tf.data.Dataset:
  """Returns a host's share of the padded batches of one epoch.

  Of several hosts each goes on with batches of zeros without end, for another
  one may have more examples.

  Args:
    dataset: batches of `image` and `label`, of any sizes; or a function that
      returns those that this host evaluates.
    config: the hyperparameters.
    num_classes: K.
    host: which of the hosts this is.

  Returns:
    Batches of global_batch_size / hosts, as of `padded_batches`.
  """
  batch_size = config.loop.global_batch_size
  multi_label = config.loss.multi_label
  if isinstance(dataset, tf.data.Dataset):
    plain = plain_batches(dataset, num_classes, multi_label=multi_label)
    batches = _share(padded_batches(plain, batch_size), batch_size, host)
  else:
    plain = plain_batches(dataset(), num_classes, multi_label=multi_label)
    batches = padded_batches(plain, batch_size // host.count)
  if host.count == 1:
    return batches
  zeros = {
    name: tf.zeros(spec.shape, spec.dtype)
    for name, spec in batches.element_spec.items()
  }
  return batches.concatenate(tf.data.Dataset.from_tensors(zeros).repeat())


def padded_batches(
  dataset: tf.data.Dataset, batch_size: int
) -> tf.data.Dataset:
  """Makes batches of one size; zeros fill the last one, and a mask marks them.

  Args:
    dataset: batches of `image` and `label`, of any sizes.
    batch_size: examples in each batch.

  Returns:
    Batches of `image`, `label` and `mask`, [batch_size] bool: false for the
    zeros.
  """

  @unconverted
  def pad(batch: Batch) -> Batch:
    count = tf.shape(batch["label"])[0]

    def fill(values: tf.Tensor) -> tf.Tensor:
      tail = [[0, 0]] * (values.shape.rank - 1)
      padded = tf.pad(values, [[0, batch_size - count], *tail])
      return tf.ensure_shape(padded, [batch_size, *values.shape[1:]])

    return {
      "image": fill(batch["image"]),
      "label": fill(batch["label"]),
      "mask": tf.range(batch_size) < count,
    }

  if _batch_size(dataset) != batch_size:
    dataset = dataset.rebatch(batch_size)
  return dataset.map(pad).prefetch(_BATCHES_AHEAD)


def train_batches(
  dataset: TrainData,
  config: config_lib.TrainConfig,
  start_step: int,
  num_classes: int,
  host: Part = WHOLE,
) -> tf.data.Dataset:
  """Returns a host's shares of endless batches, all full, from a step on.

  Args:
    dataset: the examples.
    config: the hyperparameters.
    start_step: that of the first batch.
    num_classes: K.
    host: which of the hosts this is.

  Returns:
    Batches of global_batch_size / hosts: `image`, and `label`, int32.
  """
  batch_size = config.loop.global_batch_size
  multi_label = config.loss.multi_label
  if not isinstance(dataset, tf.data.Dataset):
    # Its steps would be others if its batches were cut anew.
    shares = plain_batches(
      dataset(start_step), num_classes, multi_label=multi_label
    )
    size = batch_size // host.count
    return shares.map(lambda batch: _of_size(batch, size)).prefetch(1)
  plain = plain_batches(dataset, num_classes, multi_label=multi_label)
  dataset = plain.repeat()
  if _batch_size(dataset) != batch_size:
    dataset = dataset.rebatch(batch_size, drop_remainder=True)
  dataset = _share(dataset.skip(start_step), batch_size, host)
  return dataset.prefetch(_BATCHES_AHEAD)


def _share(
  dataset: tf.data.Dataset, batch_size: int, host: Part
) -> tf.data.Dataset:
  """Cuts a host's share out of each global batch."""
  if host.count == 1:
    return dataset
  size = batch_size // host.count
  start = host.index * size
  return dataset.map(
    lambda batch: {k: v[start : start + size] for k, v in batch.items()}
  )


@unconverted
def _of_size(batch: Batch, batch_size: int) -> Batch:
  """Refuses a batch of another size, if only its reading tells it."""
  if batch["label"].shape[0] == batch_size:
    return batch
  count = tf.shape(batch["label"])[0]
  text = f"global_batch_size must be that of the batches, got {batch_size} for "
  told = (text, "a batch of ", tf.strings.as_string(count))
  with _needed(count == batch_size, *told):
    return {
      name: tf.ensure_shape(
        tf.identity(values), [batch_size, *values.shape[1:]]
      )
      for name, values in batch.items()
    }


def _batch_size(dataset: tf.data.Dataset) -> int | None:
  return dataset.element_spec["label"].shape[0]
