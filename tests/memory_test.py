# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests that a run takes no more memory the longer it is."""

from __future__ import annotations

import ctypes
import gc
import itertools
import types

import numpy as np
import psutil
import pytest
import tensorflow as tf

from data import Augmentation, pipeline
from data.preparation import convert
from data.sources import image_folder, tfrecord
from tests import pictures, tiny
from train_loop import budget
from train_loop.scalars import scalar

pytestmark = pytest.mark.any_keras

BATCHES = 1000
# What allocators and TensorFlow's autotuning come and go by.
ROOM = 24e6


@pytest.mark.parametrize("kind", ["image_folder", "tfrecord"])
def test_memory_is_flat_over_many_epochs(kind, tmp_path):
  parts = image_folder.load(str(pictures.write_folder(tmp_path / "data")))
  if kind == "tfrecord":
    convert.convert(*parts, str(tmp_path / "out"))
    parts = tfrecord.load(str(tmp_path / "out"))
  dataset = pipeline.train_dataset(
    parts[0],
    global_batch_size=4,
    seed=0,
    image_size=16,
    augmentation=Augmentation(
      random_resized_crop=True, flip=True, color_jitter=0.4
    ),
    on_bad_image=lambda index: None,
  )
  process = psutil.Process()
  sizes = []
  for number, _ in enumerate(dataset.take(BATCHES)):
    if number % 50 == 49:
      sizes.append(process.memory_info().rss)
  assert len(sizes) * 50 * 4 > 20 * parts[0].num_examples
  half = len(sizes) // 2
  grown = np.median(sizes[half:]) - np.median(sizes[half // 2 : half])
  assert grown < ROOM, sizes


class _Allocated(ctypes.Structure):
  """What glibc's mallinfo2 returns."""

  _fields_ = [
    (name, ctypes.c_size_t)
    for name in (
      *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks"),
      *("fsmblks", "uordblks", "fordblks", "keepcost"),
    )
  ]


def _bytes_kept(act, count=400):
  """Returns how many bytes more are in use after each call of `act`."""
  allocated = getattr(ctypes.CDLL(None), "mallinfo2", None)
  if allocated is None:
    pytest.skip("needs glibc's mallinfo2")
  allocated.restype = _Allocated

  def in_use():
    gc.collect()
    return allocated().uordblks

  for _ in range(20):
    act()
  before = in_use()
  for _ in range(count):
    act()
  return (in_use() - before) / count


def test_a_number_that_changes_is_not_kept():
  numbers = itertools.count(10**6)
  variable = tf.Variable(0, dtype=tf.int64)
  assert _bytes_kept(lambda: variable.assign(scalar(next(numbers)))) < 200


def test_a_budget_keeps_nothing_of_its_calls():
  config = tiny.config(max_minutes=600.0, total_steps=10**6)
  state = types.SimpleNamespace(
    step=tf.Variable(0, dtype=tf.int64),
    timetable=budget.Timetable(),
    evaluations_since_best=None,
  )
  seconds = itertools.accumulate(0.1 + 0.001 / n for n in itertools.count(1))
  length = budget.Budget(config, state, clock=lambda: next(seconds))
  steps = itertools.count(10, 10)

  def act():
    length.called(next(steps), 10, traced=False)
    with length.evaluating(), length.saving():
      pass

  # As Python numbers they take 7 kB.
  assert _bytes_kept(act) < 1000
