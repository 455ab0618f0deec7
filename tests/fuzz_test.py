# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parsers on damaged files and flags: an error in one line, or what is there.

Each file is a valid one with a few bytes changed, cut off, or put in: 20,000 of
each kind, or as many as FUZZ_EXAMPLES says. A kind that carries checksums is
never read as anything but what was written. Of command lines and flagfiles
there are a twentieth as many each.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import pathlib
import random
import struct
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import data
from data import DataError
from data.images import decode, netpbm, orientation
from data.sources import idx, npz, record_index, table
from train_loop import config as config_lib
from train_loop.command import config_from_flags, flags, recipes
from train_loop.fields import ConfigError

pytestmark = pytest.mark.any_keras

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10000"))
LABEL = "image/class/label"
SIZES = np.array([500, 900], np.int64)


def valid_idx() -> bytes:
  pixels = bytes(range(24))
  return struct.pack(">HBBIII", 0, 8, 3, 2, 3, 4) + pixels


def valid_npz() -> bytes:
  file = io.BytesIO()
  images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
  np.savez_compressed(file, images=images, labels=np.array([0, 1, 2]))
  return file.getvalue()


def valid_csv() -> bytes:
  return 'path,label,split\na/1.jpg,cat,train\n"b,2.png",dög,test\n'.encode()


def valid_columns() -> bytes:
  return "\ufeffImage;Cat;Dög\na.jpg;1;0\nb.png;-1.0;1\nc.png;;\n".encode()


def valid_index() -> bytes:
  file = io.BytesIO()
  np.savez(
    file,
    sizes=SIZES,
    shard=np.array([0, 0, 1], np.int32),
    offset=np.array([0, 200, 0]),
    label=np.array([3, 4, 5]),
  )
  return file.getvalue()


def valid_mapped_index() -> bytes:
  with tempfile.NamedTemporaryFile() as file:
    index = record_index.Index(
      SIZES,
      np.array([0, 0, 1], np.int32),
      np.array([0, 200, 0]),
      np.array([3, 4, 5], np.int32),
    )
    record_index.write(file.name, index, ["a", "b"])
    return pathlib.Path(file.name).read_bytes()


def valid_records() -> bytes:
  with tempfile.NamedTemporaryFile() as file:
    with tf.io.TFRecordWriter(file.name) as writer:
      for label in (3, 400):
        int64_list = tf.train.Int64List(value=[label])
        bytes_list = tf.train.BytesList(value=[b"image"])
        features = {
          LABEL: tf.train.Feature(int64_list=int64_list),
          "image/encoded": tf.train.Feature(bytes_list=bytes_list),
        }
        message = tf.train.Features(feature=features)
        writer.write(tf.train.Example(features=message).SerializeToString())
    return file.read()


class Kind(NamedTuple):
  """A kind of file.

  Attributes:
    valid: returns the content of a valid one.
    parse: reads a file into arrays by name.
    has_checksums: whether damage cannot go unseen.
  """

  valid: Callable[[], bytes]
  parse: Callable[[str], dict[str, Any]]
  has_checksums: bool


def read_idx(path: str) -> dict[str, Any]:
  return {"array": idx.read_idx(path)}


def read_csv(path: str) -> dict[str, Any]:
  return table.read(path)._asdict()


def read_index(path: str) -> dict[str, Any]:
  return dataclasses.asdict(record_index.read(path, SIZES))


def read_mapped_index(path: str) -> dict[str, Any]:
  with mock.patch.object(record_index, "_MAPPED_BYTES", 0):
    index = record_index.read(path, SIZES)
  # Every number can be read: none lies outside the file.
  return {"sums": [int(index.offset.sum()), int(index.label.sum())]}


def read_records(path: str) -> dict[str, Any]:
  return dataclasses.asdict(record_index.build([path], LABEL))


KINDS = {
  "idx": Kind(valid_idx, read_idx, False),
  "idx.gz": Kind(lambda: gzip.compress(valid_idx()), read_idx, True),
  "npz": Kind(valid_npz, npz.read_arrays, True),
  "csv": Kind(valid_csv, read_csv, False),
  "csv of columns": Kind(valid_columns, read_csv, False),
  "index": Kind(valid_index, read_index, True),
  "mapped index": Kind(valid_mapped_index, read_mapped_index, False),
  # Its checksums are for whoever reads an image, and cost too much here.
  "records": Kind(valid_records, read_records, False),
}


def damaged(content: bytes, source: random.Random) -> bytes:
  """Returns the content after one to four changes."""
  changed = bytearray(content)
  for _ in range(source.randint(1, 4)):
    place = source.randint(0, max(len(changed) - 1, 0))
    kind = source.choice(("set", "cut", "insert", "delete"))
    if kind == "set":
      changed[place : place + 1] = source.randbytes(1)
    elif kind == "cut":
      del changed[place:]
    elif kind == "insert":
      changed[place:place] = source.randbytes(source.randint(1, 8))
    else:
      del changed[place : place + source.randint(1, 8)]
  return bytes(changed)


def attempt(parse: Callable[[str], dict[str, Any]], path: str) -> Any:
  """Returns what is read, None where the file is refused as it should be."""
  try:
    return parse(path)
  except DataError as error:
    assert path in str(error) and "\n" not in str(error), error
    return None


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_refused_in_one_line_that_names_it(name, tmp_path):
  valid, parse, has_checksums = KINDS[name]
  content, path = valid(), tmp_path / "file"
  path.write_bytes(content)
  expected = parse(str(path))
  source = random.Random(name)
  refused = 0
  with path.open("r+b", buffering=0) as file:
    for _ in range(EXAMPLES):
      tried = damaged(content, source)
      # Opened once: to write a file anew waits for the disk, on ext4.
      file.seek(0)
      file.write(tried)
      file.truncate()
      start = time.perf_counter()
      try:
        found = attempt(parse, str(path))
        if found is not None and has_checksums:
          # An array may be lost from an archive, and is asked for by its name.
          np.testing.assert_equal(found, {key: expected[key] for key in found})
      except Exception as error:
        raise AssertionError(f"{name} of content {tried.hex()}") from error
      # Of a hundred bytes: more would be a hang.
      assert time.perf_counter() - start < 5, tried.hex()
      refused += found is None
  assert EXAMPLES / 2 < refused < EXAMPLES


def test_a_damaged_picture_is_refused_or_has_its_size():
  content = netpbm.encode(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))

  @tf.function
  def crop(contents: tf.Tensor) -> tf.Tensor:
    return decode.central_crop(contents, image_size=2, channels=3)

  source = random.Random("netpbm")
  refused = 0
  for _ in range(EXAMPLES // 8):
    tried = damaged(content, source)
    try:
      assert crop(tf.constant(tried)).shape == (2, 2, 3)
    except tf.errors.InvalidArgumentError:
      refused += 1
    except Exception as error:
      raise AssertionError(f"content {tried.hex()}") from error
  assert EXAMPLES / 32 < refused < EXAMPLES / 8


def tiff_of(order: str, value: int) -> bytes:
  """Returns a directory of six entries, the fourth an orientation."""
  entries = [(0x100 + n, 4, 1, 70_000 + n) for n in range(6)]
  packed = [struct.pack(f"{order}HHII", *entry) for entry in entries]
  packed[3] = struct.pack(f"{order}HHIHH", 0x112, 3, 1, value, 0)
  beginning = {"<": b"II*\0", ">": b"MM\0*"}[order]
  start, count = struct.pack(f"{order}I", 8), struct.pack(f"{order}H", 6)
  return beginning + start + count + b"".join(packed) + bytes(4)


COMMENT = b"\xff\xfe\0\x0ba comment"


def jpeg_of(tiff: bytes) -> bytes:
  """Returns the segments of a JPEG before its tables."""
  file = b"\xff\xd8"
  for marker, content in (
    (0xE0, b"JFIF\0" + bytes(9)),
    (0xFE, b"a comment"),
    (0xE1, b"Exif\0\0" + tiff),
  ):
    file += bytes([255, marker]) + struct.pack(">H", len(content) + 2) + content
  return file + b"\xff\xdb\0\x43"


def png_of(tiff: bytes) -> bytes:
  """Returns the chunks of a PNG before its pixels."""
  file = b"\x89PNG\r\n\x1a\n"
  for kind, content in (
    (b"IHDR", bytes(13)),
    (b"gAMA", bytes(4)),
    (b"eXIf", tiff),
    (b"tRNS", bytes(6)),
    (b"IDAT", bytes(9)),
  ):
    file += struct.pack(">I", len(content)) + kind + content + bytes(4)
  return file


def python_orientation(tiff: bytes) -> int:
  """Returns the orientation as plain Python reads it."""
  order = {b"MM\0*": ">", b"II*\0": "<"}.get(tiff[:4], "")
  if not order or len(tiff) < 10:
    return 1
  (start,) = struct.unpack(f"{order}I", tiff[4:8])
  if len(tiff) < start + 2:
    return 1
  (count,) = struct.unpack_from(f"{order}H", tiff, start)
  values = [0]
  for number in range(count):
    entry = tiff[start + 2 + 12 * number :][:12]
    if len(entry) < 12:
      break
    tag, kind, one = struct.unpack(f"{order}HHI", entry[:8])
    if (tag, one) == (0x112, 1) and kind in (3, 4):
      form = f"{order}H" if kind == 3 else f"{order}I"
      values.append(struct.unpack_from(form, entry, 8)[0])
  found = max(value for value in values if value < 256)
  return found if 1 <= found <= 8 else 1


def python_jpeg(file: bytes) -> int:
  place = 2
  for _ in range(65):
    head = file[place : place + 10].ljust(10, b"\0")
    if head[0] != 255 or head[1] < 0xE0:
      return 1
    length = int.from_bytes(head[2:4], "big")
    if head[1] == 0xE1 and head[4:8] == b"Exif":
      return python_orientation(file[place + 10 :][: max(length - 8, 0)])
    place += 1 if head[1] == 255 else length + 2
  return 1


def python_png(file: bytes) -> int:
  place, exif = 33, b""
  for _ in range(64):
    head = file[place : place + 8].ljust(8, b"\0")
    if head[4:] == b"IDAT" or not head[4]:
      break
    length = int.from_bytes(head[:4], "big")
    if head[4:] == b"eXIf":
      exif = file[place + 8 :][:length]
    place += length + 12
  return python_orientation(exif)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_damaged_exif_is_read_as_plain_python_reads_it(kind, order):
  """Never an error, and never an orientation that is not there."""
  valid, python = {
    "jpeg": (jpeg_of, python_jpeg),
    "png": (png_of, python_png),
  }[kind]

  def read(contents: tf.Tensor) -> tf.Tensor:
    if kind == "jpeg":
      found = orientation.of_exif(orientation.exif_of_jpeg(contents))
      # The quick look never calls a turned one upright.
      is_upright = orientation.is_upright_jpeg(contents)
      return tf.where(is_upright & (found != 1), -1, found)
    return orientation.of_exif(orientation.png_chunks(contents)[0])

  @tf.function(
    autograph=False, input_signature=[tf.TensorSpec([None], tf.string)]
  )
  def read_all(contents: tf.Tensor) -> tf.Tensor:
    signature = tf.TensorSpec([], tf.int32)
    return tf.map_fn(read, contents, fn_output_signature=signature)

  source = random.Random(f"exif {kind} {order}")
  contents = [valid(tiff_of(order, value)) for value in (6, 1)]
  # As cameras write it, without a comment before it.
  contents += [content.replace(COMMENT, b"") for content in contents]
  assert read_all(contents).numpy().tolist() == [6, 1, 6, 1]
  turned = 0
  for _ in range(EXAMPLES // 4 // 50):
    tried = [damaged(source.choice(contents), source) for _ in range(50)]
    found = read_all(tried).numpy().tolist()
    for one, value in zip(tried, found):
      assert value == python(one), one.hex()
    turned += sum(value != 1 for value in found)
  assert EXAMPLES / 80 < turned < EXAMPLES / 4


# What may stand in the place of a value, or of an argument.
WORDS = (
  *("", "-1", "0", "nan", "inf", "-inf", "1e400", "1e-400", "0x10", "1.5"),
  *("5_0", " 5", "+3", "٣", "²", "9" * 30, "a" * 2000, "true", "auto", "None"),
  *("--", "=", ",", ":", "1,2,,3", "128:0,160:x", "..", "~", "/dev/null"),
  *("é", "\udcff", "\n", "a\nb", "'", "{}", "%s", "$HOME", "tfa:", "tfds:"),
  *("keras:", "python:", "python:a", "python:1.2"),
)


def malformed(source: random.Random) -> str:
  """Returns an argument that is seldom as it should be."""
  name, word = source.choice(flags.names()), source.choice(WORDS)
  place = source.randrange(len(name))
  letter = source.choice("xq_-=")
  misspelled = f"{name[:place]}{letter}{name[place:]}"
  dashes = "-" * source.randrange(4)
  return source.choice(
    [
      *[f"--{name}={word}"] * 5,
      *(f"--{misspelled}={word}", f"--{name}", f"{dashes}no{name}", word),
    ]
  )


def is_refused(arguments: list[str]) -> bool:
  """Returns whether a command line is refused, which takes one line."""
  try:
    values = flags.parse(*arguments)
    config_from_flags.config_from_flags(values, examples_per_epoch=1000)
    for settings in flags.GROUPS.values():
      if settings not in (data.Inputs, config_lib.LoopConfig):
        flags.group(settings, values)
  except (ConfigError, DataError) as error:
    (line,) = str(error).splitlines()
    assert line.strip()
    return True
  except Exception as error:
    raise AssertionError(f"{arguments}") from error
  return False


def test_a_malformed_command_line_is_one_line(capsys):
  source = random.Random("flags")
  count = EXAMPLES // 20
  refused = sum(
    is_refused([malformed(source) for _ in range(source.randint(1, 2))])
    for _ in range(count)
  )
  assert 0.8 * count < refused <= count
  assert capsys.readouterr().err == ""


def test_a_damaged_flagfile_is_one_line(tmp_path):
  source = random.Random("flagfiles")
  count, refused = EXAMPLES // 20, 0
  content = (recipes.RECIPES / "digits.flags").read_bytes()
  path = tmp_path / "x.flags"
  for number in range(count):
    lines = damaged(content, source).splitlines()
    if number % 2:
      line = malformed(source).encode(errors="surrogateescape")
      lines.insert(source.randint(0, len(lines)), line)
    path.write_bytes(b"\n".join(lines))
    refused += is_refused([f"--flagfile={path}"])
  assert 0.4 * count < refused < count
