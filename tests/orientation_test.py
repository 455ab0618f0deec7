# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the EXIF orientation, against Pillow's exif_transpose."""

from __future__ import annotations

import functools
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import data
from data import DataError
from data.images import augment, decode, orientation, pillow_reader, stored
from data.preparation import check, convert
from data.sources import image_folder, tfrecord
from tests import pictures
from train_loop.command import flags

TAG = 0x112
ALL = range(1, 9)
SIZE = (61, 93)


def exif(value: int) -> Image.Exif:
  found = Image.Exif()
  found[TAG] = value
  return found


def picture() -> Image.Image:
  rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
  planes = [rows * 4, columns * 2, 255 - rows - columns]
  return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


@functools.cache
def encoded(kind: str, value: int) -> bytes:
  """Returns the picture as a file with an orientation."""
  options = {"quality": 90, "subsampling": 0} if kind == "JPEG" else {}
  if kind == "WEBP":
    options = {"lossless": True}
  file = io.BytesIO()
  picture().save(file, kind, exif=exif(value), **options)
  return file.getvalue()


def turned(pixels: np.ndarray, value: int) -> np.ndarray:
  """Turns pixels as Pillow does."""
  image = Image.fromarray(pixels)
  image.getexif()[TAG] = value
  return np.asarray(ImageOps.exif_transpose(image))


def decoded(contents: bytes, **options) -> np.ndarray:
  return decode.decode(
    tf.constant(contents), 3, others=pillow_reader.read, **options
  ).numpy()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("value", ALL)
def test_a_whole_image_is_pillows(kind, value):
  contents = encoded(kind, value)
  as_stored = decoded(contents, decoding=data.Decoding("ignore"))
  if kind != "AVIF":  # Whose encoder stores it turned.
    assert as_stored.shape == (*SIZE, 3)
  with Image.open(io.BytesIO(contents)) as image:
    upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
  found = decoded(contents)
  assert found.shape == upright.shape
  if kind != "JPEG":
    np.testing.assert_array_equal(found, upright)
  if kind in ("JPEG", "PNG"):
    np.testing.assert_array_equal(found, turned(as_stored, value))


def cropped(whole, box, size: int) -> np.ndarray:
  """Returns the crop of a JPEG's pixels, reduced as its decoder reduces.

  Args:
    whole: returns the upright pixels, reduced by 1, 2, 4 or 8.
    box: of the image's size.
    size: height and width of the result.
  """
  window = box(tf.constant(whole(1).shape[:2])).numpy()
  ratio = max(r for r in (1, 2, 4, 8) if r == 1 or r * size <= min(window[2:]))
  top, left, height, width = window // ratio
  crop = whole(ratio)[top : top + height, left : left + width]
  sampled = tf.image.resize(tf.cast(crop, tf.float32), [size, size])
  return tf.cast(sampled + 0.5, tf.uint8).numpy()


def crops(contents, draws, flipped, size: int):
  """Cuts the middle, and a random part, out of an image."""
  options = {"image_size": size, "channels": 3, "flipped": flipped}
  return (
    decode.central_crop(contents, **options),
    decode.random_resized_crop(contents, draws, **options),
  )


@pytest.mark.parametrize("size", [7, 12, 40])
def test_a_crop_is_cut_out_of_the_upright_image(size):
  indices = tf.range(8, dtype=tf.int64)
  keys = augment.example_keys(1, tf.zeros([8], tf.int64), indices)
  draws = decode.crop_draws(keys)
  cut = functools.partial(crops, size=size)
  if size == 12:
    cut = tf.function(cut, autograph=False)
  for value in ALL:
    contents = encoded("JPEG", value)

    def whole(ratio, contents=contents, value=value):
      pixels = tf.io.decode_jpeg(
        contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
      )
      return turned(pixels.numpy(), value)

    is_flipped = value % 2 == 0
    found = cut(
      tf.constant(contents), draws[value - 1], tf.constant(is_flipped)
    )
    boxes = (
      lambda shape: decode._central_box(size, 0)(shape),
      lambda shape, value=value: decode.random_box(shape, draws[value - 1]),
    )
    for crop, box in zip(found, boxes):
      expected = cropped(whole, box, size)
      expected = expected[:, ::-1] if is_flipped else expected
      np.testing.assert_array_equal(crop, expected)


def directory(value: int, order: str, *, kind: int = 3, at: int = 0) -> bytes:
  """Returns a TIFF header whose entry `at` of five is the orientation."""
  entries = [
    struct.pack(f"{order}HHI4s", 0x100 + n, 4, 1, b"") for n in range(5)
  ]
  if kind == 3:
    entries[at] = struct.pack(f"{order}HHIHH", TAG, 3, 1, value, 0xBEEF)
  else:
    entries[at] = struct.pack(f"{order}HHII", TAG, kind, 1, value)
  beginning = b"II*\0" if order == "<" else b"MM\0*"
  # Not at once behind the header, where nearly all have it.
  return (
    beginning
    + struct.pack(f"{order}I", 14)
    + b"\xff" * 6
    + struct.pack(f"{order}H", 5)
    + b"".join(entries)
    + struct.pack(f"{order}I", 0)
  )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("before", [b"", b"\xff\xe0\0\x10JFIF\0" + bytes(9)])
def test_most_upright_jpegs_are_told_by_one_look(order, before):
  def look(tiff: bytes) -> bool:
    head = b"\xff\xd8" + before + segment(0xE1, b"Exif\0\0" + tiff)
    return bool(orientation.is_upright_jpeg(tf.constant(head + b"\xff\xdb")))

  def at_once(tiff: bytes) -> bytes:
    start = struct.pack(f"{order}I", 8)
    return tiff[:4] + start + tiff[14:]

  for at in (0, 3, 4):
    assert look(at_once(directory(1, order, at=at)))
    assert not look(at_once(directory(6, order, at=at)))
    assert not look(at_once(directory(8, order, at=at)))
  # One of a thumbnail, which stands right behind, and is no answer.
  tiff = at_once(directory(1, order, at=4))
  assert not look(tiff.replace(*(struct.pack(f"{order}H", n) for n in (5, 4))))
  assert bool(orientation.is_upright_jpeg(tf.constant(encoded("JPEG", 1))))
  assert not orientation.is_upright_jpeg(tf.constant(encoded("JPEG", 6)))


def segment(marker: int, content: bytes) -> bytes:
  return bytes([255, marker]) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("kind", [3, 4])
def test_the_tag_is_found_in_any_place(order, at, kind):
  tiff = tf.constant(directory(6, order, kind=kind, at=at))
  assert orientation.of_exif(tiff) == 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_no_orientation_is_upright(order):
  good = directory(6, order)
  thumbnail = directory(1, order, at=1).replace(b"\xff" * 6, b"\xee" * 6)
  for tiff in (
    b"",
    good[:10],
    good[:22],
    b"Exif" + good[4:],
    directory(0, order),
    directory(9, order),
    directory(6, order, kind=1),
    good.replace(
      struct.pack(f"{order}I", 14), struct.pack(f"{order}I", 1 << 31)
    ),
    # Another directory's, behind the first, as of a thumbnail.
    good.replace(struct.pack(f"{order}H", 5), struct.pack(f"{order}H", 0)),
  ):
    assert orientation.of_exif(tf.constant(tiff)) == 1
  assert orientation.of_exif(tf.constant(thumbnail)) == 1


@pytest.mark.parametrize(
  "before",
  [
    b"",
    segment(0xE0, b"JFIF\0" + bytes(9)),
    segment(0xE0, b"JFIF\0" + bytes(9)) + segment(0xFE, b"a comment"),
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(3000)),
    b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)) for _ in range(3)),
    b"\xff\xff\xff" + segment(0xED, b"Photoshop 3.0\0"),
  ],
  ids=["none", "JFIF", "comment", "XMP", "ICC", "fill bytes"],
)
def test_the_segment_is_found_behind_others(before):
  plain = encoded("JPEG", 1)
  tables = plain.index(b"\xff\xdb")
  exif_segment = segment(0xE1, b"Exif\0\0" + directory(6, ">", at=3))
  contents = b"\xff\xd8" + before + exif_segment + plain[tables:]
  assert decoded(contents).shape == (SIZE[1], SIZE[0], 3)
  assert stored.stored(tf.constant(contents)).orientation == 6
  without = b"\xff\xd8" + before + plain[tables:]
  assert decoded(without).shape == (*SIZE, 3)


def test_many_segments_take_no_long_time():
  """Of a file of 40 kB with ten thousand segments, 64 are looked at."""
  plain = encoded("JPEG", 1)
  tables = plain[plain.index(b"\xff\xdb") :]
  contents = b"\xff\xd8" + segment(0xE5, b"") * 10_000
  contents += segment(0xE1, b"Exif\0\0" + directory(6, "<")) + tables
  assert decoded(contents).shape == (*SIZE, 3)


def test_check_data_counts_and_convert_keeps_turned_images(tmp_path):
  root = pictures.write_folder(tmp_path / "data", counts=(("val", 1),))
  for number, name in enumerate(("blue", "green", "red")):
    folder = root / "train" / name
    folder.mkdir(parents=True)
    for value in (1, 6, 8)[number:]:
      (folder / f"{value}.jpg").write_bytes(encoded("JPEG", value))
  parts = image_folder.load(str(root))
  report = check.check(*parts)
  assert (report.train.turned, report.validation.turned) == (5, 0)
  assert report.train.sizes == {(93, 61): 5, SIZE: 1}
  assert "turned by their EXIF orientation: 5" in check.as_text(report)
  output = str(tmp_path / "reduced")
  convert.convert(*parts, output, resize=32)
  sizes = check.check(*tfrecord.load(output)).train
  assert sizes.sizes == {(49, 32): 5, (32, 49): 1}
  assert sizes.turned == 0


def test_the_flag_is_of_the_run_and_of_encoded_images(tmp_path):
  root = pictures.write_folder(tmp_path / "data")
  options = {"dataset": "image_folder", "data_dir": str(root)}
  for value in ("apply", "ignore"):
    chosen = data.SourceOptions(**options, exif_orientation=value)
    for source in data.load(chosen):
      assert source.decoding.exif_orientation == value
      assert source.take([0]).decoding.exif_orientation == value
  with pytest.raises(DataError, match="must be one of apply, ignore, got 'x'"):
    data.SourceOptions(**options, exif_orientation="x")
  with pytest.raises(DataError, match="must be left out for dataset=digits"):
    data.SourceOptions(dataset="digits", exif_orientation="ignore")


@pytest.mark.parametrize("dataset", ["image_folder", "digits"])
@pytest.mark.parametrize(
  ("name", "older", "new"),
  [("exif_orientation", "ignore", "apply"), ("jpeg_dct", "fast", "accurate")],
)
def test_a_run_of_an_older_build_goes_on_as_it_was(dataset, name, older, new):
  values = flags.parse("--workdir=x", f"--dataset={dataset}")
  saved = {**flags.as_dict(values)}
  del saved[name]
  continued = flags.parse("--workdir=x")
  flags.adopt(saved, continued)
  expected = older if dataset == "image_folder" else new
  assert getattr(continued, name) == expected
  assert flags.comparable(saved)[name] == expected
  flags.adopt({**saved, name: new}, continued)
  assert getattr(continued, name) == new
