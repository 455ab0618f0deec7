# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of teachers of other sizes, channels, preprocessing and endings."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import forked, tiny
from train_loop import ConfigError, step
from train_loop.command import teacher as teacher_lib
from train_loop.config import ModelConfig
from train_loop.models import weights
from train_loop.models.teacher import as_teacher
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import metrics_file


def classifier(shape, *, activation=None, num_classes=4, any_size=False):
  """Returns a small network, random and sensitive to every pixel."""
  tf.keras.utils.set_random_seed(1)
  layers = tf.keras.layers
  images = tf.keras.Input((None, None, shape[-1]) if any_size else shape)
  x = layers.Conv2D(5, 3, activation="tanh")(layers.Rescaling(1 / 99)(images))
  x = layers.BatchNormalization()(x)
  x = layers.GlobalAveragePooling2D()(x) if any_size else layers.Flatten()(x)
  outputs = layers.Dense(num_classes, activation=activation)(x)
  return tf.keras.Model(images, outputs)


def pixels(*shape):
  values = np.random.default_rng(0).uniform(0, 255, (3, *shape))
  return tf.constant(values, tf.float32)


def wrap(model, shape, **options):
  return as_teacher(model, image_shape=shape, num_classes=4, **options)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("size", [(12, 10), (5, 6), (8, 8)])
def test_images_are_resized_to_the_teachers_size(size, jit_compile):
  model = classifier((*size, 3))
  teacher = wrap(model, (8, 8, 3))
  images = pixels(8, 8, 3)
  found = tf.function(teacher, jit_compile=jit_compile)(images, training=False)
  expected = model(tf.image.resize(images, size, antialias=True))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  assert found.dtype == tf.float32


def test_a_teacher_of_any_size_takes_what_it_was_trained_on():
  model = classifier((8, 8, 1), any_size=True)
  images = pixels(8, 8, 1)
  expected = model(tf.image.resize(images, [12, 12], antialias=True))
  found = wrap(model, (8, 8, 1), image_size=(12, 12))(images)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    wrap(model, (8, 8, 1))(images), model(images), rtol=1e-5
  )


def test_gray_images_become_rgb():
  model = classifier((8, 8, 3))
  images = pixels(8, 8, 1)
  expected = model(tf.image.grayscale_to_rgb(images))
  np.testing.assert_allclose(
    wrap(model, (8, 8, 1))(images), expected, rtol=1e-5
  )


@pytest.mark.parametrize("mode", ["none", "unit", "tf", "torch", "caffe"])
def test_pixels_are_what_keras_preprocess_input_gives(mode):
  model = tf.keras.Sequential(
    [tf.keras.Input((1, 2, 3)), tf.keras.layers.Flatten()]
  )
  images = pixels(1, 2, 3)
  found = as_teacher(
    model, image_shape=(1, 2, 3), num_classes=6, preprocessing=mode
  )(images)
  prepare = tf.keras.applications.imagenet_utils.preprocess_input
  expected = {"none": images, "unit": images / 255.0}.get(mode)
  if expected is None:
    expected = prepare(images.numpy().copy(), mode=mode)
  np.testing.assert_allclose(
    found, np.reshape(expected, [3, 6]), rtol=1e-5, atol=2e-5
  )


def test_a_closing_softmax_is_removed_and_said(caplog):
  model = classifier((8, 8, 1), activation="softmax")
  caplog.set_level("INFO", "absl")
  images = pixels(8, 8, 1)
  logits = wrap(model, (8, 8, 1))(images)
  assert "the teacher's closing softmax is removed" in caplog.text
  assert abs(np.sum(logits, axis=1) - 1).max() > 1e-3
  np.testing.assert_allclose(tf.nn.softmax(logits), model(images), rtol=1e-5)


def test_a_teacher_is_not_trained():
  assert not wrap(classifier((8, 8, 1)), (8, 8, 1)).trainable_variables


def two_outputs():
  images = tf.keras.Input((8, 8, 1))
  x = tf.keras.layers.Flatten()(images)
  dense = tf.keras.layers.Dense
  return tf.keras.Model(images, [dense(4)(x), dense(4)(x)])


class Unbuilt(tf.keras.Model):
  """A subclassed model that was never called."""


REFUSED = [
  (lambda: classifier((8, 8, 1), num_classes=5), "4 classes, got output shape"),
  (two_outputs, "one output, [batch, 4], as the student has 4 classes, got"),
  (lambda: classifier((8, 8, 4)), "images of 1 channels, as the student does"),
  (
    lambda: classifier((8, 8, 1), activation="sigmoid"),
    "logits or a softmax, got a closing sigmoid",
  ),
  (
    lambda: tf.keras.Sequential(
      [tf.keras.Input([4]), tf.keras.layers.Dense(4)]
    ),
    "images [batch, height, width, channels], got input shape (None, 4)",
  ),
  (Unbuilt, "a model of one input"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_a_teacher_that_does_not_fit_is_one_line(make, message):
  with pytest.raises(ConfigError) as caught:
    wrap(make(), (8, 8, 1))
  text = str(caught.value)
  assert text.startswith("teacher must") and message in text
  assert len(text.splitlines()) == 1


def test_a_student_of_colours_has_no_gray_teacher():
  with pytest.raises(ConfigError, match="channels, as the student does, or RG"):
    wrap(classifier((8, 8, 1)), (8, 8, 3))
  with pytest.raises(
    ConfigError, match="teacher_preprocessing must be none, u"
  ):
    wrap(classifier((8, 8, 1)), (8, 8, 1), preprocessing="caffe")


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_the_teacher_sees_full_images_while_the_student_grows(
  accumulate_steps, parallel
):
  config = tiny.config(
    accumulate_steps=accumulate_steps,
    parallel_micro_batches=parallel and accumulate_steps > 1,
    distill_temperature=3.0,
  )
  teacher = wrap(classifier((12, 12, 3)), tiny.SHAPE)
  batch = tiny.batch()
  losses = []
  for taught in (None, teacher):
    student = tiny.model(any_size=True)
    state = TrainState(student, config)
    take_step = tf.function(
      lambda batch, state=state, taught=taught: step.train_step(
        state,
        batch,
        config,
        schedule=make_schedule(config),
        teacher=taught,
        image_size=4,
      ),
      jit_compile=True,
    )
    losses.append(float(take_step(batch)["loss"]))
  images = tf.cast(batch["image"], tf.float32)
  small = tf.image.resize(images, [4, 4], antialias=True)
  parts = tf.split(small, accumulate_steps)
  student = tiny.model(any_size=True)
  logits = tf.concat([student(part, training=True) for part in parts], 0) / 3
  soft = tf.nn.softmax(teacher(images) / 3.0)
  term = tf.keras.losses.categorical_crossentropy(soft, logits, True)
  expected = 9.0 * float(tf.reduce_mean(term))
  assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
  path = tmp_path_factory.mktemp("data") / "data.npz"
  (x_train, y_train), (x_test, y_test) = tiny.arrays(64), tiny.arrays(32)
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  return path


def train(data_file, *arguments):
  return forked.run(
    "train_loop.main",
    *("--dataset=npz", f"--data_dir={data_file}"),
    *("--model=python:tests.tiny.built", "--allow_python"),
    *(
      "--fuse_batch_norm=false",
      "--epochs=2",
      "--warmup_epochs=0",
      "--global_batch_size=16",
    ),
    *("--onednn=true", *arguments),
  )


def test_a_keras_file_from_elsewhere_teaches_and_then_a_run_does(
  data_file, tmp_path
):
  path = tmp_path / "teacher.keras"
  classifier((12, 12, 3), activation="softmax").save(path)
  first, second = tmp_path / "first", tmp_path / "second"
  done = train(
    data_file,
    f"--workdir={first}",
    f"--teacher={path}",
    "--teacher_preprocessing=tf",
    "--precision=mixed_bfloat16",
    "--progressive_image_sizes=4:0,8:0.5",
    "--jit_compile=true",
  )
  assert done.returncode == 0, done.stderr
  assert "the teacher's closing softmax is removed" in done.stderr
  done = train(
    data_file,
    f"--workdir={second}",
    f"--teacher={first}",
    "--teacher_checkpoint=best",
    "--precision=float32",
    "--jit_compile=false",
    "--mode=train",
  )
  assert done.returncode == 0, done.stderr
  losses = [r["loss"] for r in metrics_file.read_metrics(second) if "loss" in r]
  assert losses and losses[0] > 10  # T² = 400 times the teacher's term.
  again = train(data_file, f"--workdir={second}", "--mode=eval")
  assert again.returncode == 0, again.stderr


def test_a_run_of_the_same_classes_in_another_order_is_no_teacher():
  names = ("cat", "dog")
  teacher_lib._require_same_classes(names, names)
  teacher_lib._require_same_classes(("0", "1"), names)
  with pytest.raises(ConfigError, match="cat, dog, in that order, got dog, ca"):
    teacher_lib._require_same_classes(("dog", "cat"), names)


def test_another_checkpoint_is_another_teacher(tmp_path):
  (tmp_path / "checkpoints/best").mkdir(parents=True)
  for name, content in (("ckpt-8.index", b"8"), ("best/ckpt-2.index", b"2")):
    (tmp_path / "checkpoints" / name).write_bytes(content)
  found = {
    teacher_lib.sha256(
      ModelConfig(teacher=str(tmp_path), teacher_checkpoint=checkpoint)
    )
    for checkpoint in ("latest", "best")
  }
  assert len(found) == 2


def test_keras_network_teaches_with_its_own_weights_and_size(monkeypatch):
  asked = []
  monkeypatch.setattr(
    weights, "load_weights", lambda model, name: asked.append((model, name))
  )
  settings = ModelConfig(teacher="keras:MobileNet")
  teacher_lib.require(settings)
  teacher = teacher_lib.load(
    settings, image_shape=(8, 8, 1), class_names=list(map(str, range(1000)))
  )
  ((model, name),) = asked
  assert name == "imagenet" and model.input_shape == (None, 224, 224, 3)
  images = pixels(8, 8, 1)
  large = tf.image.resize(images, [224, 224], antialias=True)
  np.testing.assert_allclose(
    teacher(images), model(tf.image.grayscale_to_rgb(large)), atol=1e-4
  )


def test_keras_has_no_such_network():
  settings = ModelConfig(teacher="keras:Nowhere")
  with pytest.raises(ConfigError, match="must be keras: and a name of"):
    teacher_lib.load(settings, image_shape=(8, 8, 3), class_names="abcd")
