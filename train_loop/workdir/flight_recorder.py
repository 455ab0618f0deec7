# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`flight/`: what a run leaves of a step whose gradient was not finite.

`flight.json` says which step and batch it was and describes every variable;
`state/` holds the state before the step, as a checkpoint does. Mode replay
takes the step again from the two. This module imports no TensorFlow.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.workdir.reading import read_file
from train_loop.workdir.writing import write_atomically, writing

if TYPE_CHECKING:
  import tensorflow as tf

  from train_loop.state import TrainState
  from train_loop.workdir.checkpoints import Checkpoints

DIRECTORY = "flight"
FILE_NAME = "flight.json"
STATE = "state"

# What replay reads.
_TYPES: dict[str, tuple[type, ...]] = {
  "step": (int,),
  "order_offset": (int,),
  "replicas": (int,),
  "image_size": (int, type(None)),
  "variables": (list,),
}


def record(
  workdir: str | os.PathLike[str],
  state: TrainState,
  saver: Checkpoints,
  **of_the_step: Any,
) -> str:
  """Writes the flight data of the step that comes next, in place of older ones.

  An error of writing is logged: the step is what matters.

  Args:
    workdir: the run's folder.
    state: that before the step.
    saver: of the state; if it does not write, nothing is written.
    **of_the_step: what else is told of the step, as JSON holds it.

  Returns:
    The path of the folder, "" if it was not written.
  """
  folder = pathlib.Path(workdir) / DIRECTORY
  if not saver.writes:
    return ""
  try:
    with writing(folder):
      folder.mkdir(exist_ok=True)
    saver.save_copy(folder / STATE)
    _write(folder, {**_described(state), **of_the_step})
  except ConfigError as error:
    logging.warning("%s", error)
    return ""
  return str(folder)


def add(workdir: str | os.PathLike[str], **fields: Any) -> None:
  """Adds fields to the flight data in `workdir`; they are as JSON holds them.

  Raises:
    ConfigError: there are none, or they cannot be written.
  """
  _write(pathlib.Path(workdir) / DIRECTORY, {**read(workdir), **fields})


def read(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns what flight.json holds.

  Raises:
    ConfigError: there is none, or it is damaged.
  """
  path = pathlib.Path(workdir) / DIRECTORY / FILE_NAME
  try:
    flight = json.loads(read_file(path))
    if not isinstance(flight, dict):
      raise ValueError("it holds no object")
    for name, kinds in _TYPES.items():
      if not isinstance(flight.get(name, ""), kinds):
        raise ValueError(f"{name} is missing or not of its type")
  except FileNotFoundError as error:
    raise ConfigError(
      "workdir must hold flight data, which a run leaves when its gradient is "
      f"not finite, got {os.fspath(workdir)!r} without {path}"
    ) from error
  except (OSError, ValueError, RecursionError) as error:
    raise ConfigError(
      f"{path} cannot be read ({first_line(error)}): run the step again, to "
      "have it written anew"
    ) from error
  return flight


def restore(saver: Checkpoints, workdir: str | os.PathLike[str]) -> None:
  """Restores the state before the step.

  Raises:
    ConfigError: it is missing or damaged, or of another network.
  """
  step = read(workdir)["step"]
  saver.restore_copy(pathlib.Path(workdir) / DIRECTORY / STATE, step)


def described(values: Any) -> dict[str, Any]:
  """Describes an array: its finite numbers, and how many others there are.

  Args:
    values: an array or tensor of floats or integers.

  Returns:
    `min`, `max` and the L2 `norm` of the finite numbers, None if there are
    none; and `not_finite`, the count of all others.

  >>> described([3.0, 4.0, float("nan")])
  {'min': 3.0, 'max': 4.0, 'norm': 5.0, 'not_finite': 1}
  """
  array = np.asarray(values).astype(np.float64)
  finite = array[np.isfinite(array)]
  figures: dict[str, Any] = dict.fromkeys(("min", "max", "norm"))
  if finite.size:
    figures = {
      "min": float(finite.min()),
      "max": float(finite.max()),
      "norm": float(np.linalg.norm(finite)),
    }
  return {**figures, "not_finite": int(array.size - finite.size)}


def _write(folder: pathlib.Path, flight: dict[str, Any]) -> None:
  text = json.dumps(flight, indent=2, allow_nan=False)
  write_atomically(folder / FILE_NAME, text + "\n")


def _described(state: TrainState) -> dict[str, Any]:
  import tensorflow as tf

  scale = state.loss_scale
  return {
    "step": int(state.step.numpy()),
    "order_offset": int(state.lost.order_offset.numpy()),
    "replicas": tf.distribute.get_strategy().num_replicas_in_sync,
    "loss_scale": None if scale is None else float(scale.value.numpy()),
    "lost_in_a_row": int(state.lost.in_a_row.numpy()),
    "rollbacks": int(state.lost.rollbacks.numpy()),
    "variables": [
      {"name": name, **described(variable.numpy())}
      for name, variable in _variables(state)
    ],
  }


def _variables(state: TrainState) -> Iterator[tuple[str, tf.Variable]]:
  """Yields every variable that a step reads, by its name."""
  model = state.model
  yield from zip(names(model.trainable_variables), state.parameters)
  yield from zip(names(model.non_trainable_variables), state.untrained)
  # Our optimizers have a tuple for each parameter, Addons' one for all.
  owners = names(model.trainable_variables)
  for number, slots in enumerate(state.optimizer.slots):
    for slot in slots:
      yield f"slot of {owners[number]}", slot


def names(variables: Iterable[Any]) -> list[str]:
  """Returns the names of Keras' variables, with those of their layers."""
  from tricks import keras_compat

  return [keras_compat.variable_name(variable) for variable in variables]
