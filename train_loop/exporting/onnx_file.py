# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""An ONNX file, for onnxruntime and others."""

from __future__ import annotations

import json
import pathlib

from train_loop.exporting.classifier import Classifier

# Old enough for each onnxruntime from 1.10 (2021) on.
_OPSET = 15


def write(classifier: Classifier, path: pathlib.Path) -> None:
  """Writes an ONNX file: `images`, uint8, to `probabilities`.

  The names of the classes are its metadata `class_names`, a list in JSON, and
  their thresholds, if they have any, its metadata `thresholds`.

  Args:
    classifier: what is written.
    path: the new file.
  """
  import onnx
  import tf2onnx

  function = classifier.function()
  # from_keras does not know the models of Keras 3.
  model, _ = tf2onnx.convert.from_function(
    function, input_signature=function.input_signature, opset=_OPSET
  )
  told = {"class_names": json.dumps(list(classifier.class_names))}
  if classifier.thresholds is not None:
    told["thresholds"] = json.dumps(list(classifier.thresholds))
  onnx.helper.set_model_props(model, told)
  onnx.checker.check_model(model)
  onnx.save(model, str(path))
