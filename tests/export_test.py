# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=export: each file is read by others, in other processes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data.images import decode
from tests import forked, pictures
from tests.project import ROOT
from train_loop import ConfigError, models
from train_loop.command import flags, trained_model
from train_loop.exporting import (
  check,
  formats,
  keras_file,
  litert_file,
  reader,
)
from train_loop.exporting.classifier import Classifier
from train_loop.models.batch_norm import BatchNorm
from train_loop.modes import export
from tricks import keras_compat

SIZE = 12
FILES = {
  "saved_model": "model",
  "keras": "model.keras",
  "onnx": "model.onnx",
  "litert": "model.tflite",
}
SERVING = (ROOT / "docs/serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run on JPEGs, that averages and is best before its end."""
  folder = tmp_path_factory.mktemp("pictures")
  pictures.write_folder(folder, counts=(("train", 16), ("val", 12)))
  workdir = tmp_path_factory.mktemp("run")
  done = forked.run(
    "train_loop.main",
    *("--dataset=image_folder", f"--data_dir={folder}", f"--workdir={workdir}"),
    *(f"--image_size={SIZE}", "--eval_resize=14", "--model=resnet8"),
    *("--epochs=2", "--warmup_epochs=0", "--eval_every_epochs=0.5"),
    *("--schedule=constant", "--base_learning_rate=1", "--ema_decay=0.7"),
    *("--global_batch_size=16", "--stochastic_depth=0.2"),
    *("--precision=float32", "--jit_compile=false", "--onednn=true"),
  )
  assert done.returncode == 0, done.stderr
  return workdir


def exported(run, path, *arguments):
  """Exports a run in this process; returns 0."""
  return export.run(
    flags.parse(
      "--mode=export", f"--workdir={run}", f"--output_dir={path}", *arguments
    )
  )


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
  """Each format's file, and what the command said of it."""
  folder = tmp_path_factory.mktemp("files")
  said = {}
  for name, file in FILES.items():
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(sys, "stdout", out)
      assert exported(run, folder / file, f"--export_format={name}") == 0
    said[name] = out.getvalue()
  return folder, said


def evaluation_images(run):
  """The first pictures of evaluation, as files and as it crops them."""
  card = json.loads((run / "run_card.json").read_text())
  folder = ROOT.joinpath(card["flags"]["data_dir"], "val")
  contents = [file.read_bytes() for file in sorted(folder.rglob("*.jpg"))]
  crops = [
    decode.central_crop(
      tf.constant(image), image_size=SIZE, channels=3, eval_resize=14
    )
    for image in contents
  ]
  return contents, np.stack(crops)


def probabilities(run, images, **options):
  """What the run's network answers in this process."""
  model = trained_model.load(run, **options).model
  return tf.nn.softmax(model(images, training=False)).numpy()


@pytest.mark.parametrize("name", FILES)
def test_the_file_has_the_top1_of_the_runs_evaluation(name, files, run):
  _, said = files
  card = json.loads((run / "run_card.json").read_text())
  top1 = f"{card['final']['eval_top1']:.2%}"
  lines = said[name].splitlines()[1:]
  assert len(lines) == (2 if name == "saved_model" else 1)
  for line in lines:
    assert "top-1 differences 0 of 36 images" in line
    assert f"top-1 {top1}, the network's {top1}: 0.00 points lost" in line


@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_as_evaluation_does_in_batches_of_any_size(
  name, files, run
):
  contents, crops = evaluation_images(run)
  upright = pictures.picture(901, 1)
  contents[0] = pictures.turned_png(upright)
  crops[0] = decode.central_crop_of_pixels(
    upright[np.newaxis], image_size=SIZE, eval_resize=14
  )[0]
  expected = probabilities(run, crops)
  folder, _ = files
  assert np.ptp(expected, axis=0).max() > 0.05
  signature = "encoded_images" if name == "saved_model" else "images"
  images = contents if name == "saved_model" else crops
  questions = [
    check.Question(signature, images[start:end], expected[start:end])
    for start, end in ((0, 1), (1, 6), (6, 36))
  ]
  found, _ = check.check(
    name, folder / FILES[name], questions, pictures.CLASSES
  )
  agreement = found[signature]
  assert agreement.images == 36
  assert agreement.top1_differences == 0
  assert agreement.largest_difference < 1e-5


def test_the_weights_are_the_averaged_ones(run):
  _, crops = evaluation_images(run)
  model = models.build_model(
    **trained_model.require_card(run)["network"], dtype="float32"
  )
  from train_loop.workdir import checkpoints

  checkpoints.restore_model(model, run, averaged=False)
  raw = tf.nn.softmax(model(crops, training=False)).numpy()
  assert np.abs(raw - probabilities(run, crops)).max() > 1e-3


def test_a_saved_model_crops_pixels_of_any_size(files, run):
  folder, _ = files
  noise = np.random.default_rng(0)
  questions = []
  for height, width in ((SIZE, SIZE), (40, 61), (9, 30)):
    images = noise.integers(0, 256, (2, height, width, 3), np.uint8)
    crops = [
      decode.central_crop(
        tf.io.encode_png(image), image_size=SIZE, channels=3, eval_resize=14
      )
      for image in images
    ]
    questions.append(
      check.Question(
        "serving_default", images, probabilities(run, np.stack(crops))
      )
    )
  found, _ = check.check(
    "saved_model", folder / "model", questions, pictures.CLASSES
  )
  assert found["serving_default"].largest_difference < 1e-5


def test_class_names_travel_inside(files):
  import onnx

  folder, _ = files
  names = list(pictures.CLASSES)
  with zipfile.ZipFile(folder / "model.keras") as file:
    assert json.loads(file.read("class_names.json")) == names
  with zipfile.ZipFile(folder / "model.tflite") as file:
    assert file.read("labels.txt").decode().split() == names
  (entry,) = onnx.load(folder / "model.onnx").metadata_props
  assert (entry.key, json.loads(entry.value)) == ("class_names", names)
  asset = folder / "model/assets/class_names.json"
  assert json.loads(asset.read_text()) == names


def test_the_metadata_of_litert_name_the_labels(files):
  """Read by TensorFlow's own schema, as far as it goes."""
  from tensorflow.lite.python import schema_py_generated as schema

  folder, _ = files
  model = schema.ModelT.InitFromObj(
    schema.Model.GetRootAs((folder / "model.tflite").read_bytes())
  )
  entry = model.metadata[-1]
  assert entry.name == b"TFLITE_METADATA"
  metadata = bytes(model.buffers[entry.buffer].data)
  assert metadata[4:8] == b"M001"
  assert b"labels.txt" in metadata


def clients():
  """The programs on the page whose runtime is a wheel, by their files."""
  blocks = re.findall(r"^```python\n(.*?)^```$", SERVING, re.M | re.S)
  named = {}
  for block in blocks:
    for name, file in FILES.items():
      if f'"{file}"' in block and "photo.jpg" in block:
        named[name] = block
  return named


@pytest.mark.parametrize("name", FILES)
def test_the_client_on_the_page_names_the_class(name, files, run, tmp_path):
  contents, crops = evaluation_images(run)
  folder, _ = files
  if name == "saved_model":
    photo, expected = contents[0], probabilities(run, crops[:1])[0]
  else:
    # Of the network's size, so that no resize makes a difference.
    png = io.BytesIO()
    Image.fromarray(crops[0]).save(png, "PNG")
    photo, expected = png.getvalue(), probabilities(run, crops[:1])[0]
  (tmp_path / "photo.jpg").write_bytes(photo)
  (tmp_path / FILES[name]).symlink_to(folder / FILES[name])
  program = tmp_path / "client.py"
  program.write_text(clients()[name])
  done = subprocess.run(
    [sys.executable, "-I", program],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  class_name, probability = done.stdout.split()
  assert class_name == pictures.CLASSES[expected.argmax()]
  assert float(probability) == pytest.approx(expected.max(), abs=1e-4)


def test_the_best_checkpoint_can_be_exported(run, tmp_path):
  _, crops = evaluation_images(run)
  expected = probabilities(run, crops, checkpoint="best")
  assert np.abs(expected - probabilities(run, crops)).max() > 1e-3
  path = tmp_path / "best"  # A folder, for a name without the ending.
  exported(run, path, "--export_format=onnx", "--checkpoint=best")
  import onnxruntime

  session = onnxruntime.InferenceSession(path / "model.onnx")
  (found,) = session.run(None, {"images": crops})
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_a_quantized_file_is_small_and_loses_little(
  quantize, files, run, tmp_path, capsys
):
  path = tmp_path / "model.tflite"
  arguments = ("--export_format=litert", f"--quantize={quantize}")
  exported(run, path, *arguments)
  assert "points lost" in capsys.readouterr().out
  ratio = path.stat().st_size / (files[0] / "model.tflite").stat().st_size
  assert ratio < {"float16": 0.6, "int8": 0.45}[quantize]
  _, crops = evaluation_images(run)
  from ai_edge_litert.interpreter import Interpreter

  classify = Interpreter(str(path)).get_signature_runner()
  assert classify.get_input_details()["images"]["dtype"] == np.uint8
  found = np.concatenate(
    [classify(images=crop[np.newaxis])["probabilities"] for crop in crops]
  )
  expected = probabilities(run, crops)
  assert (
    np.abs(found - expected).max() < {"float16": 0.02, "int8": 0.15}[quantize]
  )
  assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.9


def test_the_reader_cannot_import_what_a_client_has_not():
  for ours in ("train_loop", "train_loop.models", "tricks", "data"):
    with pytest.raises(ModuleNotFoundError):
      reader._WithoutUs().find_spec(ours)
  assert reader._WithoutUs().find_spec("tensorflow.data") is None


def test_a_file_that_answers_otherwise_is_not_kept(run, tmp_path, monkeypatch):
  write = litert_file.write

  def write_broken(classifier, path, **options):
    bias = classifier.model.layers[-1].bias
    bias.assign_add([0.1, 0.0, 0.0])
    write(classifier, path, **options)
    bias.assign_add([-0.1, 0.0, 0.0])

  monkeypatch.setattr(litert_file, "write", write_broken)
  path = tmp_path / "new" / "model.tflite"
  with pytest.raises(ConfigError, match="answers otherwise than the network"):
    exported(run, path, "--export_format=litert")
  assert not list(path.parent.iterdir())


def test_a_file_that_cannot_be_read_is_not_kept(run, tmp_path, monkeypatch):
  monkeypatch.setattr(
    litert_file, "write", lambda _, path, **options: path.write_bytes(b"TFL3")
  )
  with pytest.raises(ConfigError, match=r"model\.tflite cannot be read"):
    exported(run, tmp_path / "model.tflite", "--export_format=litert")
  assert not list(tmp_path.iterdir())


def test_without_its_data_a_run_is_checked_on_noise(
  run, tmp_path, capsys, caplog
):
  gone = f"--data_dir={tmp_path / 'gone'}"
  path = tmp_path / "model.onnx"
  exported(run, path, "--export_format=onnx", gone)
  assert "differences 0 of 100 images" in capsys.readouterr().out
  assert "noise" in caplog.text
  with pytest.raises(ConfigError, match="needs the run's training images"):
    exported(
      run,
      tmp_path / "model.tflite",
      *("--export_format=litert", "--quantize=int8", gone),
    )


def test_flip_tta_is_exported_as_keras_own_operations(run, tmp_path):
  _, crops = evaluation_images(run)
  path = tmp_path / "model.keras"
  exported(run, path, "--export_format=keras", "--flip_tta")
  found = tf.keras.models.load_model(path).predict(crops, verbose=0)
  both = [probabilities(run, crops), probabilities(run, crops[:, :, ::-1])]
  np.testing.assert_allclose(found, np.mean(both, axis=0), atol=1e-5)
  assert np.abs(both[0] - both[1]).max() > 1e-4


@pytest.mark.parametrize(
  "arguments, message",
  [
    ([], "output_dir must be given"),
    (["--output_dir=there"], "output_dir must be new"),
    (
      ["--output_dir=new.onnx", "--export_format=litert"],
      r"output_dir must be a name with the ending \.tflite",
    ),
    (["--output_dir=new.onnx"], "output_dir must be a folder's name"),
    (["--output_dir=new", "--quantize=int8"], "quantize=int8 is for"),
    (["--output_dir=new"], "workdir must hold a run of this command"),
  ],
)
def test_a_bad_start_is_refused_and_writes_nothing(
  arguments, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "there").write_text("old")
  values = flags.parse("--mode=export", "--workdir=.", *arguments)
  with pytest.raises(ConfigError, match=message):
    export.run(values)
  assert [file.name for file in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_what_is_not_installed_is_named_with_the_command(name, monkeypatch):
  needed = formats.FORMATS[name].modules[0]
  monkeypatch.setitem(sys.modules, needed, None)
  monkeypatch.setattr(
    formats.importlib.util,
    "find_spec",
    lambda module: None if module == needed else True,
  )
  with pytest.raises(ConfigError) as caught:
    formats.require_installed(name)
  assert needed in str(caught.value)
  assert "pip install 'train_loop[export]'" in str(caught.value)


def test_a_difference_a_tie_and_no_number_are_told_apart():
  ours = np.array([[0.6, 0.4], [0.5, 0.5], [0.9, 0.1]], np.float32)
  labels = np.array([0, 0, 1])
  same = check.agreement(ours, ours.copy(), labels)
  assert same.holds and same.top1 == same.top1_of_file == pytest.approx(
    1 / 3 * 2
  )
  tie = ours + np.float32([[0, 0], [-3e-7, 3e-7], [0, 0]])
  found = check.agreement(ours, tie, labels)
  assert found.holds and found.ties == 1 and found.top1_differences == 0
  assert "1 ties within" in str(found)
  other = ours + np.float32([[-0.2, 0.2], [0, 0], [0, 0]])
  found = check.agreement(ours, other)
  assert not found.holds and found.top1_differences == 1
  assert not check.agreement(ours, ours + np.float32(2e-4)).holds
  assert not check.agreement(ours, np.full_like(ours, np.nan)).holds


@pytest.mark.parametrize(
  "model, size, options",
  [
    ("resnet20", 17, {"model_variant": "d"}),
    ("resnet14", 29, {}),
    ("resnet18", 32, {"model_variant": "c"}),
  ],
)
def test_networks_of_ours_become_keras_own_layers(model, size, options):
  tf.keras.utils.set_random_seed(1)
  ours = models.build_model(
    model,
    input_shape=(size, size, 3),
    num_classes=5,
    mean=(120.0,) * 3,
    std=(60.0,) * 3,
    stochastic_depth=0.3,
    **options,
  )
  weights = np.random.default_rng(0)
  for variable in ours.variables:
    if variable.dtype != "int64" and len(variable.shape) == 1:
      variable.assign(weights.uniform(0.5, 1.5, variable.shape))
  theirs = keras_file.of_keras_layers(ours)
  kinds = {type(layer).__module__.split(".")[0] for layer in theirs.layers}
  assert "train_loop" not in kinds
  images = weights.integers(0, 256, (3, size, size, 3), np.uint8)
  np.testing.assert_allclose(
    theirs(images, training=False), ours(images, training=False), rtol=1e-4
  )


def test_our_layers_in_a_nested_model_become_keras_own():
  images = tf.keras.Input((6, 6, 2))
  inner = tf.keras.Sequential(
    [tf.keras.Input((6, 6, 2)), BatchNorm(scale=False), BatchNorm(center=False)]
  )
  outputs = BatchNorm(epsilon=0.1)(inner(images))
  ours = tf.keras.Model(images, outputs)
  random = np.random.default_rng(0)
  for variable in ours.variables:
    variable.assign(random.uniform(0.5, 1.5, variable.shape))
  theirs = keras_file.of_keras_layers(ours)
  kinds = map(type, keras_compat.flat_layers(theirs))
  assert not any(kind.__module__.startswith("train_loop") for kind in kinds)
  batch = random.normal(size=(3, 6, 6, 2)).astype("float32")
  np.testing.assert_allclose(
    theirs(batch, training=False), ours(batch, training=False), rtol=1e-5
  )


@pytest.mark.parametrize("name", ["swish", "softmax", "relu"])
def test_a_keras_file_with_a_function_of_tensorflows_can_be_opened(
  name, tmp_path
):
  images = tf.keras.Input((4, 4, 1))
  dense = tf.keras.layers.Dense(3, activation=getattr(tf.nn, name))
  logits = tf.keras.layers.Dense(2)(dense(tf.keras.layers.Flatten()(images)))
  classifier = Classifier(tf.keras.Model(images, logits), "ab", (4, 4, 1))
  path = tmp_path / "model.keras"
  keras_file.write(classifier, path)
  opened = tf.keras.models.load_model(path)
  batch = np.random.default_rng(0).normal(size=(3, 4, 4, 1))
  np.testing.assert_allclose(
    opened(batch), tf.nn.softmax(classifier.model(batch)), rtol=1e-5
  )


def test_a_network_with_layers_of_somebody_elses_is_refused(tmp_path):
  class Own(tf.keras.layers.Layer):
    def call(self, inputs):
      return inputs

  images = tf.keras.Input((4, 4, 1))
  logits = tf.keras.layers.Dense(2)(
    tf.keras.layers.Flatten()(Own(name="mine")(images))
  )
  classifier = Classifier(tf.keras.Model(images, logits), "ab", (4, 4, 1))
  with pytest.raises(ConfigError, match="'mine', a Own: take another format"):
    keras_file.write(classifier, tmp_path / "model.keras")
