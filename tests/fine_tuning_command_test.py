# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning by the command: start, stop, go on, evaluate, refuse."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests import forked, tiny
from train_loop.command import trained_model
from train_loop.workdir import metrics_file, run_card

pytestmark = pytest.mark.any_keras

FLAGS = (
  "--dataset=npz",
  "--model=resnet8",
  "--epochs=2",
  "--warmup_epochs=0",
  "--global_batch_size=32",
  "--precision=float32",
  "--jit_compile=false",
  "--onednn=true",
  "--log_every_steps=1",
  "--eval_every_epochs=0.5",
)
TUNING = (
  "--freeze=stem,stage1",
  "--layer_decay=0.5",
  "--head_learning_rate_multiplier=4",
  "--ema_decay=0.9",
)


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


def write_data(path, *, classes, seed=0):
  """Writes the examples of some of the tiny problem's classes."""
  arrays = {}
  for part, count in (("train", 256), ("test", 64)):
    images, labels = tiny.arrays(count, seed=seed)
    kept = labels < classes
    arrays |= {f"x_{part}": images[kept], f"y_{part}": labels[kept]}
  np.savez(path, **arrays)
  return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Data of four and of three classes, and runs on them.

  `source` is on all classes; `tuned` starts from it, on three.
  """
  folder = tmp_path_factory.mktemp("fine_tuning")
  write_data(folder / "four.npz", classes=4)
  write_data(folder / "three.npz", classes=3, seed=1)
  done = command(
    *FLAGS, f"--data_dir={folder}/four.npz", f"--workdir={folder}/source"
  )
  assert done.returncode == 0, done.stderr
  done = tune(folder, "tuned", f"--weights={folder}/source")
  assert done.returncode == 0, done.stderr
  (folder / "tuned.log").write_text(done.stderr)
  return folder


def tune(folder, workdir, *arguments):
  return command(
    *FLAGS,
    *TUNING,
    f"--data_dir={folder}/three.npz",
    f"--workdir={folder}/{workdir}",
    *arguments,
  )


def weights_of(workdir):
  model = trained_model.load(workdir).model
  return {layer.name: layer.get_weights() for layer in model.layers}


def test_what_is_frozen_has_the_sources_bits_and_the_rest_has_not(folder):
  before, after = (weights_of(folder / run) for run in ("source", "tuned"))
  frozen = [n for n in before if n.startswith(("stem", "stage1")) and before[n]]
  assert len(frozen) == 10
  for name, values in after.items():
    for value, other in zip(values, before[name]):
      if name in frozen:
        assert value.tobytes() == other.tobytes(), name
      else:
        assert value.shape != other.shape or (value != other).any(), name


def test_the_log_says_what_is_new_what_is_trained_and_how_fast(folder):
  log = (folder / "tuned.log").read_text()
  assert (
    f"weights: took 55 of 57 variables from {folder}/source: stem_conv1/kernel "
    "to stage3_block1_shortcut_bn/moving_variance\n"
    "weights: logits/kernel is new: the classes have other names there\n"
  ) in log
  assert "freeze: 20 of 57 variables are trained" in log
  assert "layer_decay: 4 blocks below the head, at 0.0625 to 0.5 of its" in log
  assert "zero γ" not in log


def test_the_card_says_what_was_taken_and_how_pixels_are_normalised(folder):
  source, tuned = (run_card.read(folder / n) for n in ("source", "tuned"))
  assert tuned["weights"]["taken"] == 55
  assert set(tuned["weights"]["new"]) == {"logits/kernel", "logits/bias"}
  for name in ("mean", "std"):  # Not those of its own images.
    assert tuned["network"][name] == source["network"][name]
  assert tuned["network"]["freeze"] == ["stem", "stage1"]


def test_evaluation_restores_the_run_with_its_frozen_layers(folder):
  done = command("--mode=eval", f"--workdir={folder}/tuned")
  assert done.returncode == 0, done.stderr
  final = run_card.read(folder / "tuned")["final"]
  assert f"loss {final['eval_loss']:.4f}" in done.stdout


def test_a_frozen_run_is_a_source_too(folder):
  done = tune(folder, "again", f"--weights={folder}/tuned", "--checkpoint=best")
  assert done.returncode == 0, done.stderr
  assert "took 57 of 57 variables" in done.stderr


def half_done(folder, name, *, checkpoint):
  """Copies the finished run to what it was when it was half done."""
  workdir = shutil.copytree(folder / "tuned", folder / name)
  card = run_card.read(workdir)
  run_card.write(workdir, {**card, "finished": False, "final": {}})
  saved = workdir / "checkpoints"
  steps = sorted(int(p.stem[5:]) for p in saved.glob("ckpt-*.index"))
  assert len(steps) == 2
  for step in steps[1 if checkpoint else 0 :]:
    for path in saved.glob(f"ckpt-{step}.*"):
      path.unlink()
  return workdir


def losses(workdir):
  """Returns the last record of each step."""
  records = metrics_file.read_metrics(workdir)
  return {r["step"]: r["loss"] for r in records if "loss" in r}


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_run_goes_on_to_the_same_bits(checkpoint, folder):
  name = f"resumed_{checkpoint}"
  workdir = half_done(folder, name, checkpoint=checkpoint)
  done = tune(folder, name, f"--weights={folder}/tuned")
  assert done.returncode == 2
  assert "holds a run with weights_sha256=" in done.stderr
  if checkpoint:  # The weights are needed no more, and may be gone.
    weights = folder / "gone"
    card = json.loads((workdir / "run_card.json").read_text())
    card["flags"]["weights"] = str(weights)
    (workdir / "run_card.json").write_text(json.dumps(card))
  else:  # They are told by their content, and may have moved.
    weights = shutil.copytree(folder / "source", folder / "moved")
  done = tune(folder, name, f"--weights={weights}")
  assert done.returncode == 0, done.stderr
  assert ("weights: took" in done.stderr) == (not checkpoint)
  assert losses(workdir) == losses(folder / "tuned")
  for name, values in weights_of(folder / "tuned").items():
    for value, other in zip(values, weights_of(workdir)[name]):
      np.testing.assert_array_equal(value, other, err_msg=name)


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--freeze=stem"], "freeze must be left out without weights"),
    (
      ["--weights={folder}/source", "--freeze=stage9"],
      "got 'stage9': there are stem_conv1",
    ),
    (["--weights={folder}/source", "--model=resnet14"], "give --model=resnet8"),
    (["--weights={folder}/nothing"], "weights must be imagenet, the workdir"),
    (["--weights=imagenet"], "weights must be a file for our own networks"),
    (["--weights={folder}/source", "--layer_decay=0"], "layer_decay must be"),
    (
      ["--checkpoint=best"],
      "checkpoint must be latest in training without weights",
    ),
  ],
)
def test_what_does_not_fit_is_told_in_one_line(arguments, message, folder):
  own = [] if "--weights" in arguments[0] else ["--freeze="]
  done = tune(
    folder, "refused", *own, *(a.format(folder=folder) for a in arguments)
  )
  assert done.returncode == 2
  lines = [line for line in done.stderr.splitlines() if "train_loop: " in line]
  assert len(lines) == 1 and message in lines[0]
  assert not (folder / "refused").exists()
