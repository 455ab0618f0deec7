# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the run card."""

from __future__ import annotations

import pytest

from train_loop.workdir import run_card


def test_a_card_is_read_as_it_was_written(tmp_path):
  assert run_card.read(tmp_path) is None
  card = {"finished": False, "settings": {"seed": 1, "names": ["a"]}}
  run_card.write(tmp_path, card)
  assert run_card.read(tmp_path) == card
  assert [p.name for p in tmp_path.iterdir()] == ["run_card.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", '{"a": 1}'])
def test_what_is_no_card_is_named(tmp_path, text):
  (tmp_path / "run_card.json").write_text(text)
  with pytest.raises(ValueError, match=r"run_card\.json is not a run card"):
    run_card.read(tmp_path)


def test_the_setting_that_differs_is_named_with_both_values(tmp_path):
  run_card.require_same(tmp_path, {"a": [1, 2]}, {"a": (1, 2)})
  with pytest.raises(ValueError, match=r"with rate=0\.1, not 0\.2"):
    run_card.require_same(tmp_path, {"rate": 0.1}, {"rate": 0.2})
  with pytest.raises(ValueError, match="with new=None, not 1"):
    run_card.require_same(tmp_path, {}, {"new": 1})
