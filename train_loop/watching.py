# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What TensorBoard shows of the layers: norms, the averages' gap, and γ.

At a logged step, for each group of layers g, from the stem to the head,

  gradient: ‖∇_g‖, as the update takes it: unscaled and clipped
  weight:   ‖w_g‖ after the step
  update:   ‖w_g − w_g before the step‖, and its ratio to the weight's norm

and, over all parameters, ema_gap: ‖w − average‖ / ‖w‖. A histogram shows γ of
the BatchNorms that end the group's residual branches, which start at zero.

Only the logged step pays for it: the graph of the step has a condition that is
false otherwise, and the weights before it are copied to the host's memory. If
it took more than a hundredth of the time so far, a step is logged without.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Callable

import numpy as np
import tensorflow as tf

from train_loop.fields import ConfigError
from train_loop.models import fine_tuning
from train_loop.state import TrainState
from tricks import keras_compat
from tricks.zero_gamma import last_batch_norms

# The part of the time that watching may take.
_PART = 0.01
# Stages between stem and head, at most; more are joined.
_MOST_STAGES = 4
_NORMS = ("gradient", "weight", "update")


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
  """Layers that are shown as one.

  Attributes:
    name: such as "stem", "stage1" or "head".
    places: of its parameters in `TrainState.parameters`.
    gammas: those γ of its parameters that end a residual branch; all γ, if
      the model has no such branch.
  """

  name: str
  places: tuple[int, ...]
  gammas: tuple[tf.Variable, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Figures:
  """What is shown of one step.

  Attributes:
    scalars: by the name of a chart's line; those that are finite.
    histograms: by name, values.
  """

  scalars: dict[str, float]
  histograms: dict[str, np.ndarray]


def groups(state: TrainState) -> list[Group]:
  """Returns the groups of a model's layers, from input to output.

  A stage is some blocks of the same width: the most channels of a kernel.
  """
  model = state.model
  names = _names(model)
  gammas = _gammas(model)
  found: dict[str, list[int]] = {}
  for place, variable in enumerate(model.trainable_variables):
    found.setdefault(names.get(id(variable), "head"), []).append(place)
  stages = [f"stage{number}" for number in range(1, _MOST_STAGES + 1)]
  return [
    Group(
      name,
      tuple(found[name]),
      tuple(
        state.parameters[place]
        for place in found[name]
        if id(model.trainable_variables[place]) in gammas
      ),
    )
    for name in ("all", "stem", *stages, "head")
    if name in found
  ]


def _names(model: tf.keras.Model) -> dict[int, str]:
  """Returns the group of each trained variable by its `id`."""
  variables = model.trainable_variables
  try:
    depths = fine_tuning.depths(model)
  except ConfigError:  # Of such a model no order of the layers is known.
    return {id(v): "all" for v in variables}
  widths: dict[int, int] = {}
  for variable in variables:
    depth = depths.get(id(variable), 0)
    width = variable.shape[-1] if len(variable.shape) > 1 else 0
    widths[depth] = max(width, widths.get(depth, 0))
  stages = _stages(widths)
  return {id(v): stages[depths.get(id(v), 0)] for v in variables}


def _stages(widths: dict[int, int]) -> dict[int, str]:
  """Returns the name of each block by its depth below the head.

  Args:
    widths: of each block by its depth; 0 is the head's.
  """
  stem, *middle = sorted(widths, reverse=True)
  if not middle:
    return {stem: "head"}
  middle.remove(0)
  numbers, number = [], 0
  for before, depth in zip([None, *middle], middle):
    number += before is None or widths[before] != widths[depth]
    numbers.append(number)
  if number > _MOST_STAGES:
    numbers = [
      1 + _MOST_STAGES * place // len(middle) for place in range(len(middle))
    ]
  stages = {depth: f"stage{number}" for depth, number in zip(middle, numbers)}
  return {stem: "stem", **stages, 0: "head"}


def _gammas(model: tf.keras.Model) -> set[int]:
  """Returns the `id` of each γ that is shown."""
  norms = [
    layer
    for layer in keras_compat.flat_layers(model)
    if keras_compat.is_batch_norm(layer) and layer.gamma is not None
  ]
  if keras_compat.is_functional(model):
    norms = last_batch_norms(model) or norms
  return {id(layer.gamma) for layer in norms}


class Watcher:
  """Measures the steps that are logged."""

  def __init__(
    self,
    state: TrainState,
    *,
    clock: Callable[[], float] = time.perf_counter,
  ) -> None:
    self._state = state
    self._groups = groups(state)
    self._clock = clock
    self._start = clock()
    self._spent = 0.0
    self._before: Sequence[tf.Tensor] = ()

  def is_cheap(self) -> bool:
    """Returns whether watching has taken little of the time so far."""
    return self._spent <= _PART * (self._clock() - self._start)

  def begin(self) -> None:
    """Notes the weights; the step that comes next is measured."""
    start = self._clock()
    noted = self._state.noted
    noted.wanted.assign(True)
    # A step that is skipped leaves it so.
    noted.squares.assign(np.full(noted.squares.shape, np.nan, np.float32))
    with tf.device("CPU:0"):
      self._before = [tf.identity(v) for v in self._state.parameters]
    self._spent += self._clock() - start

  def end(self) -> Figures:
    """Returns the figures of the step, after which nothing was trained."""
    start = self._clock()
    self._state.noted.wanted.assign(False)
    scalars, histograms = self._norms(), self._gammas()
    self._spent += self._clock() - start
    return Figures(
      {name: value for name, value in scalars.items() if np.isfinite(value)},
      {n: v for n, v in histograms.items() if np.isfinite(v).all()},
    )

  def first(self) -> Figures:
    """Returns the figures of a run that has taken no step: γ."""
    return Figures({}, self._gammas())

  def _gammas(self) -> dict[str, np.ndarray]:
    return {
      f"gamma/{group.name}": np.concatenate(
        [gamma.numpy() for gamma in group.gammas]
      )
      for group in self._groups
      if group.gammas
    }

  def _norms(self) -> dict[str, float]:
    # No graph: to trace one takes longer than most runs need for this.
    state, before = self._state, self._before
    self._before = ()
    now = [v.read_value() for v in state.parameters]
    squares = {
      "gradient": state.noted.squares.numpy(),
      "weight": _squares(now),
      "update": _squares([v - b for v, b in zip(now, before)]),
    }
    found: dict[str, float] = {}
    for group in self._groups:
      places = list(group.places)
      norms = {
        name: float(np.sqrt(values[places].sum()))
        for name, values in squares.items()
      }
      norms["update_to_weight"] = norms["update"] / (norms["weight"] or np.inf)
      found |= {f"norms/{name}/{group.name}": v for name, v in norms.items()}
    if state.averages:
      gap = _squares([v - a for v, a in zip(now, state.averages)]).sum()
      found["norms/ema_gap"] = float(np.sqrt(gap / squares["weight"].sum()))
    return found


def _squares(tensors: Sequence[tf.Tensor]) -> np.ndarray:
  """Returns the square of the norm of each tensor, float64."""
  halves = tf.stack([tf.nn.l2_loss(tensor) for tensor in tensors])
  return 2.0 * halves.numpy().astype(np.float64)
