# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the run card."""

from __future__ import annotations

import dataclasses
import json

import pytest

from train_loop.config import ConfigError
from train_loop.preflight import trials
from train_loop.workdir import run_card

CHOICE = {
  "onednn": True,
  "tensor_float_32": False,
  "precision": "float32",
  "jit_compile": False,
  "fuse_batch_norm": False,
  "recompute": "none",
}
CARD = {
  "settings": {"seed": 1, "names": ["a"]},
  "finished": True,
  "final": {"loss": 0.5, "top1": None},
  "flags": {"epochs": 2.0},
  "choice": CHOICE,
  "data": {"name": "digits"},
  "network": {
    "model": "resnet20",
    "input_shape": [None, None, 1],
    "num_classes": 10,
    "mean": [1.0],
    "std": [2.0],
  },
}
EVALUATED = {"eval_loss": 1.0, "eval_top1": 0.5, "eval_top5": 1}


def write_text(workdir, text):
  (workdir / "run_card.json").write_text(text)


def test_a_card_is_read_as_it_was_written(tmp_path):
  assert run_card.read(tmp_path) is None
  assert run_card.read(tmp_path / "missing") is None
  run_card.write(tmp_path, CARD)
  assert run_card.read(tmp_path) == CARD
  assert [p.name for p in tmp_path.iterdir()] == ["run_card.json"]


def test_the_choice_checked_is_the_whole_choice():
  names = [field.name for field in dataclasses.fields(trials.Choice)]
  assert sorted(names) == sorted(CHOICE)


def test_a_field_of_a_later_build_is_ignored(tmp_path):
  later = {**CARD, "new": 1, "choice": {**CHOICE, "new": 2}}
  write_text(tmp_path, json.dumps(later))
  assert run_card.read(tmp_path) == {**CARD, "new": 1}


@pytest.mark.parametrize(
  "content",
  [
    b"",
    b"{",
    b"[1]",
    b"null",
    b"\x00\x00",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"settings": {}, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"9" * 5000,
  ],
  ids=lambda content: repr(content[:12]),
)
def test_a_file_that_is_no_card_is_named(tmp_path, content):
  (tmp_path / "run_card.json").write_bytes(content)
  with pytest.raises(
    ConfigError, match=r"run_card\.json is not a run card \(."
  ):
    run_card.read(tmp_path)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("settings", None),
    ("settings", []),
    ("finished", "yes"),
    ("finished", 1),
    ("final", None),
    ("final", {}),
    ("final", {"loss": "low", "top1": 0.5}),
    ("final", {**EVALUATED, "eval_examples": None}),
    ("flags", None),
    ("flags", "--epochs=1"),
    ("data", [1]),
    ("teacher_sha256", None),
    ("choice", None),
    ("choice", {}),
    ("choice", {**CHOICE, "onednn": "true"}),
    ("choice", {**CHOICE, "precision": 16}),
    ("network", "resnet20"),
    ("network", {**CARD["network"], "num_classes": 2.5}),
    ("network", {**CARD["network"], "mean": None}),
  ],
)
def test_a_field_of_another_type_is_named(tmp_path, field, value):
  write_text(tmp_path, json.dumps({**CARD, field: value}))
  with pytest.raises(ConfigError, match=rf"\({field}\S* must be .*, got ") as e:
    run_card.read(tmp_path)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("field", ["settings", "finished", "final"])
def test_a_field_that_is_missing_is_named(tmp_path, field):
  write_text(
    tmp_path, json.dumps({k: v for k, v in CARD.items() if k != field})
  )
  with pytest.raises(ConfigError, match=rf"\({field} must be .*, got nothing"):
    run_card.read(tmp_path)


def test_a_workdir_that_is_no_folder_is_named(tmp_path):
  file = tmp_path / "file"
  file.write_text("")
  for workdir, reason in (
    (file, "Not a directory"),
    (tmp_path / ("x" * 300), "File name too long"),
    (tmp_path / "a\udc80", "surrogates not allowed"),
    (tmp_path / "a\x00b", "null byte"),
  ):
    with pytest.raises(ConfigError, match=rf"^workdir must be.*{reason}") as e:
      run_card.read(workdir)
    assert repr(str(workdir)) in str(e.value)


def test_each_setting_that_differs_is_named_with_both_values(tmp_path):
  run_card.require_same(tmp_path, {"a": [1, 2]}, {"a": (1, 2)})
  with pytest.raises(ConfigError, match=r"with rate=0\.1, not 0\.2: give the"):
    run_card.require_same(tmp_path, {"rate": 0.1}, {"rate": 0.2})
  with pytest.raises(
    ConfigError,
    match="with a=1, not 2; new=None, not 1; old='x', not None: give the same",
  ):
    run_card.require_same(
      tmp_path, {"a": 1, "b": 0, "old": "x"}, {"a": 2, "b": 0, "new": 1}
    )
