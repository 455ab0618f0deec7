# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of metrics.jsonl, TensorBoard's files and the picture."""

from __future__ import annotations

import contextlib
import io
import json
import logging as python_logging

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from tests import disk
from tests.events import accumulator, scalars
from train_loop.config import ConfigError
from train_loop.workdir import metrics_file, tensorboard, writing
from train_loop.workdir.reporter import Reporter


def test_metrics_after_the_start_are_dropped(tmp_path):
  file = metrics_file.MetricsFile(tmp_path, start_step=0)
  for step in (1, 2, 3):
    file.write({"step": step, "loss": 0.1 * step})
  metrics_file.MetricsFile(tmp_path, start_step=2).write(
    {"step": 3, "loss": 9.0}
  )
  assert metrics_file.read_metrics(tmp_path) == [
    {"step": 1, "loss": 0.1},
    {"step": 2, "loss": 0.2},
    {"step": 3, "loss": 9.0},
  ]
  assert metrics_file.last_records(tmp_path) == {"step": 3, "loss": 9.0}
  assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
  "damaged",
  [
    b'{"step": 4, "lo',
    b"garbage\n",
    b"\n",
    b"\n\n",
    b"\x00" * 40,
    b"\x00" * 40 + b"\n",
    b"\xff\xfe\n",
    b"[1]\n",
    b"3\n",
    b'{"loss": 0.5}\n',
    b'{"step": null}\n',
    b'{"step": 2.5}\n',
    b"[" * 100_000 + b"\n",
  ],
  ids=lambda damaged: repr(damaged[:16]),
)
def test_damaged_metrics_are_moved_aside(tmp_path, damaged, caplog):
  path = tmp_path / "metrics.jsonl"
  good = [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}]
  lines = [json.dumps(record).encode() + b"\n" for record in good]
  path.write_bytes(lines[0] + damaged)
  if damaged.endswith(b"\n"):
    path.write_bytes(path.read_bytes() + lines[1])
  else:
    good.pop()
  assert metrics_file.read_metrics(tmp_path) == good
  file = metrics_file.MetricsFile(tmp_path, start_step=2)
  assert "metrics.jsonl.damaged" in caplog.text
  file.write({"step": 3})
  assert metrics_file.read_metrics(tmp_path) == [*good, {"step": 3}]
  aside = (tmp_path / "metrics.jsonl.damaged").read_bytes()
  assert aside.rstrip(b"\n") == damaged.rstrip(b"\n")
  caplog.clear()
  metrics_file.MetricsFile(tmp_path, start_step=3)
  assert not caplog.text


def test_what_is_not_finite_is_null(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1, "loss": NaN, "top1": 1e999}\n')  # Older builds'.
  file = metrics_file.MetricsFile(tmp_path, start_step=1)
  file.write({"step": 2, "loss": float("nan"), "top1": -float("inf")})
  text = path.read_text()
  for step, line in enumerate(text.splitlines(), 1):
    assert line == f'{{"step": {step}, "loss": null, "top1": null}}'


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / "file"
  writing.write_atomically(path, "old")
  with (
    disk.files_of_at_most(10),
    pytest.raises(ConfigError, match=rf"{path} cannot be written \(.*\): mend"),
  ):
    writing.write_atomically(path, "new" * 10)
  assert path.read_text() == "old"
  assert list(tmp_path.iterdir()) == [path]


def test_what_a_full_disk_does_not_take_is_named(tmp_path):
  metrics = metrics_file.MetricsFile(tmp_path, start_step=0)
  board = tensorboard.TensorBoardWriter(tmp_path / "board", start_step=0)
  with disk.files_of_at_most(10):
    for name, write in (
      ("metrics.jsonl", lambda: metrics.write({"step": 10, "loss": 0.5})),
      ("board", lambda: board.scalars({"loss": 0.5}, step=10)),
      (
        "new",
        lambda: tensorboard.TensorBoardWriter(tmp_path / "new", start_step=0),
      ),
    ):
      message = rf"{tmp_path / name} cannot be written \(.*\): mend that"
      with pytest.raises(ConfigError, match=message) as raised:
        write()
      assert "\n" not in str(raised.value)


def test_tensorboard_reads_scalars_and_drops_what_is_logged_again(tmp_path):
  writer = tensorboard.TensorBoardWriter(tmp_path, start_step=0)
  for step in (1, 2, 3):
    writer.scalars({"loss": step / 2}, step=step)
  writer.close()
  writer = tensorboard.TensorBoardWriter(tmp_path, start_step=2)
  writer.scalars({"loss": 7.0}, step=3)
  writer.close()
  assert scalars(tmp_path, "curves/loss") == [(1, 0.5), (2, 1.0), (3, 7.0)]


def test_the_first_groups_are_what_matters(tmp_path):
  # TensorBoard sorts groups by name, and opens the first two.
  writer = tensorboard.TensorBoardWriter(tmp_path, start_step=0)
  names = ("epoch", "loss", "gradient_norm", "top1", "learning_rate", "top5")
  writer.scalars(dict.fromkeys(names, 1.0), step=1)
  writer.image("augmented", np.zeros([2, 2, 1], np.uint8), step=0)
  writer.close()
  tags = accumulator(tmp_path).Tags()
  groups = {}
  for tag in sorted(tags["scalars"] + tags["images"]):
    group, _, name = tag.partition("/")
    groups.setdefault(group, []).append(name)
  assert list(groups.items()) == [
    ("curves", ["learning_rate", "loss", "top1", "top5"]),
    ("examples", ["augmented"]),
    ("internals", ["epoch", "gradient_norm"]),
  ]


def test_tensorboard_reads_the_picture(tmp_path):
  picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
  writer = tensorboard.TensorBoardWriter(tmp_path, start_step=0)
  writer.image("augmented", picture, step=0)
  writer.close()
  (event,) = accumulator(tmp_path).Images("examples/augmented")
  assert (event.width, event.height, event.step) == (4, 4, 0)
  decoded = tf.io.decode_png(event.encoded_image_string)
  np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_grid_shows_each_image_in_its_place(channels):
  images = np.full([5, 2, 3, channels], -7.0, np.float32)
  images += 10.0 * np.arange(1, 6).reshape(5, 1, 1, 1)
  grid = tensorboard.image_grid(images, columns=3, rows=9)
  assert grid.shape == (4, 9, 3 if channels == 3 else 1)
  assert grid.dtype == np.uint8
  corners = grid[::2, ::3, 0]
  np.testing.assert_array_equal(corners, [[3, 13, 23], [33, 43, 0]])


def test_the_grid_takes_the_first_images_only():
  images = np.zeros([100, 2, 2, 1])
  assert tensorboard.image_grid(images, columns=8, rows=4).shape == (8, 16, 1)


def test_a_caption_names_the_classes_that_are_mixed():
  targets = np.full([3, 4], 0.025)  # Label smoothing.
  targets[0, 2] += 0.9
  targets[1, [1, 3]] += [0.3, 0.6]
  targets[2, [0, 2]] += [0.45, 0.45]
  names = ("cat", "great\nhorned  owl", "dog", "fox")
  assert tensorboard.captions(targets, names) == [
    "dog",
    "fox\ngreat horned owl",
    "cat\ndog",
  ]
  for wrong in (None, ("a", "b")):
    assert tensorboard.captions(targets, wrong) == ["2", "3\n1", "0\n2"]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_has_its_caption_below(channels):
  images = np.full([3, 8, 8, channels], 100)
  texts = ["", "one\ntwo", "\udc80" + "\u732b" * 99]
  grid = tensorboard.image_grid(images, texts, columns=3)
  assert grid.shape == (112 + 2 * 18, 3 * 112, channels)
  assert (grid[:112] == 100).all()
  ink = grid[112:].reshape(2, 18, 3, 112, channels).max(axis=(1, 3, 4))
  np.testing.assert_array_equal(ink > 0, [[0, 1, 1], [0, 1, 0]])


class Terminal(io.StringIO):
  """A terminal; `lines` are what a person sees at the end."""

  def isatty(self):
    return True

  def lines(self):
    seen = []
    for line in self.getvalue().split("\n"):
      shown = ""
      for text in line.split("\r"):
        shown = text + shown[len(text) :]
      seen.append(shown.rstrip())
    return seen


RECORD = {"step": 100, "epoch": 0.847, "loss": 1.35336, "top1": 0.7421}


@pytest.fixture
def reporter(tmp_path, monkeypatch):
  """Returns a function that opens a reporter, closed at the end."""
  with contextlib.ExitStack() as stack:

    def opened(terminal):
      monkeypatch.setattr("sys.stderr", terminal)
      opened = Reporter(tmp_path, start_step=0, total_steps=1043)
      stack.callback(opened.close)
      return opened

    yield opened


def test_a_line_is_a_sentence(reporter, caplog):
  report = reporter(io.StringIO())
  with caplog.at_level("INFO", "absl"):
    rates = {"learning_rate": 0.28403, "images_per_second": 3512.4}
    report.train({**RECORD, **rates, "gradient_norm": 1.0, "skipped_steps": 0})
    report.train({**RECORD, "loss": None, "top1": None, "skipped_steps": 2})
    results = {"eval_loss": 0.51, "eval_top1": 0.8125, "eval_examples": 10000}
    report.evaluation({"step": 100, "epoch": 0.847, **results})
  start = "step 100/1043 (epoch 0.85): "
  assert [record.getMessage() for record in caplog.records] == [
    f"{start}loss 1.3534, top-1 74.2%, learning rate 0.284, 3,512 images/s",
    f"{start}loss not finite, top-1 not finite, 2 steps skipped",
    f"{start}evaluation: loss 0.5100, top-1 81.25%, 10,000 examples",
  ]


def test_no_line_tears_the_bar(reporter):
  terminal = Terminal()
  handler = python_logging.StreamHandler(terminal)
  logger = python_logging.getLogger("tensorflow")
  level = logger.level
  logger.setLevel(python_logging.WARNING)
  logger.addHandler(handler)
  try:
    report = reporter(terminal)
    report.progress(100, 1043)
    logger.warning("TensorFlow warns")
    report.progress(200, 1043)
    report.train(RECORD)
    report.progress(300, 1043)
    logging.get_absl_handler().python_handler.handle(
      python_logging.makeLogRecord({"msg": "absl logs", "levelno": 40})
    )
    report.progress(400, 1043)
  finally:
    logger.removeHandler(handler)
    logger.setLevel(level)
  lines = terminal.lines()
  assert "TensorFlow warns" in lines
  assert "step 100/1043 (epoch 0.85): loss 1.3534, top-1 74.2%" in lines
  assert any(line.endswith("absl logs") and "|" not in line for line in lines)
