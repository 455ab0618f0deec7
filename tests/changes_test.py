# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of a run that goes on with other settings than it was begun with."""

from __future__ import annotations

import dataclasses
from typing import get_type_hints

import pytest

from tests import tiny
from train_loop import ConfigError, Stopped, train_and_evaluate
from train_loop.command import flags, resume
from train_loop.config import ScheduleConfig, TrainConfig
from train_loop.modes import train as train_mode
from train_loop.workdir import changes, metrics_file, run_card

pytestmark = pytest.mark.any_keras

# Others of all settings that may change, for a run of `tiny.config`.
OTHERS = {
  **{"total_steps": 30, "schedule": "linear", "base_learning_rate": 0.8},
  **{"warmup_steps": 2, "hold_steps": 3, "warmup_learning_rate": 0.01},
  **{"boundary_steps": (9,), "decay_factor": 0.5, "polynomial_power": 3.0},
  **{"decay_steps": 6, "decay_shape": "linear"},
  **{"momentum": 0.8, "nesterov": False, "weight_decay": 1e-3},
  **{"decay_kernels_only": False, "layer_decay": 0.9},
  **{"head_learning_rate_multiplier": 2.0, "clip_global_norm": 5.0},
  **{"accumulate_steps": 2, "parallel_micro_batches": True, "sam_rho": 0.05},
  **{"label_smoothing": 0.1, "mixup_alpha": 0.2, "focal_gamma": 0.5},
  **{"distill_temperature": 2.0, "class_balance": "logit_adjustment"},
  **{"class_balance_beta": 0.9, "logit_adjustment_tau": 0.5},
  **{"class_counts": (64, 64, 64, 64), "seed": 7, "eval_every_steps": 10},
  **{"log_every_steps": 5, "flip_tta": True},
}
# Mixup and CutMix exclude each other; images of one size grow to none; a
# teacher is no setting.
NOT_TRIED = {"cutmix_alpha", "progressive_image_sizes", "teacher_sha256"}


def train(workdir, *, stop=False, **settings):
  return train_and_evaluate(
    tiny.model(),
    tiny.dataset(),
    tiny.dataset(64),
    tiny.config(steps_per_loop=4, **settings),
    workdir,
    should_stop=lambda: stop,
  )


def go_on(workdir, **settings):
  """Goes on with other settings; returns what the card notes."""
  result = train_and_evaluate(
    tiny.model(),
    tiny.dataset(),
    tiny.dataset(64),
    tiny.config(**{"steps_per_loop": 4, **settings}),
    workdir,
    allow_changes=True,
  )
  card = run_card.read(workdir)
  assert card["finished"] and result["step"] == settings["total_steps"]
  return card["changes"]


def test_all_that_may_change_is_a_setting_and_tried_here():
  sections = get_type_hints(TrainConfig).values()
  settings = {f.name for part in sections for f in dataclasses.fields(part)}
  schedule = {field.name for field in dataclasses.fields(ScheduleConfig)}
  assert set(OTHERS) <= set(changes.ALLOWED) <= {*OTHERS, *NOT_TRIED, *schedule}
  assert set(OTHERS) | set(changes.IF_ON) <= settings
  named = set(resume._EFFECTS) | set(resume._REFUSED)
  assert named <= set(flags.names())


def test_a_run_goes_on_with_what_may_change_and_no_run_otherwise(tmp_path):
  with pytest.raises(Stopped):
    train(tmp_path, stop=True)
  before = run_card.read(tmp_path)
  with pytest.raises(
    ConfigError, match=r"momentum=0\.9.*or allow_changes to go"
  ):
    train(tmp_path, **OTHERS)
  with pytest.raises(
    ConfigError, match="optimizer='sgd', not 'adamw': give"
  ) as e:
    go_on(tmp_path, **{**OTHERS, "optimizer": "adamw"})
  assert "momentum" not in str(e.value)
  with pytest.raises(ConfigError, match="more than the 4 steps"):
    go_on(tmp_path, total_steps=4, warmup_steps=2)
  assert run_card.read(tmp_path) == before
  (noted,) = go_on(tmp_path, **OTHERS)
  assert noted["step"] == 4
  assert set(noted["changed"]) == set(OTHERS)
  assert noted["changed"]["momentum"] == [0.9, 0.8]
  # Linear, from 0.8 * 32 / 256 at step 5 to 0 at step 30.
  rates = {
    r["step"]: r["learning_rate"]
    for r in metrics_file.read_metrics(tmp_path)
    if "learning_rate" in r
  }
  assert rates[20] == pytest.approx(0.1 * (30 - 19) / 25)


def test_a_finished_run_goes_on_if_it_becomes_longer(tmp_path):
  train(tmp_path)
  with pytest.raises(ConfigError, match=r"epochs must be more .* momentum"):
    go_on(tmp_path, total_steps=24, momentum=0.8)
  first = go_on(tmp_path, total_steps=26)
  assert first == [{"step": 24, "changed": {"total_steps": [24, 26]}}]
  both = go_on(tmp_path, total_steps=28, momentum=0.8)
  assert both[0] == first[0]
  assert both[1]["step"] == 26 and set(both[1]["changed"]) == {
    *("total_steps", "momentum")
  }


def difference(then, now):
  saved = flags.as_dict(flags.parse(*then))
  values = flags.parse(*now)
  flags.adopt(saved, values)
  found = resume.difference(saved, values)
  text = found.as_text(allow=values.allow_changes)
  return found, {line.split()[0]: line for line in text.splitlines()[2:]}


def test_the_block_says_what_each_flag_would_change():
  found, lines = difference(
    ["--epochs=20", "--cache=none", "--ema_decay=0.9", "--seed=3"],
    [
      *("--epochs=30", "--cache=memory", "--model=resnet32"),
      *("--ema_decay=0", "--flip", "--progressive_image_sizes=8:0,16:0.5"),
    ],
  )
  assert "20" in lines["epochs"] and "30" in lines["epochs"]
  assert lines["epochs"].endswith("schedule: needs --allow_changes")
  assert lines["cache"].endswith("no result: taken")
  assert lines["model"].endswith("the network: refused")
  assert lines["ema_decay"].endswith("what checkpoints hold: refused")
  assert lines["flip"].endswith("the training images: needs --allow_changes")
  assert lines["progressive_image_sizes"].endswith("refused")
  assert set(lines) == {c.name for c in (*found.changed, *found.harmless)}
  assert len(lines) == 6


def test_what_was_left_out_is_the_run_s_and_no_change():
  found, lines = difference(["--epochs=20", "--seed=3"], ["--allow_changes"])
  assert not found.changed and not found.harmless and not lines


def test_a_schedule_that_the_clock_lays_does_not_change():
  _, lines = difference(
    ["--max_minutes=5"], ["--base_learning_rate=0.5", "--flip"]
  )
  assert lines["base_learning_rate"].endswith("by the clock: refused")
  assert lines["flip"].endswith("needs --allow_changes")


def test_another_teacher_is_taken_if_changes_are_allowed(tmp_path):
  then = {"data": {"train_sha256": "x"}, "teacher_sha256": "old"}
  now = {**then, "teacher_sha256": "new"}
  with pytest.raises(ConfigError, match="teacher_sha256='old', not 'new'"):
    train_mode.require_same_data(str(tmp_path), then, now)
  (change,) = train_mode.require_same_data(str(tmp_path), then, now, allow=True)
  assert (change.then, change.now) == ("old", "new")
  other = {**now, "data": {"train_sha256": "y"}}
  with pytest.raises(ConfigError, match="train_sha256='x', not 'y'"):
    train_mode.require_same_data(str(tmp_path), then, other, allow=True)
