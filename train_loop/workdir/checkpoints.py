# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves and restores a `TrainState`: the latest N checkpoints, and the best.

A checkpoint is the files `ckpt-STEP.index`, `ckpt-STEP.data-*` and, written
last, `ckpt-STEP.sha256`: see `checkpoint_files`. TensorFlow's file `checkpoint`
is written for TensorFlow's tools only. TensorFlow itself takes a path with `[`,
`*` or `?` for a pattern (tensorflow#34290).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple

import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import trackable_object_graph_pb2

from train_loop.config import CHECKPOINTS
from train_loop.failures import first_line
from train_loop.fields import ConfigError, refused
from train_loop.state import LOST, TrainState
from train_loop.workdir import checkpoint_files, run_card
from train_loop.workdir.checkpoint_files import DIRECTORY, FILE_NAME, Damaged
from train_loop.workdir.writing import flush, writing
from tricks import keras_compat

LATEST, BEST = CHECKPOINTS

# Ends the key of a variable in TensorFlow's format.
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# The parts of a state that a run has only with certain settings.
MAY_BE_NEW = ("averages", "evaluations_since_best")
# So many variables of another network are listed.
_LISTED = 3


class Checkpoints:
  """The checkpoints of one run, in `workdir/checkpoints`.

  Attributes:
    workdir: the run's folder.
    writes: whether this host is the one that writes.
    saved_step: that of the latest checkpoint, -1 if there is none.
  """

  def __init__(
    self,
    state: TrainState,
    workdir: str | os.PathLike[str],
    *,
    keep: int,
    writes: bool = True,
    run_key: str | None = None,
  ) -> None:
    """Prepares saving and restoring; writes nothing.

    Args:
      state: what is saved and restored.
      workdir: the run's folder.
      keep: the number of latest checkpoints that are kept, at least 1.
      writes: whether saving writes; of several hosts only one does.
      run_key: that of the run's card, "" if the card is older than keys; None
        if there is no card: `restore_latest` then takes that of the checkpoint
        which it finds, or makes one if it finds none and saving writes.
    """
    self.workdir = workdir
    self.writes = writes
    self.run_key = run_key
    self._folder = pathlib.Path(workdir) / DIRECTORY
    self._keep = keep
    self._step = state.step
    self.saved_step = -1
    self._items = state.checkpoint_items()
    self._checkpoint = _checkpoint_of(self._items)

  def save(self) -> None:
    """Saves the state, unless its step is saved already.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    step = int(self._step.numpy())
    if self.writes and step != self.saved_step:
      self._save(self._folder, step, keep=self._keep)
      self.saved_step = step

  def save_best(self) -> None:
    """Saves the state in place of the best so far.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    if self.writes:
      step = int(self._step.numpy())
      self._save(self._folder / BEST, step, keep=1)

  def save_copy(self, folder: pathlib.Path) -> None:
    """Saves the state in another folder, in place of what it holds.

    Raises:
      ConfigError: the disk is full, or the like.
    """
    if self.writes:
      self._save(folder, int(self._step.numpy()), keep=1)

  def restore_copy(self, folder: pathlib.Path, step: int) -> None:
    """Restores what `save_copy` saved at a step.

    Raises:
      ConfigError: it is missing or damaged, or of another network.
    """
    path = folder / f"ckpt-{step}"
    checkpoint_files.require_whole(path, run_key=self.run_key or "")
    _restore(self._items, str(path), whole=True)

  def restore_latest(self, *, before: int | None = None) -> bool:
    """Restores the newest checkpoint that can be read.

    Args:
      before: only those of steps below it count; None is all.

    Returns:
      Whether there was a checkpoint.

    Raises:
      ConfigError: none of the checkpoints can be read, or they hold another
        network.
    """

    def restore(path: str) -> None:
      _restore(self._items, path, whole=True)

    run_key = self.run_key or ""
    found = _restore_newest(
      self._folder, restore, run_key=run_key, before=before
    )
    if found is not None:
      self.saved_step = int(self._step.numpy())
    if self.run_key is None and found is not None:
      self.run_key = found
    elif self.run_key is None and self.writes:
      self.run_key = uuid.uuid4().hex
    return found is not None

  def restore_parent(self, path: pathlib.Path) -> set[str]:
    """Restores the checkpoint of another run, from which this one goes on.

    Args:
      path: of the checkpoint's files, without their suffixes.

    Returns:
      What of `MAY_BE_NEW` one of the two runs does not keep: it is left as it
      was.

    Raises:
      ConfigError: it is damaged, or of another network or optimizer.
    """
    checkpoint_files.require_whole(path, run_key="")
    return _restore(self._items, str(path), may_be_new=MAY_BE_NEW)

  def forget_later(self) -> None:
    """Deletes the checkpoints after the one that was restored last.

    Raises:
      ConfigError: they cannot be deleted.
    """
    if self.writes:
      found = checkpoint_files.steps(self._folder)
      with writing(self._folder, tf.errors.OpError):
        kept = [step for step in found if step <= self.saved_step]
        _keep_only(self._folder, kept)

  def _save(self, folder: pathlib.Path, step: int, *, keep: int) -> None:
    """Saves the state, then deletes all checkpoints but the latest `keep`.

    All is on the disk before an older checkpoint is deleted. Files are moved
    to their places when all are written: a run that is killed while it saves
    still has the checkpoints before.
    """
    unfinished = folder / checkpoint_files.UNFINISHED
    with writing(folder, tf.errors.OpError):
      checkpoint_files.remove_unfinished(folder)
      unfinished.mkdir(parents=True)
      path = unfinished / f"ckpt-{step}"
      self._checkpoint.write(str(path))
      checkpoint_files.write_checksums(
        path, list(unfinished.iterdir()), run_key=self.run_key or ""
      )
      for file in sorted(unfinished.iterdir()):  # .data-*, .index, .sha256
        file.replace(folder / file.name)
      unfinished.rmdir()
      flush(folder)
      flush(folder.parent)
      # Later steps are there only if they could not be read.
      found = checkpoint_files.steps(folder)
      _keep_only(folder, [older for older in found if older <= step][:keep])


def _keep_only(folder: pathlib.Path, kept: list[int]) -> None:
  """Deletes all checkpoints of a folder but those of some steps.

  Args:
    folder: that of the latest, or of the best.
    kept: the steps, the latest first.
  """
  tf.compat.v1.train.update_checkpoint_state(
    str(folder),
    f"ckpt-{kept[0]}",
    all_model_checkpoint_paths=[f"ckpt-{older}" for older in kept[::-1]],
  )
  for file in folder.iterdir():
    matched = FILE_NAME.fullmatch(file.name)
    if matched and int(matched[1]) not in kept:
      file.unlink()


def restore_model(
  model: tf.keras.Model,
  workdir: str | os.PathLike[str],
  *,
  averaged: bool = True,
  checkpoint: str = LATEST,
) -> int:
  """Gives a model the weights of a run's checkpoint.

  Args:
    model: the run's network.
    workdir: the run's folder.
    averaged: take the averaged weights, if the run averages them.
    checkpoint: "latest", the newest that can be read; or "best", that of the
      best evaluation.

  Returns:
    The checkpoint's step.

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
  restored = 0

  def restore(path: str) -> None:
    nonlocal restored
    _restore(weights, path)
    with _reading(path) as plain:
      has_averages = _holds(_saved_variables(plain), "averages")
    if averaged and has_averages:
      _restore({"averages": parameters + statistics}, path)
    restored = int(path.rpartition("-")[2])

  folder = pathlib.Path(workdir) / DIRECTORY
  run_key = (run_card.read(workdir) or {}).get("run_key", "")
  if checkpoint == LATEST:
    if _restore_newest(folder, restore, run_key=run_key) is None:
      raise ConfigError(f"workdir must hold a checkpoint, got {workdir}")
    return restored
  remedy = "take --checkpoint=latest"
  best = folder / BEST
  if _restore_newest(best, restore, run_key=run_key, remedy=remedy) is None:
    raise ConfigError(
      "checkpoint must be latest for a run that was not evaluated while it "
      f"trained, got 'best' for {os.fspath(workdir)}"
    )
  return restored


def _restore_newest(
  folder: pathlib.Path,
  restore: Callable[[str], None],
  *,
  run_key: str,
  remedy: str = "remove the folder to start anew, or take another workdir",
  before: int | None = None,
) -> str | None:
  """Calls `restore` with the newest checkpoint, or an older if it is damaged.

  Returns:
    The key of the run that wrote it, which may be ""; None if there is none.
  """

  def steps_now() -> list[int]:
    found = checkpoint_files.steps(folder)
    return [step for step in found if before is None or step < before]

  steps = steps_now()
  for step in steps:
    path = folder / f"ckpt-{step}"
    try:
      found_key = checkpoint_files.require_whole(path, run_key=run_key)
      restore(str(path))
    except Damaged as error:
      if step in checkpoint_files.steps(folder):
        logging.warning("%s: the one before it is tried", error)
      continue
    return found_key
  # A run that trains may have saved, and deleted these, meanwhile.
  if steps != steps_now():
    return _restore_newest(
      folder, restore, run_key=run_key, remedy=remedy, before=before
    )
  if steps:
    raise ConfigError(f"no checkpoint in {folder} can be read: {remedy}")
  return None


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
    raise Damaged(path, first_line(error)) from error


def _checkpoint_of(items: dict[str, Any]) -> tf.train.Checkpoint:
  checkpoint = tf.train.Checkpoint(**items)
  # TensorFlow creates it when it is first read; each checkpoint holds it.
  checkpoint.save_counter  # noqa: B018
  return checkpoint


def _restore(
  items: dict[str, Any],
  path: str,
  *,
  whole: bool = False,
  may_be_new: Sequence[str] = (),
) -> set[str]:
  """Restores every variable of `items`, and of the files if `whole`.

  Returns:
    Which items of `may_be_new` were not restored, for one side has none.
  """
  items = dict(items)
  new = set()
  with _reading(path) as plain:
    saved = _saved_variables(plain)
    if "untrained" in items and _holds(saved, "frozen"):  # The name until 0.1.
      items["frozen"] = items.pop("untrained")
    if LOST in items and not _holds(saved, LOST):
      for count in items.pop(LOST).values():
        count.assign(0)
    for name in may_be_new:
      if not (_holds(_variables(items), name) and _holds(saved, name)):
        items.pop(name, None)
        new.add(name)
    differences = _differences(
      _variables(items),
      {k: v for k, v in saved.items() if whole or k.split("/")[0] in items},
    )
    if differences:
      more = len(differences) - _LISTED
      listed = differences[:_LISTED] + ([f"{more} more"] if more > 0 else [])
      raise ConfigError(
        f"checkpoint {path} is of another network or optimizer "
        f"({'; '.join(listed)}): take those of its run, or another workdir"
      )
    status = _checkpoint_of(items).restore(plain)
    status.assert_existing_objects_matched().expect_partial()
  return new


class _Variable(NamedTuple):
  """What must be equal in a checkpoint and in the state that it is read into.

  Attributes:
    name: its own, for messages; not compared.
    form: shape and dtype.
  """

  name: str
  form: str


def _saved_variables(path: str) -> dict[str, _Variable]:
  """Returns the variables of a checkpoint by their places in the state."""
  reader = tf.train.load_checkpoint(path)
  graph = trackable_object_graph_pb2.TrackableObjectGraph()
  graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
  shapes, dtypes = (
    reader.get_variable_to_shape_map(),
    reader.get_variable_to_dtype_map(),
  )
  return {
    key[: -len(_VALUE)]: _Variable(
      attribute.full_name, f"{dtypes[key].name}{shapes[key]}"
    )
    for node in graph.nodes
    for attribute in node.attributes
    if (key := attribute.checkpoint_key).endswith(_VALUE)
    and not key.startswith("save_counter/")
  }


def _variables(items: dict[str, Any]) -> dict[str, _Variable]:
  """Returns the variables of a state, as `_saved_variables` does."""
  found = {}

  def visit(node: Any, place: str) -> None:
    if isinstance(node, tf.Variable):
      form = f"{node.dtype.name}{node.shape.as_list()}"
      found[place] = _Variable(node.name.partition(":")[0], form)
      return
    for name, child in view.children(node).items():
      visit(child, f"{place}/{name}" if place else name)

  root = tf.train.Checkpoint(**items)
  view = tf.train.TrackableView(root)
  visit(root, "")
  return found


def _differences(
  ours: dict[str, _Variable], saved: dict[str, _Variable]
) -> list[str]:
  """Returns a clause for each variable that is missing, unexpected or other."""
  clauses = []
  for place in [*ours, *(place for place in saved if place not in ours)]:
    pair = saved.get(place), ours.get(place)
    there, here = (v.form if v else "missing" for v in pair)
    if there != here:
      name = next(v.name for v in reversed(pair) if v)
      shown = place if name in ("", "Variable") else f"{place} ({name})"
      clauses.append(f"{shown} is {there} there, {here} here")
  return clauses


def _holds(saved: dict[str, _Variable], key: str) -> bool:
  """Returns whether a checkpoint has variables under a key."""
  return any(f"{place}/".startswith(f"{key}/") for place in saved)
