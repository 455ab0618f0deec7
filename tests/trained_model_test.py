# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of loading a run's network, from its latest and its best checkpoint."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import train_loop
from tests import forked, tiny
from train_loop import ConfigError
from train_loop.command import trained_model
from train_loop.workdir import metrics_file, run_card


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


def held_out():
  """Labels that the better network gets wrong: the best is not the latest."""
  images, labels = tiny.arrays(99, seed=1)
  return images, (labels + 1) % tiny.NUM_CLASSES


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
  path = tmp_path_factory.mktemp("data") / "data.npz"
  (x_train, y_train), (x_test, y_test) = tiny.arrays(256), held_out()
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  return path


@pytest.fixture(scope="module")
def run(data_file, tmp_path_factory):
  """A run that averages, grows its images, and is best before its end."""
  workdir = tmp_path_factory.mktemp("run")
  done = command(
    "--dataset=npz",
    f"--data_dir={data_file}",
    f"--workdir={workdir}",
    "--model=resnet8",
    "--epochs=2",
    "--eval_every_epochs=0.25",
    "--warmup_epochs=0",
    "--schedule=constant",
    "--global_batch_size=32",
    "--ema_decay=0.6",
    "--progressive_image_sizes=4:0,8:0.3",
    "--precision=float32",
    "--jit_compile=false",
    "--onednn=true",
  )
  assert done.returncode == 0, done.stderr
  return workdir


def evaluations(workdir):
  records = metrics_file.read_metrics(workdir)
  return [record for record in records if "eval_top1" in record]


def best_of(workdir):
  """The first of the best evaluations, which another equals later."""
  found = evaluations(workdir)
  best = max(found, key=lambda record: record["eval_top1"])
  assert best["eval_loss"] != found[-1]["eval_loss"]
  return best


@pytest.mark.parametrize("checkpoint", ["latest", "best"])
def test_a_runs_network_gives_the_evaluation_of_its_checkpoint(checkpoint, run):
  loaded = trained_model.load(run, checkpoint=checkpoint)
  images, labels = held_out()
  logits = loaded.model(images, training=False)
  assert logits.dtype == tf.float32
  losses = tf.keras.losses.sparse_categorical_crossentropy(
    labels, logits, from_logits=True
  )
  records = {"latest": evaluations(run)[-1], "best": best_of(run)}
  expected = records[checkpoint]
  assert np.mean(losses) == pytest.approx(expected["eval_loss"], rel=1e-5)
  top1 = np.mean(np.argmax(logits, axis=1) == labels)
  assert top1 == pytest.approx(expected["eval_top1"])


def test_it_says_what_the_network_takes_and_gives(run):
  loaded = trained_model.load(run)
  assert loaded.class_names == ("0", "1", "2", "3")
  assert loaded.image_shape == tiny.SHAPE and loaded.image_size == 8
  assert loaded.eval_resize == 0 and not loaded.flip_tta
  assert loaded.card == run_card.read(run)


def test_a_card_of_an_older_build_is_enough(run, tmp_path):
  card = run_card.read(run)
  del card["image_shape"], card["flags"]["checkpoint"]
  del card["flags"]["flip_tta"], card["data"]["class_names"]
  older = shutil.copytree(run, tmp_path / "older")
  (older / "run_card.json").write_text(json.dumps(card))
  loaded = trained_model.load(older)
  assert loaded.image_shape == tiny.SHAPE and not loaded.flip_tta
  assert loaded.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("checkpoint", ["latest", "best"])
def test_mode_eval_evaluates_the_checkpoint_asked_for(checkpoint, run):
  done = command(
    "--mode=eval", f"--workdir={run}", f"--checkpoint={checkpoint}"
  )
  assert done.returncode == 0, done.stderr
  records = {"latest": evaluations(run)[-1], "best": best_of(run)}
  assert f"loss {records[checkpoint]['eval_loss']:.4f}" in done.stdout


def test_a_damaged_latest_checkpoint_is_passed_over(run, tmp_path):
  workdir = shutil.copytree(run, tmp_path / "run")
  newest = max(
    (workdir / "checkpoints").glob("*.index"),
    key=lambda path: int(path.stem.split("-")[1]),
  )
  newest.write_bytes(b"")
  done = command("--mode=eval", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert f"loss {evaluations(run)[-2]['eval_loss']:.4f}" in done.stdout


def test_a_damaged_best_checkpoint_is_named(run, tmp_path):
  workdir = shutil.copytree(run, tmp_path / "run")
  (index,) = (workdir / "checkpoints" / "best").glob("*.index")
  index.write_bytes(b"")
  with pytest.raises(ConfigError, match="best can be read: take --checkpoint="):
    trained_model.load(workdir, checkpoint="best")


def test_a_run_without_evaluation_has_no_best(run, tmp_path):
  workdir = shutil.copytree(run, tmp_path / "run")
  shutil.rmtree(workdir / "checkpoints" / "best")
  done = command("--mode=eval", f"--workdir={workdir}", "--checkpoint=best")
  assert done.returncode == 2
  assert "checkpoint must be latest for a run that was not" in done.stderr


def test_training_refuses_to_go_on_from_the_best(run):
  done = command(f"--workdir={run}", "--checkpoint=best")
  assert done.returncode == 2
  told = "checkpoint must be latest in training without weights or init_from, "
  assert f"{told}got 'best'" in done.stderr


def test_a_folder_without_a_run_of_the_command_is_refused(tmp_path):
  message = "workdir must hold a run of this command, got "
  with pytest.raises(ConfigError, match=message):
    trained_model.load(tmp_path)
  train_loop.train_and_evaluate(
    tiny.model(), tiny.dataset(), None, tiny.config(), tmp_path
  )
  with pytest.raises(ConfigError, match=message):
    trained_model.load(tmp_path)


def test_a_checkpoint_of_another_name_is_refused(run):
  with pytest.raises(ConfigError, match="checkpoint must be one of latest, be"):
    trained_model.load(run, checkpoint="newest")
