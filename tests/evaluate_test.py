# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=eval on another folder than the run's own."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from data import DataError
from data.sources import image_folder
from data.sources.source import with_classes
from tests import forked, pictures

pytestmark = pytest.mark.any_keras


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folders for classes, to train on and to test with."""
  root = tmp_path_factory.mktemp("pictures")
  pictures.write_folder(root, counts=(("mine", 8), ("test", 5)))
  return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  done = command(
    *("--model=resnet8", "--epochs=6", "--warmup_epochs=0"),
    *("--precision=float32", "--jit_compile=false", "--onednn=true"),
    *("--dataset=image_folder", f"--data_dir={folder / 'mine'}"),
    *("--validation_fraction=0.25", "--image_size=16", f"--workdir={workdir}"),
    *("--global_batch_size=6", "--eval_every_epochs=3"),
  )
  assert done.returncode == 0, done.stderr
  return workdir, done.stdout


def evaluate(run, folder):
  return command("--mode=eval", f"--workdir={run[0]}", f"--data_dir={folder}")


def result_of(done):
  assert done.returncode == 0, done.stderr
  return done.stdout.partition(": ")[2]


def test_a_folder_of_ones_own_is_evaluated_whole(run, folder, tmp_path):
  whole = result_of(evaluate(run, folder / "test"))
  assert whole.endswith("on 15 examples\n")
  # Each class alone, numbered as in the run: together they are the whole.
  top1 = []
  for name in pictures.CLASSES:
    shutil.copytree(folder / "test" / name, tmp_path / name / name)
    alone = result_of(evaluate(run, tmp_path / name))
    assert alone.endswith("on 5 examples\n")
    top1.append(float(alone.split()[1].rstrip("%,")))
  assert np.mean(top1) == pytest.approx(
    float(whole.split()[1].rstrip("%,")), abs=0.01
  )


def test_the_runs_own_folder_may_move(run, folder, tmp_path):
  moved = shutil.copytree(folder / "mine", tmp_path / "moved")
  _, trained = run
  assert result_of(evaluate(run, moved)) == trained.partition(": ")[2]


def test_other_classes_are_one_line_with_both_lists(run, folder, tmp_path):
  shutil.copytree(folder / "test", tmp_path / "new")
  (tmp_path / "new/red").rename(tmp_path / "new/crimson")
  done = evaluate(run, tmp_path / "new")
  assert done.returncode == 2
  (line,) = [x for x in done.stderr.splitlines() if "train_loop:" in x]
  assert "blue, green, red; got blue, crimson, green" in line


def test_classes_are_told_by_their_names(folder):
  source = image_folder.load_whole(str(folder / "test"))
  found = with_classes(source, ("red", "pink", "green", "blue"))
  assert found.class_names == ("red", "pink", "green", "blue")
  for index in range(found.num_examples):
    name = found.class_names[found.labels[index]]
    assert f"/{name}/" in found.place(index)
  assert with_classes(source, pictures.CLASSES) is source
  renamed = dataclasses.replace(source, class_names=("caf\u00e9", "b", "c"))
  assert with_classes(renamed, ("c", "b", "cafe\u0301")).labels[0] == 2
  with pytest.raises(DataError, match="red, pink; got blue, green, red"):
    with_classes(source, ("red", "pink"))
