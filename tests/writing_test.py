# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests that a file of data appears whole or not at all."""

from __future__ import annotations

import os

import pytest

from data import writing


def test_a_file_replaces_the_old_one_when_it_is_whole(tmp_path):
  path = tmp_path / "new" / "a[0].json"
  with writing.new_file(path) as file:
    file.write(b"first")
    assert not path.exists()
  with writing.new_file(str(path)) as file:
    file.write(b"second")
    assert path.read_bytes() == b"first"
  assert path.read_bytes() == b"second"
  assert os.listdir(path.parent) == ["a[0].json"]


def test_an_exception_leaves_the_old_file(tmp_path):
  path = tmp_path / "a"
  path.write_bytes(b"old")
  with (
    pytest.raises(KeyboardInterrupt),
    writing.new_file(path) as file,
  ):
    file.write(b"half")
    raise KeyboardInterrupt
  assert path.read_bytes() == b"old"
  assert os.listdir(tmp_path) == ["a"]


def test_whoever_may_read_a_new_file_may_read_this_one(tmp_path):
  with writing.new_file(tmp_path / "a") as file:
    file.write(b"x")
  (tmp_path / "b").write_bytes(b"x")
  modes = {os.stat(tmp_path / name).st_mode for name in "ab"}
  assert len(modes) == 1
