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

from train_loop.config import ConfigError
from train_loop.state import TrainState
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

  def save(self) -> None:
    """Saves the state as it is now, once a step."""
    step = int(self._step.numpy())
    latest = self._latest.latest_checkpoint
    if latest is None or not latest.endswith(f"-{step}"):
      self._latest.save(checkpoint_number=step)

  def save_best(self) -> None:
    """Saves the state in place of the best so far."""
    self._best.save(checkpoint_number=int(self._step.numpy()))

  def restore_latest(self) -> bool:
    """Restores the latest checkpoint; returns whether there was one.

    Raises:
      ConfigError: the checkpoint cannot be read, or holds another model.
    """
    path = self._latest.latest_checkpoint
    if path is not None:
      _restore(self._checkpoint, path, whole=True)
    return path is not None


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
  # TensorFlow's reader of checkpoints raises IndexError on a short file.
  except (
    tf.errors.OpError,
    AssertionError,
    IndexError,
    ValueError,
  ) as error:
    reason = str(error).strip().split("\n")[0]
    raise ConfigError(
      f"checkpoint {path} cannot be restored ({reason}): take another workdir, "
      "or delete the checkpoint to go on from the one before"
    ) from error
