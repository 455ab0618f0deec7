# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of images with any number of labels, from the step to the answers."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from data.errors import DataError
from data.preparation import check
from data.sources import arrays, record_index, tfds
from data.sources import source as sources
from tests import forked, tiny
from train_loop import evaluation, multi_label, train_and_evaluate
from train_loop import state as state_lib
from train_loop import step as step_lib
from train_loop.command import trained_model
from train_loop.config import ConfigError
from train_loop.exporting import classifier, keras_file, onnx_file
from train_loop.workdir import metrics_file
from tricks import (
  flip_tta,
  keras_compat,
  multi_label_distillation_loss,
  smooth_multi_labels,
)

RANDOM = np.random.default_rng(0)


def pictures(count, *, seed=0):
  """Bright quarters, any number of them in an image."""
  random = np.random.default_rng(seed)
  rows = random.integers(0, 2, [count, 4], dtype=np.uint8)
  images = random.integers(0, 120, (count, *tiny.SHAPE), dtype=np.uint8)
  for image, row in zip(images, rows):
    for label in np.flatnonzero(row):
      top, left = 4 * (label // 2), 4 * (label % 2)
      image[top : top + 4, left : left + 4] += 100
  return images, rows


def dataset(count, *, batch=32, seed=0, dtype=np.uint8):
  images, rows = pictures(count, seed=seed)
  return tf.data.Dataset.from_tensor_slices((images, rows.astype(dtype))).batch(
    batch
  )


# -- The figures --


@pytest.mark.parametrize("ties", [False, True])
def test_figures_are_scikit_learns(ties):
  labels = RANDOM.integers(0, 2, [300, 5])
  probabilities = RANDOM.random([300, 5])
  if ties:
    probabilities = probabilities.round(1)
  thresholds = np.array([0.1, 0.3, 0.5, 0.7, 0.95])
  found = multi_label.figures(labels, probabilities, thresholds)
  said = probabilities >= thresholds
  assert found == {
    "eval_mean_average_precision": sklearn_metrics.average_precision_score(
      labels, probabilities, average="macro"
    ),
    "eval_f1_macro": pytest.approx(
      sklearn_metrics.f1_score(labels, said, average="macro"), rel=1e-15
    ),
    "eval_f1_micro": pytest.approx(
      sklearn_metrics.f1_score(labels, said, average="micro"), rel=1e-15
    ),
  }


def test_a_class_without_positives_counts_in_no_mean():
  labels = RANDOM.integers(0, 2, [50, 3])
  probabilities = RANDOM.random([50, 3])
  with_none = np.insert(labels, 1, 0, axis=1)
  with_any = np.insert(probabilities, 1, 0.9, axis=1)
  assert multi_label.figures(with_none, with_any) == multi_label.figures(
    labels, probabilities
  )
  nothing = multi_label.figures(np.zeros([3, 2]), np.ones([3, 2]))
  assert set(nothing.values()) == {0.0}
  assert multi_label.fitted_thresholds(with_none, with_any)[1] == 0.5


@pytest.mark.parametrize("decimals", [1, 8])
def test_no_threshold_has_a_larger_f1_than_the_fitted(decimals):
  labels = RANDOM.integers(0, 2, [200, 4])
  labels[:, 1] = 1
  probabilities = (0.7 * RANDOM.random([200, 4]) + 0.3 * labels).round(decimals)
  found = multi_label.fitted_thresholds(labels, probabilities)
  for k, threshold in enumerate(found):
    assert 0.0 < threshold < 1.0
    best = max(
      sklearn_metrics.f1_score(labels[:, k], probabilities[:, k] >= cut)
      for cut in np.unique(probabilities[:, k])
    )
    assert best == pytest.approx(
      sklearn_metrics.f1_score(labels[:, k], probabilities[:, k] >= threshold)
    )
    # No example is so close that rounding could move it.
    assert np.abs(probabilities[:, k] - threshold).min() > 1e-7


# -- The tricks --


def test_smoothing_and_distillation_are_keras():
  logits, teacher = RANDOM.normal(size=[2, 6, 4]).astype(np.float32)
  rows = RANDOM.integers(0, 2, [6, 4]).astype(np.float32)
  keras = tf.keras.losses.BinaryCrossentropy(
    from_logits=True, label_smoothing=0.2, reduction="none"
  )
  np.testing.assert_allclose(
    tf.reduce_mean(
      tf.nn.sigmoid_cross_entropy_with_logits(
        smooth_multi_labels(rows, 0.2), logits
      ),
      axis=1,
    ),
    keras(rows, logits),
    rtol=1e-5,
  )
  plain = tf.keras.losses.BinaryCrossentropy(from_logits=True, reduction="none")
  np.testing.assert_allclose(
    multi_label_distillation_loss(logits, teacher, temperature=3.0),
    9.0 * plain(tf.sigmoid(teacher / 3.0), logits / 3.0),
    rtol=1e-5,
  )
  assert smooth_multi_labels(rows, 0.0) is rows
  for value in (-0.1, 1.0):
    with pytest.raises(ValueError, match="label_smoothing must be in"):
      smooth_multi_labels(rows, value)
  with pytest.raises(ValueError, match="temperature must be finite"):
    multi_label_distillation_loss(logits, teacher, temperature=0.0)


def test_flips_average_the_sigmoids():
  images = RANDOM.random([5, 4, 4, 1]).astype(np.float32)
  weights = RANDOM.normal(scale=9.0, size=[16, 3]).astype(np.float32)

  def forward(x):
    return tf.reshape(x, [-1, 16]) @ weights

  found = tf.sigmoid(flip_tta(forward, tf.constant(images), multi_label=True))
  mirrored = images[:, :, ::-1]
  expected = (tf.sigmoid(forward(images)) + tf.sigmoid(forward(mirrored))) / 2
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_step_is_keras_binary_cross_entropy():
  config = tiny.config(
    task="multi_label", label_smoothing=0.1, base_learning_rate=0.8
  )
  model, twin = tiny.model(), tiny.model()
  state = state_lib.TrainState(model, config)
  images, rows = pictures(32)
  batch = {"image": tf.constant(images), "label": tf.constant(rows)}
  found = step_lib.train_step(
    state, batch, config, schedule=lambda step: tf.constant(0.1)
  )
  with tf.GradientTape() as tape:
    logits = twin(tf.cast(images, tf.float32), training=True)
    loss = tf.keras.losses.BinaryCrossentropy(
      from_logits=True, label_smoothing=0.1
    )(rows, logits)
  variables = keras_compat.tf_variables(twin.trainable_variables)
  gradients = tape.gradient(loss, variables)
  np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
  np.testing.assert_allclose(
    found["gradient_norm"], tf.linalg.global_norm(gradients), rtol=1e-4
  )
  likeliest = logits.numpy().argmax(axis=1)
  assert float(found["top1"]) == pytest.approx(
    np.mean(rows[np.arange(32), likeliest])
  )


# -- The evaluation --


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_evaluation_is_scikit_learns_on_any_number_of_replicas(
  replicas, strategy
):
  config = tiny.config(task="multi_label")
  images, rows = pictures(107)
  if replicas == 1:
    strategy = tf.distribute.get_strategy()
  with strategy.scope():
    model = tiny.model(seed=1)
    found = evaluation.make_evaluate(model, dataset(107, batch=40), config)()
  logits = model(tf.cast(images, tf.float32), training=False).numpy()
  probabilities = tf.sigmoid(logits).numpy().astype(np.float64)
  assert found["eval_examples"] == 107
  assert found["eval_mean_average_precision"] == (
    sklearn_metrics.average_precision_score(rows, logits, average="macro")
  )
  losses = tf.keras.losses.binary_crossentropy(rows, logits, from_logits=True)
  assert found["eval_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
  assert found["eval_thresholds"] == pytest.approx(
    multi_label.fitted_thresholds(rows, probabilities), abs=1e-5
  )
  assert found["eval_f1_macro"] == pytest.approx(
    sklearn_metrics.f1_score(rows, probabilities >= 0.5, average="macro")
  )


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_a_library_trains_on_rows(tmp_path, dtype):
  final = train_and_evaluate(
    tiny.model(),
    dataset(256, dtype=dtype),
    dataset(64, seed=1, dtype=dtype),
    tiny.config(
      task="multi_label",
      mixup_alpha=0.2,
      focal_gamma=1.0,
      patience=9,
      total_steps=48,
    ),
    tmp_path,
    teacher=tiny.model(seed=2) if dtype is bool else None,
  )
  if dtype is not bool:
    assert final["eval_mean_average_precision"] > 0.9
  best = max(
    record.get("eval_mean_average_precision", -1.0)
    for record in metrics_file.read_metrics(tmp_path)
  )
  state = state_lib.TrainState(tiny.model(), tiny.config())
  reader = tf.train.load_checkpoint(str(tmp_path / "checkpoints"))
  saved = reader.get_tensor("best_top1/.ATTRIBUTES/VARIABLE_VALUE")
  assert saved == np.float32(best)
  assert state.best.numpy() == -1.0


@pytest.mark.parametrize(
  "rows, text",
  [
    (np.ones([8], np.int32), r"label of train_dataset must be \[batch, 4\]"),
    (np.ones([8, 3], np.int32), r"must be \[batch, 4\] of 0 and 1 with task"),
    (np.full([8, 4], 2), "label must be rows of 0 and 1, got 2 2 2 2 at"),
    (np.full([8, 4], 0.5), "label must be rows of 0 and 1, got 0.5 0.5"),
  ],
)
def test_other_labels_are_one_line(tmp_path, rows, text):
  images = np.zeros((8, *tiny.SHAPE), np.uint8)
  data = tf.data.Dataset.from_tensor_slices((images, rows)).batch(8)
  config = tiny.config(task="multi_label", global_batch_size=8)
  with pytest.raises(ConfigError, match=text):
    train_and_evaluate(tiny.model(), data, None, config, tmp_path)


# -- The data --


def source(count=100, seed=0):
  return arrays.from_arrays(*pictures(count, seed=seed), multi_label=True)


def test_a_source_knows_its_labels():
  images, rows = pictures(100)
  found = source()
  assert found.multi_label and found.num_classes == 4
  assert found.class_counts() == rows.sum(axis=0).tolist()
  (first,) = np.flatnonzero(rows.sum(axis=1) == 2)[:1]
  names = ", ".join(str(k) for k in np.flatnonzero(rows[first]))
  assert found.place(first).endswith(f"(class {names})")
  (none,) = np.flatnonzero(rows.sum(axis=1) == 0)[:1]
  assert found.place(none).endswith("(class none)")
  assert arrays.from_arrays(
    images, rows.astype(bool), multi_label=True
  ).fingerprint() == (found.fingerprint())
  other = rows.copy()
  other[0, 0] ^= 1
  assert (
    arrays.from_arrays(images, other, multi_label=True).fingerprint()
    != found.fingerprint()
  )


def test_a_split_keeps_the_share_of_each_set_of_labels():
  whole = source(1000)
  train, validation = whole.split(0.2)
  assert (train.num_examples, validation.num_examples) == (800, 200)

  def share(part):
    sets = part.labels @ (1 << np.arange(4))
    return np.bincount(sets, minlength=16) / part.num_examples

  np.testing.assert_allclose(share(validation), share(whole), atol=0.006)
  joined = np.concatenate([train.images, validation.images])
  assert len(np.unique(joined, axis=0)) == 1000


def test_classes_are_numbered_as_in_the_run():
  found = sources.with_classes(source(), ("x", "3", "1", "2", "0"))
  np.testing.assert_array_equal(found.labels[:, [4, 2, 3, 1]], pictures(100)[1])
  assert not found.labels[:, 0].any()


@pytest.mark.parametrize(
  "rows, text",
  [
    (np.zeros(3, int), r"must be \[examples, classes\] with task=multi_label"),
    (np.full([3, 2], 2), "must be 0 and 1 with task=multi_label, got int64"),
    (np.full([3, 2], -1), "must be 0 and 1 with task=multi_label"),
  ],
)
def test_other_rows_are_one_line(rows, text):
  images = np.zeros((3, *tiny.SHAPE), np.uint8)
  with pytest.raises(DataError, match=text):
    arrays.from_arrays(images, rows, multi_label=True)


def test_check_data_counts_each_label():
  part = check.check(source(20), source(9, seed=1)).train
  counts = pictures(20)[1].sum(axis=0)
  assert list(part.class_counts.values()) == counts.tolist()


def test_rows_of_records_are_read(tmp_path):
  path = str(tmp_path / "train.tfrecord")
  lists = [[2], [], [0, 3], [1, 2, 3]]
  with tf.io.TFRecordWriter(path) as writer:
    for labels in lists:
      values = tf.train.Int64List(value=labels)
      feature = {"labels": tf.train.Feature(int64_list=values)}
      features = tf.train.Features(feature=feature)
      writer.write(tf.train.Example(features=features).SerializeToString())
  rows = record_index.rows_of([path], "labels", 4)
  assert [np.flatnonzero(row).tolist() for row in rows] == lists
  assert record_index.build([path], None).label.tolist() == [0] * 4
  with pytest.raises(DataError, match=r"labels must be in \[0, 3\), got 3"):
    record_index.rows_of([path], "labels", 3)
  with pytest.raises(DataError, match=r"record at byte 0: it has no feature"):
    record_index.rows_of([path], "classes", 4)
  assert tfds  # Reads its labels by these.


# -- The command --


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  root = tmp_path_factory.mktemp("multi")
  x_train, y_train = pictures(256)
  x_test, y_test = pictures(64, seed=1)
  np.savez(
    root / "quarters.npz",
    **{"x_train": x_train, "y_train": y_train},
    **{"x_test": x_test, "y_test": y_test},
  )
  workdir = root / "run"
  done = command(
    *("--dataset=npz", f"--data_dir={root / 'quarters.npz'}"),
    *("--task=multi_label", "--model=resnet8", "--epochs=6"),
    *("--warmup_epochs=0", "--base_learning_rate=0.4", "--flip_tta"),
    *("--eval_every_epochs=2", "--label_smoothing=0.1", "--mixup_alpha=0.1"),
    *("--precision=float32", "--jit_compile=false", "--onednn=true"),
    *("--global_batch_size=32", f"--workdir={workdir}"),
  )
  assert done.returncode == 0, done.stderr
  return workdir, done.stdout


def test_a_run_is_judged_by_its_mean_average_precision(run):
  workdir, text = run
  *_, last = metrics_file.read_metrics(workdir)
  precision = last["eval_mean_average_precision"]
  assert f"mean average precision {precision:.2%}, F1" in text
  assert len(last["eval_thresholds"]) == 4
  done = command("--mode=eval", f"--workdir={workdir}")
  assert f"mean average precision {precision:.2%}, F1" in done.stdout
  # Its own F1 is at one half, that of mode eval at the fitted thresholds.
  assert command(f"--workdir={workdir}").returncode == 0


def test_predict_names_the_labels_that_are_there(run, tmp_path):
  workdir, _ = run
  images, _ = pictures(9, seed=2)
  paths = []
  for number, image in enumerate(images):
    paths.append(str(tmp_path / f"{number}.png"))
    tf.io.write_file(paths[-1], tf.io.encode_png(image))
  done = command(
    "--mode=predict", f"--workdir={workdir}", "--format=jsonl", *paths
  )
  assert done.returncode == 0, done.stderr
  trained = trained_model.load(workdir)
  assert trained.thresholds is not None

  def forward(x):
    return trained.model(x, training=False)

  logits = flip_tta(forward, tf.cast(images, tf.float32), multi_label=True)
  probabilities = tf.sigmoid(logits).numpy()
  for row, line in zip(probabilities, done.stdout.splitlines()):
    expected = {
      str(k): row[k]
      for k in np.flatnonzero(row >= np.array(trained.thresholds))
    }
    found = {
      each["class"]: each["probability"] for each in json.loads(line)["classes"]
    }
    assert found == pytest.approx(expected, abs=1e-5)


def test_an_export_says_which_labels_are_present(run, tmp_path):
  workdir, _ = run
  done = command(
    *("--mode=export", f"--workdir={workdir}", f"--output_dir={tmp_path / 'x'}")
  )
  assert done.returncode == 0, done.stderr
  assert "top-1 differences 0 of 64 images" in done.stdout
  thresholds = trained_model.load(workdir).thresholds
  loaded = tf.saved_model.load(str(tmp_path / "x"))
  told = loaded.signatures["class_names"]()["thresholds"]
  np.testing.assert_allclose(told, thresholds, rtol=1e-6)
  images, _ = pictures(5, seed=3)
  answer = loaded.signatures["serving_default"](images=tf.constant(images))
  np.testing.assert_array_equal(
    answer["present"], answer["probabilities"] >= np.float32(thresholds)
  )


@pytest.mark.parametrize("flipped", [False, True])
def test_files_hold_sigmoids_and_thresholds(tmp_path, flipped):
  thresholds = (0.1, 0.25, 0.5, 0.75)
  model = tiny.model()
  exported = classifier.Classifier(
    model, tuple("abcd"), tiny.SHAPE, flipped, thresholds
  )
  images, _ = pictures(5)
  pixels = images.astype(np.float32)
  expected = tf.sigmoid(model(pixels, training=False)).numpy()
  if flipped:
    mirrored = tf.sigmoid(model(pixels[:, :, ::-1], training=False))
    expected = (expected + mirrored) / 2
  np.testing.assert_allclose(
    exported.probabilities(tf.constant(images)), expected, rtol=1e-4
  )
  path = tmp_path / "model.keras"
  keras_file.write(exported, path)
  loaded = tf.keras.models.load_model(path, compile=False)
  np.testing.assert_allclose(loaded(images), expected, rtol=1e-4)
  with zipfile.ZipFile(path) as file:
    assert json.loads(file.read("thresholds.json")) == list(thresholds)
  if flipped:
    return
  onnx_file.write(exported, tmp_path / "model.onnx")
  session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
  told = session.get_modelmeta().custom_metadata_map["thresholds"]
  assert json.loads(told) == list(thresholds)
  (answer,) = session.run(None, {"images": images})
  np.testing.assert_allclose(answer, expected, rtol=1e-4)


def test_convert_and_other_data_are_refused(run, tmp_path):
  workdir, _ = run
  data = workdir.parent / "quarters.npz"
  for words, text in (
    (
      ("--mode=convert", "--dataset=npz", f"--data_dir={data}"),
      "task must be single_label for mode convert",
    ),
    (("--dataset=digits", f"--workdir={tmp_path}"), "task must be left out"),
    (
      (
        *("--dataset=npz", f"--data_dir={data}", "--class_balance=weights"),
        f"--workdir={tmp_path}",
      ),
      "class_balance must be none with task=multi_label",
    ),
  ):
    output = f"--output_dir={tmp_path / 'o'}"
    done = command("--task=multi_label", output, *words)
    assert done.returncode == 2
    assert text in done.stderr.splitlines()[-1]
