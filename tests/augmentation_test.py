# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the settings of data: ranges, and errors in one line."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import data
from data import Augmentation, DataError, Inputs, SourceOptions
from data.sources.source import Source
from tests import project


def refused(settings, **values) -> str:
  """Returns the error of a setting, which names it and its value."""
  with pytest.raises(DataError) as caught:
    settings(**values)
  message = str(caught.value)
  (name,) = values
  assert "\n" not in message and message.startswith(f"{name} must be ")
  return message


NUMBERS = {
  "rand_augment_magnitude": 10.0,
  "color_jitter": 1.0,
  "pca_noise": 1.0,
  "erasing_probability": 1.0,
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 10.1])
def test_a_number_out_of_range_is_named(name, value):
  message = refused(Augmentation, **{name: value})
  assert (
    message
    == f"{name} must be a finite number in [0, {NUMBERS[name]:g}], got {value}"
  )


def test_the_ends_of_a_range_are_in_it():
  for name, high in NUMBERS.items():
    for value in (0, 0.0, high):
      assert getattr(Augmentation(**{name: value}), name) == value


@pytest.mark.parametrize(
  ("settings", "values", "expected"),
  [
    (Augmentation, {"flip": 1}, "true or false, got 1"),
    (Augmentation, {"pad_crop": 1.5}, "an integer >= 0, got 1.5"),
    (Augmentation, {"pad_crop": True}, "an integer >= 0, got True"),
    (Augmentation, {"pad_crop": -(10**400)}, "an integer >= 0, got -1000"),
    (Augmentation, {"pad_crop": -1}, "an integer >= 0, got -1"),
    (
      Augmentation,
      {"rand_augment_layers": 10**9},
      "an integer in [0, 100], got 1000",
    ),
    (
      Augmentation,
      {"color_jitter": "0.4"},
      "a finite number in [0, 1], got '0.4'",
    ),
    (
      Augmentation,
      {"auto_augment": "all"},
      "one of none, rand_augment, trivial_augment, got 'all'",
    ),
    (Augmentation, {"erasing_area": (0.0, 0.5)}, "(low, high) with 0 < low"),
    (Augmentation, {"erasing_area": (0.5, math.nan)}, "(low, high) with 0"),
    (Augmentation, {"erasing_area": (0.5, 1.5)}, "(low, high) with 0 < low"),
    (Augmentation, {"erasing_aspect": (0.3, math.inf)}, "(low, high) with 0"),
    (Augmentation, {"erasing_fill": (256,)}, "values in 0..255, got (256,)"),
    (SourceOptions, {"dataset": "imagenet"}, "one of fashion_mnist, digits"),
    (SourceOptions, {"data_dir": 7}, "a string, got 7"),
    (
      SourceOptions,
      {"validation_fraction": math.nan},
      "a finite number in [0, 1), got nan",
    ),
    (
      SourceOptions,
      {"validation_fraction": 1.0},
      "a finite number in [0, 1), got 1.0",
    ),
    (
      SourceOptions,
      {"label_offset": 10**30},
      "an integer in [0, 2147483647], got 1000",
    ),
    (SourceOptions, {"image_channels": 4}, "an integer in [1, 3], got 4"),
  ],
)
def test_a_wrong_value_is_named(settings, values, expected):
  assert f"must be {expected}" in refused(settings, **values)


def gray_source(side: int = 8) -> Source:
  images = np.zeros([4, side, side, 1], np.uint8)
  return Source(images, np.arange(4, dtype=np.int32) % 2, ("a", "b"), "arrays")


def inputs(**options) -> Inputs:
  source = gray_source()
  return Inputs(train=source, validation=source, global_batch_size=2, **options)


@pytest.mark.parametrize("threads", [2147483648, 100_000, 1025, -1])
def test_so_many_threads_are_refused_at_once(threads):
  message = refused(inputs, input_threads=threads)
  assert (
    message == f"input_threads must be an integer in [0, 1024], got {threads}"
  )


@pytest.mark.parametrize("name", ["image_size", "eval_resize"])
def test_a_huge_image_is_refused(name):
  message = refused(inputs, **{name: 100_000})
  assert message == f"{name} must be an integer in [0, 8192], got 100000"


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    (
      {"pad_crop": 1_000_000},
      "pad_crop must be at most 8 for images of 8 by 8, got 1000000",
    ),
    ({"pad_crop": 10**400}, "pad_crop must be at most 8 for images of 8 by 8"),
    ({"pca_noise": 0.1}, "pca_noise must be 0 for gray images, got 0.1"),
    ({"erasing_fill": (1, 2)}, r"erasing_fill must be one value or 1, got"),
  ],
)
def test_what_does_not_fit_the_images_is_named(options, expected):
  with pytest.raises(DataError, match=f"^{expected}"):
    inputs(augmentation=Augmentation(**options))
  inputs(augmentation=Augmentation(pad_crop=8))


@pytest.mark.parametrize(
  ("options", "names"),
  [
    ({"auto_augment": "rand_augment"}, "auto_augment"),
    ({"color_jitter": 0.1, "pca_noise": 0.1}, "color_jitter and pca_noise"),
  ],
)
def test_colors_need_gray_or_rgb(options, names):
  message = f"^{names} must be left out for images of 4 channels"
  with pytest.raises(DataError, match=message):
    Augmentation(**options).require_fits((8, 8, 4))
  Augmentation(**options).require_fits((8, 8, 3))
  Augmentation(flip=True, pad_crop=2).require_fits((8, 8, 4))


def test_settings_need_no_tensorflow():
  code = (
    "import sys, data; data.Augmentation(flip=True); data.SourceOptions()\n"
    "sys.exit('tensorflow' in sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], cwd=project.ROOT, check=True)
  assert data.Augmentation is Augmentation
