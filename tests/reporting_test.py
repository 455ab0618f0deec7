# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of metrics.jsonl, TensorBoard's files and the picture."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import disk
from tests.events import accumulator, scalars
from train_loop.config import ConfigError
from train_loop.workdir import metrics_file, tensorboard


def test_metrics_after_the_start_and_half_lines_are_dropped(tmp_path):
  file = metrics_file.MetricsFile(tmp_path, start_step=0)
  for step in (1, 2, 3):
    file.write({"step": step, "loss": 0.1 * step})
  with (tmp_path / "metrics.jsonl").open("a") as half:
    half.write('{"step": 4, "lo')
  metrics_file.MetricsFile(tmp_path, start_step=2).write(
    {"step": 3, "loss": 9.0}
  )
  assert metrics_file.read_metrics(tmp_path) == [
    {"step": 1, "loss": 0.1},
    {"step": 2, "loss": 0.2},
    {"step": 3, "loss": 9.0},
  ]
  assert metrics_file.last_records(tmp_path) == {"step": 3, "loss": 9.0}


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
  assert scalars(tmp_path, "loss") == [(1, 0.5), (2, 1.0), (3, 7.0)]


def test_tensorboard_reads_the_picture(tmp_path):
  picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
  writer = tensorboard.TensorBoardWriter(tmp_path, start_step=0)
  writer.image("augmented", picture, step=0)
  writer.close()
  (event,) = accumulator(tmp_path).Images("augmented")
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
