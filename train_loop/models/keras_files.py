# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Refuses Keras' files that would do more than give layers and numbers.

A .keras file names classes and functions by their modules, and Keras imports
and calls them. Its safe mode stops Lambda layers; what else it stops depends on
its version, and a file of another format under the same name has no safe mode
in Keras 2. So this looks before Keras does, and lets only Keras' own layers and
ours pass. This module imports no TensorFlow.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py

from train_loop.failures import first_line
from train_loop.fields import ConfigError

# Layers that run code of the file's, or read other files.
_REFUSED = (
  "Lambda",
  "__lambda__",
  "TFSMLayer",
  "TorchModuleWrapper",
  "JaxLayer",
  "FlaxLayer",
  "StringLookup",
  "IntegerLookup",
  "TextVectorization",
)
_OWN_MODULES = re.compile(r"(keras|tf_keras|train_loop\.models|tricks)(\.|$)")
_FUNCTION_MODULES = re.compile(
  r"(tf_)?keras\.(src\.)?(activations|backend|initializers|ops)(\.|$)"
)
# What Keras 2 keeps of `x * y`: TensorFlow's functions by their names.
_TENSORFLOW = re.compile(
  r"(__operators__|math|nn|linalg|image|signal)\.\w+|reduce_\w+|\w+_like|"
  "abs|add|broadcast_to|cast|clip_by_value|concat|divide|einsum|exp|"
  "expand_dims|gather|gather_nd|identity|matmul|maximum|minimum|multiply|pad|"
  "repeat|reshape|reverse|roll|round|shape|sigmoid|slice|split|sqrt|square|"
  "squeeze|stack|strided_slice|subtract|tanh|tensordot|tile|transpose|unstack|"
  "where"
)
_MOST_CONFIG = 2**26
# A byte of deflate stream yields at most this many bytes.
_DEFLATE_RATIO = 1032


def require_sound_archive(path: str, setting: str) -> None:
  """Raises unless a .keras file holds only known layers, and their weights.

  Args:
    path: of the file.
    setting: that names it, for the error.

  Raises:
    ConfigError: names the file and its fault.
  """
  kind = ".keras file of a model of Keras' own layers"
  with _one_line(path, setting, kind), zipfile.ZipFile(path) as archive:
    for member in archive.infolist():
      if member.file_size > _DEFLATE_RATIO * max(member.compress_size, 1):
        raise ValueError(f"{member.filename!r} declares more than it holds")
    if archive.getinfo("config.json").file_size > _MOST_CONFIG:
      raise ValueError("'config.json' is too large")
    for fault in _faults(json.loads(archive.read("config.json"))):
      raise ValueError(fault)
    for name in archive.namelist():
      if name.endswith(".h5"):
        _require_sound_h5(io.BytesIO(archive.read(name)))


def require_sound_weights(path: str, setting: str) -> None:
  """Raises unless a .weights.h5 file holds the numbers that it declares.

  Args:
    path: of the file.
    setting: that names it, for the error.

  Raises:
    ConfigError: names the file and its fault.
  """
  kind = ".weights.h5 file that this Keras saved of the same network"
  with _one_line(path, setting, kind), open(path, "rb") as file:
    _require_sound_h5(file)


@contextlib.contextmanager
def _one_line(path: str, setting: str, kind: str) -> Iterator[None]:
  """Turns an error of reading a file into one that names it."""
  try:
    yield
  # Zip files, HDF5 and JSON have errors of many kinds.
  except Exception as error:
    raise ConfigError(
      f"{setting} must be a {kind}, got {path!r}: {first_line(error)[:200]}"
    ) from error


def _faults(config: Any) -> Iterator[str]:
  """Yields what in a saved configuration is not let pass."""
  if isinstance(config, list):
    for part in config:
      yield from _faults(part)
  if not isinstance(config, dict):
    return
  if "class_name" in config:
    fault = _fault(config)
    if fault:
      yield fault
  for part in config.values():
    yield from _faults(part)


def _fault(config: dict[str, Any]) -> str:
  """Returns why a saved object is not let pass, or ""."""
  kind, module = config["class_name"], config.get("module")
  inner = config.get("config")
  if kind in _REFUSED:
    return f"its layer {kind} may run code or read files, and is not loaded"
  if kind == "TFOpLambda":
    name = str(inner.get("function") if isinstance(inner, dict) else inner)
    if not _TENSORFLOW.fullmatch(name):
      return f"its layer {kind} calls tf.{name}, and is not loaded"
  if kind == "function":
    plain = module in (None, "builtins") and not hasattr(builtins, str(inner))
    if not (plain or _FUNCTION_MODULES.match(str(module))):
      return f"it calls {module}.{inner}, and is not loaded"
  elif module not in (None, "builtins") and not _OWN_MODULES.match(str(module)):
    return f"its {kind} is of {module}, and is not loaded"
  return ""


def _require_sound_h5(file: Any) -> None:
  """Raises a ValueError unless all that a file declares is in it."""
  size = file.seek(0, os.SEEK_END)
  with h5py.File(file, "r") as root:
    groups = [root]
    while groups:
      group = groups.pop()
      for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
          raise ValueError(f"{name!r} is a link to another place")
        item = group[name]
        if isinstance(item, h5py.Group):
          groups.append(item)
        elif item.is_virtual or item.external:
          raise ValueError(f"the numbers of {name!r} are in another file")
        elif item.nbytes > _DEFLATE_RATIO * size:
          raise ValueError(f"{name!r} declares more bytes than it holds")
