# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A LiteRT (TensorFlow Lite) file, for phones."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from train_loop.exporting import litert_metadata
from train_loop.exporting.classifier import Classifier


def write(
  classifier: Classifier,
  path: pathlib.Path,
  *,
  quantize: str = "none",
  calibration: np.ndarray | None = None,
) -> None:
  """Writes a LiteRT file: `images`, uint8, to `probabilities`, float32.

  The names of the classes travel as its file labels.txt (`litert_metadata`).

  Args:
    classifier: what is written.
    path: the new file.
    quantize: "none"; "float16": of the weights; "int8": of weights and
      activations, in whole numbers all through.
    calibration: [images, *image_shape] uint8, from which int8 learns the ranges
      of the activations.
  """
  # With the weights in variables, as Keras 3 has them, TensorFlow 2.21 writes a
  # file without weights, whose answers are no numbers.
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    classifier.function().get_concrete_function()
  )
  module = tf.Module()
  images = tf.TensorSpec([None, *classifier.image_shape], tf.uint8, "images")
  module.function = tf.function(
    lambda images: {"probabilities": frozen(images)[0]},
    input_signature=[images],
  )
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [module.function.get_concrete_function()], module
  )
  if quantize != "none":
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if quantize == "float16":
    converter.target_spec.supported_types = [tf.float16]
  if quantize == "int8":
    assert calibration is not None

    def examples() -> Iterator[list[Any]]:
      for image in calibration:
        yield [image[np.newaxis]]

    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
  path.write_bytes(
    litert_metadata.with_class_names(converter.convert(), classifier)
  )
