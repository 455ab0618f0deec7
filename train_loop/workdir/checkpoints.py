# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves and restores a `TrainState`: the latest N, and the best.

TensorFlow writes a checkpoint's files beside each other and then renames the
small `checkpoint` file that names the latest: a run that is killed while it
saves finds the one before.
"""

from __future__ import annotations

import os
import pathlib

import tensorflow as tf
from absl import logging

from train_loop.config import ConfigError
from train_loop.state import TrainState
from train_loop.workdir.writing import writing
from tricks import keras_compat

DIRECTORY = "checkpoints"
BEST = "best"


class Checkpoints:
  """The checkpoints of one run, under `workdir/checkpoints`."""

  def __init__(
    self, state: TrainState, workdir: str | os.PathLike[str], *, keep: int
  ) -> None:
    """Opens the folder; writes nothing.

    Args:
      state: what is saved and restored.
      workdir: the run's folder.
      keep: how many of the latest are kept.
    """
    directory = pathlib.Path(workdir) / DIRECTORY
    checkpoint = tf.train.Checkpoint(**state.checkpoint_items())
    self._checkpoint = checkpoint
    self._latest = tf.train.CheckpointManager(
      checkpoint, str(directory), max_to_keep=keep, step_counter=state.step
    )
    self._best = tf.train.CheckpointManager(
      checkpoint, str(directory / BEST), max_to_keep=1, step_counter=state.step
    )
    self._step = state.step
    self._saved_step = -1

  def save(self) -> None:
    """Saves the state as it is now, once a step."""
    step = int(self._step.numpy())
    if step != self._saved_step:
      _save(self._latest, step)
      self._saved_step = step

  def save_best(self) -> None:
    """Saves the state in place of the best so far."""
    _save(self._best, int(self._step.numpy()))

  def restore_latest(self) -> bool:
    """Restores the latest checkpoint that can be read.

    Returns:
      Whether there was a checkpoint.

    Raises:
      ConfigError: none of the checkpoints can be read, or they hold another
        network.
    """
    paths = self._latest.checkpoints[::-1]
    for path in paths:
      try:
        _restore(self._checkpoint, path, whole=True)
      except _Damaged as error:
        logging.warning("%s", error)
        continue
      self._saved_step = int(self._step.numpy())
      return True
    if paths:
      raise ConfigError(
        f"no checkpoint in {self._latest.directory} can be read: remove the "
        "folder to start anew, or take another workdir"
      )
    return False


class _Damaged(ConfigError):
  """A checkpoint's files are missing, or not what was written."""


def _save(manager: tf.train.CheckpointManager, step: int) -> None:
  with writing(manager.directory, tf.errors.OpError):
    manager.save(checkpoint_number=step)


def _first_line(error: Exception) -> str:
  return str(error).strip().split("\n")[0]


def restore_model(
  model: tf.keras.Model, workdir: str | os.PathLike[str]
) -> None:
  """Gives a model the weights of a run, averaged where the run averages them.

  Args:
    model: the run's network.
    workdir: the run's folder.

  Raises:
    ConfigError: there is no checkpoint, or it is of another network.
  """
  path = tf.train.latest_checkpoint(str(pathlib.Path(workdir) / DIRECTORY))
  if path is None:
    raise ConfigError(f"workdir must hold a checkpoint, got {workdir}")
  parameters = keras_compat.tf_variables(model.trainable_variables)
  frozen = keras_compat.tf_variables(model.non_trainable_variables)
  _restore(tf.train.Checkpoint(parameters=parameters, frozen=frozen), path)
  if any(k.startswith("averages/") for k, _ in tf.train.list_variables(path)):
    averaged = parameters + [v for v in frozen if v.dtype.is_floating]
    _restore(tf.train.Checkpoint(averages=averaged), path)


def _restore(
  checkpoint: tf.train.Checkpoint, path: str, *, whole: bool = False
) -> None:
  """Restores every variable of `checkpoint`, and of the files if `whole`."""
  try:
    status = checkpoint.restore(path)
    status.assert_existing_objects_matched()
    if whole:
      status.assert_consumed()
    status.expect_partial()
  # TensorFlow's reader raises an IndexError where a file is too short.
  except (tf.errors.OpError, IndexError) as error:
    raise _Damaged(
      f"checkpoint {path} is damaged ({_first_line(error)})"
    ) from error
  except (AssertionError, ValueError) as error:
    raise ConfigError(
      f"checkpoint {path} is of another network or config "
      f"({_first_line(error)}): take another workdir"
    ) from error
