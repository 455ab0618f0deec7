# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of decoding, cropping and resizing, against Pillow and NumPy."""

from __future__ import annotations

import io
import resource
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data import reading
from data.images import augment, decode, netpbm
from tests import pictures

COLOR = pictures.picture(3, 1, (40, 56))
COLOR[0, 0] = COLOR[0, 1]  # Smooth, for JPEG rounds what is not.
GRAY = np.asarray(Image.fromarray(COLOR).convert("L"))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def images() -> dict[str, tuple[bytes, Image.Image]]:
  """Each kind of file, and what Pillow reads from it."""
  color, gray = Image.fromarray(COLOR), Image.fromarray(GRAY)
  files = {
    "jpeg": encoded(color, "JPEG", quality=95),
    "jpeg_gray": encoded(gray, "JPEG", quality=95),
    "png": encoded(color, "PNG"),
    "png_gray": encoded(gray, "PNG"),
    "bmp": encoded(color, "BMP"),
    "bmp_gray": encoded(gray, "BMP"),
    "ppm": netpbm.encode(COLOR),
    "pgm": netpbm.encode(GRAY[..., np.newaxis]),
  }
  return {k: (v, Image.open(io.BytesIO(v))) for k, v in files.items()}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", images())
def test_every_kind_becomes_gray_or_rgb(kind, channels):
  contents, image = images()[kind]
  expected = np.asarray(image.convert("RGB" if channels == 3 else "L"))
  expected = expected.reshape([*expected.shape[:2], channels])
  found = decode.decode(tf.constant(contents), channels).numpy()
  assert found.dtype == np.uint8
  # Gray of colours is rounded in several ways; a JPEG's own gray is its luma.
  room = {"jpeg": 3, "jpeg_gray": 1}.get(kind, int(channels == 1))
  np.testing.assert_allclose(found.astype(int), expected, atol=room)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "ppm"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_what_is_no_image_is_an_error(kind, damage):
  contents = images()[kind][0]
  damaged = {
    "truncated": contents[: len(contents) * 2 // 3],
    "empty": b"",
    "text": b"<html>not found</html>",
  }[damage]
  with pytest.raises(tf.errors.InvalidArgumentError):
    decode.central_crop(tf.constant(damaged), image_size=8, channels=3)


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
  """NumPy's own bilinear sampling, pixel centres at halves."""
  image = image.astype(np.float64)
  for axis in (0, 1):
    length = image.shape[axis]
    places = (np.arange(size) + 0.5) * length / size - 0.5
    places = np.clip(places, 0, length - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, length - 1)
    part = (places - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
    image = np.take(image, low, axis) * (1 - part) + part * np.take(
      image, high, axis
    )
  return np.floor(image + 0.5)


@pytest.mark.parametrize(
  ("image_size", "eval_resize", "side"),
  [(40, 0, 40), (28, 32, 35), (24, 0, 40), (30, 40, 30)],
)
def test_the_central_crop_is_numpys(image_size, eval_resize, side):
  contents = tf.constant(images()["png"][0])
  found = decode.central_crop(
    contents, image_size=image_size, channels=3, eval_resize=eval_resize
  )
  top, left = (40 - side) // 2, (56 - side) // 2
  crop = COLOR[top : top + side, left : left + side]
  expected = bilinear(crop, image_size)
  np.testing.assert_allclose(found.numpy(), expected, atol=1)
  exact = np.mean(found.numpy() == expected)
  assert exact > 0.98


@pytest.mark.parametrize("kind", ["png", "jpeg", "ppm"])
@pytest.mark.parametrize("size", [4, 8, 10, 20])
def test_a_small_picture_of_a_large_one_is_its_mean(kind, size):
  """Aliasing would leave stripes that the mean does not have."""
  stripes = np.zeros([80, 80, 3], np.uint8)
  stripes[:, ::2] = 200
  contents = (
    netpbm.encode(stripes)
    if kind == "ppm"
    else encoded(Image.fromarray(stripes), kind.upper())
  )
  found = decode.central_crop(
    tf.constant(contents), image_size=size, channels=3
  )
  np.testing.assert_allclose(found.numpy(), 100, atol=6)


def keys(count: int) -> tf.Tensor:
  return augment.example_keys(
    1, tf.zeros([count], tf.int64), tf.range(count, dtype=tf.int64)
  )


def box_of(draws, height=375, width=500):
  """The box that random_resized_crop takes, as [top, left, height, width]."""
  return decode.random_box(tf.constant([height, width]), draws).numpy()


def test_random_boxes_have_the_papers_areas_and_aspects():
  boxes = np.array([box_of(draws) for draws in decode.crop_draws(keys(1000))])
  top, left, height, width = boxes.T
  assert (top >= 0).all() and (top + height <= 375).all()
  assert (left >= 0).all() and (left + width <= 500).all()
  areas = height * width / (375 * 500)
  assert areas.min() >= 0.078 and areas.max() <= 1
  assert 0.07 < areas.min() < 0.1 and areas.max() > 0.9
  aspects = np.log(width / height)
  assert np.abs(aspects).max() < np.log(4 / 3) + 0.02
  # Of a wide image a wide box fits more often than a high one.
  assert 0 < aspects.mean() < 0.06
  # Uniform over where it fits: a quarter of the boxes starts in the first
  # quarter of the room.
  quarter = np.mean(left < (500 - width + 1) / 4)
  assert 0.2 < quarter < 0.3


def test_where_no_draw_fits_the_central_square_is_taken():
  draws = decode.crop_draws(keys(1), crop_area=(1.0, 1.0))[0]
  box = box_of(draws, height=10, width=1000)
  assert box.tolist() == [0, 495, 10, 10]


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "ppm"])
def test_a_crop_is_that_part_of_the_image(kind):
  contents = tf.constant(images()[kind][0])
  whole = decode.decode(contents, 3).numpy()
  for draws in decode.crop_draws(keys(8)):
    top, left, height, width = map(int, box_of(draws, 40, 56))
    found = decode.random_resized_crop(
      contents, draws, image_size=40, channels=3
    )
    crop = whole[top : top + height, left : left + width]
    np.testing.assert_allclose(found.numpy(), bilinear(crop, 40), atol=2)


@pytest.mark.parametrize("size", [40, 10])
@pytest.mark.parametrize("kind", ["png", "jpeg", "ppm"])
def test_a_flipped_crop_is_the_mirrored_one(kind, size):
  contents = tf.constant(images()[kind][0])
  draws = decode.crop_draws(keys(1))[0]

  def crops(flipped):
    options = {"image_size": size, "channels": 3, "flipped": flipped}
    return (
      decode.central_crop(contents, **options).numpy(),
      decode.random_resized_crop(contents, draws, **options).numpy(),
    )

  for plain, unflipped, flipped in zip(
    crops(None), crops(tf.constant(False)), crops(tf.constant(True))
  ):
    np.testing.assert_array_equal(unflipped, plain)
    np.testing.assert_array_equal(flipped, plain[:, ::-1])
    assert (flipped != plain).any()


@pytest.mark.parametrize("image_size, eval_resize", [(8, 0), (20, 26), (56, 0)])
def test_pixels_are_cropped_as_their_files_are(image_size, eval_resize):
  noise = np.random.default_rng(0).integers(0, 256, COLOR.shape, np.uint8)
  size = {"image_size": image_size, "eval_resize": eval_resize}
  found = tf.function(
    lambda images: decode.central_crop_of_pixels(images, **size),
    input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
  )(np.stack([COLOR, noise]))
  for picture, image in zip([COLOR, noise], found.numpy()):
    png = encoded(Image.fromarray(picture), "PNG")
    crop = decode.central_crop(tf.constant(png), channels=3, **size)
    np.testing.assert_array_equal(image, crop)


def test_pixels_of_the_size_asked_for_are_kept():
  square = COLOR[np.newaxis, :40, :40]
  found = decode.central_crop_of_pixels(tf.constant(square), image_size=40)
  np.testing.assert_array_equal(found, square)


def declaring(kind: str, side: int) -> bytes:
  """Returns a small file that says in its header that it is side x side."""
  options = {"progressive": True} if kind == "progressive" else {}
  format_ = kind if kind in ("PNG", "BMP") else "JPEG"
  file = bytearray(encoded(Image.new("L", (16, 16)), format_, **options))
  if kind == "PNG":
    file[16:24] = struct.pack(">II", side, side)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
  elif kind == "BMP":
    file[18:26] = struct.pack("<ii", side, side)
  else:
    frame = file.index(b"\xff\xc2" if options else b"\xff\xc0")
    file[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
  return bytes(file)


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "BMP"])
def test_an_image_that_declares_too_many_pixels_is_not_decoded(kind):
  """A progressive JPEG of 282 bytes would take 20 GB, and minutes."""
  contents = tf.constant(declaring(kind, 50_000))
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  draws = decode.crop_draws(tf.constant([1], tf.uint64))[0]
  for read in (
    lambda: decode.decode(contents, 3),
    lambda: decode.central_crop(contents, image_size=8, channels=3),
    lambda: decode.random_resized_crop(
      contents, draws, image_size=8, channels=1
    ),
  ):
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
      read()
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert after - before < 100_000  # In KiB.
  if kind in ("JPEG", "progressive"):
    told = reading.reason(refused.value)
    assert told == "the image declares more than 178956970 pixels"
  # In a dataset too.
  dataset = tf.data.Dataset.from_tensors(contents).map(
    lambda contents: decode.central_crop(contents, image_size=8, channels=3)
  )
  with pytest.raises(tf.errors.InvalidArgumentError):
    next(iter(dataset))
