# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names of the classes inside a LiteRT file, where its clients look.

TensorFlow Lite's convention for metadata: a FlatBuffer inside the model says
what its tensors mean and names the file of labels; that file is in a zip which
is appended to the model. MediaPipe, Android's code generator and
`unzip model.tflite labels.txt` read them.

Reference: TensorFlow Lite's metadata_schema.fbs, from which the slots are.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

from train_loop.exporting.classifier import Classifier

LABELS = "labels.txt"
# Ours, as one line a class: from which probability on it is said to be there.
THRESHOLDS = "thresholds.txt"
_MODEL_IDENTIFIER = b"TFL3"
_METADATA_IDENTIFIER = b"M001"
_METADATA_NAME = b"TFLITE_METADATA"
_COLOR_SPACES = {3: 1, 1: 2}  # RGB and gray, by channels; 0 is unknown.
_IMAGE_PROPERTIES = 2
_TENSOR_AXIS_LABELS = 2


def with_class_names(model: bytes, classifier: Classifier) -> bytes:
  """Returns a LiteRT file with metadata and labels.

  Args:
    model: the file of a network from one tensor of images to one of
      probabilities.
    classifier: what the file was made of.
  """
  import flatbuffers
  from tensorflow.lite.python import schema_py_generated as schema

  content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
  buffer = schema.BufferT()
  buffer.data = list(_metadata(classifier))
  entry = schema.MetadataT()
  entry.name, entry.buffer = _METADATA_NAME, len(content.buffers)
  content.buffers.append(buffer)
  content.metadata = [*(content.metadata or []), entry]
  builder = flatbuffers.Builder(len(model) + 4096)
  builder.Finish(content.Pack(builder), _MODEL_IDENTIFIER)
  file = io.BytesIO()
  file.write(bytes(builder.Output()))
  # One line a class; the convention knows no name with a line break.
  names = [" ".join(name.split()) for name in classifier.class_names]
  with zipfile.ZipFile(file, "a") as labels:
    labels.writestr(LABELS, "".join(f"{name}\n" for name in names))
    if classifier.thresholds is not None:
      thresholds = "".join(f"{value}\n" for value in classifier.thresholds)
      labels.writestr(THRESHOLDS, thresholds)
  return file.getvalue()


def _metadata(classifier: Classifier) -> bytes:
  """Returns the FlatBuffer that describes input, output and labels."""
  import flatbuffers

  height, width, channels = classifier.image_shape
  size = f"{height} x {width} x {channels}"
  image = {
    0: "images",
    1: f"Images of {size} pixels, 0 to 255, as they are.",
    3: {0: _IMAGE_PROPERTIES, 1: {0: _COLOR_SPACES.get(channels, 0)}},
  }
  labels = {0: LABELS, 1: "The classes.", 2: _TENSOR_AXIS_LABELS}
  probabilities = {
    0: "probabilities",
    1: "The probability of each class.",
    6: [labels],
  }
  builder = flatbuffers.Builder(1024)
  model = {
    0: classifier.model.name,
    1: "Trained and exported by train_loop.",
    3: [{2: [image], 3: [probabilities]}],
    7: "1.0.0",
  }
  builder.Finish(_table(builder, model), _METADATA_IDENTIFIER)
  return bytes(builder.Output())


def _table(builder: Any, fields: dict[int, Any]) -> int:
  """Adds a table, after those inside it; returns its offset.

  Args:
    builder: the FlatBuffer's.
    fields: the value of each slot: a text, a table, a list of tables, or a
      number of one byte.
  """
  offsets = {}
  for slot, value in fields.items():
    if isinstance(value, str):
      offsets[slot] = builder.CreateString(value)
    elif isinstance(value, dict):
      offsets[slot] = _table(builder, value)
    elif isinstance(value, list):
      tables = [_table(builder, table) for table in value]
      builder.StartVector(4, len(tables), 4)
      for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
      offsets[slot] = builder.EndVector()
  builder.StartObject(max(fields) + 1)
  for slot, value in fields.items():
    if slot in offsets:
      builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    else:
      builder.PrependInt8Slot(slot, value, 0)
  return builder.EndObject()
