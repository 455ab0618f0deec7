# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run that an older build was stopped in goes on, and ends as it would have.

golden_workdir/ was written by the build of 2026-11-27, before rooms and names
were moved: `train_and_evaluate` with the settings below, stopped at step 13.
"""

from __future__ import annotations

import json
import shutil

import pytest

from tests import tiny
from tests.project import ROOT
from train_loop import train_and_evaluate
from train_loop.workdir import metrics_file, run_card

# What that build ended with when it was not stopped.
FINAL = {
  "step": 24,
  "loss": 0.6763962507247925,
  "top1": 0.8984375,
  "gradient_norm": 0.2424703687429428,
  "learning_rate": 0.0012311659520491958,
  "loss_scale": 32768.0,
  "eval_loss": 0.11656092703342438,
  "eval_top1": 1.0,
  "eval_examples": 100,
}


def test_a_run_of_an_older_build_goes_on(tmp_path):
  workdir = shutil.copytree(ROOT / "tests" / "golden_workdir", tmp_path / "run")
  before = metrics_file.read_metrics(workdir)
  final = train_and_evaluate(
    tiny.model(dtype="mixed_float16", drop_probability=0.3, seed=7),
    tiny.dataset(256),
    tiny.dataset(100, seed=1),
    tiny.config(
      log_every_steps=5,
      eval_every_steps=8,
      accumulate_steps=2,
      mixup_alpha=0.2,
      ema_decay=0.9,
      label_smoothing=0.1,
      precision="mixed_float16",
      seed=5,
    ),
    workdir,
  )
  # Another CPU, or another TensorFlow, rounds float16 in another order.
  assert {name: final[name] for name in FINAL} == pytest.approx(FINAL, rel=0.02)
  records = metrics_file.read_metrics(workdir)
  assert records[: len(before)] == before
  assert [r["step"] for r in records if "loss" in r] == [5, 10, 15, 20, 24]


def test_a_setting_that_an_older_build_did_not_have_was_at_its_default():
  settings = run_card.comparable_settings(tiny.config(seed=5))
  older = {k: v for k, v in settings.items() if k != "ema_decay"}
  then = {**run_card.default_settings(), **older}
  run_card.require_same("runs/x", then, settings)


def test_a_run_on_an_archive_evaluated_its_test_arrays(tmp_path):
  card = json.loads((ROOT / "tests/golden_workdir/run_card.json").read_text())
  for flags, split in (
    ({"dataset": "npz"}, "test"),
    ({"dataset": "npz", "eval_split": "auto"}, "auto"),
    ({"dataset": "npz", "validation_fraction": 0.1}, None),
    ({"dataset": "csv"}, None),
  ):
    card["flags"] = flags
    (tmp_path / "run_card.json").write_text(json.dumps(card))
    assert run_card.read(tmp_path)["flags"].get("eval_split") == split


def test_the_old_spelling_of_an_addons_optimizer_is_read(tmp_path):
  card = json.loads((ROOT / "tests/golden_workdir/run_card.json").read_text())
  card["settings"]["optimizer"] = "tfa/LAMB"
  card["flags"] = {"optimizer": "tfa/LAMB"}
  (tmp_path / "run_card.json").write_text(json.dumps(card))
  found = run_card.read(tmp_path)
  assert found["settings"]["optimizer"] == "tfa:LAMB"
  assert found["flags"]["optimizer"] == "tfa:LAMB"
