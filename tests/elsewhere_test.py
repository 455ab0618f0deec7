# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command with Keras' own networks, and with a user's builder."""

from __future__ import annotations

import signal

import pytest

from tests import forked, pictures
from train_loop.command import terminal, trained_model
from train_loop.models import depthwise
from train_loop.workdir import metrics_file, run_card
from tricks import keras_compat

BUILDER = """
import tensorflow as tf

def small(input_shape, num_classes):
  x = tf.keras.Input(input_shape)
  y = tf.keras.layers.Rescaling(1 / 127.5, -1)(x)
  y = tf.keras.layers.Conv2D(4, 3, strides=2, activation="relu")(y)
  y = tf.keras.layers.GlobalAveragePooling2D()(y)
  y = tf.keras.layers.Dense(num_classes, activation="softmax")(y)
  return tf.keras.Model(x, y)

def broken(input_shape, num_classes):
  return tf.keras.Sequential([tf.keras.layers.Dense(num_classes)])
"""


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
  """The flags of a run on a folder of JPEGs."""
  folder = pictures.write_folder(tmp_path_factory.mktemp("jpegs"))
  return (
    "--dataset=image_folder",
    f"--data_dir={folder}",
    "--image_size=32",
    "--global_batch_size=8",
    "--warmup_epochs=0",
    "--precision=float32",
    "--jit_compile=false",
    "--onednn=true",
    "--fuse_batch_norm=true",
    "--steps_per_loop=1",
    "--log_every_steps=1",
  )


def command(*arguments):
  return forked.run("train_loop.main", *arguments)


def test_keras_mobilenet_trains_stops_and_goes_on(jpegs, tmp_path):
  arguments = ["--model=keras:MobileNet", *jpegs, "--epochs=6"]
  process = forked.Running(
    "train_loop.main", *arguments, f"--workdir={tmp_path}", read_stderr=True
  )
  with process.stderr as lines:
    for line in lines:  # Until the loop runs.
      if "step 2/" in line:
        process.send_signal(signal.SIGTERM)
        break
    rest = lines.read()
  assert process.wait() == 143, rest
  card = run_card.read(tmp_path)
  assert card["network"]["model"] == "keras:MobileNet"
  assert not {"model_variant", "stochastic_depth"} & set(card["network"])
  done = command(f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert "goes on from step" in done.stderr
  steps = [record["step"] for record in metrics_file.read_metrics(tmp_path)]
  assert max(steps) == 6 * 3  # 24 images in batches of 8.
  done = command("--mode=eval", f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  # Its BatchNorm is the fused one here too: the same answers to the last digit.
  final = run_card.read(tmp_path)["final"]
  assert terminal.summary(final) in done.stdout
  # In bfloat16 it would be asked with the layers that it would be trained with.
  loaded = trained_model.load(tmp_path, dtype="mixed_bfloat16").model
  kinds = {type(layer) for layer in keras_compat.flat_layers(loaded)}
  assert depthwise.DepthwiseConv2D in kinds


def test_a_builder_in_the_current_folder_trains(jpegs, tmp_path, monkeypatch):
  (tmp_path / "own_networks.py").write_text(BUILDER)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  done = command(
    "--model=python:own_networks.small",
    *jpegs,
    "--epochs=1",
    "--mode=train",
    f"--workdir={tmp_path / 'run'}",
  )
  assert done.returncode == 0, done.stderr
  assert "own_networks.small: its closing softmax is removed" in done.stderr
  # The card is not asked what to run: a workdir may be somebody else's.
  evaluate = ("--mode=eval", f"--workdir={tmp_path / 'run'}")
  again = command(*evaluate)
  assert again.returncode == 2
  assert "or --allow_python, to run it" in again.stderr
  again = command(*evaluate, "--allow_python")
  assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_refused_network_is_one_line(precision, jpegs, tmp_path, monkeypatch):
  (tmp_path / "own_networks.py").write_text(BUILDER)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  done = command(
    "--model=python:own_networks.broken",
    *jpegs,
    f"--precision={precision}",
    f"--workdir={tmp_path / 'run'}",
  )
  assert done.returncode == 2, done.stderr
  (line,) = [
    line for line in done.stderr.splitlines() if line.startswith("train_loop:")
  ]
  assert "own_networks.broken must return a functional model" in line
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    ("--model=keras:InceptionV3", "from 75 x 75 pixels on, got 32 x 32"),
    ("--model=keras:MobileNets", "did you mean 'keras:MobileNet'?"),
    ("--stochastic_depth=0.1", "stochastic_depth must be left out with keras"),
    ("--model_variant=b", "model_variant must be left out with keras"),
    (
      "--progressive_image_sizes=16:0,32:0.5",
      "from 32 x 32 pixels on, got 16 x 16",
    ),
  ],
)
def test_flags_that_do_not_fit_are_refused(argument, words, jpegs, tmp_path):
  done = command(
    "--model=keras:MobileNet", *jpegs, argument, f"--workdir={tmp_path / 'run'}"
  )
  assert done.returncode == 2, done.stderr
  assert words in done.stderr
  assert not (tmp_path / "run").exists()
