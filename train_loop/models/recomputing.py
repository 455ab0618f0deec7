# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Computes blocks again in the backward pass, in place of keeping them.

Between the blocks of a network few tensors are needed further on. The forward
pass keeps these alone, and the backward pass computes a block again, as it is
due, from what stands before it: memory for time. The gradients are the same.

Reference: Chen et al. 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import tensorflow as tf

from train_loop.fields import ConfigError
from train_loop.variables import assign_all
from tricks import keras_compat
from tricks.keras_compat import Call, unconverted


class Block(NamedTuple):
  """A part of a network that is computed again as a whole.

  Attributes:
    calls: of its layers, in order.
    inputs: the numbers of the tensors that it takes.
    outputs: the numbers of those that are needed after it.
    changed: the variables that a call of it may change: BatchNorm's moving
      statistics, and the states of random numbers.
    repeats: whether it draws the same if it is computed again; if it does not,
      it is kept.
  """

  calls: list[Call]
  inputs: list[int]
  outputs: list[int]
  changed: list[tf.Variable]
  repeats: bool


def blocks_of(model: tf.keras.Model) -> tuple[list[Block], list[int]]:
  """Cuts a network into blocks.

  A block ends with a call of which the output is all that is needed further on:
  one of a layer with several inputs, such as the Add of a residual block, or of
  pooling, whose output is small to keep. If these are fewer than √n, for n
  kernels, it ends with such a call of a layer with a kernel, √n in all.

  Args:
    model: a functional model of one input.

  Returns:
    The blocks in order, and the numbers of the model's outputs; its input has
    the number 0.

  Raises:
    ConfigError: the model is not functional, has several inputs, or a layer
      whose output is regularized.
  """
  if not keras_compat.is_functional(model) or len(model.inputs) != 1:
    raise ConfigError(
      "recompute must be none but for a functional model of one input, whose "
      f"graph of layers is known, got {type(model).__name__} {model.name!r}"
    )
  for layer in keras_compat.flat_layers(model):
    if getattr(layer, "activity_regularizer", None):
      raise ConfigError(
        "recompute must be none for a model with an activity_regularizer, got "
        f"blocks and the layer {layer.name!r}"
      )
  calls, outputs = keras_compat.layer_calls(model)
  ends = _ends(calls, outputs)
  starts = [0, *(end + 1 for end in ends)]
  stops = [*(end + 1 for end in ends), len(calls)]
  blocks = [
    _block(calls[start:stop], calls[stop:], outputs)
    for start, stop in zip(starts, stops)
    if start < stop
  ]
  return blocks, outputs


def recomputed(model: tf.keras.Model) -> Callable[..., list[Any]]:
  """Returns a model's forward pass that keeps no more than between blocks.

  The last block is kept as a whole, for its backward pass comes at once.

  Args:
    model: as of `blocks_of`.

  Returns:
    A function of images, and of `training`, that gives the model's outputs in a
    list. If it is called to train, moving statistics change once, and what is
    drawn at random is the same in both passes.

  Raises:
    ConfigError: see `blocks_of`.
  """
  (*blocks, last), outputs = blocks_of(model)

  @unconverted
  def forward(images: tf.Tensor, training: bool = False) -> list[Any]:
    values = {0: tf.convert_to_tensor(images)}
    for block in blocks:
      made = _again if training and block.repeats else _once
      run = made(block, training)
      given = run(*(values[number] for number in block.inputs))
      values.update(zip(block.outputs, given))
    inputs = [values[number] for number in last.inputs]
    values.update(zip(last.outputs, _once(last, training)(*inputs)))
    return [values[number] for number in outputs]

  return forward


def _once(block: Block, training: bool) -> Callable[..., list[Any]]:
  """Returns a function from a block's inputs to its outputs."""

  @unconverted
  def run(*inputs: tf.Tensor) -> list[Any]:
    values = dict(zip(block.inputs, inputs))
    for call in block.calls:
      args, kwargs = call.arguments(values, training)
      given = tf.nest.flatten(call.layer(*args, **kwargs))
      values.update(zip(call.outputs, given))
    return [values[number] for number in block.outputs]

  return run


def _again(block: Block, training: bool) -> Callable[..., list[Any]]:
  """Returns the same, computed again for its gradient.

  Every call of it must be of a new one of these functions: the first time it is
  called is the forward pass. A later one sets the variables back to what that
  found, and in the end leaves them as it found them itself.
  """
  run = _once(block, training)
  passes = itertools.count()
  before: list[tf.Tensor] = []

  @unconverted
  def either_pass(*inputs: tf.Tensor) -> list[Any]:
    found = [variable.read_value() for variable in block.changed]
    if next(passes) == 0:
      before.extend(found)
      return run(*inputs)
    assign_all(block.changed, before)
    outputs = run(*inputs)
    assign_all(block.changed, found)
    return outputs

  return tf.recompute_grad(either_pass)


def _ends(calls: Sequence[Call], outputs: Sequence[int]) -> list[int]:
  """Returns the calls that end a block, without the last one."""
  needed = [*(call.inputs for call in calls), outputs]
  last_use = {
    number: place for place, some in enumerate(needed) for number in some
  }
  final = set(outputs)
  open_ones, narrow = {0}, []
  for place, call in enumerate(calls):
    open_ones |= set(call.outputs)
    open_ones = {n for n in open_ones if last_use.get(n, -1) > place}
    if len(open_ones - final) == 1:
      narrow.append(place)
  ends = [
    place
    for place in narrow
    if len(set(calls[place].inputs)) > 1
    or hasattr(calls[place].layer, "pool_size")
  ]
  kernels = [
    place
    for place in narrow
    if any(
      map(keras_compat.kernels, keras_compat.flat_layers(calls[place].layer))
    )
  ]
  apart = math.isqrt(len(kernels))
  return ends if len(ends) >= apart else kernels[apart::apart]


def _block(
  calls: list[Call], following: Sequence[Call], outputs: Sequence[int]
) -> Block:
  """Returns the block of some calls, and what it takes and gives."""
  made = {number for call in calls for number in call.outputs}
  taken = dict.fromkeys(n for call in calls for n in call.inputs)
  needed = {n for call in following for n in call.inputs} | set(outputs)
  layers = {id(call.layer): call.layer for call in calls}.values()
  parts = [part for layer in layers for part in keras_compat.flat_layers(layer)]
  return Block(
    calls,
    inputs=[n for n in taken if n not in made],
    outputs=sorted(made & needed),
    changed=_changed(parts),
    repeats=all(map(keras_compat.repeats, parts)),
  )


def _changed(layers: Sequence[keras_compat.Layer]) -> list[tf.Variable]:
  """Returns the variables that calls of layers may change."""
  found = {
    id(variable): variable
    for layer in layers
    if isinstance(layer, tf.keras.layers.Layer)
    for variable in keras_compat.tf_variables(layer.non_trainable_variables)
    # The weights of a frozen layer stay as they are.
    if layer.trainable or not variable.dtype.is_floating
  }
  return list(found.values())
