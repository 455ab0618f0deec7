# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Zero γ: each residual branch starts as zero, each block as its shortcut.

A residual block computes x + branch(x). With γ = 0 (and β = 0) in the last
BatchNorm of each branch, the network starts as if it had only its shortcuts,
and is easier to train at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tricks import keras_compat

_ADD = ("Add", "math.add", "__operators__.add")
_MULTIPLY = ("Multiply", "math.multiply", "__operators__.mul")


def zero_gamma(model: tf.keras.Model) -> list[keras_compat.Layer]:
  """Sets γ := 0 in the last BatchNorm of each residual branch.

  The branches are found by walking back from each Add in the graph: the
  residual branch is the input with the most kernels (convolution and dense)
  since the inputs' common ancestors. Its last BatchNorm is the one after its
  last kernel; if the branch ends in a product, as with squeeze-and-excitation,
  the one of the first factor that has one.

  Left alone are: projection shortcuts; Adds whose inputs have equally many
  kernels, or no common ancestor; branches that end with a kernel (the
  pre-activation ResNetV2), with a BatchNorm without γ, or with an activation
  that does not map 0 to 0; branches whose last BatchNorm also feeds what is no
  part of the branch (the cells of NASNet), is not trained, or is shared with
  another place in another role. A layer that is not a kernel, an activation or
  a product is assumed to map 0 to 0 (dropout, pooling, padding, stochastic
  depth).

  Args:
    model: a built functional Keras model; functional models nested in it are
      searched too.

  Returns:
    The BatchNorm layers whose γ is now 0, from input to output, each once.

  Raises:
    ValueError: the model is not functional, so that its graph is not known.

  Reference: He et al. 2018, section 3.1 (zero γ); Goyal et al. 2017.
  """
  zeroed = last_batch_norms(model)
  for layer in zeroed:
    layer.gamma.assign(tf.zeros(layer.gamma.shape, layer.gamma.dtype))
  return zeroed


def last_batch_norms(model: tf.keras.Model) -> list[keras_compat.Layer]:
  """Returns the BatchNorms whose γ `zero_gamma` sets, and sets none.

  Args:
    model: as of `zero_gamma`.

  Returns:
    Layers from input to output, each once.

  Raises:
    ValueError: the model is not functional.
  """
  if not keras_compat.is_functional(model):
    raise ValueError(
      "zero_gamma needs a functional model, whose graph of layers is known,"
      f" got {type(model).__name__} {model.name!r}; build it with"
      " tf.keras.Model(inputs, outputs)"
    )
  graph = keras_compat.layer_graph(model)
  last = _last_batch_norms(graph)
  # A shared layer has one γ for all its calls: each must be a branch's last.
  kept = {id(n.layer) for i, n in enumerate(graph) if i not in last}
  layers = {id(graph[i].layer): graph[i].layer for i in sorted(last)}
  return [layer for key, layer in layers.items() if key not in kept]


def _last_batch_norms(graph: Sequence[keras_compat.GraphNode]) -> set[int]:
  """The nodes that are the last BatchNorm of a residual branch."""
  ancestors: list[set[int]] = []  # Of each node, itself included.
  for i, node in enumerate(graph):
    ancestors.append({i}.union(*(ancestors[j] for j in node.inbound)))
  kernels = [_count_kernels(node.layer) for node in graph]
  fed: list[set[int]] = [set() for _ in graph]  # By each node, directly.
  for i, node in enumerate(graph):
    for j in node.inbound:
      fed[j].add(i)
  last: set[int] = set()
  for add, node in enumerate(graph):
    if not _is(_ADD, node.layer) or len(node.inbound) < 2:
      continue
    common = set.intersection(*(ancestors[i] for i in node.inbound))
    branches = sorted(
      (sum(kernels[j] for j in ancestors[i] - common), i) for i in node.inbound
    )
    (second, _), (most, end) = branches[-2:]
    if not common or most <= second:
      continue
    branch = ancestors[end] - common
    ends = _ends(graph, end, branch)
    # All that a silenced BatchNorm reaches must be silenced only for this Add.
    reached = [i for i in branch if ancestors[i] & ends]
    if all(fed[i] <= branch | {add} for i in reached):
      last |= ends
  return last


def _ends(
  graph: Sequence[keras_compat.GraphNode], i: int, branch: set[int]
) -> set[int]:
  """The BatchNorms that silence node i if their γ is 0; empty if none can."""
  layer, inbound = graph[i]
  if i not in branch or _count_kernels(layer) or not _keeps_zero(layer):
    return set()
  if keras_compat.is_batch_norm(layer):
    trained = any(v is layer.gamma for v in layer.trainable_variables)
    return {i} if trained else set()
  ends = [_ends(graph, j, branch) for j in inbound]
  if _is(_MULTIPLY, layer):
    # One factor only: two zeros would silence each other's gradient for good.
    return next(filter(None, ends), set())
  return set().union(*ends) if all(ends) else set()


def _count_kernels(layer: keras_compat.Layer) -> int:
  return sum(
    len(keras_compat.kernels(part)) for part in keras_compat.flat_layers(layer)
  )


def _keeps_zero(layer: keras_compat.Layer) -> bool:
  activation: Any = getattr(layer, "activation", None)
  return activation is None or not np.any(activation(tf.zeros([1, 1])))


def _is(names: tuple[str, ...], layer: keras_compat.Layer) -> bool:
  # Keras 2 wraps `x + y` in one class for all operators, with a symbol.
  return getattr(layer, "symbol", type(layer).__name__) in names
