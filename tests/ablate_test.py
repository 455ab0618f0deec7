# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=ablate: its rungs, its runs, and what it says of them."""

from __future__ import annotations

import io
import json
import signal
import sys

import numpy as np
import pytest
from scipy import stats

from tests import tiny
from train_loop import ConfigError
from train_loop.command import (
  child,
  flags,
  ladder_report,
  ladders,
  network_facts,
  signals,
)
from train_loop.modes import ablate
from train_loop.workdir import run_card

BATCH_512 = ("--global_batch_size=512", "--base_learning_rate=0.2")


def make(*arguments):
  return ladders.make(flags.parse(*arguments))


def rungs(*arguments):
  return {rung.name: dict(rung.flags) for rung in make(*arguments).rungs}


def test_efficient_is_table_4_one_trick_after_another():
  names = ["baseline", "+ linear scaling", "+ warmup", "+ zero γ"]
  names += ["+ no bias decay", "+ low precision"]
  found = rungs("--ladder=efficient", *BATCH_512, "--warmup_epochs=2")
  assert list(found) == names
  changes = [
    {name: value for name, value in now.items() if then[name] != value}
    for then, now in zip(list(found.values()), list(found.values())[1:])
  ]
  low = changes[-1]["precision"]
  assert low in ("mixed_bfloat16", "mixed_float16")
  assert changes == [
    {"base_learning_rate": "0.2"},
    {"warmup_epochs": "2"},
    {"zero_gamma": "true"},
    {"decay_kernels_only": "true"},
    {"precision": low},
  ]
  # 0.1 * 512 / 256 is the rate of a batch of 256, unscaled.
  assert found["baseline"] == {
    "base_learning_rate": "0.1",
    "warmup_epochs": "0",
    "zero_gamma": "false",
    "decay_kernels_only": "false",
    "precision": "float32",
  }


def test_a_batch_of_256_has_no_linear_scaling():
  ladder = make("--ladder=efficient", "--global_batch_size=256")
  assert "+ linear scaling" not in [rung.name for rung in ladder.rungs]
  assert "Linear scaling is left out" in ladder.notes[0]


def test_refinements_are_table_6(tmp_path):
  arguments = ("--ladder=refinements", "--epochs=12", "--label_smoothing=0.2")
  ladder = make(*arguments, "--teacher=runs/teacher")
  adds_to = [rung.adds_to for rung in ladder.rungs]
  assert adds_to == [None, 0, 1, 2, 2, 4]
  first, *_, distilled, mixed, both = (rung.flags for rung in ladder.rungs)
  assert first == {
    "schedule": "step",
    "boundary_epochs": "3,6,9",
    "label_smoothing": "0",
    "teacher": "",
    "mixup_alpha": "0",
  }
  assert (distilled["teacher"], distilled["mixup_alpha"]) == (
    "runs/teacher",
    "0",
  )
  assert (mixed["teacher"], mixed["mixup_alpha"]) == ("", "0.2")
  assert (both["teacher"], both["mixup_alpha"]) == ("runs/teacher", "0.2")
  assert both["schedule"] == "cosine" and both["label_smoothing"] == "0.2"
  without = make(*arguments)
  assert len(without.rungs) == 4
  assert without.notes == ("Distillation is left out: it needs --teacher.",)


@pytest.mark.parametrize(
  ("model", "variants"),
  [("resnet50", "abcd"), ("resnet18", "acd"), ("resnet20", "ad")],
)
def test_model_tweaks_are_those_that_the_network_has(model, variants):
  ladder = make("--ladder=model_tweaks", f"--model={model}")
  found = [rung.flags["model_variant"] for rung in ladder.rungs]
  assert found == list(variants)
  assert len(ladder.notes) == 4 - len(variants)


def test_own_flags_may_hold_commas_and_share_a_rung():
  ladder = "--ladder=boundary_epochs=3,6+schedule=step,mixup_alpha=0.4"
  assert list(rungs(ladder).values()) == [
    {},
    {"boundary_epochs": "3,6", "schedule": "step"},
    {"boundary_epochs": "3,6", "schedule": "step", "mixup_alpha": "0.4"},
  ]
  left_out = rungs(ladder, "--ladder_order=leave_one_out")
  assert left_out["without mixup_alpha=0.4"] == {
    "boundary_epochs": "3,6",
    "schedule": "step",
  }
  assert len(left_out["all"]) == 3


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """Flags of a run on tiny images."""
  path = tmp_path_factory.mktemp("small") / "data.npz"
  x_train, y_train = tiny.arrays(64)
  np.savez(
    path, x_train=x_train, y_train=y_train, x_test=x_train, y_test=y_train
  )
  return (
    *("--mode=ablate", "--dataset=npz", f"--data_dir={path}"),
    *("--model=resnet8", "--epochs=2", "--warmup_epochs=0.25"),
    "--global_batch_size=16",
  )


TWO_RUNGS = "--ladder=label_smoothing=0.1,mixup_alpha=0.2"


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--ladder=eficient"], "did you mean 'efficient'"),
    (["--ladder=label_smothing=0.1"], "did you mean label_smoothing"),
    (["--ladder=seed=1"], "give seeds"),
    (["--ladder=cache=none"], "that change what is trained, got 'cache'"),
    (["--ladder=label_smoothing=2"], "label_smoothing must be .*(rung + label"),
    (["--ladder=zero_gamma=true"], "change something with each rung: + zero_g"),
    (["--ladder=model_tweaks"], "one of resnet18, .* for ladder model_tweaks"),
    (["--weight_decay=0"], "weight_decay must be above 0"),
    (["--warmup_epochs=0"], "whose rung warmup would change nothing"),
    (["--seed=1"], "seed must be left out in mode ablate: give seeds"),
    (["--init_from=runs/x"], "init_from must be left out in mode ablate"),
    (["--seeds=1,1"], "seeds must be different whole numbers"),
    (["--global_batch_size=auto"], "global_batch_size must be a number"),
    (["--ladder=refinements", "--teacher=none"], "teacher must be the workdir"),
    ([TWO_RUNGS, "--dataset=nothing"], "dataset must be one of"),
  ],
)
def test_what_cannot_be_done_is_one_line_before_any_run(
  small, arguments, message, tmp_path, monkeypatch
):
  monkeypatch.setattr(child, "run", None)
  with pytest.raises(ValueError) as raised:
    ablate.run(flags.parse(*small, f"--workdir={tmp_path}", *arguments))
  pattern = message.replace("(", r"\(").replace("+", r"\+")
  assert raised.match(pattern)
  assert not list(tmp_path.iterdir())


def test_a_trick_without_effect_on_another_s_network_is_refused(
  tmp_path, monkeypatch
):
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # As the counting sets it.
  # Counted in this process, which has TensorFlow.
  monkeypatch.setattr(network_facts, "of", network_facts._count)
  arguments = ("--dataset=synthetic", "--model=keras:MobileNet", "--epochs=8")
  efficient = flags.parse(
    *("--mode=ablate", f"--workdir={tmp_path / 'new'}", *arguments)
  )
  with pytest.raises(ConfigError, match="MobileNet has no residual branch"):
    ablate.run(efficient)
  assert not (tmp_path / "new").exists()


class FakeRuns:
  """Ends runs at once, each with its place's result."""

  def __init__(self, results, *, stop_at=None):
    self.results, self.stop_at, self.started = iter(results), stop_at, []

  def __call__(self, words, log):
    values = flags.parse(*words)
    if len(self.started) == self.stop_at:
      raise signals.Interrupted(signal.SIGTERM)
    self.started.append(values)
    result = next(self.results)
    if result is None:
      return 3
    ablate.pathlib.Path(values.workdir).mkdir()
    card = {
      "settings": {},
      "flags": flags.as_dict(values),
      "choice": {
        **dict.fromkeys(("onednn", "tensor_float_32", "jit_compile"), False),
        "precision": "float32",
      },
      "data": {"test_sha256": "same"},
      "finished": True,
      "final": {
        **{"loss": 1.0, "top1": 0.1, "eval_loss": 1.0, "eval_examples": 64},
        "eval_top1": result,
      },
    }
    run_card.write(values.workdir, card)
    return 0


RESULTS = [0.90, 0.91, 0.93, 0.92, 0.92, 0.93, 0.91, 0.93, 0.92]


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
  """A ladder that was stopped after four runs, and started again."""
  workdir = tmp_path_factory.mktemp("ladder") / "runs"
  values = flags.parse(*small, TWO_RUNGS, f"--workdir={workdir}")
  with pytest.MonkeyPatch.context() as patch:
    first = FakeRuns(RESULTS[:4], stop_at=4)
    patch.setattr(child, "run", first)
    assert ablate.run(values) == 143
    then = FakeRuns(RESULTS[4:])
    patch.setattr(child, "run", then)
    assert ablate.run(values) == 0
  return workdir, first.started, then.started


def test_a_ladder_goes_on_where_it_was_stopped(finished):
  workdir, *parts = finished
  started = [run for part in parts for run in part]
  assert [len(part) for part in parts] == [4, 5]
  assert [run.seed for run in started] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
  assert [run.mixup_alpha for run in started] == [0.0, 0.0, 0.2] * 3
  assert [run.label_smoothing for run in started] == [0.0, 0.1, 0.1] * 3
  # What auto took in the first run holds for all.
  assert [run.precision for run in started] == ["auto"] + ["float32"] * 8
  assert started[1].workdir == str(workdir / "1_label_smoothing=0.1" / "seed_0")


def test_means_and_tests_are_those_of_numpy_and_scipy(finished):
  workdir, *_ = finished
  scores = 100 * np.array(RESULTS).reshape(3, 3).T  # [rungs, seeds]
  report = json.loads((workdir / "ladder.json").read_text())
  page = (workdir / "ladder.html").read_text()
  text = (workdir / "ladder.md").read_text()
  for number in (1, 2):
    row = report["rungs"][number]
    assert row["mean"] == pytest.approx(scores[number].mean(), rel=1e-12)
    assert row["deviation"] == pytest.approx(np.std(scores[number], ddof=1))
    test = stats.ttest_rel(scores[number], scores[number - 1])
    assert row["p"] == pytest.approx(test.pvalue)
    low, high = test.confidence_interval()
    cells = [
      f"{scores[number].mean():.2f} ± {np.std(scores[number], ddof=1):.2f}",
      f"{np.mean(scores[number] - scores[number - 1]):+.2f}",
      f"{low:+.2f} to {high:+.2f}",
      f"{test.pvalue:.2g}",
    ]
    for cell in cells:
      assert f"| {cell} " in text and f'<td class="number">{cell}</td>' in page
  assert "data:image/png" in page
  assert (workdir / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_reads_a_session_group_for_each_run(finished):
  from tensorboard.backend.event_processing import (
    data_provider,
    plugin_event_multiplexer,
  )
  from tensorboard.context import RequestContext
  from tensorboard.plugins import base_plugin
  from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    list_session_groups,
  )

  workdir, *_ = finished
  multiplexer = plugin_event_multiplexer.EventMultiplexer()
  multiplexer.AddRunsFromDirectory(str(workdir))
  multiplexer.Reload()
  provider = data_provider.MultiplexerDataProvider(multiplexer, str(workdir))
  context = backend_context.Context(
    base_plugin.TBContext(data_provider=provider)
  )
  request = api_pb2.ListSessionGroupsRequest(
    start_index=0, slice_size=100, allowed_statuses=[api_pb2.STATUS_SUCCESS]
  )
  groups = list_session_groups.Handler(
    RequestContext(), context, "0", request
  ).run()
  found = {
    (
      group.hparams["rung"].string_value,
      group.hparams["seed"].number_value,
      group.hparams["mixup_alpha"].number_value,
    )
    for group in groups.session_groups
  }
  assert "0_baseline/seed_2" in {g.name for g in groups.session_groups}
  names = [("baseline", 0.0), ("+ label_smoothing=0.1", 0.0)]
  names.append(("+ mixup_alpha=0.2", 0.2))
  assert found == {(name, s, alpha) for name, alpha in names for s in range(3)}


def test_runs_that_were_begun_with_other_flags_are_refused(
  finished, small, monkeypatch
):
  workdir, *_ = finished
  monkeypatch.setattr(child, "run", None)
  other = flags.parse(
    *small, TWO_RUNGS, f"--workdir={workdir}", "--weight_decay=0.1"
  )
  with pytest.raises(ConfigError, match=r"weight_decay=0\.0001, not 0\.1"):
    ablate.run(other)


def test_a_run_that_diverges_is_told_and_the_ladder_goes_on(
  small, tmp_path, monkeypatch
):
  monkeypatch.setattr(child, "run", FakeRuns([0.5, None, 0.75]))
  one_seed = (TWO_RUNGS, "--seeds=5", f"--workdir={tmp_path}")
  assert ablate.run(flags.parse(*small, *one_seed)) == 0
  text = (tmp_path / "ladder.md").read_text()
  assert "0, 1 diverged" in text
  assert "With one seed there is no test" in text


def test_a_child_is_the_command(tmp_path):
  log = tmp_path / "log"
  arguments = ["--mode=schedule", "--dataset=synthetic"]
  assert child.run([*arguments, "--epochs=-1"], log) == 2
  assert child.last_line(log).startswith("epochs must be a finite number in")


def test_a_terminal_s_table_is_redrawn_below_the_lines(monkeypatch):
  screen = io.StringIO()
  screen.isatty = lambda: True
  monkeypatch.setattr(sys, "stdout", screen)
  monkeypatch.setenv("COLUMNS", "20")
  live = ladder_report.Live()
  live.show("first run", "head\n" + 30 * "-")  # Which takes two lines of 20.
  live.show("second run", "table")
  assert screen.getvalue() == (
    f"first run\n\nhead\n{30 * '-'}\n\x1b[4A\x1b[Jsecond run\n\ntable\n"
  )
