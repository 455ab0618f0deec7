# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The examples run, and learn what they set out to."""

from __future__ import annotations

import json

import pytest

from examples import one_trick, own_dataset, own_model, step_unit_test


@pytest.mark.parametrize("example", [own_model, own_dataset])
def test_an_example_learns_and_then_is_finished(example, tmp_path, capsys):
  for _ in range(2):
    example.main(str(tmp_path))
    *_, top1 = capsys.readouterr().out.split()
    assert float(top1) > 0.9
  card = json.loads((tmp_path / "run_card.json").read_text())
  assert card["finished"]
  assert (tmp_path / "checkpoints" / "best").is_dir()


def test_the_tricks_train_in_loops_of_others():
  # Mixed and smoothed targets have an entropy that no loss is below.
  assert 0.2 < one_trick.own_loop() < 0.8
  assert one_trick.keras_fit() > 0.9


test_the_unit_test_of_a_step = step_unit_test.test_a_step_lowers_the_loss
