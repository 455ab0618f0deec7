# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights from elsewhere: what is taken, what is not, and equal answers."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import train_loop
from tests import timm_oracle, tiny
from tests.project import ROOT
from train_loop.config import ConfigError
from train_loop.models import build_model, pretrained, torch_resnet
from train_loop.models.weights import load_weights, named_variables
from train_loop.state import TrainState
from train_loop.workdir import checkpoints, run_card


def resnet8(num_classes=4, *, channels=3, freeze=(), model="resnet8", seed=0):
  tf.keras.utils.set_random_seed(seed)
  return build_model(
    model,
    input_shape=(16, 16, channels),
    num_classes=num_classes,
    mean=(120.0,) * channels,
    std=(60.0,) * channels,
    freeze=freeze,
  )


def trained(num_classes=4, **arguments):
  """A network none of whose variables has the value that it starts with."""
  model = resnet8(num_classes, **arguments)
  random = np.random.default_rng(5)
  for variable in named_variables(model).values():
    variable.assign(random.uniform(0.2, 0.8, variable.shape))
  return model


def values_of(model):
  return {
    name: np.array(tf.convert_to_tensor(variable))
    for name, variable in named_variables(model).items()
  }


def images(channels=3, size=16):
  shape = (2, size, size, channels)
  return np.random.default_rng(0).integers(0, 256, shape, "uint8")


def require_one_line(error):
  assert "\n" not in str(error.value)


# Files of PyTorch's libraries.


def write_timm(folder, name):
  """Writes weights as timm names them; returns their file and the logits."""
  record = json.loads((ROOT / f"tests/timm/{name}.json").read_text())
  path = folder / f"{name}.safetensors"
  safetensors.numpy.save_file(timm_oracle.tensors(record["shapes"]), path)
  return path, record["logits"]


def require_logits(path, expected):
  """Loads weights into the network that they are of, and compares logits."""
  network = pretrained.look(path).network
  model = build_model(**network, input_shape=(None, None, 3), num_classes=5)
  loaded = load_weights(model, path)
  assert set(loaded.taken) == set(named_variables(model))
  assert not loaded.new and not loaded.changed
  for size, logits in expected.items():
    found = model(timm_oracle.images(int(size)), training=False)
    np.testing.assert_allclose(found, logits, atol=1e-4, rtol=0, err_msg=size)


@pytest.mark.parametrize("name", timm_oracle.NAMES)
def test_logits_are_those_that_timm_computed(name, tmp_path):
  require_logits(*write_timm(tmp_path, name))


@pytest.mark.skipif(
  importlib.util.find_spec("timm") is None, reason="timm is not installed"
)
@pytest.mark.parametrize(
  "name",
  [
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"resnet{depth}d" for depth in (18, 34, 50, 101, 152)),
    *(f"resnet{depth}c" for depth in (50, 101, 152)),
  ],
)
def test_logits_are_those_that_timm_computes(name, tmp_path):
  # In a process of its own, because TensorFlow is in this one.
  module = [sys.executable, "-m", "tests.timm_oracle", tmp_path, name]
  subprocess.run(module, cwd=ROOT, check=True)
  record = json.loads((tmp_path / f"{name}.json").read_text())
  require_logits(tmp_path / f"{name}.safetensors", record["logits"])
  kept = ROOT / f"tests/timm/{name}.json"
  if kept.exists():
    expected = json.loads(kept.read_text())
    assert record["shapes"] == expected["shapes"]
    np.testing.assert_allclose(
      record["logits"]["72"], expected["logits"]["72"], atol=1e-4
    )


def test_tensorflows_own_padding_would_give_other_logits(tmp_path):
  path, expected = write_timm(tmp_path, "resnet18d")
  network = {**pretrained.look(path).network, "padding": "same"}
  model = build_model(**network, input_shape=(64, 64, 3), num_classes=5)
  before = values_of(model)
  with pytest.raises(ConfigError, match="padding='symmetric'"):
    load_weights(model, path)
  for name, value in values_of(model).items():
    np.testing.assert_array_equal(value, before[name])
  other = dict(network, padding="symmetric")
  symmetric = build_model(**other, input_shape=(64, 64, 3), num_classes=5)
  load_weights(symmetric, path)
  model.set_weights(symmetric.get_weights())
  logits = model(timm_oracle.images(64), training=False)
  assert np.abs(logits - np.array(expected["64"])).max() > 0.01


def test_progressive_sizes_and_a_head_of_its_own_take_timms_weights(tmp_path):
  path, _ = write_timm(tmp_path, "resnet18")
  network = pretrained.look(path).network
  model = build_model(**network, input_shape=(None, None, 3), num_classes=7)
  loaded = load_weights(model, path)
  assert loaded.new == {
    "logits/kernel": "it is [512, 5] there, [512, 7] here",
    "logits/bias": "it is [5] there, [7] here",
  }
  assert len(loaded.taken) == len(named_variables(model)) - 2


def test_a_file_without_a_classifier_gives_a_new_head(tmp_path):
  path, _ = write_timm(tmp_path, "resnet18")
  tensors = safetensors.numpy.load_file(path)
  del tensors["fc.weight"], tensors["fc.bias"]
  safetensors.numpy.save_file(tensors, path)
  model = build_model(
    **pretrained.look(path).network, input_shape=(32, 32, 3), num_classes=5
  )
  assert load_weights(model, path).new == {
    "logits/kernel": "it is missing there",
    "logits/bias": "it is missing there",
  }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read(dtype, tmp_path):
  path, expected = write_timm(tmp_path, "resnet18")
  tensors = {
    name: np.asarray(tf.cast(value, dtype).numpy())
    for name, value in safetensors.numpy.load_file(path).items()
  }
  safetensors.numpy.save_file(tensors, path)
  model = build_model(
    **pretrained.look(path).network, input_shape=(64, 64, 3), num_classes=5
  )
  load_weights(model, path)
  logits = model(timm_oracle.images(64), training=False)
  np.testing.assert_allclose(logits, expected["64"], atol=0.05)


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda t: t.pop("layer3.1.bn2.running_var"), "differs from resnet18 in"),
    (lambda t: t.update({"layer1.0.se.fc1.weight": t["fc.bias"]}), "differs"),
    (lambda t: t.clear(), "one of resnet18, .*with nothing"),
    (
      lambda t: [t.pop(k) for k in list(t) if "layer" in k],
      "named as by torchvision and timm.*bn1.bias, bn1.running_mean",
    ),
  ],
  ids=["missing", "more", "empty", "other"],
)
def test_a_file_of_another_network_is_refused(change, message, tmp_path):
  path, _ = write_timm(tmp_path, "resnet18")
  tensors = safetensors.numpy.load_file(path)
  change(tensors)
  safetensors.numpy.save_file(tensors, path)
  with pytest.raises(ConfigError, match=message) as error:
    pretrained.look(path)
  require_one_line(error)


def test_a_wider_network_of_the_same_names_is_refused(tmp_path):
  path, _ = write_timm(tmp_path, "resnet18")
  tensors = safetensors.numpy.load_file(path)
  wide = np.zeros((128, 128, 3, 3), np.float32)
  tensors["layer1.0.conv2.weight"] = wide
  safetensors.numpy.save_file(tensors, path)
  model = build_model(
    **pretrained.look(path).network, input_shape=(32, 32, 3), num_classes=5
  )
  message = r"stage1_block1_conv2/kernel is \[3, 3, 128, 128\], not \[3, 3, 64"
  with pytest.raises(ConfigError, match=message) as error:
    load_weights(model, path)
  require_one_line(error)


def test_pixels_are_normalised_as_in_pytorch(tmp_path):
  path, _ = write_timm(tmp_path, "resnet18")
  source = pretrained.look(path)
  asked = {"model": "resnet18", "model_variant": "b"}
  network = pretrained.network_for(source, **asked, channels=3)
  np.testing.assert_allclose(network["mean"], (123.675, 116.28, 103.53))
  np.testing.assert_allclose(network["std"], (58.395, 57.12, 57.375))
  assert network["padding"] == "symmetric"
  gray = pretrained.network_for(source, **asked, channels=1)
  np.testing.assert_allclose(gray["mean"], [np.mean(torch_resnet.MEAN)])
  with pytest.raises(ConfigError, match="--model=resnet18 --model_variant=b"):
    pretrained.network_for(
      source, model="resnet50", model_variant="d", channels=3
    )


# Models and files of Keras', and runs of ours.


def save_run(workdir, model, *, class_names=None, best=None):
  """Writes what a run of the command leaves: card and checkpoints."""
  state = TrainState(model, tiny.config())
  saver = checkpoints.Checkpoints(state, workdir, keep=1)
  if best is not None:
    values = model.get_weights()
    model.set_weights(best.get_weights())
    saver.save_best()
    model.set_weights(values)
  saver.save()
  channels = model.input_shape[-1]
  network = {
    "model": "resnet8",
    "input_shape": [16, 16, channels],
    "num_classes": model.output_shape[-1],
    "mean": [120.0] * channels,
    "std": [60.0] * channels,
  }
  card = {"settings": {}, "finished": False, "final": {}, "network": network}
  if class_names:
    card["data"] = {"class_names": class_names}
  run_card.write(workdir, card)
  return workdir


KINDS = ("run", "model.keras", "model.weights.h5")


def save(folder, kind, model):
  path = folder / kind
  if kind == "run":
    path.mkdir()
    return save_run(path, model)
  (model.save if kind == "model.keras" else model.save_weights)(path)
  return path


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_network_takes_all(kind, tmp_path):
  source = trained()
  path = save(tmp_path, kind, source)
  model = resnet8(seed=1)
  loaded = load_weights(model, path)
  assert loaded.source == str(path)
  assert list(loaded.taken) == list(named_variables(model))
  assert not loaded.new and not loaded.changed
  np.testing.assert_array_equal(model(images()), source(images()))


@pytest.mark.parametrize("kind", KINDS)
def test_other_classes_get_a_new_head(kind, tmp_path):
  source = trained()
  path = save(tmp_path, kind, source)
  model = resnet8(num_classes=7, seed=1)
  before = values_of(model)
  loaded = load_weights(model, path)
  assert set(loaded.new) == {"logits/kernel", "logits/bias"}
  there = "it is missing there"
  if kind != "model.weights.h5":  # Keras does not say what it left out.
    there = "it is [128, 4] there, [128, 7] here"
  assert loaded.new["logits/kernel"] == there
  found, expected = values_of(model), values_of(source)
  for name in loaded.taken:
    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
  for name in loaded.new:
    np.testing.assert_array_equal(found[name], before[name], err_msg=name)
  assert loaded.lines()[-1] == (
    f"weights: logits/bias is new: {loaded.new['logits/bias']}"
  )


@pytest.mark.parametrize("kind", KINDS)
def test_another_network_is_refused_and_nothing_changed(kind, tmp_path):
  path = save(tmp_path, kind, trained())
  model = resnet8(model="resnet14")
  before = values_of(model)
  with pytest.raises(ConfigError, match="of the network that is tr") as error:
    load_weights(model, path)
  require_one_line(error)
  for name, value in values_of(model).items():
    np.testing.assert_array_equal(value, before[name])


def test_a_larger_network_has_no_place(tmp_path):
  path = save(tmp_path, "model.keras", resnet8(model="resnet20"))
  message = r"stem_conv1/kernel is \[3, 3, 3, 16\], not \[3, 3, 2, 16\]$"
  with pytest.raises(ConfigError, match=message):
    load_weights(resnet8(model="resnet20", channels=2), path)
  with pytest.raises(ConfigError, match=r"; and \d+ more$"):
    load_weights(resnet8(), path)
  more = tf.keras.Sequential(
    [
      tf.keras.Input((8, 8, 1)),
      tf.keras.layers.Conv2D(2, 3, name="one"),
      tf.keras.layers.Conv2D(2, 3, name="two"),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dense(3),
    ]
  )
  more.save(tmp_path / "more.keras")
  less = tf.keras.Sequential(
    [
      tf.keras.Input((8, 8, 1)),
      tf.keras.layers.Conv2D(2, 3, name="one"),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dense(3),
    ]
  )
  with pytest.raises(ConfigError, match="two/bias has no place here"):
    load_weights(less, tmp_path / "more.keras")


def test_classes_of_other_names_get_a_new_head(tmp_path):
  save_run(tmp_path, trained(), class_names=["a", "b", "c", "d"])
  same = load_weights(resnet8(), tmp_path, class_names=["a", "b", "c", "d"])
  assert not same.new
  other = load_weights(resnet8(), tmp_path, class_names=["b", "a", "c", "d"])
  why = "the classes have other names there"
  assert other.new == {"logits/kernel": why, "logits/bias": why}
  assert not load_weights(resnet8(), tmp_path).new


def test_the_best_checkpoint_is_taken_if_asked(tmp_path):
  latest = trained()
  best = resnet8(seed=9)
  save_run(tmp_path, latest, best=best)
  for name, expected in (("latest", latest), ("best", best)):
    model = resnet8(seed=1)
    load_weights(model, tmp_path, checkpoint=name)
    np.testing.assert_array_equal(
      model.get_weights()[0], expected.get_weights()[0]
    )


def test_frozen_layers_are_loaded_too(tmp_path):
  path = save(tmp_path, "run", trained())
  model = resnet8(freeze=("all_but_head",))
  assert len(load_weights(model, path).taken) == len(named_variables(model))


def test_a_frozen_runs_network_is_restored(tmp_path):
  """What a checkpoint holds is in another order if layers are frozen."""
  source = trained(freeze=("stem", "stage2"))
  save_run(tmp_path, source)
  card = run_card.read(tmp_path)
  card["network"]["freeze"] = ["stem", "stage2"]
  run_card.write(tmp_path, card)
  model = resnet8(seed=1)
  load_weights(model, tmp_path)
  np.testing.assert_array_equal(model(images()), source(images()))


def test_gray_images_are_seen_as_rgb_was(tmp_path):
  source = trained()
  path = save(tmp_path, "model.keras", source)
  gray = resnet8(channels=1)
  loaded = load_weights(gray, path)
  assert list(loaded.changed) == ["stem_conv1/kernel"]
  pixels = images(channels=1)
  np.testing.assert_allclose(
    gray(pixels), source(np.repeat(pixels, 3, -1)), rtol=1e-4
  )
  back = resnet8(channels=3)
  gray.save(tmp_path / "gray.keras")
  assert "third" in load_weights(back, tmp_path / "gray.keras").lines()[1]
  np.testing.assert_allclose(
    back(np.repeat(pixels, 3, -1)), gray(pixels), rtol=1e-4
  )


def test_a_keras_file_of_ours_tells_its_normalisation(tmp_path):
  source = build_model(
    "resnet18",
    input_shape=(32, 32, 3),
    num_classes=3,
    mean=(1.0, 20.0, 300.0),
    std=(2.0, 30.0, 400.0),
    padding="symmetric",
  )
  source.save(tmp_path / "a.keras")
  network = pretrained.look(tmp_path / "a.keras").network
  np.testing.assert_allclose(network["mean"], (1.0, 20.0, 300.0), rtol=1e-6)
  np.testing.assert_allclose(network["std"], (2.0, 30.0, 400.0), rtol=1e-6)
  assert network["padding"] == "symmetric"


def own_network(classes):
  layers = tf.keras.layers
  images = tf.keras.Input((8, 8, 1))
  x = layers.Conv2D(3, 3)(images)
  x = layers.Conv2D(4, 3)(layers.BatchNormalization()(x))
  x = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(images, layers.Dense(classes)(x))


def test_layers_that_keras_numbered_are_matched_by_their_order(tmp_path):
  source = own_network(5)
  source.save(tmp_path / "own.keras")
  model = own_network(2)
  assert model.layers[1].name != source.layers[1].name
  loaded = load_weights(model, tmp_path / "own.keras")
  assert len(loaded.taken) == 8 and len(loaded.new) == 2
  for mine, other in zip(model.get_weights()[:8], source.get_weights()[:8]):
    np.testing.assert_array_equal(mine, other)


# Keras' own weights.


@pytest.fixture
def downloaded(monkeypatch):
  """Keras' MobileNet, and one with weights that Keras "downloads"."""
  make = tf.keras.applications.MobileNet
  source = make(weights=None)
  random = np.random.default_rng(0)
  for variable in named_variables(source).values():
    variable.assign(random.uniform(0.2, 0.8, variable.shape))

  def imagenet(weights):
    assert weights == "imagenet"
    return source

  monkeypatch.setattr(tf.keras.applications, "MobileNet", imagenet)
  return make, source


def test_keras_own_weights_are_taken_and_the_head_is_new(downloaded):
  make, source = downloaded
  network = make(
    weights=None, include_top=False, input_shape=(96, 96, 3), pooling="avg"
  )
  images = tf.keras.Input((96, 96, 3))
  scores = tf.keras.layers.Dense(5, name="scores")(network(images))
  model = tf.keras.Model(images, scores, name="MobileNet")
  loaded = load_weights(model, "imagenet")
  assert loaded.new == {
    "scores/kernel": "it is [1, 1, 1024, 1000] there, [1024, 5] here",
    "scores/bias": "it is [1000] there, [5] here",
  }
  found, expected = values_of(model), values_of(source)
  for name in loaded.taken:
    np.testing.assert_array_equal(found[name], expected[name])


def test_without_a_network_the_file_and_its_folder_are_named(monkeypatch):
  def imagenet(weights):
    raise Exception(  # What Keras raises.
      "URL fetch failure on https://storage.example/mobilenet_1_0_224_tf.h5: "
      "None -- [Errno -3] Temporary failure in name resolution"
    )

  monkeypatch.setattr(tf.keras.applications, "MobileNet", imagenet)
  images = tf.keras.Input((8, 8, 3))
  outputs = tf.keras.layers.Dense(2)(tf.keras.layers.Flatten()(images))
  model = tf.keras.Model(images, outputs, name="MobileNet")
  message = "put mobilenet_1_0_224_tf.h5 into ~/.keras/models"
  with pytest.raises(ConfigError, match=message) as error:
    load_weights(model, "imagenet")
  require_one_line(error)


def test_imagenet_is_for_keras_networks():
  with pytest.raises(ConfigError, match="not of keras:NAME"):
    load_weights(resnet8(), "imagenet")
  with pytest.raises(ConfigError, match="timm's or torchvision's"):
    pretrained.network_for(
      pretrained.look("imagenet"),
      model="resnet50",
      model_variant="d",
      channels=3,
    )


# Files that are none.


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a.pth.tar"])
def test_a_pickle_is_refused_with_the_way_to_save_it(name, tmp_path):
  (tmp_path / name).write_bytes(pickle.dumps({"conv1.weight": 1}))
  with pytest.raises(ConfigError, match=r"safetensors\.torch\.save") as error:
    pretrained.look(tmp_path / name)
  require_one_line(error)


@pytest.mark.parametrize("name", ["a.safetensors", "a.keras", "a.weights.h5"])
@pytest.mark.parametrize("content", ["empty", "junk", "zip"])
def test_junk_is_refused_in_one_line(name, content, tmp_path):
  path = tmp_path / name
  path.write_bytes(b"" if content == "empty" else b"junk" * 100)
  if content == "zip":
    path = shutil.make_archive(str(tmp_path / "archive"), "zip", ROOT / ".ci")
    path = shutil.move(path, tmp_path / name)
  with pytest.raises(ConfigError, match=re.escape(name)) as error:
    load_weights(resnet8(), path)
  require_one_line(error)


@pytest.mark.parametrize("name", ["a.safetensors", "a.keras", "a.weights.h5"])
@pytest.mark.parametrize("part", [0.999, 0.5, 0.01])
def test_a_truncated_file_is_refused_in_one_line(name, part, tmp_path):
  path = tmp_path / name
  model = resnet8()
  if name == "a.safetensors":
    path = write_timm(tmp_path, "resnet18")[0]
  elif name == "a.keras":
    model.save(path)
  else:
    model.save_weights(path)
  content = path.read_bytes()
  path.write_bytes(content[: int(part * len(content))])
  with pytest.raises(ConfigError, match=path.name) as error:
    load_weights(model, path)
  require_one_line(error)


@pytest.mark.parametrize(
  "name", ["", "nothing.keras", "notes.txt", "empty_folder", "imagenet21k"]
)
def test_what_is_no_source_is_refused(name, tmp_path):
  (tmp_path / "empty_folder").mkdir()
  (tmp_path / "notes.txt").write_text("no weights")
  with pytest.raises(ConfigError, match="weights must be") as error:
    pretrained.look(tmp_path / name if name else "")
  require_one_line(error)


def test_the_package_offers_both():
  assert train_loop.load_weights is load_weights
  assert train_loop.freeze(resnet8(), ["stem"])
