# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A branch goes on from another run's checkpoint, in that run's order."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import forked, tiny, tiny_run
from tests.fine_tuning_command_test import FLAGS, write_data
from train_loop import train_and_evaluate
from train_loop.command import compose, flags
from train_loop.config import ConfigError
from train_loop.failures import Stopped
from train_loop.modes import preview
from train_loop.modes import train as train_mode
from train_loop.preflight.trials import Trial
from train_loop.state import TrainState
from train_loop.workdir import branches, checkpoints, metrics_file, run_card

pytestmark = pytest.mark.any_keras

SETTINGS = {
  "schedule": "warmup_stable_decay",
  "decay_steps": 4,
  "total_steps": 24,
  "checkpoint_every_steps": 8,
  "keep_checkpoints": 9,
  "log_every_steps": 2,
  "mixup_alpha": 0.2,
  "ema_decay": 0.9,
  "precision": "mixed_float16",
  "accumulate_steps": 2,
}


def train(workdir, *, init_from="", stop=False, **changes):
  return train_and_evaluate(
    tiny.model(drop_probability=0.3, dtype="mixed_float16"),
    tiny_run.make_inputs(None, None).train_dataset(),
    tiny.dataset(64),
    tiny.config(**{**SETTINGS, **changes}),
    workdir,
    should_stop=lambda: stop,
    init_from=str(init_from),
  )


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
  """A whole run, and nothing writes to its folder."""
  workdir = tmp_path_factory.mktemp("branches") / "parent"
  train(workdir)
  return workdir


def saved(workdir, step):
  """Returns all that a checkpoint holds, by name, but for the best result."""
  reader = tf.train.load_checkpoint(f"{workdir}/checkpoints/ckpt-{step}")
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if "OBJECT_GRAPH" not in name and "best" not in name
  }


def rates(workdir):
  return {
    record["step"]: record["learning_rate"]
    for record in metrics_file.read_metrics(workdir)
    if "learning_rate" in record
  }


def test_a_branch_with_its_parents_settings_has_its_parents_bits(
  parent, tmp_path
):
  before = {p: p.read_bytes() for p in parent.rglob("*") if p.is_file()}
  copied, branch = tmp_path / "copied", tmp_path / "branch"
  shutil.copytree(parent, copied)
  with pytest.raises(Stopped):
    train(branch, init_from=f"{copied}@8", stop=True)
  card = run_card.read(branch)
  assert card["parent"]["workdir"] == str(copied)
  assert card["parent"]["step"] == 8
  assert card["run_key"] != card["parent"]["run_key"]
  assert sorted((branch / "checkpoints").glob("ckpt-8.*"))
  shutil.rmtree(copied)  # The branch has no more use of it.
  train(branch, init_from=f"{copied}@8")
  for step in (16, 24):
    expected, found = saved(parent, step), saved(branch, step)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
      np.testing.assert_array_equal(found[name], value, err_msg=name)
  assert rates(branch) == {s: r for s, r in rates(parent).items() if s > 8}
  for path, content in before.items():
    assert path.read_bytes() == content


def test_a_branch_decays_from_its_first_step(parent, tmp_path, caplog):
  branch = tmp_path / "branch"
  changes = {"total_steps": 16, "decay_steps": 8, "base_learning_rate": 3.2}
  train(branch, init_from=f"{parent}@8", **changes)
  peak, found = 3.2 * 32 / 256, rates(branch)
  assert rates(parent)[16] == pytest.approx(peak / 2)
  expected = {s: peak * (1 - ((s - 9) / 8) ** 0.5) for s in (10, 12, 14, 16)}
  assert found == pytest.approx(expected, rel=1e-5)
  assert "rate of 0.4; its parent's was 0.2" in caplog.text


@pytest.mark.parametrize(
  ("changes", "where", "message"),
  [
    (
      {"seed": 3},
      "@8",
      r"@8 is a run with seed=0, not 3: .* alone give weights",
    ),
    ({"optimizer": "adamw"}, "", "optimizer='sgd', not 'adamw'"),
    ({"examples_per_epoch": 250}, "@8", "examples_per_epoch=256, not 250"),
    ({"total_steps": 16}, "@16", "more than the 16 steps .* got 16 steps"),
    ({}, "@9", "there and whole, .* of the steps 8, 16, 24"),
    ({}, "x", "must be a run's workdir, or workdir@step, got"),
  ],
)
def test_what_a_branch_may_not_change_is_named(
  changes, where, message, parent, tmp_path
):
  with pytest.raises(ConfigError, match=message):
    train(tmp_path / "new", init_from=f"{parent}{where}", **changes)
  assert not (tmp_path / "new" / run_card.FILE_NAME).exists()


def test_the_newest_whole_checkpoint_is_taken_or_the_best(parent, tmp_path):
  copied = tmp_path / "a@5"  # A folder's name may have an @.
  shutil.copytree(parent, copied)
  assert branches.find(str(copied)).step == 24
  (copied / "checkpoints" / "ckpt-24.index").write_bytes(b"")
  origin = branches.find(str(copied))
  assert (origin.step, origin.workdir) == (16, str(copied))
  assert origin.sha256 == branches.find(f"{parent}@16").sha256
  best = branches.find(str(parent), checkpoint="best")
  assert best.path.parent.name == "best"


def test_averages_that_the_parent_had_not_start_at_its_weights(tmp_path):
  parent = TrainState(tiny.model(), tiny.config())
  parent.step.assign(5)
  parent.best.assign(0.5)
  checkpoints.Checkpoints(parent, tmp_path, keep=1).save()
  config = tiny.config(ema_decay=0.9, patience=2)
  branch = TrainState(tiny.model(seed=1), config)
  saver = checkpoints.Checkpoints(branch, tmp_path / "branch", keep=1)
  path = tmp_path / "checkpoints" / "ckpt-5"
  new = saver.restore_parent(path)
  assert new == {"averages", "evaluations_since_best"}
  branch.branch_off(new_averages=True)
  assert int(branch.step) == 5 and float(branch.best) == -1.0
  expected = tiny.values(parent.averaged)
  for found in (branch.averaged, branch.averages):
    for value, other in zip(tiny.values(found), expected):
      np.testing.assert_array_equal(value, other)


def test_the_command_cools_a_run_down(tmp_path, capsys, monkeypatch):
  write_data(tmp_path / "four.npz", classes=4)
  arguments = (*FLAGS, f"--data_dir={tmp_path}/four.npz", "--schedule=constant")

  def command(name, *arguments):
    workdir = f"--workdir={tmp_path}/{name}"
    done = forked.run("train_loop.main", "--mode=train", workdir, *arguments)
    assert done.returncode == 0, done.stderr

  command("parent", *arguments)
  cooling = (f"--init_from={tmp_path}/parent@12", "--cool_down_epochs=1")
  for refused, message in (
    ("--seed=4", "is a run with seed=0, not 4"),
    ("--weights=x", "weights must be left out with init_from"),
    ("--epochs=3", "epochs must be left out with cool_down_epochs"),
    ("--model=resnet14", "is a run with model='resnet8', not 'resnet14'"),
    ("--global_batch_size=64", "is a run with global_batch_size=32, not 64"),
  ):
    workdir = f"--workdir={tmp_path}/cooled"
    with pytest.raises(ConfigError, match=message):
      train_mode.run(flags.parse(workdir, *cooling, refused))
  command("cooled", *cooling)
  cooled = tmp_path / "cooled"
  card = run_card.read(cooled)
  assert card["parent"]["step"] == 12
  assert card["settings"]["total_steps"] == 20
  assert card["settings"]["decay_steps"] == 8
  assert card["network"] == run_card.read(tmp_path / "parent")["network"]
  found = rates(cooled)
  assert min(found) == 13 and found[13] == rates(tmp_path / "parent")[13]
  assert found[20] < 0.1 * found[13]
  with pytest.raises(ConfigError, match=r"was begun from .*parent@12, got"):
    train_mode.run(flags.parse(workdir, f"--init_from={tmp_path}/parent@16"))
  shutil.rmtree(tmp_path / "parent")
  for again in ((), cooling):
    assert train_mode.run(flags.parse(workdir, *again)) == 0
    assert "was finished before" in capsys.readouterr().out
  # A preview of it begins where it did, with what its card says.
  monkeypatch.setattr(
    compose, "measured_step", lambda _, chosen, *__: Trial(chosen, 32.0, 1.0)
  )
  looked = preview.look(flags.parse("--mode=preview", workdir))
  assert looked.start_step == 12
  assert looked.parts.config.loop.total_steps == 20
  forecast = looked.forecast()
  assert forecast
  assert forecast.training_seconds == pytest.approx(8 * 32 / 32.0)
