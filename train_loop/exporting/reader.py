# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers questions with an exported file, without any part of this package.

    python -I reader.py FORMAT PATH QUESTIONS.npz ANSWERS.npz

`check` runs this file so. It imports what a client has: NumPy and the runtime.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

# From the name of a signature and a batch to probabilities.
Ask = Callable[[str, Any], Any]
# Encoded images have another length each, so they travel as one array of bytes
# and another of the places at which each ends.
ENDS = ".ends"


class _WithoutUs:
  """Refuses to import this package, which may be installed all the same."""

  def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
    if name.partition(".")[0] in ("data", "train_loop", "tricks"):
      raise ModuleNotFoundError(f"{name} is not for a client", name=name)


def main() -> None:
  """Answers as the command line says."""
  kind, path, questions, answers = sys.argv[1:]
  sys.meta_path.insert(0, _WithoutUs())  # type: ignore[arg-type]
  ask, class_names, runtime = READERS[kind](path)
  found = {}
  with np.load(questions) as asked:
    for key in asked.files:
      if key.endswith(ENDS):
        continue
      batch = asked[key]
      if key + ENDS in asked.files:
        pieces = np.split(batch, asked[key + ENDS])[:-1]
        batch = [piece.tobytes() for piece in pieces]
      found[key] = ask(key.partition(".")[0], batch)
  told = {"class_names": list(class_names), "runtime": runtime}
  np.savez(answers, told=json.dumps(told), **found)


def read_saved_model(path: str) -> tuple[Ask, list[str], str]:
  """Reads a SavedModel by TensorFlow."""
  import tensorflow as tf

  loaded = tf.saved_model.load(path)

  def ask(signature: str, batch: Any) -> Any:
    (name,) = loaded.signatures[signature].structured_input_signature[1]
    answer = loaded.signatures[signature](**{name: tf.constant(batch)})
    return answer["probabilities"].numpy()

  names = loaded.signatures["class_names"]()["class_names"].numpy()
  return ask, [name.decode() for name in names], f"TensorFlow {tf.__version__}"


def read_keras(path: str) -> tuple[Ask, list[str], str]:
  """Reads a .keras file by Keras, in its safe mode."""
  import tensorflow as tf

  model = tf.keras.models.load_model(path, compile=False)

  def ask(signature: str, batch: Any) -> Any:
    return model.predict(batch, batch_size=len(batch), verbose=0)

  with zipfile.ZipFile(path) as file:
    names = json.loads(file.read("class_names.json"))
  return ask, names, f"Keras of TensorFlow {tf.__version__}"


def read_onnx(path: str) -> tuple[Ask, list[str], str]:
  """Reads an ONNX file by onnxruntime."""
  import onnxruntime

  session = onnxruntime.InferenceSession(
    path, providers=["CPUExecutionProvider"]
  )

  def ask(signature: str, batch: Any) -> Any:
    return session.run(["probabilities"], {"images": batch})[0]

  told = session.get_modelmeta().custom_metadata_map
  return ask, json.loads(told["class_names"]), _version("onnxruntime")


def read_litert(path: str) -> tuple[Ask, list[str], str]:
  """Reads a LiteRT file by its interpreter."""
  from ai_edge_litert.interpreter import Interpreter

  interpreter = Interpreter(model_path=path)
  (images,) = interpreter.get_input_details()
  (probabilities,) = interpreter.get_output_details()

  def ask(signature: str, batch: Any) -> Any:
    interpreter.resize_tensor_input(images["index"], batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(images["index"], batch)
    interpreter.invoke()
    return interpreter.get_tensor(probabilities["index"]).copy()

  with zipfile.ZipFile(path) as file:
    names = file.read("labels.txt").decode().splitlines()
  return ask, names, _version("ai-edge-litert")


def _version(distribution: str) -> str:
  return f"{distribution} {importlib.metadata.version(distribution)}"


READERS: dict[str, Callable[[str], tuple[Ask, list[str], str]]] = {
  "saved_model": read_saved_model,
  "keras": read_keras,
  "onnx": read_onnx,
  "litert": read_litert,
}

if __name__ == "__main__":
  main()
