# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: layers that stay as they are, and slower ones near the input.

A network that was trained before has learnt most in its first layers: edges and
textures, which other images have too. So they can be frozen, or learn at a
lower rate than those near the head, which is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from train_loop.fields import ConfigError
from train_loop.models import auxiliary
from tricks import keras_compat

ALL_BUT_HEAD = "all_but_head"
# So many names does an error list.
_NAMES_SHOWN = 6


def head(model: tf.keras.Model) -> Any:
  """Returns the layer whose output becomes the logits.

  Args:
    model: a functional model.

  Returns:
    The last layer with weights that every path to the output passes: a Dense as
    a rule, a 1x1 convolution in MobileNet.

  Raises:
    ConfigError: the model is not functional, or has no such layer.
  """
  graph = _graph(model)
  return graph[_head_position(graph)].layer


def freeze(model: tf.keras.Model, layers: Sequence[str]) -> list[str]:
  """Sets `trainable` to False in layers, before a `TrainState` is made.

  A frozen BatchNorm normalises by its moving statistics in training too, and
  they stay as they are.

  Args:
    model: a built model; functional for "all_but_head".
    layers: beginnings of names of layers, or "all_but_head"; of models nested
      in `model` too.

  Returns:
    The names of the layers with weights that are frozen.

  Raises:
    ConfigError: a beginning is that of no layer with weights, or nothing is
      left to train.
  """
  place = {id(weight): index for index, weight in enumerate(model.weights)}
  inside = keras_compat.flat_layers(model)[1:]
  found = [layer for layer in inside if layer.weights]
  found.sort(key=lambda layer: place[id(layer.weights[0])])
  for prefix in layers:
    if prefix == ALL_BUT_HEAD:
      last = head(model)
      chosen = [
        layer
        for layer in found
        if layer is not last and not keras_compat.is_functional(layer)
      ]
    else:
      chosen = [layer for layer in found if layer.name.startswith(prefix)]
    if not chosen or not prefix:
      raise ConfigError(
        f"freeze must be the beginning of a layer's name or {ALL_BUT_HEAD}, "
        f"got {prefix!r}: there are {_some([layer.name for layer in found])}"
      )
    for layer in chosen:
      layer.trainable = False
  if not model.trainable_variables:
    raise ConfigError(
      f"freeze must leave something to train, got {','.join(layers)}: "
      f"{ALL_BUT_HEAD} leaves the last layer"
    )
  return [
    layer.name
    for layer in found
    if not layer.trainable and not keras_compat.is_functional(layer)
  ]


def rate_multipliers(
  model: tf.keras.Model,
  *,
  layer_decay: float = 1.0,
  head_learning_rate_multiplier: float = 1.0,
) -> list[float]:
  """Returns by what the learning rate of each parameter is multiplied.

  layer_decay^d, where d is the depth of the parameter's block below the head:
  0 of the head, which has the multiplier instead, 1 of the last block.

  Args:
    model: a built model; functional unless both arguments are 1.
    layer_decay: in (0, 1].
    head_learning_rate_multiplier: > 0.

  Returns:
    A number for each of `model.trainable_variables`, in their order.

  Raises:
    ConfigError: the model is not functional, or has no head.

  Reference: Clark et al. 2020 (arXiv 2003.10555); Bao et al. 2021, BEiT (arXiv
    2106.08254), whose grouping by blocks this is.
  """
  parameters = model.trainable_variables
  if layer_decay == head_learning_rate_multiplier == 1.0:
    return [1.0] * len(parameters)
  depth_of = depths(model)
  return [
    layer_decay**depth if depth else head_learning_rate_multiplier
    # Those of an auxiliary head are new, too.
    for depth in (depth_of.get(id(parameter), 0) for parameter in parameters)
  ]


def depths(model: tf.keras.Model) -> dict[int, int]:
  """Returns how many blocks each of a model's variables is below the head.

  The graph is cut at the layers that every path passes. What lies between two
  cuts on several paths is a block: a residual block, or an Inception block. A
  chain of layers between blocks is one block too, such as the stem; in a
  network that is nothing but a chain, each kernel begins one.

  Args:
    model: a functional model.

  Returns:
    The depth by `id` of the variable: 0 of the head's, 1 of the last block's;
    none of an auxiliary head's.

  Raises:
    ConfigError: the model is not functional, or has no head.
  """
  graph = _graph(model)
  head_position = _head_position(graph)
  variables: dict[int, list[Any]] = {}  # By the block's number.
  for position, (node, block) in enumerate(zip(graph, _blocks(graph))):
    block = len(graph) if position >= head_position else block
    if _weights(node.layer):
      variables.setdefault(block, []).extend(node.layer.variables)
  found: dict[int, int] = {}
  for depth, block in enumerate(sorted(variables, reverse=True)):
    # A layer that is called twice has the depth of its first call.
    found.update(dict.fromkeys(map(id, variables[block]), depth))
  return found


def _graph(model: tf.keras.Model) -> list[keras_compat.GraphNode]:
  if not keras_compat.is_functional(model):
    raise ConfigError(
      "all_but_head, layer_decay and head_learning_rate_multiplier need a "
      "functional model, whose graph of layers is known, got "
      f"{type(model).__name__} {model.name!r}: build it with "
      "tf.keras.Model(inputs, outputs)"
    )
  return keras_compat.layer_graph(auxiliary.main_output(model))


def _cuts(graph: Sequence[keras_compat.GraphNode]) -> list[bool]:
  """Returns for each node whether every path from input to output passes it.

  It does unless an edge leads from a node before it to one after it.
  """
  reaches = list(range(len(graph)))  # The last node that each one feeds.
  for position, node in enumerate(graph):
    for feeding in node.inbound:
      reaches[feeding] = position
  cuts, furthest = [], 0
  for position in range(len(graph)):
    cuts.append(furthest <= position)
    furthest = max(furthest, reaches[position])
  return cuts


def _head_position(graph: Sequence[keras_compat.GraphNode]) -> int:
  cuts = _cuts(graph)
  for position in range(len(graph) - 1, -1, -1):
    if cuts[position] and _weights(graph[position].layer):
      return position
  raise ConfigError(
    "the model must end in a layer with weights that gives the logits, got "
    f"one that ends in {graph[-1].layer.name}"
  )


def _blocks(graph: Sequence[keras_compat.GraphNode]) -> list[int]:
  """Returns the number of each node's block, rising from the input on."""
  cuts = _cuts(graph)
  is_chain = all(cuts)
  block, blocks = 0, []
  kernels = False  # Whether the block has one yet.
  was_cut = True
  for node, cut in zip(graph, cuts):
    has_kernel = _has_kernel(node.layer)
    if cut != was_cut or (is_chain and has_kernel):
      block += kernels
      kernels = False
    kernels |= has_kernel
    was_cut = cut
    blocks.append(block)
  return blocks


def _weights(layer: Any) -> list[Any]:
  # Keras 3 puts plain operations, such as `x + y`, in graphs.
  return list(getattr(layer, "weights", []))


def _has_kernel(layer: Any) -> bool:
  return any(
    keras_compat.kernels(part) for part in keras_compat.flat_layers(layer)
  )


def _some(names: Sequence[str]) -> str:
  """Returns some of the names, spread over the whole list."""
  step = max(1, len(names) // _NAMES_SHOWN)
  shown = list(names[::step][:_NAMES_SHOWN])
  return ", ".join(shown + ["..."] * (len(shown) < len(names)))
