# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras' own networks with each stage cut short, so that tests build them fast.

Most of a deep network is one block over and over. Two of each have every layer
and every connection that the whole has.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import tensorflow as tf

_MOST = 2
# How Keras names the number of blocks in its tables, by family.
_COUNTS = ("depths", "num_repeat", "num_repeats", "repeats")
_STACKS = (
  *("stack1", "stack2"),  # Keras 2.
  *("stack_residual_blocks_v1", "stack_residual_blocks_v2"),
)
_TABLES = ("BLOCK_ARGS", "DEFAULT_BLOCKS_ARGS", "MODEL_CONFIGS")


def module_of(name: str) -> Any:
  """Returns the module of one of tf.keras.applications."""
  module = inspect.getmodule(getattr(tf.keras.applications, name))
  assert module
  return importlib.import_module(module.__name__)  # Keras 2's are wrapped.


def shorten(patch: pytest.MonkeyPatch, name: str) -> None:
  """Lets Keras build a network with at most two blocks of a kind in a row.

  Args:
    patch: what undoes it.
    name: of the network in tf.keras.applications; one whose stages are short,
      or are written out in Keras' code, stays as it is.
  """
  module = module_of(name)
  for table in _TABLES:
    if hasattr(module, table):
      patch.setattr(module, table, _cut(getattr(module, table)))
  if name.startswith("NASNet"):
    whole = module.NASNet
    patch.setattr(
      module,
      "NASNet",
      lambda *args, **kw: whole(*args, **kw | {"num_blocks": 1}),
    )
  if name.startswith("DenseNet"):
    dense = module.DenseNet
    patch.setattr(
      module,
      "DenseNet",
      lambda blocks, *args, **kw: dense([_MOST] * len(blocks), *args, **kw),
    )
  if name.startswith("ResNet") and not hasattr(module, "BLOCK_ARGS"):
    _shorten_stacks(patch, module_of("ResNet50"))
  if name == "InceptionResNetV2":
    block = module.inception_resnet_block
    patch.setattr(
      module,
      "inception_resnet_block",
      # The last one has no activation.
      lambda x, block_idx, activation="relu", **kw: (
        block(x, block_idx=block_idx, activation=activation, **kw)
        if block_idx <= _MOST or activation is None
        else x
      ),
    )


def _shorten_stacks(patch: pytest.MonkeyPatch, module: Any) -> None:
  """Cuts the stages of ResNet and ResNetV2."""
  for name in _STACKS:
    if hasattr(module, name):
      stack = getattr(module, name)
      patch.setattr(
        module,
        name,
        lambda x, filters, blocks, *args, stack=stack, **kw: stack(
          x, filters, min(blocks, _MOST), *args, **kw
        ),
      )


def _cut(value: Any, key: Any = None) -> Any:
  """Copies a table with no count above the most."""
  if isinstance(value, dict):
    return {name: _cut(held, name) for name, held in value.items()}
  if isinstance(value, (list, tuple)):
    return type(value)(_cut(held, key) for held in value)
  return min(value, _MOST) if key in _COUNTS else value
