# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests that files run no code and keep nobody waiting; input is harmless."""

from __future__ import annotations

import json
import os
import signal
import socket
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

import data
from data.sources import tfrecord
from tests import pictures
from train_loop.command import flags, teacher, trained_model
from train_loop.config import ConfigError, ModelConfig
from train_loop.models import build_model, keras_files, pretrained, weights
from train_loop.modes import evaluate, export, predict, train
from train_loop.workdir import flight_recorder, metrics_file, run_card

# A function that any Python has; called, it would raise a TypeError.
FOREIGN = "python:os.getcwd"


@pytest.fixture(autouse=True)
def _bounded():
  """Ends a test that waits for a file."""

  def late(*_):
    raise AssertionError("it waits")

  before = signal.signal(signal.SIGALRM, late)
  signal.alarm(120)
  yield
  signal.alarm(0)
  signal.signal(signal.SIGALRM, before)


def card_of(model):
  names = ["cat", "dog"]
  return {
    "settings": {},
    "finished": False,
    "final": {},
    "flags": {"model": model},
    "data": {"class_names": names},
    "choice": {
      "onednn": True,
      "tensor_float_32": False,
      "precision": "float32",
      "jit_compile": False,
    },
    "network": {
      "model": model,
      "input_shape": [8, 8, 3],
      "num_classes": 2,
      "mean": [0.0],
      "std": [1.0],
    },
  }


@pytest.fixture
def workdir(tmp_path):
  """A folder of somebody else's, whose card names a function."""
  run_card.write(tmp_path, card_of(FOREIGN))
  return str(tmp_path)


@pytest.mark.parametrize("mode", [evaluate, export, predict, train])
def test_a_function_that_a_card_names_is_not_called(mode, workdir, tmp_path):
  extra = {
    export: [f"--output_dir={tmp_path / 'out'}"],
    predict: ["--mode=predict", "--inputs=x.jpg"],
  }
  arguments = [f"--workdir={workdir}", *extra.get(mode, [])]
  with pytest.raises(ConfigError) as refused:
    mode.run(flags.parse(*arguments))
  assert str(refused.value) == (
    f"model must not be {FOREIGN}, which the run card of {workdir} names and "
    f"which is code: give --model={FOREIGN} yourself, or --allow_python, to "
    "run it"
  )
  # Another function on the command line does not allow this one.
  with pytest.raises(ConfigError, match="--allow_python"):
    mode.run(flags.parse(*arguments, "--model=python:os.getpid"))


def test_nor_is_one_of_a_teacher_or_of_weights(workdir):
  with pytest.raises(ConfigError, match="--allow_python"):
    teacher.require(ModelConfig(teacher=workdir))
  teacher.require(ModelConfig(teacher=workdir, allow_python=True))
  with pytest.raises(ConfigError, match="--allow_python"):
    trained_model.load(workdir)
  with pytest.raises(ConfigError, match=r"python:os.getcwd raised TypeError"):
    trained_model.load(workdir, allow_python=True)
  model = small_model()
  with pytest.raises(ConfigError, match="--allow_python"):
    weights.load_weights(model, workdir)


def test_nor_is_one_of_a_flagfile(tmp_path):
  file = tmp_path / "foreign.flags"
  file.write_text(f"--model={FOREIGN}\n")
  with pytest.raises(ConfigError, match=r"a flagfile names .* --allow_python"):
    flags.parse(f"--flagfile={file}")
  assert flags.parse(f"--flagfile={file}", "--allow_python").model == FOREIGN
  own = flags.parse(f"--flagfile={file}", "--model", FOREIGN)
  assert own.model == FOREIGN
  file.write_text(f"--model={FOREIGN}\n--allow_python\n")
  with pytest.raises(ConfigError, match="on the command line itself"):
    flags.parse(f"--flagfile={file}")
  # A run's card does not switch it on either.
  saved = {**flags.as_dict(flags.parse()), "allow_python": True}
  values = flags.parse()
  flags.adopt(saved, values)
  assert not values.allow_python


def special_files(folder):
  """Yields paths whose reader could wait for ever."""
  os.mkfifo(folder / "fifo")
  yield folder / "fifo"
  (folder / "zero").symlink_to("/dev/zero")
  yield folder / "zero"
  with socket.socket(socket.AF_UNIX) as server:
    before = os.getcwd()
    os.chdir(folder)  # The name of a socket may not be long.
    server.bind("socket")
    os.chdir(before)
  yield folder / "socket"
  (folder / "folder").mkdir()
  yield folder / "folder"


def test_no_special_file_keeps_anybody_waiting(tmp_path):
  table = tmp_path / "table.csv"
  table.write_text("path,label\n")
  for number, path in enumerate(special_files(tmp_path)):
    links = tmp_path / f"links{number}"
    links.mkdir()

    def named(name, path=path, links=links):
      (links / name).symlink_to(path)
      return str(links / name)

    for name in (run_card.FILE_NAME, metrics_file.METRICS_FILE):
      named(name)
    flight = links / flight_recorder.DIRECTORY
    flight.mkdir()
    (flight / flight_recorder.FILE_NAME).symlink_to(path)
    readers = [
      lambda path=path: flags.parse(f"--flagfile={path}"),
      lambda path=path: data.load(data.SourceOptions("npz", str(path))),
      lambda path=path: data.load(
        data.SourceOptions("csv", str(tmp_path), labels=str(path))
      ),
      lambda: pretrained.look(named("x.keras")),
      lambda: pretrained.look(named("x.weights.h5")),
      lambda: pretrained.look(named("x.safetensors")),
      lambda: teacher.require(ModelConfig(teacher=named("y.keras"))),
      lambda links=links: run_card.read(links),
      lambda links=links: metrics_file.read_metrics(links),
      lambda links=links: flight_recorder.read(links),
      lambda path=path: tfrecord.read_class_names(str(path)),
    ]
    if path.name != "folder":
      readers += [
        lambda path=path, kind=kind: data.load(
          data.SourceOptions(kind, str(path))
        )
        for kind in ("image_folder", "tfrecord", "fashion_mnist")
      ]
    for read in readers:
      with pytest.raises((ConfigError, data.DataError, OSError)) as refused:
        read()
      assert len(str(refused.value).splitlines()) == 1
    if path.name != "folder":
      assert predict.find([str(path)], "")[0].error == "it is no file"


def test_a_special_file_among_images_is_named(tmp_path):
  pictures.write_folder(tmp_path, counts=(("mine", 2),))
  first = sorted((tmp_path / "mine").iterdir())[0]
  os.mkfifo(first / "fifo.jpg")
  options = data.SourceOptions(
    "image_folder", str(tmp_path / "mine"), validation_fraction=0.5
  )
  with pytest.raises(data.DataError, match=r"fifo\.jpg .*: replace it"):
    data.load(options)


def test_flagfiles_do_not_nest_without_end(tmp_path):
  """Each names the next one twice: read as absl does it, 2^30 files."""
  for number in range(30):
    (tmp_path / f"{number}").write_text(
      f"--flagfile={tmp_path / str(number + 1)}\n" * 2
    )
  (tmp_path / "30").write_text("--seed=1\n")
  with pytest.raises(ConfigError, match="flagfile must name at most"):
    flags.parse(f"--flagfile={tmp_path / '0'}")
  assert flags.parse(f"--flagfile={tmp_path / '27'}").seed == 1
  (tmp_path / "large").write_bytes(b"#" * 2**21)
  with pytest.raises(ConfigError, match="more than 1048576 bytes"):
    flags.parse(f"--flagfile={tmp_path / 'large'}")


def small_model(*layers):
  images = tf.keras.Input((4, 4, 1))
  x = tf.keras.layers.Flatten()(images)
  for layer in layers:
    x = layer(x)
  return tf.keras.Model(images, tf.keras.layers.Dense(2)(x))


def with_config(path, change):
  """Rewrites the configuration of a .keras file."""
  with zipfile.ZipFile(path) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  config = json.loads(members["config.json"])
  for layer in config["config"]["layers"]:
    change(layer)
  members["config.json"] = json.dumps(config).encode()
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in members.items():
      archive.writestr(name, content)


def test_a_keras_file_of_known_layers_is_loaded(tmp_path):
  path = str(tmp_path / "x.keras")
  model = small_model(
    tf.keras.layers.Dense(3, activation="relu"),
    tf.keras.layers.Activation(tf.keras.activations.softmax),
    lambda x: x * 2.0 + tf.keras.layers.ReLU()(x),
  )
  model.save(path)
  loaded = weights.load_keras_file(path, "teacher")
  images = tf.ones((1, 4, 4, 1))
  np.testing.assert_array_equal(loaded(images), model(images))
  ours = build_model(
    "resnet8", input_shape=(8, 8, 1), num_classes=2, mean=(0.0,), std=(1.0,)
  )
  ours.save(path)
  weights.load_keras_file(path, "teacher")


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"class_name": "Lambda"}, "its layer Lambda may run code"),
    ({"class_name": "TFSMLayer"}, "its layer TFSMLayer may run code"),
    ({"class_name": "X", "module": "os"}, "is of os, and is not loaded"),
    (
      {"class_name": "X", "module": "kerasx"},
      "is of kerasx, and is not loaded",
    ),
    (
      {"class_name": "function", "module": "builtins", "config": "print"},
      "it calls builtins.print",
    ),
    (
      {"class_name": "function", "module": "keras.utils", "config": "get_file"},
      "it calls keras.utils.get_file",
    ),
    (
      {"class_name": "TFOpLambda", "config": {"function": "io.read_file"}},
      "its layer TFOpLambda calls tf.io.read_file",
    ),
  ],
)
def test_a_keras_file_that_names_other_code_is_not_loaded(
  change, words, tmp_path
):
  path = str(tmp_path / "x.keras")
  small_model().save(path)

  def rename(layer):
    if layer["class_name"] == "Dense":
      layer["config"]["activation"] = {**layer["config"], **change}

  with_config(path, rename)
  with pytest.raises(ConfigError) as refused:
    weights.load_keras_file(path, "teacher")
  assert words in str(refused.value)
  assert len(str(refused.value).splitlines()) == 1


def test_a_lambda_layer_is_refused_in_both_formats(tmp_path):
  model = small_model(tf.keras.layers.Lambda(lambda x: x + 1.0))
  model.save(tmp_path / "x.keras")
  with pytest.raises(ConfigError, match="its layer Lambda may run code"):
    weights.load_keras_file(str(tmp_path / "x.keras"), "weights")
  # The older format has no safe mode in Keras 2, whatever the file's name is.
  model.save(tmp_path / "x.h5")
  (tmp_path / "x.h5").rename(tmp_path / "y.keras")
  with pytest.raises(ConfigError, match="not a zip file"):
    weights.load_keras_file(str(tmp_path / "y.keras"), "weights")


def test_weights_that_are_elsewhere_or_too_many_are_refused(tmp_path):
  path = tmp_path / "x.weights.h5"
  small_model().save_weights(path)
  keras_files.require_sound_weights(str(path), "weights")
  sound = path.read_bytes()
  with h5py.File(path, "a") as file:
    file["more"] = h5py.ExternalLink("/etc/hostname", "/")
  with pytest.raises(ConfigError, match="'more' is a link to another place"):
    keras_files.require_sound_weights(str(path), "weights")
  path.write_bytes(sound)
  with h5py.File(path, "a") as file:
    file.create_dataset("more", (10**6, 10**6), "f4", chunks=(10, 10))
  with pytest.raises(ConfigError, match="'more' declares more bytes"):
    keras_files.require_sound_weights(str(path), "weights")
