# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=check_labels: the labels that were made wrong are found."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from data.preparation import wrong_labels
from tests import forked, tiny
from train_loop import pages

pytestmark = pytest.mark.any_keras


def reference(labels, probabilities):
  """Confident learning, one example at a time."""
  classes = probabilities.shape[1]
  thresholds = [
    probabilities[labels == k, k].mean() if (labels == k).any() else np.inf
    for k in range(classes)
  ]
  joint = np.zeros([classes, classes], int)
  suspected = []
  for label, row in zip(labels, probabilities):
    sure = [k for k in range(classes) if row[k] >= thresholds[k]]
    confident = max(sure, key=lambda k: row[k], default=None)
    if confident is not None:
      joint[label, confident] += 1
    suspected.append(confident not in (None, label))
  return joint, suspected


@pytest.mark.parametrize("seed", range(5))
def test_suspicions_are_confident_learning(seed):
  random = np.random.default_rng(seed)
  probabilities = random.dirichlet(np.full(4, 0.5), 200)
  drawn = [random.choice(4, p=row) for row in probabilities]
  labels = np.where(random.random(200) < 0.2, random.integers(0, 3, 200), drawn)
  labels[labels == 2] = 1  # A class that nothing is labelled with.
  found = wrong_labels.find(labels, probabilities)
  joint, suspected = reference(labels, probabilities)
  np.testing.assert_array_equal(found.joint, joint)
  np.testing.assert_array_equal(found.suspected, suspected)
  ranked = found.ranked()
  assert found.suspected[ranked][: sum(suspected)].all()
  assert (np.diff(found.margin[ranked][: sum(suspected)]) >= 0).all()
  for place in np.flatnonzero(found.suspected):
    assert found.suggested[place] != labels[place]


def test_perfect_answers_suspect_nothing():
  labels = np.arange(40) % 4
  found = wrong_labels.find(labels, np.eye(4)[labels])
  assert not found.suspected.any() and found.share_wrong == 0.0
  np.testing.assert_array_equal(found.margin, 1.0)


def test_folds_have_each_class_in_proportion():
  labels = np.random.default_rng(0).permutation(
    np.repeat([0, 1, 2], [90, 9, 1])
  )
  fold_of = wrong_labels.folds(labels, 3)
  for fold in range(3):
    counts = np.bincount(labels[fold_of == fold], minlength=3)
    assert abs(counts[0] - 30) <= 1 and abs(counts[1] - 3) <= 1
  assert (wrong_labels.folds(labels, 3, seed=1) != fold_of).any()


def test_a_page_escapes_what_it_shows(tmp_path):
  name = "<script>alert(1)</script>\udcff"
  pages.write(
    tmp_path / "page.html", "check_labels.html", workdir=name, parts=[]
  )
  text = (tmp_path / "page.html").read_text(encoding="utf-8")
  assert "<script" not in text and "&lt;script&gt;" in text


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
  """A run on labels of which some are wrong, and which."""
  root = tmp_path_factory.mktemp("wrong")
  arrays, wrong = {}, {}
  for part, count, seed in (("train", 400, 0), ("test", 200, 1)):
    images, labels = tiny.arrays(count, seed=seed)
    random = np.random.default_rng(seed)
    wrong[part] = np.sort(random.permutation(count)[: count // 20])
    labels[wrong[part]] = (labels[wrong[part]] + 1) % tiny.NUM_CLASSES
    arrays |= {f"x_{part}": images, f"y_{part}": labels}
  np.savez(root / "quarters.npz", **arrays)
  done = command(
    *("--dataset=npz", f"--data_dir={root / 'quarters.npz'}"),
    *("--model=resnet8", "--epochs=8", "--warmup_epochs=1", "--mode=train"),
    *("--precision=float32", "--jit_compile=false", "--onednn=true"),
    *("--base_learning_rate=0.8", "--global_batch_size=40", "--patience=0"),
    f"--workdir={root / 'run'}",
  )
  assert done.returncode == 0, done.stderr
  return root / "run", wrong


def test_wrong_labels_are_found(wrong):
  workdir, truth = wrong
  done = command("--mode=check_labels", f"--workdir={workdir}", "--folds=2")
  assert done.returncode == 0, done.stderr
  for part, name in (("train", "train"), ("validation", "test")):
    path = workdir / "check_labels" / f"{part}.csv"
    with path.open(encoding="utf-8") as file:
      rows = list(csv.DictReader(file))
    indices = [int(row["index"]) for row in rows]
    assert sorted(indices) == list(range(20 * len(truth[name])))
    suspected = [row for row in rows if row["suspected"] == "True"]
    assert f"{part}: {len(suspected)} of {len(rows)} labels" in done.stdout
    found = set(indices[: len(truth[name])]) & set(truth[name])
    assert len(found) >= 0.6 * len(truth[name])
    for row in suspected[:3]:
      assert float(row["suggested_probability"]) > float(
        row["label_probability"]
      )
  text = (workdir / "check_labels/check_labels.html").read_text("utf-8")
  assert "//" not in re.sub(r'src="data:[^"]*"', "", text)
  pictures = text.count('src="data:image/png;base64,')
  assert 25 <= pictures <= 200
  # A fold that was trained stays so.
  again = command("--mode=check_labels", f"--workdir={workdir}", "--folds=2")
  assert again.returncode == 0, again.stderr
  assert "is finished" in done.stdout
  assert "is finished" not in again.stdout
  own_lines = [x for x in done.stdout.splitlines() if "labels are" in x]
  assert own_lines == [
    x for x in again.stdout.splitlines() if "labels are" in x
  ]


def test_one_fold_is_refused(wrong):
  done = command("--mode=check_labels", f"--workdir={wrong[0]}", "--folds=1")
  assert done.returncode == 2
  assert done.stderr.splitlines()[-1] == (
    "train_loop: folds must be 0, or at least 2, got 1"
  )
