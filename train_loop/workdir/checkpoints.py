# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves and restores a `TrainState`: the latest N checkpoints, and the best.

A checkpoint is the files `ckpt-STEP.index` and `ckpt-STEP.data-*`. Which there
are is read from the folder itself: TensorFlow's file `checkpoint` is written
for TensorFlow's tools only. TensorFlow itself takes a path with `[`, `*` or `?`
for a pattern (tensorflow#34290).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, Callable

import tensorflow as tf
from absl import logging

from train_loop.config import CHECKPOINTS
from train_loop.failures import first_line
from train_loop.fields import ConfigError, refused
from train_loop.state import TrainState
from train_loop.workdir.writing import writing
from tricks import keras_compat

DIRECTORY = "checkpoints"
LATEST, BEST = CHECKPOINTS

_FILE_NAME = re.compile(r"ckpt-(\d+)\.(index|data-\d+-of-\d+)")


class Checkpoints:
  """The checkpoints of one run, in `workdir/checkpoints`."""

  def __init__(
    self,
    state: TrainState,
    workdir: str | os.PathLike[str],
    *,
    keep: int,
    writes: bool = True,
  ) -> None:
    """Prepares saving and restoring; writes nothing.

    Args:
      state: what is saved and restored.
      workdir: the run's folder.
      keep: the number of latest checkpoints that are kept, at least 1.
      writes: whether saving writes; of several hosts only one does.
    """
    self._writes = writes
    self._folder = pathlib.Path(workdir) / DIRECTORY
    self._keep = keep
    self._step = state.step
    self._saved_step = -1
    self._items = state.checkpoint_items()
    self._checkpoint = _checkpoint_of(self._items)

  def save(self) -> None:
    """Saves the state, unless its step is saved already.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    step = int(self._step.numpy())
    if self._writes and step != self._saved_step:
      _save(self._checkpoint, self._folder, step, keep=self._keep)
      self._saved_step = step

  def save_best(self) -> None:
    """Saves the state in place of the best so far.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    if self._writes:
      step = int(self._step.numpy())
      _save(self._checkpoint, self._folder / BEST, step, keep=1)

  def restore_latest(self) -> bool:
    """Restores the newest checkpoint that can be read.

    Returns:
      Whether there was a checkpoint.

    Raises:
      ConfigError: none of the checkpoints can be read, or they hold another
        network.
    """

    def restore(path: str) -> None:
      _restore(self._items, path, whole=True)

    found = _restore_newest(self._folder, restore)
    if found:
      self._saved_step = int(self._step.numpy())
    return found


def restore_model(
  model: tf.keras.Model,
  workdir: str | os.PathLike[str],
  *,
  averaged: bool = True,
  checkpoint: str = LATEST,
) -> None:
  """Gives a model the weights of a run's checkpoint.

  Args:
    model: the run's network.
    workdir: the run's folder.
    averaged: take the averaged weights, if the run averages them.
    checkpoint: "latest", the newest that can be read; or "best", that of the
      best evaluation.

  Raises:
    ConfigError: there is no such checkpoint that can be read, or it is of
      another network.
  """
  if checkpoint not in CHECKPOINTS:
    raise refused("checkpoint", checkpoint, f"one of {', '.join(CHECKPOINTS)}")
  parameters = keras_compat.tf_variables(model.trainable_variables)
  untrained = keras_compat.tf_variables(model.non_trainable_variables)
  weights = {"parameters": parameters, "untrained": untrained}
  statistics = [v for v in untrained if v.dtype.is_floating]

  def restore(path: str) -> None:
    _restore(weights, path)
    if averaged and _holds(path, "averages"):
      _restore({"averages": parameters + statistics}, path)

  folder = pathlib.Path(workdir) / DIRECTORY
  if checkpoint == BEST:
    if not _restore_newest(folder / BEST, restore, "take --checkpoint=latest"):
      raise ConfigError(
        "checkpoint must be latest for a run that was not evaluated while it "
        f"trained, got 'best' for {os.fspath(workdir)}"
      )
  elif not _restore_newest(folder, restore):
    raise ConfigError(f"workdir must hold a checkpoint, got {workdir}")


class _Damaged(ConfigError):
  """A checkpoint's files are missing, or not what was written."""


def _save(
  checkpoint: tf.train.Checkpoint, folder: pathlib.Path, step: int, *, keep: int
) -> None:
  """Saves a checkpoint, then deletes all but the latest `keep`.

  The index is moved to its place last: without it there is no checkpoint, so a
  run that is killed while it saves still has the checkpoints before.
  """
  unfinished = folder / "unfinished"
  with writing(folder, tf.errors.OpError):
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    checkpoint.write(str(unfinished / f"ckpt-{step}"))
    for file in sorted(unfinished.iterdir()):  # ckpt-N.data-*, ckpt-N.index
      file.replace(folder / file.name)
    unfinished.rmdir()
    # Later steps are there only if they could not be read.
    kept = [found for found in _steps(folder) if found <= step][:keep]
    tf.compat.v1.train.update_checkpoint_state(
      str(folder),
      f"ckpt-{step}",
      all_model_checkpoint_paths=[f"ckpt-{found}" for found in kept[::-1]],
    )
    for file in folder.iterdir():
      matched = _FILE_NAME.fullmatch(file.name)
      if matched and int(matched[1]) not in kept:
        file.unlink()


def _steps(folder: pathlib.Path) -> list[int]:
  """Returns the steps of a folder's checkpoints, the latest first."""
  try:
    names = os.listdir(folder)
  except FileNotFoundError:
    return []
  except OSError as error:
    raise ConfigError(
      f"{folder} cannot be read ({first_line(error)}): mend that, or take "
      "another workdir"
    ) from error
  matches = filter(None, map(_FILE_NAME.fullmatch, names))
  steps = {int(match[1]) for match in matches if match[2] == "index"}
  return sorted(steps, reverse=True)


def _restore_newest(
  folder: pathlib.Path,
  restore: Callable[[str], None],
  remedy: str = "remove the folder to start anew, or take another workdir",
) -> bool:
  """Calls `restore` with the newest checkpoint, or an older if it is damaged.

  Returns:
    Whether there was a checkpoint.
  """
  steps = _steps(folder)
  for step in steps:
    try:
      restore(str(folder / f"ckpt-{step}"))
    except _Damaged as error:
      logging.warning("%s: the one before it is tried", error)
      continue
    return True
  if steps:
    raise ConfigError(f"no checkpoint in {folder} can be read: {remedy}")
  return False


@contextlib.contextmanager
def _reading(path: str) -> Iterator[str]:
  """Turns an error of reading a checkpoint into one that names it.

  Yields:
    A path of the checkpoint that TensorFlow takes for no pattern.
  """
  folder, name = os.path.split(os.path.abspath(path))
  try:
    with tempfile.TemporaryDirectory() as plain:
      if "[" in folder or "\\" in folder:
        link = os.path.join(plain, DIRECTORY)
        os.symlink(folder, link)
        folder = link
      yield os.path.join(folder, name)
  # TensorFlow's reader raises an IndexError if a file is too short.
  except (tf.errors.OpError, IndexError) as error:
    raise _Damaged(
      f"checkpoint {path} is damaged ({first_line(error)})"
    ) from error
  except (AssertionError, ValueError) as error:
    raise ConfigError(
      f"checkpoint {path} is of another network or config "
      f"({first_line(error)}): take another workdir"
    ) from error


def _checkpoint_of(items: dict[str, Any]) -> tf.train.Checkpoint:
  checkpoint = tf.train.Checkpoint(**items)
  # TensorFlow creates it when it is first read; each checkpoint holds it.
  checkpoint.save_counter  # noqa: B018
  return checkpoint


def _restore(items: dict[str, Any], path: str, *, whole: bool = False) -> None:
  """Restores every variable of `items`, and of the files if `whole`."""
  items = dict(items)
  if "untrained" in items and _holds(path, "frozen"):  # The name until 0.1.
    items["frozen"] = items.pop("untrained")
  with _reading(path) as plain:
    status = _checkpoint_of(items).restore(plain)
    status.assert_existing_objects_matched()
    if whole:
      status.assert_consumed()
    status.expect_partial()


def _holds(path: str, key: str) -> bool:
  """Returns whether a checkpoint has variables under a key."""
  with _reading(path) as plain:
    names = [name for name, _ in tf.train.list_variables(plain)]
  return any(name.startswith(f"{key}/") for name in names)
