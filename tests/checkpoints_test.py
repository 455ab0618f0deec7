# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of checkpoints: which is taken if files are damaged or missing."""

from __future__ import annotations

import os
import shutil

import pytest
import tensorflow as tf

from tests import tiny
from train_loop.config import ConfigError
from train_loop.state import TrainState
from train_loop.workdir import checkpoints

STEPS = (8, 9, 10)


def save(workdir, *, steps=STEPS, keep=3):
  """Saves checkpoints in which every weight is the number of the step."""
  state = TrainState(tiny.model(), tiny.config())
  saver = checkpoints.Checkpoints(state, workdir, keep=keep)
  for step in steps:
    state.step.assign(step)
    fill(state.model, step)
    saver.save()
    saver.save_best()


def fill(model, value):
  for variable in model.variables:
    variable.assign(tf.fill(variable.shape, float(value)))


def restored_step(workdir):
  """Returns the step that a run would go on from."""
  state = TrainState(tiny.model(), tiny.config())
  found = checkpoints.Checkpoints(state, workdir, keep=3).restore_latest()
  step = int(state.step.numpy())
  if found:
    require_weights(state.model, step)
  return step if found else None


def require_weights(model, value):
  for array in tiny.values(model.variables):
    assert (array == value).all()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("saved")
  save(workdir)
  return workdir


@pytest.fixture
def workdir(saved, tmp_path):
  shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
  return tmp_path


def test_the_latest_and_the_best_are_kept(tmp_path):
  save(tmp_path, keep=2)
  folder = tmp_path / "checkpoints"
  kept = ["ckpt-10", "ckpt-9"]
  files = [
    f"{n}{end}" for n in kept for end in (".data-00000-of-00001", ".index")
  ]
  assert sorted(os.listdir(folder)) == ["best", "checkpoint", *files]
  assert sorted(os.listdir(folder / "best")) == ["checkpoint", *files[:2]]
  # TensorFlow's own tools find them.
  assert tf.train.latest_checkpoint(folder) == str(folder / "ckpt-10")
  state = tf.train.get_checkpoint_state(str(folder))
  names = [os.path.basename(p) for p in state.all_model_checkpoint_paths]
  assert names == ["ckpt-9", "ckpt-10"]


@pytest.mark.parametrize("name", ["lr[0.1]", "a*b", "what?", "{a,b}", "a\\b"])
def test_a_path_is_no_pattern(name, tmp_path):
  workdir = tmp_path / name
  save(workdir, keep=1)
  for folder in (workdir / "checkpoints", workdir / "checkpoints/best"):
    indices = [n for n in os.listdir(folder) if n.endswith(".index")]
    assert indices == ["ckpt-10.index"]
  assert restored_step(workdir) == 10
  model = tiny.model()
  checkpoints.restore_model(model, workdir)
  require_weights(model, 10)


@pytest.mark.parametrize(
  "content", [None, b"", b"model_check", b"\xff\xfe", b"\x00" * 50]
)
def test_the_state_file_of_tensorflow_does_not_matter(content, workdir):
  state_file = workdir / "checkpoints" / "checkpoint"
  state_file.unlink()
  if content is not None:
    state_file.write_bytes(content)
  assert restored_step(workdir) == 10
  model = tiny.model()
  checkpoints.restore_model(model, workdir)
  require_weights(model, 10)


DAMAGES = {
  "empty": lambda content: b"",
  "short": lambda content: content[: len(content) // 2],
  "zeros": lambda content: bytes(len(content)),
  "other": lambda content: b"other" * 50,
}


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_named(
  damage, suffix, workdir, caplog
):
  file = workdir / "checkpoints" / f"ckpt-10{suffix}"
  file.write_bytes(DAMAGES[damage](file.read_bytes()))
  assert restored_step(workdir) == 9
  assert f"{workdir}/checkpoints/ckpt-10 is damaged (" in caplog.text
  caplog.clear()
  model = tiny.model()
  checkpoints.restore_model(model, workdir)
  require_weights(model, 9)
  assert "ckpt-10 is damaged (" in caplog.text


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_an_incomplete_checkpoint_is_passed_over(suffix, workdir):
  (workdir / "checkpoints" / f"ckpt-10{suffix}").unlink()
  assert restored_step(workdir) == 9


def test_what_could_not_be_read_does_not_outlive_what_is_saved(tmp_path):
  save(tmp_path, keep=1)
  (tmp_path / "checkpoints/ckpt-10.data-00000-of-00001").write_bytes(b"")
  save(tmp_path, steps=[9], keep=1)
  assert restored_step(tmp_path) == 9


def test_what_a_killed_save_left_does_not_matter(workdir):
  folder = workdir / "checkpoints"
  unfinished = folder / "unfinished"
  unfinished.mkdir()
  (unfinished / "ckpt-11.index").write_bytes(b"half")
  (folder / "ckpt-11.data-00000-of-00001").write_bytes(b"half")
  assert restored_step(workdir) == 10
  save(workdir, steps=[11])
  assert restored_step(workdir) == 11
  assert not unfinished.exists()


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_checkpoint_with_the_keys_of_older_builds_is_read(
  ema_decay, tmp_path
):
  config = tiny.config(ema_decay=ema_decay)
  state = TrainState(tiny.model(), config)
  items = state.checkpoint_items()
  items["frozen"] = items.pop("untrained")
  for variable in [*state.model.variables, *state.averages]:
    variable.assign(tf.fill(variable.shape, 7.0))
  state.step.assign(7)
  checkpoint = tf.train.Checkpoint(**items)
  checkpoint.save_counter.assign(1)
  checkpoint.write(str(tmp_path / "checkpoints/ckpt-7"))
  state = TrainState(tiny.model(), config)
  saver = checkpoints.Checkpoints(state, tmp_path, keep=3)
  assert saver.restore_latest()
  require_weights(state.model, 7)
  model = tiny.model()
  checkpoints.restore_model(model, tmp_path)
  require_weights(model, 7)
  state.step.assign(8)
  saver.save()
  saved = tf.train.list_variables(str(tmp_path / "checkpoints/ckpt-8"))
  assert not any(name.startswith("frozen") for name, _ in saved)


def test_if_none_can_be_read_the_folder_is_named(tmp_path):
  assert restored_step(tmp_path) is None
  with pytest.raises(ConfigError, match="must hold a checkpoint, got"):
    checkpoints.restore_model(tiny.model(), tmp_path)
  save(tmp_path, keep=1)
  (tmp_path / "checkpoints/ckpt-10.index").write_bytes(b"")
  message = f"no checkpoint in {tmp_path}/checkpoints can be read: remove"
  with pytest.raises(ConfigError, match=message):
    restored_step(tmp_path)
  with pytest.raises(ConfigError, match=message):
    checkpoints.restore_model(tiny.model(), tmp_path)
  shutil.rmtree(tmp_path / "checkpoints")
  (tmp_path / "checkpoints").write_bytes(b"")
  with pytest.raises(ConfigError, match="cannot be read \\(Not a directory"):
    restored_step(tmp_path)
