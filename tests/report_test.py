# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the report: its figures are scikit-learn's and the formulas'."""

from __future__ import annotations

import csv
import json
import math
import re

import numpy as np
import pytest
from scipy import special
from sklearn import metrics

from tests import events, forked
from train_loop.workdir import report

pytestmark = pytest.mark.any_keras

NAMES = tuple("abcdefghij")


def drawn(classes, count=300, seed=0):
  """Logits, and labels that mostly agree with them; there is no class 1."""
  random = np.random.default_rng(seed)
  logits = random.normal(scale=2.0, size=[count, classes])
  noise = random.gumbel(scale=0.7, size=logits.shape)
  if classes > 2:
    noise[:, 1] = -99.0
  return (logits + noise).argmax(axis=1), logits.astype(np.float32)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_figures_are_scikit_learns(classes):
  labels, logits = drawn(classes)
  found = report.of_one_label(labels, logits, NAMES[:classes])
  json.dumps(found, allow_nan=False)
  numbers, answers = np.arange(classes), logits.argmax(axis=1)
  probabilities = special.softmax(logits.astype(np.float64), axis=1)
  assert found["examples"] == 300
  assert found["top1"] == metrics.accuracy_score(labels, answers)
  assert found["loss"] == pytest.approx(
    metrics.log_loss(labels, probabilities, labels=numbers), rel=1e-12
  )
  assert found["balanced_accuracy"] == pytest.approx(
    np.mean(
      metrics.recall_score(
        labels, answers, labels=np.unique(labels), average=None
      )
    ),
    rel=1e-15,
  )
  np.testing.assert_array_equal(
    found["confusion"],
    metrics.confusion_matrix(labels, answers, labels=numbers),
  )
  columns = metrics.precision_recall_fscore_support(
    labels, answers, labels=numbers, zero_division=0
  )
  for name, column in zip(("precision", "recall", "f1", "examples"), columns):
    assert [row[name] for row in found["classes"]] == column.tolist()
  assert found["largest_class_share"] == np.bincount(labels).max() / 300
  assert ("top5" in found) == (classes > 5)
  if classes > 5:
    assert found["top5"] == metrics.top_k_accuracy_score(
      labels, logits, k=5, labels=numbers
    )
  assert ("auc" in found) == (classes == 2)
  if classes == 2:
    assert found["auc"] == metrics.roc_auc_score(labels, probabilities[:, 1])


def test_the_interval_is_wilsons():
  labels, logits = drawn(3)
  found = report.of_one_label(labels, logits, NAMES[:3])
  p, n, z = found["top1"], 300, 1.959963984540054
  middle = (p + z * z / (2 * n)) / (1 + z * z / n)
  half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
  assert found["top1_interval"] == pytest.approx([middle - half, middle + half])


def test_calibration_is_the_formula():
  labels, logits = drawn(4, count=1000)
  logits = 3.0 * logits.astype(np.float64)  # Too confident.
  found = report.calibration(labels, logits)
  probabilities = special.softmax(logits, axis=1)
  confidence = probabilities.max(axis=1)
  right = probabilities.argmax(axis=1) == labels
  expected, counts = 0.0, []
  for low in range(15):
    inside = (confidence >= low / 15) & (confidence < (low + 1) / 15)
    inside |= (low == 14) & (confidence == 1.0)
    if inside.any():
      counts.append(int(inside.sum()))
      gap = abs(right[inside].mean() - confidence[inside].mean())
      expected += inside.mean() * gap
  assert found["ece"] == pytest.approx(expected, rel=1e-9)
  assert [row["count"] for row in found["bins"]] == counts

  def loss(temperature):
    scaled = special.softmax(logits / temperature, axis=1)
    return metrics.log_loss(labels, scaled, labels=np.arange(4))

  fitted = found["temperature"]
  assert loss(fitted) < min(loss(0.98 * fitted), loss(1.02 * fitted))
  assert found["temperature"] > 2.0
  assert found["ece_at_temperature"] < 0.5 * found["ece"]


def test_mistakes_and_pairs_come_worst_first():
  labels, logits = drawn(3)
  found = report.of_one_label(labels, logits, NAMES[:3])
  answers = logits.argmax(axis=1)
  probabilities = special.softmax(logits.astype(np.float64), axis=1)
  wrong = np.flatnonzero(answers != labels)
  assert set(found["mistakes"]) <= set(wrong)
  confidence = probabilities.max(axis=1)[found["mistakes"]]
  assert (np.diff(confidence) <= 0).all()
  assert confidence[0] == probabilities.max(axis=1)[wrong].max()
  counts = [pair["count"] for pair in found["pairs"]]
  assert counts == sorted(counts, reverse=True) and sum(counts) == len(wrong)


def test_one_image_has_a_report():
  found = report.of_one_label(np.array([1]), np.zeros([1, 2]), NAMES[:2])
  assert found["top1"] == 0.0 and "auc" not in found
  json.dumps(found, allow_nan=False)


def test_figures_of_many_labels_are_scikit_learns():
  random = np.random.default_rng(0)
  rows = random.integers(0, 2, [200, 4])
  rows[:, 2] = 0
  logits = (random.normal(size=[200, 4]) + rows).astype(np.float32)
  thresholds = (0.2, 0.4, 0.5, 0.8)
  found = report.of_many_labels(rows, logits, NAMES[:4], thresholds)
  json.dumps(found, allow_nan=False)
  probabilities = special.expit(logits.astype(np.float64))
  said = probabilities >= np.array(thresholds)
  for k, row in enumerate(found["classes"]):
    assert row["examples"] == rows[:, k].sum()
    if k != 2:
      assert row["average_precision"] == metrics.average_precision_score(
        rows[:, k], logits[:, k]
      )
    assert row["f1"] == pytest.approx(
      metrics.f1_score(rows[:, k], said[:, k], zero_division=0)
    )
  assert found["classes"][2]["average_precision"] is None
  assert found["loss"] == pytest.approx(
    np.mean(
      [
        metrics.log_loss(rows[:, k], probabilities[:, k], labels=[0, 1])
        for k in range(4)
      ]
    ),
    rel=1e-6,
  )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "digits"
  done = forked.run(
    "train_loop.main",
    *("--dataset=digits", "--model=resnet8", "--epochs=1", "--ema_decay=0.9"),
    *("--warmup_epochs=0", "--precision=float32", "--jit_compile=false"),
    *("--onednn=true", f"--workdir={workdir}"),
  )
  assert done.returncode == 0, done.stderr
  return workdir


def test_a_run_leaves_a_report_with_its_own_figures(run):
  final = json.loads((run / "run_card.json").read_text())["final"]
  found = json.loads((run / "report" / "report.json").read_text())
  for name in ("top1", "top5", "balanced_accuracy", "examples"):
    assert found[name] == pytest.approx(final[f"eval_{name}"], rel=1e-12)
  assert found["loss"] == pytest.approx(final["eval_loss"], rel=1e-5)
  with (run / "report" / "predictions.csv").open(encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  assert (
    np.mean([row["label"] == row["answer"] for row in rows]) == (found["top1"])
  )
  with np.load(run / "report" / "predictions.npz") as arrays:
    assert arrays["index"].tolist() == list(range(360))
    hits = arrays["logits"].argmax(axis=1) == arrays["label"]
  assert hits.mean() == found["top1"]
  tags = set(events.accumulator(run / "tensorboard" / "eval").Tags()["images"])
  assert {"examples/confusion", "examples/mistakes"} <= tags


def test_the_page_needs_nothing_else(run):
  text = (run / "report" / "report.html").read_text(encoding="utf-8")
  assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
  assert text.count("<figure>") >= 10
  mistakes = json.loads((run / "report" / "report.json").read_text())[
    "mistakes"
  ]
  assert text.count("labelled <b>") == len(mistakes)


def test_mode_eval_writes_the_same_report(run):
  before = (run / "report" / "report.json").read_text()
  (run / "report" / "report.json").unlink()
  done = forked.run("train_loop.main", "--mode=eval", f"--workdir={run}")
  assert done.returncode == 0, done.stderr
  after = (run / "report" / "report.json").read_text()
  assert json.loads(after)["confusion"] == json.loads(before)["confusion"]
