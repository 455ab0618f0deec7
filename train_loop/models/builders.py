# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A user's own builder of a network: --model=python:package.module.function."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any, Callable

import tensorflow as tf
from absl import logging

from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.models import heads
from train_loop.models.policies import global_policy
from tricks import keras_compat


def build(
  path: str,
  *,
  input_shape: Sequence[int | None],
  num_classes: int,
  dtype: str | None = None,
) -> tf.keras.Model:
  """Calls a builder, and checks the network that it returns.

  The module is imported with the current folder on `sys.path`. The builder is
  called as `function(input_shape=..., num_classes=...)` while the dtype policy
  is Keras' global one, so layers without a dtype of their own follow it. A
  softmax that the network ends in is removed, which the log says.

  Args:
    path: "package.module.function".
    input_shape: (height, width, channels) of an image; height and width are
      None if training changes the size.
    num_classes: Number of logits, at least 1.
    dtype: Keras dtype policy; None is the global policy.

  Returns:
    A functional `tf.keras.Model`: images [batch, height, width, channels] as
    raw pixels in 0..255, to logits [batch, num_classes] float32.

  Raises:
    ConfigError: There is no such function, it raised an error, or it returned
      something else.
  """
  function = _function(path)
  shape = tuple(input_shape)
  with global_policy(dtype):
    try:
      model = function(input_shape=shape, num_classes=num_classes)
    except Exception as error:  # Whatever the user's code raises.
      module, _, name = path.rpartition(".")
      raise ConfigError(
        f"model python:{path} raised {_described(error)}; to see where: "
        f"python -c 'import {module} as m; m.{name}(input_shape={shape}, "
        f"num_classes={num_classes})'"
      ) from error
  remedy = _fault(model, shape, num_classes)
  if remedy:
    raise ConfigError(f"model python:{path} must return {remedy}")
  ending = heads.closing_activation(model)
  if ending == "softmax":
    logging.info("model python:%s: its closing softmax is removed", path)
    model = heads.without_softmax(model)
  elif ending not in (None, "log_softmax"):
    raise ConfigError(
      f"model python:{path} must return a network that ends in logits, got one "
      f"that ends in {ending}: leave the last activation out"
    )
  logits = model.outputs[0]
  if tf.as_dtype(logits.dtype) != tf.float32:
    logits = tf.keras.layers.Activation(
      "linear", dtype="float32", name="float32_logits"
    )(logits)
  return tf.keras.Model(model.inputs[0], logits, name=model.name)


def _function(path: str) -> Callable[..., Any]:
  """Imports a builder."""
  folder = os.getcwd()
  if folder not in sys.path:
    sys.path.insert(0, folder)  # As `python -m` does.
  module_name, _, name = path.rpartition(".")
  try:
    module = importlib.import_module(module_name)
  except Exception as error:  # Whatever the user's code raises.
    raise ConfigError(
      f"model python:{path}: {module_name} cannot be imported from {folder} or "
      f"from what is installed: {_described(error)}"
    ) from error
  function = getattr(module, name, None)
  if not callable(function):
    found = [
      key
      for key, value in vars(module).items()
      if inspect.isfunction(value) and value.__module__ == module_name
    ]
    raise ConfigError(
      f"model python:{path}: {module_name} has no function {name!r}, but "
      f"{', '.join(found) or 'none'}"
    )
  return function


def _described(error: Exception) -> str:
  return f"{type(error).__name__}: {first_line(error)[:200]}"


def _fault(model: Any, input_shape: tuple, num_classes: int) -> str:
  """Returns what a builder should have returned and what it did, or ""."""
  if not isinstance(model, tf.keras.Model):
    return f"a tf.keras.Model, got {type(model).__name__}"
  if not keras_compat.is_functional(model):
    return (
      "a functional model, whose layers are known, got the unbuilt or "
      f"subclassed {type(model).__name__}: return tf.keras.Model(x, model(x)) "
      "with x = tf.keras.Input(input_shape)"
    )
  inputs, outputs = model.inputs, model.outputs
  if len(inputs) != 1:
    return f"a model of one input, the images, got {len(inputs)} inputs"
  expected = (None, *input_shape)
  found = tuple(inputs[0].shape)
  fits = len(found) == 4 and all(
    mine in (None, theirs) for mine, theirs in zip(found, expected)
  )
  if not fits:
    return (
      f"a model of inputs {list(expected)}, got {list(found)}: make its input "
      "by tf.keras.Input(input_shape)"
    )
  if tf.as_dtype(inputs[0].dtype) != tf.float32:
    return (
      "a model of float32 inputs, as tf.keras.Input makes them, got "
      f"{tf.as_dtype(inputs[0].dtype).name}"
    )
  if len(outputs) != 1:
    return f"a model of one output, the logits, got {len(outputs)} outputs"
  if tuple(outputs[0].shape) != (None, num_classes):
    return (
      f"a model of outputs {[None, num_classes]}, the logits of num_classes, "
      f"got {list(outputs[0].shape)}"
    )
  return ""
