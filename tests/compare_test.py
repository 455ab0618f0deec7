# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=compare, on runs whose answers are known."""

from __future__ import annotations

import dataclasses
import html
import math
import re

import numpy as np
import pytest
from scipy import stats

import data
from tests import tiny
from train_loop import ConfigError
from train_loop.command import comparison, flags
from train_loop.modes import compare
from train_loop.workdir import metrics_file, run_card

COUNT = 100


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Flags of tiny data, their evaluated images, and a run's other folder."""
  folder = tmp_path_factory.mktemp("compared")
  path = folder / "data.npz"
  x_train, y_train = tiny.arrays(64)
  x_test, y_test = tiny.arrays(COUNT, seed=1)
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  arguments = ("--dataset=npz", f"--data_dir={path}", "--model=resnet8")
  _, test = data.load(data.SourceOptions("npz", str(path)))
  return folder, arguments, test


def make_run(source, name, wrong, *more, fingerprint=None):
  """Writes a run that answers all images but some with their label."""
  folder, arguments, test = source
  workdir = folder / name
  (workdir / "report").mkdir(parents=True)
  answers = test.labels.copy()
  answers[wrong] = (answers[wrong] + 1) % tiny.NUM_CLASSES
  right = 1 - len(wrong) / COUNT
  values = flags.parse(*arguments, *more)
  run_card.write(
    workdir,
    {
      "settings": {"examples_per_epoch": 64},
      "flags": flags.as_dict(values),
      "choice": {
        **dict.fromkeys(("onednn", "tensor_float_32", "jit_compile"), False),
        "precision": "float32",
      },
      "network": {
        **{"model": "resnet8", "input_shape": [8, 8, 1], "num_classes": 4},
        **{"mean": [0.0], "std": [1.0]},
      },
      "data": {
        "class_names": list(test.class_names),
        "test_sha256": fingerprint or test.fingerprint(),
      },
      "versions": {"tensorflow": "2.15.1"},
      "finished": True,
      "final": {
        **{"loss": 0.5, "top1": 0.8, "eval_loss": 0.7, "step": 64},
        **{"eval_top1": right, "eval_examples": COUNT},
      },
    },
  )
  metrics = metrics_file.MetricsFile(workdir, start_step=0)
  for epoch in (1, 2):
    metrics.write({"step": epoch, "epoch": epoch, "loss": 1.0 / epoch})
    metrics.write({"step": epoch, "epoch": epoch, "eval_top1": 0.4 * epoch})
  # The order of the answers is the run's own.
  order = np.random.default_rng(len(wrong)).permutation(COUNT)
  logits = 3.0 * np.eye(tiny.NUM_CLASSES, dtype=np.float32)[answers]
  np.savez(
    workdir / "report" / "predictions.npz",
    index=order,
    label=test.labels[order],
    logits=logits[order],
  )
  return str(workdir)


@pytest.fixture(scope="module")
def runs(source):
  """One run has 9 mistakes, another 4, of which they share 2."""
  one = make_run(source, "one", np.arange(9), "--label_smoothing=0.1")
  other = make_run(source, "other", np.array([7, 8, 50, 51]), "--seed=1")
  return one, other


def test_a_comparison_is_a_table_and_a_page(runs, tmp_path, capsys):
  values = flags.parse("--mode=compare", f"--workdir={tmp_path}")
  values["runs"].value = [*runs, runs[0]]
  assert compare.run(values) == 0
  text = capsys.readouterr().out
  page = html.unescape((tmp_path / "compare.html").read_text())
  assert re.search(r"label_smoothing +0\.1 +0\b", text)
  assert re.search(r"seed +0 +1\b", text)
  assert "data_dir" not in text and "tensorflow" not in text
  # Of 9 images on which they disagree, 2 are right by the first alone.
  p = 2 * sum(math.comb(9, k) for k in range(3)) / 2**9
  # 100 images: 89 both right, 2 only one, 7 only other, 2 both wrong.
  row = ["one", "other", "100", "89", "2", "7", "2", "+5.00%", f"{p:.2g}"]
  assert re.search(" +".join(map(re.escape, row)), text)
  for cell in row:
    assert re.search(rf"<td[^>]*>{re.escape(cell)}</td>", page)
  low, high = stats.binomtest(91, 100).proportion_ci(method="wilson")
  wilson = f"91.00% ({low:.2%} to {high:.2%})"
  assert wilson in text and wilson in page
  assert "one gets 2 right that other gets wrong" in page
  assert "other gets 7 right that one gets wrong" in page
  assert page.count("<figure>") == 9 and "No pictures" not in page
  # Each is labelled as it is, and its wrong answer is the next class.
  said = re.findall(r"labelled <b>(\d)</b>, \w+ says\s+<b>(\d)</b>", page)
  assert len(said) == 9
  assert all((int(a) + 1) % tiny.NUM_CLASSES == int(b) for a, b in said)


def test_mcnemar_is_symmetric_and_certain_of_equals(runs):
  one, other = comparison.read(runs)
  there, back = comparison.pair(one, other), comparison.pair(other, one)
  assert there.p == back.p
  assert comparison.pair(one, one).p == 1.0
  assert there.only_first.tolist() == back.only_second.tolist()


def test_other_images_are_not_compared(source, runs):
  third = make_run(source, "third", np.arange(3), fingerprint="other")
  one, other = comparison.read([runs[0], third])
  assert "were evaluated on other images" in comparison.pair(one, other)
  rows = comparison.differences([one, other])
  answered = one.predictions
  others = dataclasses.replace(answered, label=(answered.label + 1) % 4)
  relabelled = dataclasses.replace(one, predictions=others)
  assert "on other images" in comparison.pair(one, relabelled)
  known = one.card["data"]["test_sha256"][:8]
  assert ["evaluated data (hash)", known, "other"] in rows


def test_a_run_without_a_report_says_how_to_write_one(source, runs):
  bare = make_run(source, "bare", np.arange(3))
  (source[0] / "bare" / "report" / "predictions.npz").write_bytes(b"damaged")
  said = comparison.pair(*comparison.read([runs[0], bare]))
  assert f"train_loop --mode=eval --workdir={bare}" in said


@pytest.mark.parametrize("names", [[], ["one"], ["one", "one"]])
def test_fewer_than_two_runs_are_refused(names):
  with pytest.raises(ConfigError, match="runs must be two or more workdirs"):
    compare.run(flags.parse("--mode=compare", f"--runs={','.join(names)}"))


def test_a_folder_that_is_no_run_is_named(tmp_path):
  none = tmp_path / "none"
  with pytest.raises(ConfigError, match=r"runs must hold a run of this .*none"):
    comparison.read([none, none])


def test_runs_may_stand_behind_the_flags_of_their_mode_alone():
  values = flags.Values()
  flags.define(values)
  flags.parse_into(values, ["train_loop", "--mode=compare", "runs/a", "runs/b"])
  assert values.runs == ["runs/a", "runs/b"]
  with pytest.raises(ConfigError, match="runs must be left out for mode train"):
    flags.parse("--mode=train", "--runs=a,b")
