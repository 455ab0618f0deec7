# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of `auto`: what it tries, what it takes, and what it keeps."""

from __future__ import annotations

import dataclasses
import functools
import json

import pytest

from tests import tiny
from train_loop import machine
from train_loop.preflight import choose as preflight
from train_loop.preflight import trial_cache
from train_loop.preflight.trials import Choice, Device, Trial

# What is tried but for BatchNorm, which has tests of its own.
Asked = functools.partial(preflight.Asked, fuse_batch_norm="false")
ALL_OPEN = Asked()
EXPLICIT = Asked(onednn="true", precision="float32", jit_compile="false")
CPU = Device()
CPU_WITH_BFLOAT16 = Device(native_bfloat16=True)
VOLTA = Device(gpu=True, compute_capability=(7, 0))
AMPERE = Device(gpu=True, compute_capability=(8, 0))
OTHER_GPU = Device(gpu=True)
WORKLOAD = preflight.workload_of(
  {"model": "resnet20", "num_classes": 4}, (8, 8, 1), tiny.config(), None
)


def names(choices):
  """Returns choices in short, as in float32+xla-onednn."""
  return [
    ("tf32" if c.tensor_float_32 else c.precision)
    + "+xla" * c.jit_compile
    + "-onednn" * (not c.onednn)
    + "+fused" * c.fuse_batch_norm
    + "+again" * (c.recompute == "blocks")
    for c in choices
  ]


@pytest.mark.parametrize(
  ("asked", "device", "expected"),
  [
    (
      Asked(),
      CPU,
      ["float32", "float32-onednn", "mixed_bfloat16+xla", "float32+xla"],
    ),
    (
      Asked(),
      CPU_WITH_BFLOAT16,
      [
        "float32",
        "mixed_bfloat16",
        "float32-onednn",
        "mixed_bfloat16+xla",
        "float32+xla",
      ],
    ),
    (
      Asked(),
      Device(x86=False),
      ["float32", "mixed_bfloat16+xla", "float32+xla"],
    ),
    (Asked(), OTHER_GPU, ["float32", "float32+xla"]),
    (
      Asked(),
      VOLTA,
      ["float32", "mixed_float16", "mixed_float16+xla", "float32+xla"],
    ),
    (
      Asked(),
      AMPERE,
      [
        "float32",
        "tf32",
        "mixed_float16",
        "mixed_bfloat16",
        "mixed_float16+xla",
        "mixed_bfloat16+xla",
        "float32+xla",
        "tf32+xla",
      ],
    ),
    (Asked(precision="float32"), AMPERE, ["float32", "float32+xla"]),
    (
      Asked(tensor_float_32="false", jit_compile="false"),
      AMPERE,
      ["float32", "mixed_float16", "mixed_bfloat16"],
    ),
    (
      Asked(precision="float32", tensor_float_32="true", jit_compile="auto"),
      AMPERE,
      ["tf32", "tf32+xla"],
    ),
    (
      Asked(precision="mixed_float16", jit_compile="false"),
      CPU,
      ["mixed_float16", "mixed_float16-onednn"],
    ),
    (
      Asked(onednn="false", precision="float32"),
      CPU,
      ["float32-onednn", "float32+xla-onednn"],
    ),
    (Asked(precision="float32", jit_compile="true"), CPU, ["float32+xla"]),
  ],
)
def test_the_sensible_candidates_are_tried(asked, device, expected):
  assert names(preflight.candidates(asked, device)) == expected


class FakeTrials:
  """Stands for the processes: counts them, and answers from a table.

  Attributes:
    started: the `onednn` of each process.
    tried: each choice that was tried, in short.
  """

  def __init__(self, results, device=CPU):
    self.results = results
    self.device = device
    self.started = []
    self.tried = []

  def __call__(self, job, *, onednn):
    self.started.append(onednn)
    return self

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    pass

  def run(self, choice, *, timeout):
    assert choice.onednn == self.started[-1]
    assert 0 < timeout <= preflight.BUDGET_SECONDS
    (name,) = names([choice])
    self.tried.append(name)
    return dataclasses.replace(self.results[name], choice=choice)


def result(images_per_second, loss, failure=""):
  return Trial(None, images_per_second, loss, failure)


RESULTS = {
  "float32": result(200.0, 2.0),
  "mixed_bfloat16+xla": result(900.0, 2.5),
  "float32+xla": result(0.0, None, "ResourceExhaustedError: no room"),
  "float32-onednn": result(250.0, 2.0),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """The folder of the cache, empty."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  return tmp_path / "train_loop" / "preflight"


@pytest.fixture
def fingerprint(monkeypatch):
  """What the machine says of itself, for a test to change."""
  values = {"cpu": "Z80", "versions": {"tensorflow": "2.15.1"}, "gpus": []}
  monkeypatch.setattr(machine, "fingerprint", lambda: values)
  return values


def choose(fake, asked=ALL_OPEN, workload=WORKLOAD):
  return preflight.choose(asked, None, workload, start=fake)


def test_where_nothing_is_open_nothing_is_started_or_written(cache):
  fake = FakeTrials({})
  choice, tried = choose(fake, EXPLICIT)
  assert choice == Choice(True, False, "float32", False)
  assert (tried, fake.started) == ([], [])
  assert not cache.exists()


def test_the_fastest_that_agrees_is_taken_and_a_failure_is_a_row():
  fake = FakeTrials(RESULTS)
  choice, tried = choose(fake)
  assert names([choice]) == ["float32-onednn"]
  assert fake.started == [True, False]
  assert names(trial.choice for trial in tried) == list(RESULTS)
  lines = preflight.table(tried)
  assert len(lines) == 1 + len(tried)
  assert lines[2].endswith("its loss disagrees")
  assert lines[3].endswith("failed: ResourceExhaustedError: no room")
  assert [line for line in lines if "taken" in line] == [lines[4]]


# Images/s of each choice; the first two decide how the others are tried.
FUSED_WINS = {
  "float32": 10.0,
  "float32+fused": 14.0,
  "mixed_bfloat16+fused": 30.0,
  "mixed_bfloat16": 20.0,  # The fastest of the process, the other way.
  "float32-onednn+fused": 12.0,
  "mixed_bfloat16+xla+fused": 5.0,
  "float32+xla+fused": 4.0,
}
KERAS_WINS_WITH_XLA_TOO = {
  "float32": 10.0,
  "float32+fused": 9.0,
  "mixed_bfloat16": 8.0,
  "mixed_bfloat16+xla": 40.0,
  "float32+xla": 4.0,
  "mixed_bfloat16+xla+fused": 50.0,
  "float32-onednn": 9.0,
}


@pytest.mark.parametrize(
  ("speeds", "order", "taken"),
  [
    (
      FUSED_WINS,
      [
        "float32",
        "float32+fused",
        "mixed_bfloat16+fused",
        "mixed_bfloat16+xla+fused",
        "float32+xla+fused",
        "mixed_bfloat16",
        "float32-onednn+fused",
      ],
      "mixed_bfloat16+fused",
    ),
    (
      KERAS_WINS_WITH_XLA_TOO,
      list(KERAS_WINS_WITH_XLA_TOO),
      "mixed_bfloat16+xla+fused",
    ),
  ],
)
def test_fused_batch_norm_is_decided_first_and_checked_last(
  speeds, order, taken
):
  results = {name: result(speed, 2.0) for name, speed in speeds.items()}
  fake = FakeTrials(results, CPU_WITH_BFLOAT16)
  choice, tried = choose(fake, preflight.Asked())
  assert names(trial.choice for trial in tried) == order
  assert names([choice]) == [taken]
  assert "with fused BatchNorm" in preflight.described(choice)


def test_fused_batch_norm_that_fails_is_not_taken():
  failed = result(0.0, None, "ValueError: no graph")
  results = {"float32": result(10.0, 2.0), "float32+fused": failed}
  asked = preflight.Asked(
    onednn="true", precision="float32", jit_compile="false"
  )
  choice, tried = choose(FakeTrials(results), asked)
  assert names([choice]) == ["float32"]
  assert len(tried) == 2


def test_fused_batch_norm_alone_is_measured_if_it_is_open():
  arguments = {"onednn": "true", "precision": "float32", "jit_compile": "false"}
  assert preflight.Asked(**arguments).settled() is None
  for asked in ("true", "false"):
    settled = preflight.Asked(**arguments, fuse_batch_norm=asked).settled()
    assert settled.fuse_batch_norm == (asked == "true")
  assert all(
    choice.fuse_batch_norm
    for choice in preflight.candidates(
      preflight.Asked(fuse_batch_norm="true"), AMPERE
    )
  )


def test_a_choice_of_an_older_build_is_not_fused():
  older = {
    "onednn": True,
    "tensor_float_32": False,
    "precision": "float32",
    "jit_compile": False,
  }
  assert not Choice(**older).fuse_batch_norm


def test_onednn_is_not_tried_beside_a_gpu():
  plain = ("float32", "float32+xla")
  fake = FakeTrials({name: RESULTS["float32"] for name in plain}, OTHER_GPU)
  choose(fake)
  assert fake.started == [True]


@pytest.mark.parametrize(
  ("asked", "results", "taken"),
  [
    # Another compiler's float32 is a reference as good as the first.
    (
      Asked(jit_compile="auto", onednn="true"),
      {
        "float32": result(0.0, None, "it failed"),
        "float32+xla": result(10.0, 2.0),
        "mixed_bfloat16+xla": result(20.0, 2.01),
      },
      "mixed_bfloat16+xla",
    ),
    # Without one nothing can agree, and nothing is taken for its speed.
    (
      Asked(jit_compile="auto", onednn="true"),
      {
        "float32": result(0.0, None, "it failed"),
        "float32+xla": result(0.0, None, "it failed"),
        "mixed_bfloat16+xla": result(20.0, 2.01),
      },
      "float32",
    ),
    # A precision that was asked for is its own reference.
    (
      Asked(precision="mixed_bfloat16", onednn="true"),
      {
        "mixed_bfloat16": result(10.0, 2.0),
        "mixed_bfloat16+xla": result(20.0, 2.0),
      },
      "mixed_bfloat16+xla",
    ),
  ],
)
def test_what_the_others_must_agree_with(asked, results, taken):
  choice, _ = choose(FakeTrials(results), asked)
  assert names([choice]) == [taken]


def test_the_second_start_tries_nothing(fingerprint, cache):
  first = choose(FakeTrials(RESULTS))
  (file,) = cache.iterdir()
  fake = FakeTrials({})
  assert choose(fake) == first
  assert fake.started == []
  assert list(cache.iterdir()) == [file]


@pytest.mark.parametrize(
  "change",
  [
    {"asked": Asked(precision="float32")},
    {"cpu": "6502"},
    {"gpus": ["NVIDIA H100"]},
    {"versions": {"tensorflow": "2.21.0"}},
    {"network": {"model": "resnet32", "num_classes": 4}},
    {"image_shape": (9, 8, 1)},
    {"config": tiny.config(global_batch_size=64)},
    {"config": tiny.config(ema_decay=0.9)},
    {"config": tiny.config(optimizer="adamw")},
    {"config": tiny.config(accumulate_steps=2)},
    {"teacher": "runs/teacher"},
  ],
  ids=str,
)
def test_what_may_change_the_speed_is_measured_anew(change, fingerprint):
  choose(FakeTrials(RESULTS))
  change = dict(change)
  asked = change.pop("asked", Asked())
  fingerprint.update(
    {name: change.pop(name) for name in fingerprint if name in change}
  )
  same = {
    "network": {"model": "resnet20", "num_classes": 4},
    "image_shape": (8, 8, 1),
    "config": tiny.config(),
    "teacher": None,
  }
  fake = FakeTrials(RESULTS)
  choose(fake, asked, preflight.workload_of(**{**same, **change}))
  assert fake.tried


def test_what_makes_no_step_slower_is_not_measured_anew(fingerprint):
  config = tiny.config(
    total_steps=99, seed=7, base_learning_rate=0.01, weight_decay=1e-3
  )
  workload = preflight.workload_of(
    {"model": "resnet20", "num_classes": 4}, (8, 8, 1), config, None
  )
  assert workload == WORKLOAD


@pytest.mark.parametrize(
  "damage",
  [
    "",
    "{",
    "\x00",
    "[]",
    "{}",
    '{"trials": 1}',
    '{"trials": [1]}',
    '{"trials": []}',
    '{"trials": [{"onednn": true}]}',
  ],
)
def test_a_damaged_file_is_measured_anew_and_rewritten(
  damage, fingerprint, cache
):
  first = choose(FakeTrials(RESULTS))
  (file,) = cache.iterdir()
  whole = file.read_bytes()
  file.write_text(damage)
  assert choose(FakeTrials(RESULTS)) == first
  assert file.read_bytes() == whole
  assert list(cache.iterdir()) == [file]


def test_what_cannot_be_kept_is_no_error(fingerprint, tmp_path):
  (tmp_path / "train_loop").write_text("not a folder")
  for _ in range(2):
    fake = FakeTrials(RESULTS)
    choose(fake)
    assert fake.tried


def test_where_nothing_worked_nothing_is_kept(fingerprint, cache):
  failed = result(0.0, None, "it failed")
  choice, tried = choose(FakeTrials(dict.fromkeys(RESULTS, failed)))
  assert names([choice]) == ["float32"]
  assert len(tried) == len(RESULTS)
  assert not cache.exists()


@pytest.mark.parametrize(
  ("first", "tried"),
  [
    (result(200.0, 2.0), ["float32"]),
    (result(0.0, None, "OOM: no room"), ["float32", "float32+again"]),
    (
      dataclasses.replace(result(200.0, 2.0), memory=0.9),
      ["float32", "float32+again"],
    ),
  ],
)
def test_blocks_are_computed_again_if_the_batch_does_not_fit(first, tried):
  asked = Asked(
    onednn="true", precision="float32", jit_compile="false", recompute="auto"
  )
  fake = FakeTrials({"float32": first, "float32+again": result(150.0, 2.0)})
  choice, _ = choose(fake, asked)
  assert fake.tried == tried
  assert choice.precision_config.recompute == (
    "blocks" if "+again" in tried[-1] else "none"
  )


def test_trials_are_rows_of_json():
  trial = Trial(Choice(True, False, "float32", True), 12.5, 2.25)
  row = trial_cache.as_row(trial)
  assert row == {
    "onednn": True,
    "tensor_float_32": False,
    "precision": "float32",
    "jit_compile": True,
    "fuse_batch_norm": False,
    "recompute": "none",
    "images_per_second": 12.5,
    "loss": 2.25,
    "failure": "",
    "batch_size": 0,
    "memory": 0.0,
    "micro_batches": 0,
  }
  assert trial_cache.from_row(json.loads(json.dumps(row))) == trial


@pytest.mark.parametrize("base", ["", "relative/cache"])
def test_without_a_cache_home_it_is_in_the_home(base, monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", base)
  monkeypatch.setenv("HOME", str(tmp_path))
  expected = tmp_path / ".cache" / "train_loop" / "preflight"
  assert trial_cache.folder() == expected
