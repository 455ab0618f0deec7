# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The formats, and what writing and reading them needs.

This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib

from train_loop.fields import ConfigError, refused


@dataclasses.dataclass(frozen=True)
class Format:
  """A format.

  Attributes:
    suffix: of its file; "" if it is a folder.
    modules: what must be installed besides TensorFlow.
  """

  suffix: str = ""
  modules: tuple[str, ...] = ()


FORMATS = {
  "saved_model": Format(),
  "keras": Format(".keras"),
  "onnx": Format(".onnx", ("tf2onnx", "onnx", "onnxruntime")),
  "litert": Format(".tflite", ("ai_edge_litert", "flatbuffers")),
}
QUANTIZATIONS = ("none", "float16", "int8")


def require_installed(export_format: str) -> None:
  """Raises a ConfigError unless all that a format needs is installed."""
  missing = [
    module
    for module in FORMATS[export_format].modules
    if importlib.util.find_spec(module) is None
  ]
  if missing:
    raise ConfigError(
      f"export_format={export_format} needs {', '.join(missing)}: pip install "
      "'train_loop[export]'"
    )


def require_quantizable(export_format: str, quantize: str) -> None:
  """Raises a ConfigError if a format cannot be quantized."""
  if quantize != "none" and export_format != "litert":
    raise ConfigError(
      f"quantize={quantize} is for export_format=litert, got {export_format}"
    )


def require_new(output_dir: str, export_format: str) -> None:
  """Raises a ConfigError unless output_dir is a new path that fits a format."""
  if not output_dir:
    raise ConfigError("output_dir must be given: --output_dir=PATH")
  path = pathlib.Path(output_dir)
  if path.exists() or path.is_symlink():
    raise refused("output_dir", output_dir, "new, and not there already")
  suffix = FORMATS[export_format].suffix
  others = {form.suffix for form in FORMATS.values()} - {"", suffix}
  if path.suffix.lower() in others:
    ending = f"a name with the ending {suffix}" if suffix else "a folder's name"
    raise refused(
      "output_dir", output_dir, f"{ending} for export_format={export_format}"
    )


def file_of(path: pathlib.Path, export_format: str) -> pathlib.Path:
  """Returns the file to write: a path with the format's ending, or one inside.

  Args:
    path: the folder of a SavedModel; of other formats the file, if it has the
      format's ending, or else a folder, which is made.
    export_format: one of `FORMATS`.
  """
  suffix = FORMATS[export_format].suffix
  if path.suffix.lower() == suffix or not suffix:
    return path
  path.mkdir()
  return path / f"model{suffix}"
