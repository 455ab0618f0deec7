# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' harness: turns, failures, medians, ratios, table and JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import re
import subprocess

import pytest

from benchmarks import harness, step_throughput
from benchmarks.harness import ChildFailed, Column, Contender, Runs

PEER = """
import os, sys
print("a library says hello")
print('{"ready": true}', flush=True)
for turn, _ in enumerate(sys.stdin):
  if sys.argv[1:] == ["--fail_in_turn", str(turn)]:
    raise ValueError("no luck\\nin this turn\\n")
  print("not JSON"), print("[1]")
  print('{"rate": %s, "seen": "%s"}' % (10 + turn, os.environ.get("SEEN")))
  sys.stdout.flush()
"""


@pytest.fixture
def peer(tmp_path):
  """Returns what makes contenders of a peer that measures nothing."""
  (tmp_path / "fake_peer.py").write_text(PEER, encoding="utf-8")

  def make(name, *arguments, environment=None, **fields):
    variables = {"PYTHONPATH": str(tmp_path), **(environment or {})}
    return Contender(name, "fake_peer", arguments, variables, **fields)

  return make


def rate(**rates):
  """Returns runs with one figure, a list of its values for each name."""
  return {
    name: Runs([{"rate": value} for value in values])
    for name, values in rates.items()
  }


def test_each_is_measured_in_turn():
  calls = []
  measures = {
    name: lambda name=name: calls.append(name) or {"turn": len(calls)}
    for name in "abc"
  }
  runs = harness.interleave(measures, rounds=2)
  assert calls == list("abcabc")
  assert runs["b"].records == [{"turn": 2}, {"turn": 5}]


def test_one_that_fails_is_left_out_and_the_others_go_on():
  calls = []

  def fails():
    calls.append("fails")
    if len(calls) > 1:
      raise ChildFailed("out of memory")
    return {"rate": 1}

  runs = harness.interleave(
    {"fails": fails, "works": lambda: {"rate": 2}}, rounds=3
  )
  assert len(calls) == 2
  assert runs["fails"] == Runs([{"rate": 1}], error="out of memory")
  assert runs["works"] == Runs([{"rate": 2}] * 3)


def test_children_set_up_once_and_measure_every_round(peer):
  contenders = [peer("a"), peer("b", environment={"SEEN": "yes"})]
  runs = harness.compare(contenders, rounds=2)
  assert [record["rate"] for record in runs["a"].records] == [10, 11]
  assert [record["seen"] for record in runs["b"].records] == ["yes", "yes"]
  assert list(runs) == ["a", "b"]


COUNTING = """
import sys, threading, time
counted = []
def count():
  while True:
    counted.append(time.sleep(0.01))
threading.Thread(target=count, daemon=True).start()
print('{"ready": true}', flush=True)
for _ in sys.stdin:
  time.sleep(float(sys.argv[1]))
  print('{"counted": %d}' % len(counted), flush=True)
"""


def test_who_does_not_measure_is_stopped(tmp_path):
  (tmp_path / "counting.py").write_text(COUNTING, encoding="utf-8")
  path = {"PYTHONPATH": str(tmp_path)}
  contenders = [
    Contender(seconds, "counting", (seconds,), path) for seconds in ("0", "0.4")
  ]
  runs = harness.compare(contenders, rounds=3)
  first, *_, last = (record["counted"] for record in runs["0"].records)
  assert last - first < 20
  first, *_, last = (record["counted"] for record in runs["0.4"].records)
  assert last - first > 20


def test_none_unsets_a_variable(peer, monkeypatch):
  monkeypatch.setenv("SEEN", "yes")
  contenders = [peer("a"), peer("b", environment={"SEEN": None})]
  runs = harness.compare(contenders, rounds=1)
  assert [runs[n].records[0]["seen"] for n in "ab"] == ["yes", "None"]


@pytest.mark.parametrize("turn, records", [("0", 0), ("1", 1)])
def test_a_failing_child_is_told_by_the_last_line_of_its_error(
  peer, turn, records
):
  contenders = [peer("fails", "--fail_in_turn", turn), peer("works")]
  runs = harness.compare(contenders, rounds=2)
  assert runs["fails"].error == "in this turn"
  assert len(runs["fails"].records) == records
  assert len(runs["works"].records) == 2


def test_a_child_that_cannot_set_up_is_reported(peer):
  broken = Contender("broken", "no_such_module")
  runs = harness.compare([broken, peer("works")], rounds=1)
  assert "No module named no_such_module" in runs["broken"].error
  assert runs["works"].error is None


def test_a_child_that_takes_too_long_is_reported(peer):
  endless = "import sys\nprint('{}', flush=True)\nwhile True: pass\n"
  contender = Contender("endless", "timeit", ("-n1", "-r1", endless))
  runs = harness.compare([contender], rounds=1, round_seconds=0.2)
  assert runs["endless"].error == "took longer than 0 s"


def test_a_missing_peer_is_named_with_its_remedy(peer):
  missing = peer("missing", requires=("json", "no_such_package"))
  runs = harness.compare([peer("works"), missing], rounds=1)
  assert runs["missing"].error == (
    "not installed (pip install train_loop[bench])"
  )
  assert len(runs["works"].records) == 1
  shown = harness.table(runs, [Column("rate", "images/s")])
  assert "| missing | not installed (pip install train_loop[bench])" in shown


def test_medians_are_of_the_numbers_alone():
  runs = Runs(
    [
      {"rate": 3.0, "name": "x", "best": None, "finished": True},
      {"rate": 1.0, "name": "y", "best": 5, "finished": True},
      {"rate": 8.0, "name": "z", "best": 7, "finished": True},
    ]
  )
  assert runs.medians() == {"rate": 3.0, "best": 6}
  assert Runs().median("rate") is None


@pytest.mark.parametrize(
  "ours, peer, more_is_better, expected",
  [
    (30.0, 10.0, True, 3.0),
    (10.0, 30.0, False, 3.0),
    (None, 30.0, True, None),
    (10.0, None, False, None),
  ],
)
def test_a_ratio_above_one_says_that_we_are_faster(
  ours, peer, more_is_better, expected
):
  found = harness.ratio(ours, peer, more_is_better=more_is_better)
  assert found == expected


def test_table():
  runs = rate(ours=[20.0, 40.0, 30.0], peer=[10.0])
  runs["broken"] = Runs(error="no luck")
  rows = harness.rows_of(runs, key="rate", ours="ours", more_is_better=True)
  ratios = [row["ratio"] for row in rows]
  columns = [Column("rate", "images/s"), Column("rate", "%", "{:.0%}", 0.01)]
  assert harness.table(runs, columns, ratios).splitlines() == [
    "|        |   images/s |   % |   ours / this |",
    "|:-------|-----------:|----:|--------------:|",
    "| ours   |       30.0 | 30% |          1.00 |",
    "| peer   |       10.0 | 10% |          3.00 |",
    "| broken |    no luck |     |               |",
  ]


def test_json_holds_every_measurement(tmp_path, monkeypatch, capsys):
  file = tmp_path / "found.json"
  monkeypatch.setattr(harness.sys, "argv", ["speed.py", "--cases=a b"])
  monkeypatch.setattr(harness, "commit", lambda: "1234567")
  options = harness.parser("A benchmark.").parse_args([f"--json={file}"])
  report = harness.Report("speed", options, {"summary": "a machine"})
  runs = rate(ours=[20.0, 40.0], peer=[10.0])
  runs["broken"] = Runs(error="no luck")
  report.section("small", runs, [Column("rate", "images/s")], ours="ours")
  report.section("large", runs, [Column("rate", "images/s")], ours="ours")
  found = json.loads(file.read_text(encoding="utf-8"))
  assert found["benchmark"] == "speed"
  assert found["machine"] == {"summary": "a machine"}
  assert found["options"] == {"rounds": 3, "json": str(file)}
  assert found["command"] == "python -m benchmarks.speed '--cases=a b'"
  assert found["commit"] == "1234567"
  datetime.datetime.strptime(found["date"], "%Y-%m-%d %H:%M UTC")
  assert list(found["sections"]) == ["small", "large"]
  small = found["sections"]["small"]
  assert [Column(**column) for column in small["columns"]] == [
    Column("rate", "images/s")
  ]
  assert small["ratios"] is True
  assert small["rows"] == [
    {
      "name": "ours",
      "records": [{"rate": 20.0}, {"rate": 40.0}],
      "median": {"rate": 30.0},
      "error": None,
      "ratio": 1.0,
    },
    {
      "name": "peer",
      "records": [{"rate": 10.0}],
      "median": {"rate": 10.0},
      "error": None,
      "ratio": 3.0,
    },
    {
      "name": "broken",
      "records": [],
      "median": {},
      "error": "no luck",
      "ratio": None,
    },
  ]
  assert "speed on a machine" in capsys.readouterr().out


def test_the_commit_says_whether_files_were_changed(tmp_path, monkeypatch):
  def git(*arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

  monkeypatch.setattr(harness, "ROOT", tmp_path)
  assert harness.commit() == "unknown"
  file = tmp_path / "a"
  file.write_text("1")
  git("init", "-q")
  git("add", "a")
  git("commit", "-q", "-m", "a")
  (tmp_path / "found.json").write_text("{}")  # Not part of the project.
  clean = harness.commit()
  assert re.fullmatch("[0-9a-f]{7,}", clean)
  file.write_text("2")
  assert harness.commit() == f"{clean}-dirty"


@pytest.mark.parametrize(
  "line, record",
  [
    ('{"rate": 2.5}\n', {"rate": 2.5}),
    ("Epoch 1/1\n", None),
    ("[1, 2]", None),
    ("3", None),
    ("", None),
  ],
)
def test_only_a_json_object_is_a_record(line, record):
  assert harness.parse_record(line) == record


def test_a_table_names_image_and_batch_size():
  heading = step_throughput.heading
  assert heading("resnet20", None) == "resnet20, 32 x 32, batch 128"
  assert heading("resnet50", 64) == "resnet50, 128 x 128, batch 64"


def test_last_line():
  assert harness.last_line("first\nlast  \n\n") == "last"
  assert harness.last_line("\n") == "ended without an error message"


def test_flags_are_checked():
  assert harness.names(["a", "b"])("b,a") == ["b", "a"]
  with pytest.raises(argparse.ArgumentTypeError, match="one of a, b, got 'c'"):
    harness.names(["a", "b"])("a,c")
  assert harness.positive("3") == 3
  with pytest.raises(argparse.ArgumentTypeError, match="at least 1, got 0"):
    harness.positive("0")


def test_a_column_without_a_figure_says_so():
  assert Column("rate", "images/s").cell(Runs()) == "–"
  assert math.isclose(Runs([{"rate": 1.5}]).median("rate"), 1.5)
