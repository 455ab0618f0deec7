# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of checkpoints: which is taken if files are damaged or missing."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest
import tensorflow as tf

from tests import tiny
from train_loop.config import ConfigError
from train_loop.state import TrainState
from train_loop.workdir import checkpoint_files, checkpoints, run_card

STEPS = (8, 9, 10)
KEY = "a1b2"
SUFFIXES = (".data-00000-of-00001", ".index", ".sha256")


@functools.cache
def make_state():
  """Returns a state, always the same: to make one takes most of a test."""
  return TrainState(tiny.model(), tiny.config())


def save(workdir, *, steps=STEPS, keep=3, key=KEY):
  """Saves checkpoints in which every weight is the number of the step."""
  state = make_state()
  saver = checkpoints.Checkpoints(state, workdir, keep=keep, run_key=key)
  for step in steps:
    state.step.assign(step)
    fill(state.model, step)
    saver.save()
    saver.save_best()
  card = {"settings": {}, "finished": False, "final": {}, "run_key": key}
  run_card.write(workdir, card)


def fill(model, value):
  for variable in model.variables:
    variable.assign(tf.fill(variable.shape, float(value)))


def restored_step(workdir, key=KEY):
  """Returns the step that a run would go on from."""
  state = make_state()
  state.step.assign(0)
  fill(state.model, -1)
  saver = checkpoints.Checkpoints(state, workdir, keep=3, run_key=key)
  found = saver.restore_latest()
  step = int(state.step.numpy())
  if found:
    require_weights(state.model, step)
  return step if found else None


def restored_model(workdir):
  """Returns a network with the weights of the newest checkpoint."""
  model = make_state().model
  fill(model, -1)
  checkpoints.restore_model(model, workdir)
  return model


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
  files = [f"{name}{suffix}" for name in kept for suffix in SUFFIXES]
  assert sorted(os.listdir(folder)) == ["best", "checkpoint", *files]
  assert sorted(os.listdir(folder / "best")) == ["checkpoint", *files[:3]]
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
  require_weights(restored_model(workdir), 10)


@pytest.mark.parametrize(
  "content", [None, b"", b"model_check", b"\xff\xfe", b"\x00" * 50]
)
def test_the_state_file_of_tensorflow_does_not_matter(content, workdir):
  state_file = workdir / "checkpoints" / "checkpoint"
  state_file.unlink()
  if content is not None:
    state_file.write_bytes(content)
  assert restored_step(workdir) == 10
  require_weights(restored_model(workdir), 10)


DAMAGES = {
  "empty": lambda content: b"",
  "short": lambda content: content[: len(content) // 2],
  "zeros": lambda content: bytes(len(content)),
  "other": lambda content: b"other" * 50,
  "bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
  "missing": None,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_named(
  damage, suffix, workdir, caplog
):
  file = workdir / "checkpoints" / f"ckpt-10{suffix}"
  if damage == "missing":
    file.unlink()
  else:
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
  reason = "is missing" if damage == "missing" else "is not what was written"
  report = (
    f"{workdir}/checkpoints/ckpt-10 is damaged (ckpt-10{suffix} {reason}): "
    "the one before it is tried"
  )
  assert restored_step(workdir) == 9
  assert report in caplog.text
  caplog.clear()
  require_weights(restored_model(workdir), 9)
  assert report in caplog.text


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
@pytest.mark.parametrize("damage", ["empty", "short", "zeros", "other"])
def test_so_is_one_of_an_older_build(damage, suffix, workdir, caplog):
  for file in (workdir / "checkpoints").glob("*.sha256"):
    file.unlink()
  assert restored_step(workdir, key="") == 10
  file = workdir / "checkpoints" / f"ckpt-10{suffix}"
  file.write_bytes(DAMAGES[damage](file.read_bytes()))
  assert restored_step(workdir, key="") == 9
  assert f"{workdir}/checkpoints/ckpt-10 is damaged (" in caplog.text


@pytest.mark.parametrize(
  ("suffixes", "reason"),
  [
    (SUFFIXES, "it is another run's"),
    (SUFFIXES[:2], "ckpt-10.data-00000-of-00001 is not what was written"),
  ],
)
def test_a_checkpoint_of_another_run_is_passed_over(
  suffixes, reason, workdir, tmp_path_factory, caplog
):
  other = tmp_path_factory.mktemp("other")
  save(other, steps=[12], keep=1, key="c3")
  for suffix in suffixes:
    theirs = other / f"checkpoints/ckpt-12{suffix}"
    text = theirs.read_bytes()
    if suffix == ".sha256":  # So that all but the run fits.
      save(other, steps=[10], keep=1, key="c3")
      text = (other / "checkpoints/ckpt-10.sha256").read_bytes()
      theirs = other / "checkpoints/ckpt-10.sha256"
    (workdir / f"checkpoints/ckpt-10{suffix}").write_bytes(text)
  assert restored_step(workdir) == 9
  assert f"ckpt-10 is damaged ({reason}): the one before" in caplog.text


def test_a_checkpoint_that_cannot_be_read_is_passed_over(
  workdir, monkeypatch, caplog
):
  sha256 = checkpoint_files._sha256

  def deny(file):
    if file.name == "ckpt-10.index":
      raise PermissionError(13, "Permission denied")
    return sha256(file)

  monkeypatch.setattr(checkpoint_files, "_sha256", deny)
  assert restored_step(workdir) == 9
  assert "ckpt-10 is damaged (Permission denied): the one" in caplog.text


def test_a_checkpoint_under_another_step_is_passed_over(workdir, caplog):
  for suffix in SUFFIXES:
    file = workdir / f"checkpoints/ckpt-9{suffix}"
    shutil.copy(file, file.with_name(f"ckpt-11{suffix}"))
  assert restored_step(workdir) == 10
  assert "(ckpt-11.sha256 is another checkpoint's)" in caplog.text


def test_a_run_without_its_card_takes_over_the_key_of_its_checkpoint(workdir):
  for key, expected in ((None, KEY), ("", "")):
    state = make_state()
    saver = checkpoints.Checkpoints(state, workdir, keep=3, run_key=key)
    assert saver.restore_latest() and saver.run_key == expected
  new = checkpoints.Checkpoints(state, workdir / "new", keep=3)
  assert not new.restore_latest() and len(new.run_key) == 32
  # A host that does not write reads what the first one has saved since.
  reader = checkpoints.Checkpoints(state, workdir / "new", keep=3, writes=False)
  assert not reader.restore_latest()
  new.save()
  assert reader.restore_latest() and reader.run_key == new.run_key


def test_sha256sum_reads_the_checksums(saved):
  done = subprocess.run(
    ["sha256sum", "--check", "--strict", "ckpt-10.sha256"],
    cwd=saved / "checkpoints",
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count(": OK\n") == 2


def test_all_is_flushed_before_an_older_checkpoint_is_deleted(
  workdir, monkeypatch
):
  flushed = []
  folder = workdir / "checkpoints"

  def note(path):
    assert (folder / "ckpt-8.index").exists()
    flushed.append(str(path.relative_to(workdir)))

  monkeypatch.setattr(checkpoints, "flush", note)
  monkeypatch.setattr(checkpoint_files, "flush", note)
  state = make_state()
  saver = checkpoints.Checkpoints(state, workdir, keep=3, run_key=KEY)
  state.step.assign(11)
  saver.save()
  files = [f"checkpoints/unfinished/ckpt-11{suffix}" for suffix in SUFFIXES]
  assert flushed == [*files, "checkpoints", "."]
  assert not (folder / "ckpt-8.index").exists()


def test_a_reader_finds_what_a_run_saves_meanwhile(
  workdir, monkeypatch, caplog
):
  def save_and_delete(*arguments, **keys):
    monkeypatch.undo()
    save(workdir, steps=[20], keep=1)
    return checkpoint_files.require_whole(*arguments, **keys)

  monkeypatch.setattr(checkpoint_files, "require_whole", save_and_delete)
  require_weights(restored_model(workdir), 20)
  assert "damaged" not in caplog.text


def test_what_differs_in_another_optimizer_is_listed(workdir):
  config = tiny.config(optimizer="adamw", base_learning_rate=0.1)
  state = TrainState(make_state().model, config)
  fill(state.model, -1)
  saver = checkpoints.Checkpoints(state, workdir, keep=3, run_key=KEY)
  message = (
    rf"^checkpoint {workdir}/checkpoints/ckpt-10 is of another network or "
    r"optimizer \(slots/0/1 is missing there, float32\[3, 3, 1, 8\] here; "
    r"slots/1/1 .*; slots/2/1 [^;]*; 5 more\): take those of its run, or anoth"
  )
  with pytest.raises(ConfigError, match=message):
    saver.restore_latest()
  require_weights(state.model, -1)


def test_what_differs_in_another_network_is_listed(workdir):
  layers = tf.keras.layers
  model = tf.keras.Sequential(
    [
      tf.keras.Input(tiny.SHAPE),
      layers.Conv2D(8, 3, use_bias=False, name="first"),
      layers.BatchNormalization(name="second"),
      layers.Flatten(),
      layers.Dense(4, name="third"),
    ]
  )
  fill(model, -1)
  message = (
    r"parameters/3 \(\S*third/kernel\) is float32\[3, 3, 8, 8\] there, "
    r"float32\[288, 4\] here; parameters/4 \(\S*third/bias\) is float32\[8\] "
    r"there, float32\[4\] here; parameters/5 \(\S+/beta\) is "
    r"float32\[8\] there, missing here; 4 more\): "
  )
  with pytest.raises(ConfigError, match=message):
    checkpoints.restore_model(model, workdir)
  require_weights(model, -1)


def test_what_could_not_be_read_does_not_outlive_what_is_saved(tmp_path):
  save(tmp_path, keep=1)
  (tmp_path / "checkpoints/ckpt-10.data-00000-of-00001").write_bytes(b"")
  save(tmp_path, steps=[9], keep=1)
  assert restored_step(tmp_path) == 9


def test_what_a_killed_save_left_does_not_matter(workdir, caplog):
  folder = workdir / "checkpoints"
  unfinished = folder / "unfinished"
  unfinished.mkdir()
  (unfinished / "ckpt-11.index").write_bytes(b"half")
  (folder / "ckpt-11.data-00000-of-00001").write_bytes(b"half")
  assert restored_step(workdir) == 10
  assert not caplog.text
  assert checkpoint_files.steps(folder) == [10, 9, 8]
  save(workdir, steps=[12])
  assert restored_step(workdir) == 12
  assert not list(folder.glob("ckpt-11.*"))
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
    restored_model(tmp_path)
  save(tmp_path, keep=1)
  (tmp_path / "checkpoints/ckpt-10.index").write_bytes(b"")
  message = f"no checkpoint in {tmp_path}/checkpoints can be read: remove"
  with pytest.raises(ConfigError, match=message):
    restored_step(tmp_path)
  with pytest.raises(ConfigError, match=message):
    restored_model(tmp_path)
  shutil.rmtree(tmp_path / "checkpoints")
  (tmp_path / "checkpoints").write_bytes(b"")
  with pytest.raises(ConfigError, match="cannot be read \\(Not a directory"):
    restored_step(tmp_path)
