# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a network answers to each image of a source, by the image's number."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

import data
from train_loop.command import compose
from train_loop.command.flags import Values
from train_loop.config import TrainConfig
from train_loop.failures import InputFailed, input_failures

if TYPE_CHECKING:
  import tensorflow as tf


def logits(
  model: tf.keras.Model,
  source: data.AnySource,
  values: Values,
  config: TrainConfig,
) -> np.ndarray:
  """Returns the logits of each image, as the run's evaluation computes them.

  Args:
    model: from images to logits.
    source: the images.
    values: the run's flags, which say how images are decoded and cut.
    config: the run's hyperparameters.

  Returns:
    [examples, classes] float32; NaN of an image that cannot be decoded, and is
    skipped.

  Raises:
    DataError: an image cannot be decoded, and is an error.
  """
  import tensorflow as tf

  from train_loop import batches
  from train_loop.step import eval_logits

  @tf.function
  def answer(images: tf.Tensor) -> tf.Tensor:
    return eval_logits(model, images, config)

  inputs = _inputs(values, source, _numbered(source))
  shape = source.num_examples, model.outputs[0].shape[1]
  found = np.full(shape, np.nan, np.float32)
  try:
    with input_failures(range(0), config):
      for batch in batches.padded_batches(
        inputs.eval_dataset(), inputs.global_batch_size
      ):
        mask = batch["mask"].numpy()
        answers = answer(batch["image"]).numpy()
        found[batch["label"].numpy()[mask]] = answers[mask]
  except InputFailed as error:
    raise inputs.bad_image(error.steps) or error from error
  return found


def pictures(
  source: data.AnySource, values: Values, numbers: list[int]
) -> dict[int, np.ndarray]:
  """Returns images as evaluation sees them, by their numbers.

  Args:
    source: the images.
    values: the run's flags.
    numbers: of the images that are asked for.

  Returns:
    [height, width, channels] uint8 each; an image that cannot be decoded, and
    is skipped, is missing.
  """
  if not numbers:
    return {}
  some = _numbered(source).take(np.array(numbers, np.int64))
  inputs = _inputs(values, source, some)
  return {
    int(number): image
    for batch in inputs.eval_dataset()
    for number, image in zip(batch["label"].numpy(), batch["image"].numpy())
  }


def _numbered(source: data.AnySource) -> data.AnySource:
  """Returns images with their numbers as labels, for bad ones are left out."""
  count = source.num_examples
  return dataclasses.replace(
    source,
    labels=np.arange(count, dtype=np.int32),
    class_names=("",) * count,
  )


def _inputs(
  values: Values, source: data.AnySource, asked: data.AnySource
) -> data.Inputs:
  """Returns images to evaluate; they are read once, and need no cache."""
  inputs = compose.make_inputs(values, (source, asked))
  return dataclasses.replace(inputs, cache="none")
