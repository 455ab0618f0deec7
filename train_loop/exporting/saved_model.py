# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A SavedModel, with a signature for pixels and one for encoded images."""

from __future__ import annotations

import json
import pathlib
import tempfile

import tensorflow as tf

from train_loop.exporting.classifier import Classifier

CLASS_NAMES = "class_names.json"
PIXELS = "serving_default"
ENCODED = "encoded_images"


def write(classifier: Classifier, path: pathlib.Path) -> None:
  """Writes a SavedModel.

  Its signatures, each with the outputs `probabilities`, [batch, num_classes]
  float32, and `class_name`, [batch] string, of the likeliest class:

  - serving_default: `images`, [batch, height, width, channels] uint8, of any
    size if the classifier crops them
  - encoded_images: `contents`, [batch] string, if it decodes them: JPEG, PNG,
    BMP of 8, 24 or 32 bits, and PPM as --mode=convert writes it
  - class_names: no input; `class_names`, [num_classes] string

  If images have any number of labels, the first two give `present`, [batch,
  num_classes] bool, in place of `class_name`, and the third `thresholds`,
  [num_classes] float32, the probability from which on a label is present.

  The names are the file assets/class_names.json too. TensorFlow Serving asks
  that all outputs of a signature have one size of batch, so all names are none
  of the first two.

  Args:
    classifier: what is written.
    path: the new folder.
  """
  module = tf.Module()
  shape: tuple[int | None, ...] = classifier.image_shape
  crop = classifier.crop_pixels or tf.identity
  if classifier.crop_pixels:
    shape = (None, None, shape[-1])
  told = {"class_names": tf.constant(list(classifier.class_names))}
  if classifier.thresholds is not None:
    told["thresholds"] = tf.constant(classifier.thresholds, tf.float32)

  def answers(crops: tf.Tensor) -> dict[str, tf.Tensor]:
    probabilities = classifier.probabilities(crops)
    if classifier.multi_label:
      present = probabilities >= told["thresholds"]
      return {"probabilities": probabilities, "present": present}
    winners = tf.gather(told["class_names"], tf.argmax(probabilities, axis=1))
    return {"probabilities": probabilities, "class_name": winners}

  def of_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
    return answers(crop(images))

  def of_encoded(contents: tf.Tensor) -> dict[str, tf.Tensor]:
    crops = tf.map_fn(
      classifier.crop_encoded,
      contents,
      fn_output_signature=tf.TensorSpec(classifier.image_shape, tf.uint8),
    )
    return answers(crops)

  pixels = tf.TensorSpec([None, *shape], tf.uint8, "images")
  contents = tf.TensorSpec([None], tf.string, "contents")
  functions = {
    PIXELS: tf.function(of_pixels, input_signature=[pixels]),
    "class_names": tf.function(
      lambda: tf.nest.map_structure(tf.identity, told), input_signature=[]
    ),
  }
  if classifier.crop_encoded:
    functions[ENCODED] = tf.function(of_encoded, input_signature=[contents])
  signatures = {
    name: function.get_concrete_function()
    for name, function in functions.items()
  }
  # Not the model itself: only what the graphs use, and no layer's own graph.
  module.variables_used = list(signatures[PIXELS].graph.variables)
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / CLASS_NAMES
    file.write_text(json.dumps(list(classifier.class_names)), encoding="utf-8")
    module.class_names = tf.saved_model.Asset(str(file))
    tf.saved_model.save(module, str(path), signatures=signatures)
