# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=verify: that it sees what is wrong, and says so."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from train_loop.command import flags
from train_loop.modes import verify
from train_loop.verifying import formulas, runs
from train_loop.verifying.formulas import Check
from tricks import momentum, weight_decay


def test_each_trick_is_its_formula_and_a_broken_one_differs(
  monkeypatch, capsys
):
  whole = list(formulas.against_numpy())
  assert all(check.agrees for check in whole), whole
  assert len(whole) == 21
  rule = momentum.momentum_update
  monkeypatch.setattr(
    momentum,
    "momentum_update",
    lambda w, g, slots, **settings: rule(1.001 * w, g, slots, **settings),
  )
  assert verify.report([formulas.against_numpy()]) == 2
  wrong = [
    line for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line
  ]
  assert len(wrong) == 2
  assert all("update rule sgd" in line for line in wrong)


def test_decay_of_a_bias_is_seen(monkeypatch):
  (check,) = runs.decay_is_of_kernels()
  assert check.agrees
  monkeypatch.setattr(
    weight_decay,
    "kernel_mask",
    lambda model: [True] * len(model.trainable_variables),
  )
  (check,) = runs.decay_is_of_kernels()
  assert not check.agrees


@pytest.mark.parametrize(
  ("found", "expected", "gap"),
  [
    ([1.0, 2.0], [1.0, 2.0], 0.0),
    ([1.0, 2.5], [1.0, 2.0], 0.25),
    (([0.0], [4.0]), ([0.0], [2.0]), 1.0),
    ([0.1], [0.0], 0.1),
    ([np.nan, 1.0], [0.0, 1.0], np.nan),
  ],
)
def test_a_difference_is_a_part_of_the_largest_number(found, expected, gap):
  arrays = [
    tf.nest.map_structure(np.float32, structure)
    for structure in (found, expected)
  ]
  if isinstance(found, list):
    arrays = [np.array(array) for array in arrays]
  assert formulas.difference(*arrays) == pytest.approx(gap, nan_ok=True)
  assert Check("x", gap, 0.3).agrees == (gap <= 0.3)


def test_a_run_that_is_another_the_second_time_differs(monkeypatch):
  weights = iter([1.0, 1.0, 2.0, 1.0])
  monkeypatch.setattr(
    runs, "_train", lambda *a, **k: [np.array([next(weights)])]
  )
  monkeypatch.setattr(
    runs.metrics_file, "read_metrics", lambda folder: [{"step": 4}]
  )
  digits = runs.Digits(np.zeros([64, 8, 8, 1], np.uint8), np.zeros(64, int))
  twice, resumed = runs.runs_repeat(digits, exactly=True)
  assert twice.agrees and resumed.agrees
  assert "stopped at step 4" in resumed.name
  weights = iter([1.0, 1.0 + 1e-6, 0.0, 1.0 + 1e-6])
  exact = list(runs.runs_repeat(digits, exactly=True))
  assert not any(check.agrees for check in exact)
  weights = iter([1.0, 1.0 + 1e-6, 0.0, 1.0 + 1e-6])
  assert all(check.agrees for check in runs.runs_repeat(digits, exactly=False))


def test_xla_that_cannot_run_is_said_and_no_fault(monkeypatch, capsys):
  monkeypatch.setattr(formulas, "why_no_xla", lambda: "no libdevice")
  monkeypatch.setattr(formulas, "formulas", lambda: iter(()))
  assert verify.report([formulas.modes_agree()]) == 0
  told = capsys.readouterr().out
  assert "-        formulas: eager = XLA: XLA does not run here: no lib" in told


def test_the_status_says_whether_all_agree(monkeypatch, capsys):
  def broken():
    yield Check("right", 0.0, 0.0)
    raise ValueError("no such kernel\nmore")

  monkeypatch.setattr(verify, "_two_replicas", lambda devices: None)
  values = flags.parse("--mode=verify")
  monkeypatch.setattr(
    verify, "_checks", lambda strategy: [[Check("right", 1e-9, 1e-6)]]
  )
  assert verify.run(values) == 0
  assert "all agree" in capsys.readouterr().out
  monkeypatch.setattr(
    verify, "_checks", lambda strategy: [broken(), [Check("on", 1.0, 0.5)]]
  )
  assert verify.run(values) == 1
  told = capsys.readouterr().out.splitlines()
  assert told[0].startswith("ok       right")
  assert told[1] == "DIFFERS  ValueError: no such kernel"
  assert told[2].startswith("DIFFERS  on") and "1.0e+00 of 0.5" in told[2]
  assert told[3].startswith("2 DIFFER")
