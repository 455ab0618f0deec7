# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the clients whose resize is measured: all cut out one square."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import foreign_resize
from tests import pictures

SIZE = 12


def png(picture: np.ndarray) -> bytes:
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "PNG")
  return file.getvalue()


@pytest.fixture(scope="module")
def clients():
  pytest.importorskip("cv2")
  return foreign_resize.clients(SIZE, 3, eval_resize=16)


def test_without_a_resize_all_clients_see_the_same_pixels(clients):
  picture = np.random.default_rng(0).integers(0, 256, (16, 21, 3), np.uint8)
  expected = picture[2:14, 4:16]
  for name, client in clients.items():
    image = client(png(picture), SIZE / 16)
    if name.endswith("BGR"):
      image = image[..., ::-1]
    if not name.endswith("whole picture"):
      np.testing.assert_array_equal(image, expected, name)


def test_each_client_resizes_to_the_networks_size(clients):
  smooth = pictures.picture(0, 0, (47, 80))
  images = {name: client(png(smooth), 0.75) for name, client in clients.items()}
  for name, image in images.items():
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8, name
    if not name.endswith(("BGR", "whole picture")):
      difference = image.astype(int) - images["train_loop"]
      assert np.abs(difference).mean() < 6, name


def test_losses_are_counted_from_ours():
  rounds = [
    {"train_loop": (0.9, 0.0, 10), "other": (0.8, 0.1, 10)},
    {"train_loop": (0.8, 0.0, 10), "other": (0.9, 0.3, 10)},
  ]
  *_, ours, other = foreign_resize.table(rounds).splitlines()
  assert ours == "| train_loop | 85.0% | 0.0 ± 0.0 | 0.0% |"
  assert other == "| other | 85.0% | 0.0 ± 14.1 | 20.0% |"


def test_places_are_cut_out_of_their_photograph(tmp_path):
  foreign_resize.write_places(tmp_path, seed=0)
  for part, count in foreign_resize.IMAGES.items():
    places = list((tmp_path / part).iterdir())
    assert len(places) == 2 * np.prod(foreign_resize.GRID)
    for place in places:
      assert len(list(place.iterdir())) == count
