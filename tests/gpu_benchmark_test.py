# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmark for a GPU: order, time, and going on after it was cut."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu, harness, input_pipeline
from benchmarks.harness import Runs

MACHINE = {"summary": "a machine", "name": "A", "versions": {}, "gpus": [{}]}


@pytest.fixture
def start(tmp_path, monkeypatch):
  """Returns what starts the program, with nothing measured for real."""
  measured: list[str] = []
  clock = [0.0]

  def compare(contenders, arguments, *, rounds):
    measured.append(contenders[0].arguments[0])
    clock[0] += 240.0
    return {c.name: Runs([{"images_per_second": 2.0}]) for c in contenders}

  def records(rounds, seconds):
    measured.append("records")
    clock[0] += 60.0
    return {"train_loop": Runs([{"images_per_second": 3.0}])}

  monkeypatch.setattr(harness, "compare", compare)
  monkeypatch.setattr(input_pipeline, "records", records)
  monkeypatch.setattr(harness, "machine", MACHINE.copy)
  monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
  file = tmp_path / "gpu.json"

  def run(*arguments):
    measured.clear()
    argv = ["gpu", f"--json={file}", *arguments]
    monkeypatch.setattr("sys.argv", argv)
    status = 0
    try:
      gpu.main()
    except SystemExit as end:
      status = end.code
    sections = json.loads(file.read_text())["sections"] if file.exists() else {}
    return status, list(measured), list(sections)

  return run


def test_the_rows_come_in_order_and_what_was_measured_is_kept(start, capsys):
  status, measured, sections = start("--minutes=6")
  assert status == 1
  assert measured == ["--precision=mixed_float16", "records"]
  assert "left to the next start" in capsys.readouterr().out
  assert sections[0].endswith("float16") and len(sections) == 2
  # The same command goes on; another is another measurement.
  status, measured, sections = start("--minutes=6")
  assert status == 1 and len(sections) == 3
  assert measured == ["--precision=mixed_bfloat16"]
  status, measured, sections = start("--minutes=6")
  assert (status, len(measured), len(sections)) == (0, 1, 4)
  assert start("--minutes=6") == (0, [], sections)
  _, measured, sections = start("--minutes=4.1")
  assert measured == ["--precision=mixed_float16"] and len(sections) == 1


def test_without_a_gpu_it_says_so(start, monkeypatch, capsys):
  monkeypatch.setattr(harness, "machine", lambda: {**MACHINE, "gpus": []})
  assert start() == (2, [], [])
  assert "sees no GPU" in capsys.readouterr().err
  status, measured, sections = start("--tiny", "--minutes=99")
  assert status == 0 and len(measured) == 4
  size = f"{gpu.IMAGE_SIZE} x {gpu.IMAGE_SIZE}"
  assert all(size in name for name in sections if name != "records")
