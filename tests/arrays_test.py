# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources: what enters from arrays, what is refused, what they tell."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

import data
from data.errors import DataError
from data.sources.arrays import from_arrays


def pixels(shape=(6, 4, 5, 3), seed=0) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


LABELS = np.array([0, 1, 2, 2, 1, 0])


@pytest.mark.parametrize(
  "dtype", ["uint8", "int16", "uint16", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("label_dtype", ["uint8", "int32", "int64", "float32"])
def test_every_number_type_gives_the_same_source(dtype, label_dtype):
  source = from_arrays(pixels().astype(dtype), LABELS.astype(label_dtype))
  np.testing.assert_array_equal(source.images, pixels())
  np.testing.assert_array_equal(source.labels, LABELS)
  assert source.images.dtype == np.uint8
  assert source.labels.dtype == np.int32
  assert source.class_names == ("0", "1", "2")
  assert (source.num_examples, source.num_classes) == (6, 3)
  assert source.image_shape == (4, 5, 3)


def test_floats_are_rounded_to_the_nearest():
  images = np.array([0.4, 0.6, 254.4, 254.6]).reshape(1, 2, 2)
  source = from_arrays(images, [0])
  assert source.images.ravel().tolist() == [0, 1, 254, 255]


def test_images_without_channels_get_one():
  source = from_arrays(pixels((6, 4, 5)), LABELS)
  np.testing.assert_array_equal(source.images[..., 0], pixels((6, 4, 5)))


def test_labels_in_a_column_are_accepted():
  source = from_arrays(pixels(), LABELS[:, np.newaxis])
  np.testing.assert_array_equal(source.labels, LABELS)


def test_black_floats_are_images():
  assert from_arrays(np.zeros([1, 2, 2]), [0]).images.max() == 0


def spoilt(value) -> np.ndarray:
  images = pixels().astype(np.float64)
  images[3, 1, 2, 0] = value
  return images


@pytest.mark.parametrize(
  ("images", "labels", "message"),
  [
    (spoilt(np.nan), LABELS, "must be in 0..255, got nan to nan"),
    (spoilt(np.inf), LABELS, "must be in 0..255, got 0.0 to inf"),
    (spoilt(-0.5), LABELS, "must be in 0..255, got -0.5"),
    (spoilt(255.5), LABELS, "255.5; scale or clip them"),
    (pixels().astype(np.int32) * 2, LABELS, "must be in 0..255"),
    (pixels().astype(np.int8), LABELS, "must be in 0..255, got -1"),
    (pixels() / 255, LABELS, "multiply them by 255"),
    (pixels() > 128, LABELS, "must be integers or floats, got bool"),
    (pixels().astype(complex), LABELS, "got complex128"),
    (pixels((6, 4)), LABELS, "got [6, 4]"),
    (pixels((0, 4, 5, 3)), LABELS, "are empty: shape [0, 4, 5, 3]"),
    (pixels((6, 0, 5, 3)), LABELS, "are empty"),
    (pixels((5, 4, 5, 3)), LABELS, "5 images and 6 labels"),
    (pixels(), LABELS - 1, "got -1 at example 0"),
    (pixels(), LABELS + 2**31, "got 2147483648 at example 0"),
    (pixels(), LABELS + 0.5, "must be whole numbers, got float64 [0.5,"),
    (pixels(), LABELS * np.nan, "must be whole numbers"),
    (pixels(), LABELS > 0, "must be whole numbers, got bool"),
    (pixels(), np.array(list("abcabc")), "must be whole numbers"),
    (pixels(), np.eye(3)[LABELS], "argmax"),
  ],
)
def test_what_is_wrong_is_told_in_one_line(images, labels, message):
  with pytest.raises(DataError, match=re.escape(message)) as error:
    from_arrays(images, labels, name="mine")
  assert "\n" not in str(error.value)
  assert "mine" in str(error.value)


def test_labels_must_have_a_class_name():
  with pytest.raises(DataError, match=r"\[0, 2\), got 2 at example 2"):
    from_arrays(pixels(), LABELS, class_names=["cat", "dog"])
  source = from_arrays(pixels(), LABELS, class_names=["a", "b", "c", "d"])
  assert source.num_classes == 4


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"images": pixels().astype(np.float32)}, "must be uint8"),
    ({"images": pixels((6, 4, 5))}, "must be uint8"),
    ({"labels": LABELS.astype(np.int64)}, "must be int32"),
    ({"labels": np.int32([[0]] * 6)}, "must be int32"),
    ({"labels": np.int32([0])}, "6 images and 1 labels"),
    ({"labels": np.int32([0, 1, 2, 3, 0, 0])}, "got 3 at example 3"),
    ({"labels": np.int32([0, -1, 2, 1, 0, 0])}, "got -1 at example 1"),
    ({"images": pixels((0, 4, 5, 3)), "labels": np.int32([])}, "empty"),
    ({"class_names": ()}, r"\[0, 0\)"),
  ],
)
def test_no_source_is_unsound(change, message):
  source = from_arrays(pixels(), LABELS)
  with pytest.raises(DataError, match=message):
    dataclasses.replace(source, **change)


def test_the_arrays_of_a_source_cannot_be_changed():
  images = pixels()
  source = from_arrays(images, LABELS)
  with pytest.raises(ValueError, match="read-only"):
    source.images[0] = 0
  with pytest.raises(ValueError, match="read-only"):
    source.labels[0] = 0
  images[0] = 0  # The caller's own array stays writable.


def test_mean_std_are_those_of_the_pixels():
  images = pixels((1500, 4, 5, 3))  # More than one chunk.
  images[..., 1] //= 3
  source = from_arrays(images, np.zeros(1500, int))
  mean, std = source.mean_std()
  axes = (0, 1, 2)
  np.testing.assert_allclose(mean, images.mean(axes), rtol=1e-12)
  np.testing.assert_allclose(std, images.std(axes), rtol=1e-12)
  assert all(type(value) is float for value in mean + std)


def test_the_deviation_of_a_constant_channel_is_one():
  source = from_arrays(np.full([2, 3, 3, 1], 77), [0, 0])
  assert source.mean_std() == ((77.0,), (1.0,))


def test_the_fingerprint_is_that_of_the_contents():
  def fingerprint(images=None, labels=LABELS, **options) -> str:
    images = pixels() if images is None else images
    return from_arrays(images, labels, **options).fingerprint()

  same = fingerprint()
  assert re.fullmatch("[0-9a-f]{64}", same)
  assert fingerprint(images=pixels().copy("F")) == same
  assert fingerprint(name="another") == same
  one_pixel = pixels()
  one_pixel[5, 3, 4, 2] ^= 1
  others = [
    fingerprint(images=one_pixel),
    fingerprint(images=pixels().reshape(6, 5, 4, 3)),
    fingerprint(labels=np.roll(LABELS, 1)),
    fingerprint(class_names="abc"),
  ]
  assert len({same, *others}) == 5


def test_load_passes_the_folder_on(tmp_path):
  with pytest.raises(DataError, match=re.escape(str(tmp_path))):
    data.load(data.SourceOptions("fashion_mnist", str(tmp_path)))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_one_line(channels):
  images = np.zeros([4, channels, 8, 8], np.uint8)
  with pytest.raises(DataError, match=r"np.moveaxis\(images, 1, -1\)"):
    from_arrays(images, LABELS[:4])
  moved = from_arrays(np.moveaxis(images, 1, -1), LABELS[:4])
  assert moved.image_shape == (8, 8, channels)


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 1, 8, 6), (4, 8, 8, 2)])
def test_other_images_are_as_they_are(shape):
  source = from_arrays(np.zeros(shape, np.uint8), LABELS[:4])
  assert source.image_shape == shape[1:]


def test_labels_that_number_no_classes_are_one_line():
  labels = np.array([0, 100_000, 200_000, 300_000])
  images = np.zeros([4, 4, 4], np.uint8)
  with pytest.raises(DataError, match="got 299997 of 300001 classes without"):
    from_arrays(images, labels)
  numbers = np.unique(labels, return_inverse=True)[1]
  assert from_arrays(images, numbers).num_classes == 4


def test_classes_without_an_example_are_logged(caplog):
  source = from_arrays(np.zeros([4, 4, 4], np.uint8), np.array([1, 2, 3, 3]))
  assert source.num_classes == 4
  assert "1 of the 4 classes of arrays have no example" in caplog.text
