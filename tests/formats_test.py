# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of formats and kinds of colours, each against Pillow."""

from __future__ import annotations

import dataclasses
import functools
import io
import pathlib
import re
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data import Inputs, reading
from data.images import decode, formats, pillow_reader, stored
from data.preparation import check, convert
from data.sources import image_folder, tfrecord
from tests import pictures

SIZE = (40, 56)
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "data.md"


def encoded(image: Image.Image, kind: str, **options) -> bytes:
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def smooth() -> np.ndarray:
  """Returns a picture without edges, [height, width, 3] uint8."""
  rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] / np.reshape(
    SIZE, [2, 1, 1]
  )
  red, green = 40 + 180 * rows, 220 - 150 * columns
  blue = 60 + 90 * (rows + columns)
  return np.stack([red, green, blue], -1).astype(np.uint8)


def ycck(color: Image.Image) -> bytes:
  """Returns a JPEG of luma, two chromas and black, as Photoshop writes it."""
  # Pillow stores the opposite of each ink.
  planes = [255 - np.asarray(p) for p in color.convert("YCbCr").split()]
  inks = np.stack([*planes, np.full(SIZE, 30, np.uint8)], -1)
  file = bytearray(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=75))
  adobe = file.index(b"Adobe")
  file[adobe + 11] = 2
  return bytes(file)


def with_palette_of_bits(color: Image.Image) -> bytes:
  """Returns a BMP of 4 bits a pixel."""
  small = color.quantize(16)
  indices = np.asarray(small)
  palette = np.array(small.getpalette()[:48]).reshape(16, 3)
  header = struct.pack(
    "<2sIIIIiiHHIIiiII",
    *(b"BM", 0, 0, 54 + 64, 40, SIZE[1], SIZE[0], 1, 4, 0, 0, 0, 0, 16, 0),
  )
  colors = b"".join(bytes([b, g, r, 0]) for r, g, b in palette)
  packed = (indices[::-1, ::2] << 4) | indices[::-1, 1::2]
  return header + colors + packed.astype(np.uint8).tobytes()


@functools.cache
def cases() -> dict[tuple[str, str], bytes]:
  """Returns a file of each format and kind of colours."""
  pixels = smooth()
  color, gray = Image.fromarray(pixels), Image.fromarray(pixels).convert("L")
  alpha = Image.fromarray(pixels[::-1, ::-1, 1].copy())
  rgba, la = color.copy(), gray.copy()
  rgba.putalpha(alpha)
  la.putalpha(alpha)
  palette, bits = color.quantize(64), color.convert("1")
  deep = (np.asarray(gray).astype(np.uint16) << 8) + 77
  twelve = Image.fromarray(deep >> 4)
  deep_color = tf.constant(pixels.astype(np.uint16) * 257)
  deep_rgba = tf.constant(np.asarray(rgba).astype(np.uint16) * 257)
  clear = {"transparency": palette.getpixel((5, 5))}
  quality = {"quality": 75}
  return {
    ("JPEG", "gray"): encoded(gray, "JPEG", **quality),
    ("JPEG", "RGB"): encoded(color, "JPEG", subsampling=0, **quality),
    ("JPEG", "RGB, 4:2:0"): encoded(color, "JPEG", subsampling=2, **quality),
    ("JPEG", "CMYK"): encoded(color.convert("CMYK"), "JPEG", **quality),
    ("JPEG", "YCCK"): ycck(color),
    ("PNG", "1 bit"): encoded(bits, "PNG"),
    ("PNG", "gray"): encoded(gray, "PNG"),
    ("PNG", "gray and alpha"): encoded(la, "PNG"),
    ("PNG", "gray of 16 bits"): encoded(Image.fromarray(deep), "PNG"),
    ("PNG", "gray, 12 of 16 bits"): encoded(twelve, "PNG"),
    ("PNG", "palette"): encoded(palette, "PNG"),
    ("PNG", "palette, transparent"): encoded(palette, "PNG", **clear),
    ("PNG", "RGB"): encoded(color, "PNG"),
    ("PNG", "RGB, one transparent"): encoded(
      color, "PNG", transparency=color.getpixel((9, 7))
    ),
    ("PNG", "RGB and alpha"): encoded(rgba, "PNG"),
    ("PNG", "RGB of 16 bits"): tf.io.encode_png(deep_color).numpy(),
    ("PNG", "RGB and alpha, 16 bits"): tf.io.encode_png(deep_rgba).numpy(),
    ("BMP", "1 bit"): encoded(bits, "BMP"),
    ("BMP", "palette, 4 bits"): with_palette_of_bits(color),
    ("BMP", "palette, 8 bits"): encoded(palette, "BMP"),
    ("BMP", "gray"): encoded(gray, "BMP"),
    ("BMP", "RGB"): encoded(color, "BMP"),
    ("BMP", "RGB of 32 bits"): encoded(rgba, "BMP"),
    ("GIF", "palette"): encoded(palette, "GIF"),
    ("GIF", "palette, transparent"): encoded(palette, "GIF", **clear),
    ("GIF", "the first of two pictures"): encoded(
      palette, "GIF", save_all=True, append_images=[palette.rotate(180)]
    ),
    ("WebP", "gray"): encoded(gray, "WEBP", lossless=True),
    ("WebP", "RGB"): encoded(color, "WEBP", quality=90),
    ("WebP", "RGB and alpha"): encoded(rgba, "WEBP", lossless=True),
    ("TIFF", "1 bit"): encoded(bits, "TIFF"),
    ("TIFF", "gray"): encoded(gray, "TIFF"),
    ("TIFF", "gray and alpha"): encoded(la, "TIFF"),
    ("TIFF", "gray of 16 bits"): encoded(Image.fromarray(deep), "TIFF"),
    ("TIFF", "palette"): encoded(palette, "TIFF"),
    ("TIFF", "RGB"): encoded(color, "TIFF", compression="tiff_lzw"),
    ("TIFF", "RGB and alpha"): encoded(rgba, "TIFF"),
    ("TIFF", "CMYK"): encoded(color.convert("CMYK"), "TIFF"),
    ("AVIF", "RGB"): encoded(color, "AVIF", quality=90),
    ("AVIF", "RGB and alpha"): encoded(rgba, "AVIF", quality=90),
    ("PPM", "RGB"): encoded(color, "PPM"),
    ("PGM", "gray"): encoded(gray, "PPM"),
    ("PGM", "gray of 16 bits"): encoded(Image.fromarray(deep), "PPM"),
  }


def expected(contents: bytes, channels: int) -> np.ndarray:
  """Returns what Pillow reads, laid on white; of 16 bits the upper 8."""
  image = Image.open(io.BytesIO(contents))
  if image.mode.startswith("I"):
    image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
  rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
  part = rgba[..., 3:] / 255
  laid = np.rint(rgba[..., :3] * part + 255 * (1 - part)).astype(np.uint8)
  mode = "L" if channels == 1 else "RGB"
  return np.asarray(Image.fromarray(laid).convert(mode)).reshape(
    *SIZE, channels
  )


def read(contents: bytes, channels: int, **options) -> np.ndarray:
  options.setdefault("others", pillow_reader.read)
  found = decode.decode(tf.constant(contents), channels, **options)
  return found.numpy().astype(int)


@functools.cache
def rows_of_the_page() -> dict[tuple[str, str], tuple[str, int, int]]:
  """Returns path and differences, to RGB and gray, that docs/data.md says."""
  rows = {}
  for line in PAGE.read_text(encoding="utf-8").splitlines():
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if len(cells) == 5 and cells[2] in ("graph", "Pillow"):
      rows[cells[0], cells[1]] = cells[2], int(cells[3]), int(cells[4])
  return rows


@pytest.mark.parametrize("case", cases(), ids=" ".join)
def test_a_format_has_pillows_colours(case):
  contents = cases()[case]
  assert formats.kind_of(contents) == case[0]
  differences = [
    int(np.abs(read(contents, channels) - expected(contents, channels)).max())
    for channels in (3, 1)
  ]
  assert max(differences) <= 2
  path, *said = rows_of_the_page()[case]
  in_graph = bool(decode.is_read_in_graph(tf.constant(contents)))
  assert path == ("graph" if in_graph else "Pillow")
  assert differences[0] <= said[0] and differences[1] <= said[1]


@pytest.mark.parametrize("quality", [30, 75, 95, 100])
def test_a_jpeg_has_pillows_colours_to_the_bit(quality):
  noise = np.random.default_rng(0).integers(0, 256, [*SIZE, 3], np.uint8)
  # With fewer chromas than pixels the last column of a crop lacks a neighbour.
  options = {"quality": quality, "subsampling": 0}
  contents = encoded(Image.fromarray(noise), "JPEG", **options)
  exact = expected(contents, 3).astype(int)
  np.testing.assert_array_equal(read(contents, 3), exact)
  crop = {"image_size": SIZE[0], "channels": 3}
  left = (SIZE[1] - SIZE[0]) // 2
  square = exact[:, left : left + SIZE[0]]
  found = decode.central_crop(tf.constant(contents), **crop)
  np.testing.assert_array_equal(found, square)
  fast = read(contents, 3, decoding=formats.Decoding(jpeg_dct="fast"))
  if quality == 100:
    assert np.abs(fast - exact).max() > 2


def test_the_page_has_a_row_for_each_format():
  rows = {row for row in rows_of_the_page() if row[0] != "JPEG XL"}
  assert rows == set(cases())


def test_a_file_is_read_for_what_it_is(tmp_path):
  """WebP under the name of a JPEG, and the other way round."""
  root = pictures.write_folder(tmp_path, counts=(("train", 2), ("val", 1)))
  renamed = sorted(root.glob("train/blue/*"))[0]
  renamed.write_bytes(cases()["WebP", "RGB"])
  jpeg = sorted(root.glob("train/red/*"))[0]
  jpeg.rename(jpeg.with_suffix(".webp"))
  train, validation = image_folder.load(str(root))
  assert train.num_examples == 6
  report = check.check(train, validation)
  assert report.train.formats == {"JPEG": 5, "WebP": 1}
  assert not report.bad
  text = check.as_text(report)
  assert "formats: JPEG (5), WebP (1)" in text
  assert "decoded slowly, in Python: 1; --mode=convert" in text


KINDS_OF_PILLOW = ("GIF", "WebP", "TIFF", "AVIF", "PGM")


@pytest.mark.parametrize("kind", KINDS_OF_PILLOW)
def test_a_damaged_file_is_told_in_one_line(kind):
  contents = next(file for case, file in cases().items() if case[0] == kind)
  for damaged in (contents[: len(contents) // 2], contents[:20]):
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
      read(damaged, 3)
    told = reading.reason(refused.value)
    assert told.startswith(f"{kind}: ") and "Traceback" not in told
    assert len(told) < 200


def test_a_format_that_is_not_read_is_named():
  """JPEG XL needs a package, which this machine may have."""
  others = {b"\xff\x0a" + bytes(30): "JPEG XL", b"%!PS-Adobe-3.0 EPSF": "this"}
  others[b"\0\0\0\x18ftypheic" + bytes(16)] = "HEIC"
  for contents, kind in others.items():
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
      read(contents, 3)
    assert kind in reading.reason(refused.value)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WebP", "PGM"])
def test_pillow_reads_no_image_that_declares_too_much(kind):
  file = bytearray(next(f for case, f in cases().items() if case[0] == kind))
  if kind == "GIF":
    file[6:10] = b"\xff\xff\xff\xff"
  elif kind == "TIFF":  # Width and height are its first two tags.
    place = int.from_bytes(file[4:8], "little") + 2
    for entry in (place, place + 12):
      file[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 40_000)
  elif kind == "PGM":
    file[:] = b"P5 40000 40000 255\n" + bytes(100)
  else:  # Lossless: 14 bits each for width and height.
    place = file.index(b"VP8L") + 9
    file[place : place + 4] = struct.pack("<I", 2**28 - 1)
  with pytest.raises(
    tf.errors.InvalidArgumentError, match=r"more than|exceeds"
  ):
    read(bytes(file), 3)


def test_the_slow_way_is_said_once_with_the_remedy(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    pillow_reader.logging,
    "log_first_n",
    lambda level, message, times, *words: said.append((times, message % words)),
  )
  read(cases()["WebP", "RGB"], 3)
  assert not said
  read(cases()["WebP", "RGB"], 3, others=pillow_reader.read_for_training)
  ((times, line),) = said
  assert times == 1
  assert line.startswith("some images are WebP, which is decoded slowly")
  assert "--mode=convert" in line


def test_the_workers_of_a_data_service_are_given_no_python(tmp_path):
  root = pictures.write_folder(tmp_path, counts=(("train", 1), ("val", 1)))
  inputs = Inputs(
    *image_folder.load(str(root)), global_batch_size=2, image_size=8
  )
  assert inputs._others is pillow_reader.read_for_training
  far = dataclasses.replace(inputs, data_service="grpc://127.0.0.1:1")
  assert far._others is None
  with pytest.raises(tf.errors.InvalidArgumentError) as refused:
    read(cases()["WebP", "RGB"], 3, others=far._others)
  assert reading.reason(refused.value) == (
    "only JPEG, PNG and BMP are read here: use --mode=convert first"
  )


def test_what_is_converted_is_read_as_the_files_were(tmp_path):
  """Each format, transparent and turned ones too, to the bit."""
  root = pictures.write_folder(tmp_path / "files", counts=(("val", 1),))
  folder = root / "train" / "red"
  turned = Image.Exif()
  turned[0x112] = 6
  for name in ("blue", "green", "red"):
    (root / "train" / name).mkdir(parents=True)
    Image.fromarray(smooth()).save(
      root / "train" / name / "turned.jpg", exif=turned
    )
  for number, contents in enumerate(cases().values()):
    (folder / f"{number:02}.jpg").write_bytes(contents)
  Image.fromarray(smooth()).save(folder / "turned.tif", exif=turned)
  parts = image_folder.load(str(root))
  output = str(tmp_path / "records")
  convert.convert(*parts, output)
  records, _ = tfrecord.load(output)
  options = {"image_size": 24, "replace": False, "on_bad_image": None}
  crops = [
    next(iter(reading.central_crops(source, **options).batch(100)))
    for source in (parts[0], records)
  ]
  for name, found in crops[0].items():
    np.testing.assert_array_equal(found, crops[1][name])
  fetch = reading.make_read(records.examples)
  for index in range(records.num_examples):
    assert decode.is_read_in_graph(fetch(tf.constant(index, tf.int64)))


def test_check_data_tells_brightness_and_what_is_nearly_black(tmp_path):
  root = pictures.write_folder(
    tmp_path, counts=(("train", 1), ("val", 1)), ending=".png"
  )
  dark = root / "train" / "red" / "dark.png"
  dark.write_bytes(cases()["PNG", "gray, 12 of 16 bits"])
  report = check.check(*image_folder.load(str(root)))
  (place,) = report.train.dark
  assert place.startswith(str(dark))
  text = check.as_text(report)
  assert re.search(r"brightness, 0 to 255: least \d+, median", text)
  assert (
    "nearly black, no pixel above 32: scale those of 12 bits in 16: 1" in text
  )


def test_what_a_file_stores_is_told():
  channels = {
    ("JPEG", "CMYK"): 4,
    ("PNG", "gray and alpha"): 2,
    ("BMP", "palette, 8 bits"): 3,
    ("TIFF", "RGB and alpha"): 4,
    ("GIF", "palette, transparent"): 4,
  }
  for case, count in channels.items():
    said = stored.stored(tf.constant(cases()[case]))
    assert (said.format, said.channels) == (case[0], count)
