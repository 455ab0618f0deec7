# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=predict: its answers are those of the run's evaluation."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data.sources import image_files
from tests import forked, pictures, tiny
from tests.project import ROOT
from train_loop import evaluation
from train_loop.command import compose, config_from_flags, flags, trained_model
from train_loop.modes import predict as predict_mode

FEW_STEPS = (
  "--model=resnet8",
  "--epochs=2",
  "--warmup_epochs=0",
  "--ema_decay=0.5",
  "--precision=float32",
  "--jit_compile=false",
  "--onednn=true",
)


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


def predict(workdir, *arguments):
  return command("--mode=predict", f"--workdir={workdir}", *arguments)


def rows_of(done):
  """Returns what --format=jsonl wrote."""
  return [json.loads(line) for line in done.stdout.splitlines()]


def own_lines(done):
  """Returns the last words: not the log, nor TensorFlow's notices."""
  return [x for x in done.stderr.splitlines() if x.startswith("train_loop:")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return pictures.write_folder(
    tmp_path_factory.mktemp("pictures"), counts=(("train", 8), ("val", 5))
  )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
  """A run on JPEG files, evaluated on a part of each, in micro-batches."""
  workdir = tmp_path_factory.mktemp("run")
  done = command(
    *FEW_STEPS,
    f"--workdir={workdir}",
    "--dataset=image_folder",
    f"--data_dir={folder}",
    "--image_size=16",
    "--eval_resize=20",
    "--global_batch_size=6",
    "--accumulate_steps=2",
    "--parallel_micro_batches",
    "--eval_every_epochs=1",
  )
  assert done.returncode == 0, done.stderr
  return workdir


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
  """A run on arrays of gray 8x8 images; and the images, as PNG files."""
  place = tmp_path_factory.mktemp("gray")
  (x_train, y_train), (x_test, y_test) = tiny.arrays(96), tiny.arrays(20)
  np.savez(
    place / "data.npz",
    **{"x_train": x_train, "y_train": y_train},
    **{"x_test": x_test, "y_test": y_test},
  )
  (place / "files").mkdir()
  for index, pixels in enumerate(x_test):
    Image.fromarray(pixels[..., 0]).save(place / f"files/{index:02d}.png")
  done = command(
    *FEW_STEPS,
    f"--workdir={place / 'run'}",
    "--dataset=npz",
    f"--data_dir={place / 'data.npz'}",
    "--global_batch_size=16",
    "--flip_tta",
  )
  assert done.returncode == 0, done.stderr
  return place


def evaluated(workdir, *arguments):
  """Returns what evaluation sees: its results, labels and probabilities."""
  values = flags.parse(f"--workdir={workdir}", "--mode=eval", *arguments)
  trained_model.adopt_flags(trained_model.require_card(workdir), values)
  inputs = compose.make_inputs(values)
  config = config_from_flags.config_from_flags(values, examples_per_epoch=24)
  model = trained_model.load(workdir, checkpoint=values.checkpoint).model
  results = evaluation.make_evaluate(model, inputs.eval_dataset(), config)()
  labels, probabilities = [], []
  for batch in inputs.eval_dataset():
    images = tf.cast(batch["image"], tf.float32)
    found = tf.nn.softmax(model(images, training=False))
    if values.flip_tta:
      mirrored = tf.reverse(images, [2])
      found += tf.nn.softmax(model(mirrored, training=False))
      found /= 2.0
    labels += batch["label"].numpy().tolist()
    probabilities += found.numpy().tolist()
  return results, labels, np.array(probabilities)


def require_answers(rows, expected, class_names):
  """Each row holds all classes, by falling probability, as expected."""
  assert len(rows) == len(expected)
  for row, probabilities in zip(rows, expected):
    order = np.argsort(-probabilities)
    names = [found["class"] for found in row["classes"]]
    assert names == [class_names[index] for index in order]
    found = [answer["probability"] for answer in row["classes"]]
    np.testing.assert_allclose(found, probabilities[order], atol=1e-6)


@pytest.mark.parametrize("checkpoint", ["latest", "best"])
def test_a_folder_is_answered_as_it_is_evaluated(checkpoint, run, folder):
  done = predict(
    run, "--format=jsonl", f"--checkpoint={checkpoint}", folder / "val"
  )
  assert done.returncode == 0, done.stderr
  rows = rows_of(done)
  results, labels, expected = evaluated(run, f"--checkpoint={checkpoint}")
  assert [row["image"] for row in rows] == image_files.find_images(
    str(folder / "val")
  )
  require_answers(rows, expected, pictures.CLASSES)
  first = [row["classes"][0]["class"] for row in rows]
  right = np.mean(
    [name == pictures.CLASSES[label] for name, label in zip(first, labels)]
  )
  assert right == pytest.approx(results["eval_top1"])


def test_arrays_are_answered_from_files_of_their_pixels(gray):
  done = predict(gray / "run", "--format=jsonl", gray / "files")
  assert done.returncode == 0, done.stderr
  require_answers(rows_of(done), evaluated(gray / "run")[2], "0123")
  plain = predict(
    gray / "run", "--noflip_tta", "--format=jsonl", gray / "files"
  )
  _, _, expected = evaluated(gray / "run", "--noflip_tta")
  require_answers(rows_of(plain), expected, "0123")
  assert plain.stdout != done.stdout


def test_inputs_keep_their_order_and_bad_ones_are_named(run, folder, tmp_path):
  good = sorted((folder / "val").rglob("*.jpg"))
  (tmp_path / "bad.jpg").write_bytes(good[0].read_bytes()[:200])
  (tmp_path / "empty").mkdir()
  os.mkfifo(tmp_path / "pipe")
  names = ["bad.jpg", "empty", "missing.jpg", "pipe"]
  bad = [str(tmp_path / name) for name in names]
  inputs = [bad[0], good[3], bad[1], *good[4:12], bad[2], good[0], bad[3]]
  # One picture: as it is, on its side, and in a format of Pillow's.
  pixels = pictures.picture(902, 1)
  same = [tmp_path / name for name in ("upright.png", "turned.jpg", "x.webp")]
  Image.fromarray(pixels).save(same[0])
  same[1].write_bytes(pictures.turned_png(pixels))
  Image.fromarray(pixels).save(same[2], lossless=True)
  inputs += same
  done = predict(run, "--format=jsonl", *inputs)
  assert done.returncode == 2
  rows = rows_of(done)
  assert [row["image"] for row in rows] == list(map(str, inputs))
  assert [row["image"] for row in rows if "error" in row] == bad
  answers = [row["classes"] for row in rows[-3:]]
  assert answers[0] == answers[1] == answers[2]
  errors = [row["error"] for row in rows if "error" in row]
  assert errors[1:] == [
    "the folder holds no image",
    "No such file or directory",
    "it is no file",
  ]
  assert own_lines(done) == [
    f"train_loop: image {name} has no answer: {error}"
    for name, error in zip(bad, errors)
  ]
  assert "Traceback" not in done.stderr
  alone = predict(run, "--format=jsonl", good[3])
  assert alone.returncode == 0
  (row,) = rows_of(alone)
  assert [x["class"] for x in row["classes"]] == [
    x["class"] for x in rows[1]["classes"]
  ]


def test_nothing_but_bad_images_is_an_error(run, tmp_path):
  done = predict(run, "--format=csv", tmp_path / "a.jpg", tmp_path / "b.jpg")
  assert done.returncode == 2
  assert len(done.stdout.splitlines()) == 3


def test_csv_is_csv_whatever_the_names_are(run, folder, tmp_path):
  source = next((folder / "val").rglob("*.jpg"))
  names = [b'a, "b".jpg', "grün ☂.jpg".encode(), b"two\nlines.jpg", b"\xff.jpg"]
  paths = [os.path.join(os.fsencode(tmp_path), name) for name in names]
  for path in paths:
    shutil.copy(source, path)
  done = subprocess.run(
    [
      *(sys.executable, "-m", "train_loop.main", "-", "--mode=predict"),
      *(f"--workdir={run}", "--format=csv", "--top=2"),
    ],
    cwd=ROOT,
    input=b"\0".join(paths),
    capture_output=True,
  )
  assert done.returncode == 0, done.stderr
  text = done.stdout.decode("utf-8", "surrogateescape")
  heading, *rows = csv.reader(io.StringIO(text, newline=""))
  assert heading == (
    ["image", "error", "class_1", "probability_1", "class_2", "probability_2"]
  )
  assert [os.fsencode(row[0]) for row in rows] == paths
  assert all(len(row) == len(heading) for row in rows)
  assert {row[2] for row in rows} <= set(pictures.CLASSES)


def test_a_table_has_a_row_for_each_image(run, folder):
  paths = sorted(map(str, (folder / "val").rglob("*.jpg")))
  done = predict(run, *paths, "--top=9", "/nowhere.jpg")
  assert done.returncode == 2
  heading, *rows = map(str.split, done.stdout.splitlines())
  assert heading == ["image", "top-1", "top-2", "top-3"]
  assert [row[0] for row in rows] == paths
  for _, *cells in rows:
    assert sorted(cells[1::2]) == sorted(pictures.CLASSES)
    percents = [float(cell.removesuffix("%")) for cell in cells[::2]]
    assert percents == sorted(percents, reverse=True)
    assert sum(percents) == pytest.approx(100, abs=0.02)


def standard_input(monkeypatch, content):
  file = io.TextIOWrapper(io.BytesIO(content))
  monkeypatch.setattr("sys.stdin", file)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_standard_input_holds_paths(end, folder, tmp_path, monkeypatch):
  expected = image_files.find_images(str(folder))
  content = b"".join(os.fsencode(path) + end for path in expected)
  standard_input(monkeypatch, content + end)
  found = predict_mode.find(["-"], str(tmp_path))
  assert [image.name for image in found] == expected
  assert [image.path for image in found] == expected
  assert not any(image.error for image in found)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_standard_input_holds_an_image(kind, tmp_path, monkeypatch):
  encoded = io.BytesIO()
  Image.fromarray(pictures.picture(0, 0)).save(encoded, kind)
  standard_input(monkeypatch, encoded.getvalue())
  (found,) = predict_mode.find(["-"], str(tmp_path))
  assert found.name == "-" and not found.error
  with open(found.path, "rb") as file:
    assert file.read() == encoded.getvalue()


def test_hidden_files_and_folders_are_left_out_and_links_followed(tmp_path):
  for name in ("b/2.jpg", "b/1.PNG", ".x/3.jpg", "b/.4.jpg", "b/note.txt"):
    path = tmp_path / "top" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
  (tmp_path / "top/c").symlink_to(tmp_path / "top/b")
  (tmp_path / "top/b/loop").symlink_to(tmp_path / "top")
  (tmp_path / "linked").symlink_to(tmp_path / "top")
  top = str(tmp_path / "linked")
  assert image_files.find_images(top) == [f"{top}/b/1.PNG", f"{top}/b/2.jpg"]


def test_a_closed_pipe_ends_it_silently(run, folder, monkeypatch, capfd):
  reader, writer = os.pipe()
  os.close(reader)
  monkeypatch.setattr("sys.stdout", os.fdopen(writer, "w"))
  values = flags.parse(
    "--mode=predict", f"--workdir={run}", "--format=jsonl", str(folder / "val")
  )
  assert predict_mode.run(values) == 128 + 13
  assert "rror" not in capfd.readouterr().err


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "inputs must be given: train_loop --mode=predict --workdir=DIR FILES"),
    (["x.jpg", "--data_dir=photos"], "data_dir must be left out for mode pred"),
    (["x.jpg", "--model=resnet20"], "model='resnet8', not 'resnet20'"),
    (["x.jpg", "--top=0"], "top must be an integer in [1, "),
    (["x.jpg", "--format=xml"], "format must be one of table, jsonl, csv"),
  ],
)
def test_what_is_asked_wrongly_is_one_line(arguments, message, run):
  done = predict(run, *arguments)
  assert done.returncode == 2
  (line,) = own_lines(done)
  assert message in line


def test_other_modes_take_no_inputs(run):
  for argument in ("x.jpg", "--inputs=x.jpg"):
    done = command(f"--workdir={run}", argument)
    assert done.returncode == 2 and "x.jpg" in done.stderr


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ([8, 6, 1], "a run on square images, to which image files can be cut, got"),
    ([8, 8, 4], "a run on gray or RGB images, got one on 4 channels"),
  ],
)
def test_a_run_on_other_arrays_takes_no_files(shape, message, gray, tmp_path):
  workdir = shutil.copytree(gray / "run", tmp_path / "run")
  card = json.loads((workdir / "run_card.json").read_text())
  (workdir / "run_card.json").write_text(
    json.dumps({**card, "image_shape": shape})
  )
  done = predict(workdir, gray / "files")
  assert done.returncode == 2
  assert message in done.stderr.splitlines()[-1]
