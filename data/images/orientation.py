# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The EXIF orientation of JPEG and PNG files, as graph operations.

A camera that is held on its side stores the picture so, and a number from 1 to
8 that says how to turn it:

    1 as it is    2 mirrored              3 by 180 degrees   4 upside down
    5 transposed  6 clockwise by 90       7 transposed by    8 counterclockwise
                    degrees                 the other axis     by 90 degrees

All are a transposition or none, and then flips or none. Only the part that is
used is decoded: a window of the upright image is mapped to the stored one.

References: Exif 2.32 (CIPA DC-008), 4.5.4 and 4.6.4; TIFF 6.0, section 2; PNG
  third edition, 11.3.3.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# For each orientation, 0 being none: whether height and width change places,
# and the steps by which rows and columns of the transposed image are read.
_AXES = [[0, 1]] * 5 + [[1, 0]] * 4
_STEPS = [
  *([1, 1], [1, 1], [1, -1], [-1, -1], [-1, 1]),
  *([1, 1], [1, -1], [-1, -1], [-1, 1]),
]
# How a TIFF header begins whose numbers have their highest byte first, or
# last; and what the bytes of a number of 4, or of 2, are multiplied by.
_BEGINNINGS = np.array([[*b"MM\0*"], [*b"II*\0"]], np.int64)
_POWERS = 256 ** np.array([[3, 2, 1, 0], [0, 1, 2, 3]], np.int64)
_POWERS_OF_2_BYTES = 256 ** np.array([[1, 0], [0, 1]], np.int64)
# An entry of a directory: tag, type, the number of values, and the value. That
# of the orientation has tag 0x0112 and one value, of type SHORT or LONG, with
# the highest byte first or last.
_ENTRIES = np.frombuffer(
  b"\x01\x12\0\x03\0\0\0\x01\0v\0\0"
  b"\x12\x01\x03\0\x01\0\0\0v\0\0\0"
  b"\x01\x12\0\x04\0\0\0\x01\0\0\0v"
  b"\x12\x01\x04\0\x01\0\0\0v\0\0\0",
  np.uint8,
).reshape(4, 12)
_VALUE_AT = np.argmax(ord("v") == _ENTRIES, axis=1)
# The value, and the half of it that a SHORT does not use, may be any.
_ANY = np.array(ord("v") == _ENTRIES)
_ANY[:2, 10:] = True
_ENTRY_BYTES = 12
# Segments of a JPEG, and chunks of a PNG, that are looked through. Cameras
# write it in the first or second one.
_MOST_SEGMENTS = 64
# How a JPEG begins that has JFIF's segment of 16 bytes and then its tables;
# a byte that is 0 here may be any.
_PLAIN = b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(10) + b"\xff\xdb"
# Where a PNG's second chunk begins.
_AFTER_IHDR = 33


def oriented_size(size: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
  """Returns the upright image's size; also the stored one's of an upright.

  Args:
    size: [height, width] as they are stored.
    orientation: [] int32, 1 to 8.
  """
  return tf.gather(size, tf.gather(_AXES, orientation))


def stored_window(
  window: tf.Tensor, size: tf.Tensor, orientation: tf.Tensor
) -> tf.Tensor:
  """Returns the part of the stored image that a part of the upright one is.

  Args:
    window: [top, left, height, width] in the upright image.
    size: [height, width] as they are stored.
    orientation: [] int32, 1 to 8.
  """
  axes = tf.gather(_AXES, orientation)
  place, sides = window[:2], window[2:]
  opposite = tf.gather(size, axes) - place - sides
  place = tf.where(tf.gather(_STEPS, orientation) < 0, opposite, place)
  return tf.concat([tf.gather(place, axes), tf.gather(sides, axes)], 0)


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
  """Returns the image, or a part of it, upright.

  Args:
    image: [height, width, channels] as it is stored.
    orientation: [] int32, 1 to 8.
  """
  axes = tf.concat([tf.gather(_AXES, orientation), [2]], 0)
  backwards = tf.where(tf.gather(_STEPS, orientation) < 0)[:, 0]
  return tf.reverse(tf.transpose(image, axes), backwards)


def _upright_pattern() -> str:
  """Returns a regular expression of JPEGs whose Exif segment says upright.

  The segment is the first, or the second after JFIF's; its directory stands
  behind the TIFF header, has up to 32 entries, and one of them is orientation
  1. Entries have 12 bytes each, of which `\\C` is any.
  """
  little, big = (
    "|".join(
      rf"{count.format(number)}(?:\C{{12}}){{0,{number - 1}}}{entry}"
      for number in range(1, 33)
    )
    for count, entry in (
      (r"\x{:02x}\x00", r"\x12\x01\x03\x00\x01\x00\x00\x00\x01\x00"),
      (r"\x00\x{:02x}", r"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x01"),
    )
  )
  return (
    r"(?:\C{6}|\C{4}\x00\x10JFIF\x00\C{13})Exif\x00\x00"
    rf"(?:II\*\x00\x08\x00\x00\x00(?:{little})"
    rf"|MM\x00\*\x00\x00\x00\x08(?:{big}))\C*"
  )


_UPRIGHT = _upright_pattern()
# Up to the last byte that the pattern looks at.
_UPRIGHT_BYTES = 24 + 6 + 10 + 32 * _ENTRY_BYTES


def is_upright_jpeg(contents: tf.Tensor) -> tf.Tensor:
  """Returns whether an image is a JPEG that is upright, by its first bytes.

  Most are: those that begin with JFIF's segment and then, at once, their
  tables; and those in which a camera says so. Few operations, since it is asked
  of every image; false does not say that it is turned.

  Args:
    contents: [] string, an encoded image of any kind.

  Returns:
    [] bool.
  """
  head = tf.io.decode_raw(contents, tf.uint8, fixed_length=len(_PLAIN))
  beginning = tf.strings.substr(contents, 0, _UPRIGHT_BYTES)
  says_so = tf.strings.regex_full_match(beginning, _UPRIGHT)
  return _are(head, _PLAIN) | says_so


def exif_of_jpeg(contents: tf.Tensor) -> tf.Tensor:
  """Returns the content of a JPEG's first Exif segment.

  It is looked for among the application segments and comments with which the
  file begins.

  Args:
    contents: [] string, a JPEG.

  Returns:
    [] string, a TIFF header; empty if there is none.
  """

  def head_at(place: tf.Tensor) -> tf.Tensor:
    return _bytes_at(contents, place, 10)

  def is_exif(head: tf.Tensor) -> tf.Tensor:
    return _are(head, b"\xff\xe1\0\0Exif\0\0")

  def goes_on(place: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    del place
    is_segment = tf.reduce_all(head[:2] >= [0xFF, 0xE0])
    return is_segment & ~is_exif(head)

  def step(place: tf.Tensor, head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Before a marker may stand more bytes of 255.
    is_fill = head[1] == 0xFF
    place += tf.where(is_fill, tf.constant(1, tf.int64), _number(head[2:4]) + 2)
    return place, head_at(place)

  start = tf.constant(2, tf.int64)
  place, head = tf.while_loop(
    goes_on,
    step,
    (start, head_at(start)),
    maximum_iterations=_MOST_SEGMENTS,
    parallel_iterations=1,
  )
  length = tf.where(is_exif(head), _number(head[2:4]) - 8, 0)
  return _substring(contents, place + 10, length)


def png_chunks(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Looks through the chunks of a PNG up to its pixels.

  Args:
    contents: [] string, a PNG.

  Returns:
    [] string, the content of the eXIf chunk, a TIFF header, or empty if there
    is none; and [] bool, whether some colours may be transparent.
  """

  def head_at(place: tf.Tensor) -> tf.Tensor:
    return _bytes_at(contents, place, 8)

  def goes_on(
    place: tf.Tensor, head: tf.Tensor, *found: tf.Tensor
  ) -> tf.Tensor:
    del place, found
    # Behind the end of the file the name is all zeros.
    return ~_are(head, b"\0\0\0\0IDAT") & (head[4] != 0)

  def step(
    place: tf.Tensor, head: tf.Tensor, exif: tf.Tensor, transparent: tf.Tensor
  ) -> tuple[tf.Tensor, ...]:
    exif = tf.where(_are(head, b"\0\0\0\0eXIf"), place, exif)
    transparent |= _are(head, b"\0\0\0\0tRNS")
    place += _number(head[:4]) + 12
    return place, head_at(place), exif, transparent

  start, none = (tf.constant(n, tf.int64) for n in (_AFTER_IHDR, 0))
  _, head, exif, transparent = tf.while_loop(
    goes_on,
    step,
    (start, head_at(start), none, tf.constant(False)),
    maximum_iterations=_MOST_SEGMENTS,
    parallel_iterations=1,
  )
  length = tf.where(exif > 0, _number(head_at(exif)[:4]), 0)
  # Behind more chunks than are looked through there may be one.
  transparent |= ~_are(head, b"\0\0\0\0IDAT")
  return _substring(contents, exif + 8, length), transparent


def of_exif(exif: tf.Tensor) -> tf.Tensor:
  """Returns the orientation that an Exif segment or chunk has.

  Args:
    exif: [] string, a TIFF header and its first directory; or anything.

  Returns:
    [] int32, 1 to 8; 1 if it has none.
  """
  head = tf.cast(tf.io.decode_raw(exif, tf.uint8, fixed_length=8), tf.int64)
  is_big = head[0] == _BEGINNINGS[0, 0]
  powers = tf.where(is_big, *_POWERS)
  start = tf.reduce_sum(head[4:] * powers)
  # What begins otherwise than a TIFF header has no entries.
  is_known = tf.reduce_all(head[:4] == tf.where(is_big, *_BEGINNINGS))
  count = tf.cast(_bytes_at(exif, start, 2), tf.int64)
  count = tf.reduce_sum(count * tf.where(is_big, *_POWERS_OF_2_BYTES))
  count = tf.where(is_known, count, 0)
  table = _substring(exif, start + 2, _ENTRY_BYTES * count)
  # Of a table that is cut off the whole entries count.
  whole = tf.strings.length(table) // _ENTRY_BYTES * _ENTRY_BYTES
  table = tf.io.decode_raw(tf.strings.substr(table, 0, whole), tf.uint8)
  table = tf.reshape(table, [-1, _ENTRY_BYTES])
  fits = (table[:, tf.newaxis] == _ENTRIES) | _ANY
  values = tf.gather(table, _VALUE_AT, axis=1)
  found = tf.where(tf.reduce_all(fits, axis=2), values, 0)
  found = tf.cast(tf.reduce_max(found), tf.int32)
  return tf.where((found >= 1) & (found <= 8), found, 1)


def _are(head: tf.Tensor, wanted: bytes) -> tf.Tensor:
  """Returns whether bytes are those wanted, of which a zero may be any."""
  any_value = [byte == 0 for byte in wanted]
  return tf.reduce_all((head == [*wanted]) | any_value)


def _number(part: tf.Tensor) -> tf.Tensor:
  """Returns the number that some bytes are, the highest first; int64."""
  powers = [256**place for place in reversed(range(part.shape[0]))]
  return tf.reduce_sum(tf.cast(part, tf.int64) * powers)


def _bytes_at(contents: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
  """Returns `count` bytes, uint8; zeros behind the end."""
  part = _substring(contents, place, count)
  return tf.io.decode_raw(part, tf.uint8, fixed_length=count)


def _substring(
  contents: tf.Tensor, place: tf.Tensor, count: tf.Tensor | int
) -> tf.Tensor:
  """Returns a part of a string, as far as it reaches."""
  end = tf.cast(tf.strings.length(contents), tf.int64)
  count = tf.maximum(tf.cast(count, tf.int64), 0)
  return tf.strings.substr(contents, tf.minimum(place, end), count)
