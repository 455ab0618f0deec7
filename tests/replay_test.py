# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of mode replay, on networks whose layer at fault is known."""

from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import probing
from train_loop.command import flags
from train_loop.fields import ConfigError
from train_loop.models import builders
from train_loop.modes import replay, train
from train_loop.state import TrainState
from train_loop.step import accumulated_gradients, mixed_batch
from train_loop.workdir import flight_recorder
from tricks import keras_compat

pytestmark = pytest.mark.any_keras

MODULE = """
import tensorflow as tf
layers = tf.keras.layers


class Log(layers.Layer):  # -inf at 0.
  def call(self, inputs):
    return tf.math.log(tf.square(inputs))


class Root(layers.Layer):  # At 0 the gradient is not finite, and the root is.
  def call(self, inputs):
    return tf.sqrt(tf.square(inputs))


def network(input_shape, num_classes, middle):
  x = tf.keras.Input(input_shape)
  y = layers.Flatten()(layers.Rescaling(1 / 255)(x))
  y = layers.Dense(8, use_bias=False, name="first")(y)
  inner = tf.keras.Input((8,))
  inner = tf.keras.Model(inner, middle(inner), name="inner")
  y = layers.Dropout(0.1)(inner(y) + 1.0)
  y = layers.Dense(num_classes, name="head")(y)
  return tf.keras.Model(x, y)


def log(input_shape, num_classes):
  return network(input_shape, num_classes, Log(name="log"))


def root(input_shape, num_classes):
  return network(input_shape, num_classes, Root(name="root"))


def relu(input_shape, num_classes):
  return network(input_shape, num_classes, layers.ReLU(name="relu"))
"""
BLACK = 77  # The only example that Log and Root cannot take.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Returns a folder of data, and of a module of networks."""
  folder = tmp_path_factory.mktemp("replay")
  (images, labels), test = tiny.arrays(256), tiny.arrays(32)
  images[BLACK] = 0
  np.savez(
    folder / "data.npz",
    x_train=images,
    y_train=labels,
    x_test=test[0],
    y_test=test[1],
  )
  (folder / "replay_networks.py").write_text(MODULE)
  return folder


@pytest.fixture
def diverge(folder, tmp_path, monkeypatch, capsys):
  """Returns the function that trains a network until its gradient breaks.

  It returns the workdir, and the flags of the replay, as they are told.
  """
  monkeypatch.syspath_prepend(str(folder))

  def run(name, *arguments):
    status = train.run(
      flags.parse(
        "--dataset=npz",
        f"--data_dir={folder / 'data.npz'}",
        f"--model=python:replay_networks.{name}",
        "--mode=train",
        "--epochs=2",
        "--warmup_epochs=0",
        "--global_batch_size=32",
        "--precision=float32",
        "--jit_compile=false",
        "--onednn=true",
        "--fuse_batch_norm=false",
        # A process has room for one strategy, which other tests make.
        "--distribution=none",
        f"--workdir={tmp_path}",
        *arguments,
      )
    )
    assert status == 3
    *_, line = capsys.readouterr().err.splitlines()
    _, program, *words = shlex.split(line.partition("in which layer")[2])
    assert program == "train_loop"
    return tmp_path, flags.parse(*words)

  return run


def answer(values, capsys):
  """Returns what mode replay prints."""
  assert replay.run(values) == 0
  return capsys.readouterr().out


@pytest.mark.parametrize(
  ("name", "first"),
  [
    ("log", "output of inner/log (Log)"),
    ("root", "gradient for the input of inner/root (Root)"),
  ],
)
def test_the_layer_and_the_example_are_named(name, first, diverge, capsys):
  workdir, values = diverge(name, "--accumulate_steps=2")
  flight = flight_recorder.read(workdir)
  assert BLACK in flight["examples"]
  assert len(flight["examples"]) == 32
  text = answer(values, capsys)
  assert f"the first that is not finite: {first}\n" in text
  assert f"in 1 of the batch's 32 examples: example {BLACK} of" in text
  assert "variables were finite before it" in text
  variables = flight_recorder.read(workdir)["variables"]
  (kernel,) = [v for v in variables if v["name"].startswith("first/")]
  assert kernel["not_finite"] == 0 < kernel["gradient"]["not_finite"]


def test_weights_that_blew_up_are_shown(diverge, capsys):
  _, values = diverge("relu", "--base_learning_rate=1e30")
  text = answer(values, capsys)
  assert "the largest number" in text
  assert "e+2" in text
  assert "the first that is not finite:" in text or "above the range" in text


def test_what_is_missing_is_told_in_one_line(diverge, tmp_path):
  values = flags.parse("--mode=replay", f"--workdir={tmp_path / 'nothing'}")
  with pytest.raises(ConfigError, match="workdir must hold flight data"):
    replay.run(values)
  workdir, values = diverge("log")
  shutil.rmtree(workdir / "flight/state")
  with pytest.raises(ConfigError, match="is damaged") as info:
    replay.run(values)
  assert "\n" not in str(info.value)
  path = workdir / "flight/flight.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), "step": None}))
  with pytest.raises(
    ConfigError, match=r"flight.json cannot be read \(step is"
  ):
    replay.run(values)


@pytest.mark.parametrize("name", ["relu", "tiny"])
def test_the_gradient_is_that_of_the_step(name, folder, monkeypatch):
  monkeypatch.syspath_prepend(str(folder))

  def make_state():
    if name == "tiny":
      return TrainState(tiny.model(drop_probability=0.3), config)
    tf.keras.utils.set_random_seed(0)
    build = builders.build
    path = f"replay_networks.{name}"
    return TrainState(build(path, input_shape=(8, 8, 1), num_classes=4), config)

  config = tiny.config(accumulate_steps=2, mixup_alpha=0.2, label_smoothing=0.1)
  batch = tiny.batch()
  state = make_state()
  images, targets = mixed_batch(batch, state.step, 4, config)
  expected, _ = accumulated_gradients(state, (images,), targets, config, None)
  state = make_state()
  probed = probing.probe(state, batch, config)
  assert probed.fault is None
  if name == "tiny" or hasattr(tf.keras, "ops"):
    # Dropout of Keras 2 draws anew each time.
    for ours, its in zip(probed.gradients, expected):
      np.testing.assert_allclose(ours, its, rtol=1e-4, atol=1e-6)
  graph = keras_compat.layer_graph(state.model)
  names = {node.layer.name for node in graph if node.inbound}
  images, *layers = [seen.layer.partition(" (")[0] for seen in probed.forward]
  assert images == probing.IMAGES
  assert {layer.rpartition("/")[2] for layer in layers} == names
