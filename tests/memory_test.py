# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A test that an input stream takes no more memory the longer it runs."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from data import Augmentation, pipeline
from data.preparation import convert
from data.sources import image_folder, tfrecord
from tests import pictures

BATCHES = 2000
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
