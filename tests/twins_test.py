# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of finding images that are nearly the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from data.preparation import check, twins
from data.sources import image_folder
from tests import pictures


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
  """Parts of two photographs, none of which overlap; without those of sky."""
  from sklearn import datasets

  parts = [
    np.ascontiguousarray(photograph[top : top + 140, left : left + 150])
    for photograph in datasets.load_sample_images().images
    for top in range(0, 420, 140)
    for left in range(0, 600, 150)
  ]
  return [part for part in parts if part.std() > 30]


def encoded_anew(image: np.ndarray) -> np.ndarray:
  file = io.BytesIO()
  Image.fromarray(image).save(file, "JPEG", quality=50)
  return np.asarray(Image.open(file))


def resized(image: np.ndarray) -> np.ndarray:
  return np.asarray(Image.fromarray(image).resize((64, 80), Image.BICUBIC))


CHANGES = {
  "encoded anew": encoded_anew,
  "resized": resized,
  "brighter": lambda image: np.minimum(image * 1.15 + 10, 255).astype(np.uint8),
  "gray": lambda image: image @ np.array([[0.299], [0.587], [0.114]]),
  "cut": lambda image: image[:, 1:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_is_a_twin_of_its_own_alone(photographs, change):
  changed = [CHANGES[change](image) for image in photographs]
  first = np.concatenate([twins.hashes(image) for image in photographs])
  second = np.stack([twins.hashes(image, shifted=True) for image in changed])
  found = twins.pairs(first, second)
  own = {(number, number) for number in range(len(photographs))}
  assert set(found) <= own
  assert len(found) >= 0.9 * len(own)


def test_a_shift_in_a_frame_is_found(photographs):
  framed = [
    np.pad(image, [(20, 20), (20, 20), (0, 0)]) for image in photographs
  ]
  first = np.concatenate([twins.hashes(image) for image in framed])
  moved = [np.roll(image, (6, -6), (0, 1)) for image in framed]

  def found(**options):
    second = np.stack([twins.hashes(image, **options) for image in moved])
    return set(twins.pairs(first, second))

  own = {(number, number) for number in range(len(framed))}
  assert found(shifted=True) <= own
  assert len(found(shifted=True)) >= 0.9 * len(own)
  assert not found()


def test_all_pairs_of_15_bits_are_found_and_few_are_compared(monkeypatch):
  random = np.random.default_rng(0)
  first = random.integers(0, 1 << 16, [3000, 16]).astype(np.uint16)
  second = random.integers(0, 1 << 16, [400, 3, 16]).astype(np.uint16)
  expected = {}
  # One bit in each word but the one that is asked last.
  bits = np.arange(16) < 15
  first[2900] = second[399, 0] ^ bits.astype(np.uint16)
  expected[2900, 399] = 15
  for number in range(399):
    flipped = random.permutation(256)[: number % 30]
    bits = np.unpackbits(first[7 * number].view(np.uint8))
    bits[flipped] ^= 1
    second[number, number % 3] = np.packbits(bits).view(np.uint16)
    if len(flipped) <= twins.MOST:
      expected[7 * number, number] = len(flipped)
  compared = []
  distances = twins.distances
  monkeypatch.setattr(
    twins, "distances", lambda *pair: compared.append(pair) or distances(*pair)
  )
  found = twins.pairs(first, second)
  assert {p: d for p, d in found.items() if d <= 15} == {
    p: d for p, d in expected.items() if d <= 15
  }
  assert set(found) <= set(expected) and len(found) > 0.98 * len(expected)
  assert sum(len(pair[0]) for pair in compared) < 0.01 * len(first) * 1200
  monkeypatch.setattr(twins, "_PAIRS_AT_ONCE", 10)
  assert twins.pairs(first, second) == found


def test_an_image_without_structure_has_no_hash():
  assert twins.hashes(np.full([20, 30, 3], 77, np.uint8)) is None
  assert not twins.pairs(np.zeros([0, 16], np.uint16), np.zeros([5, 1, 16]))


def test_check_data_lists_twins_but_not_the_same_pixels(tmp_path, photographs):
  root = pictures.write_folder(tmp_path)
  for name, image in (
    ("train/red/a.png", photographs[0]),
    ("train/red/b.png", photographs[1]),
    ("val/red/a.png", photographs[0]),
    ("val/blue/b.png", resized(photographs[1])),
  ):
    Image.fromarray(image).save(root / name)
  (root / "val/.DS_Store").write_bytes(b"")
  report = check.check(*image_folder.load(str(root)))
  found = [pair for pair in report.twins if "png" in pair[0]]
  ((train, validation, distance),) = found
  assert train.startswith(f"{root}/train/red/b.png")
  assert validation.startswith(f"{root}/val/blue/b.png")
  assert distance <= 15
  text = check.as_text(report)
  assert f"{train} ~ {validation} ({distance} of 255 bits)" in text
  assert len(report.leaked) == 1
  check.save(report, tmp_path / "report.json")
  assert '"twins": [' in (tmp_path / "report.json").read_text()
