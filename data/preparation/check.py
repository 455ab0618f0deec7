# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decodes all images of a data set and reports what it holds.

Reports the counts, formats, sizes and channels, how bright the images are, how
many their EXIF orientation turns, the balance of the classes, images that
cannot be decoded, and images that occur more than once: within a part, in both
parts, or under two classes; and those of both parts that are nearly the same.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data import reading, writing
from data.images.stored import Stored, stored
from data.preparation import scan, twins
from data.sources.encoded import AnySource, EncodedSource

Progress = Callable[[Iterable, str, int], Iterable]

# The brightest pixel of an image that is nearly black, as of a 16-bit file
# that uses 12 bits of them.
DARK = 32


class Look(NamedTuple):
  """The size and the content of an image.

  Attributes:
    height: in pixels.
    width: in pixels.
    stored: what the encoded image says of itself.
    brightness: the mean of the pixels, 0 to 255.
    brightest: the largest of them.
    pixels: a hash of the decoded image.
    hashes: see `twins.hashes`.
  """

  height: int
  width: int
  stored: Stored
  brightness: float
  brightest: int
  pixels: bytes
  hashes: np.ndarray | None


@dataclasses.dataclass
class Part:
  """The content of one part of a data set.

  Attributes:
    name: "train" or "validation".
    examples: the number of examples, good or bad.
    class_counts: the number of good examples in each class.
    sizes: the number of images of each (height, width).
    channels: the number of images with each number of stored channels.
    formats: the number of images of each format; that of arrays is "".
    turned: the number of images whose EXIF orientation is not upright.
    slow: the number of images that are decoded in Python.
    brightness: the mean of each image's pixels.
    dark: places of images whose brightest pixel is below DARK.
    bad: place and reason of each image that cannot be decoded.
    places: the examples with the same pixels, by their hash.
    hashed: the examples that have perceptual hashes.
    hashes: those hashes, see `twins.hashes`.
    notes: on how the part was read, a line each.
  """

  name: str
  examples: int
  class_counts: dict[str, int]
  sizes: collections.Counter[tuple[int, int]]
  channels: collections.Counter[int]
  formats: collections.Counter[str]
  turned: int
  slow: int
  brightness: list[float]
  dark: list[str]
  bad: list[str]
  places: dict[bytes, list[int]]
  hashed: list[int] = dataclasses.field(default_factory=list)
  hashes: list[np.ndarray] = dataclasses.field(default_factory=list)
  notes: tuple[str, ...] = ()


@dataclasses.dataclass
class Report:
  """The result of `check`.

  Attributes:
    train: the training part.
    validation: the validation part.
    repeated: pairs of places with the same pixels, within one part.
    leaked: pairs of places with the same pixels: training, validation.
    contradictions: pairs of places with the same pixels, but two classes.
    twins: pairs of places that are nearly the same, training and validation,
      with the number of bits in which their hashes differ; those first that
      differ least.
  """

  train: Part
  validation: Part
  repeated: list[tuple[str, str]]
  leaked: list[tuple[str, str]]
  contradictions: list[tuple[str, str]]
  twins: list[tuple[str, str, int]]

  @property
  def bad(self) -> list[str]:
    """Place and reason of each image that cannot be decoded."""
    return [*self.train.bad, *self.validation.bad]


def check(
  train: AnySource,
  validation: AnySource,
  *,
  progress: Progress = lambda items, part, count: items,
) -> Report:
  """Decodes all images of both parts.

  Args:
    train: the training source.
    validation: the validation source.
    progress: wraps the examples of a part, as tqdm does.

  Returns:
    The report.
  """
  parts = (
    _check_part("train", train, progress),
    _check_part("validation", validation, progress, shifted=True),
  )
  repeated, leaked, contradictions = [], [], []
  for part, source in zip(parts, (train, validation)):
    for first, *others in part.places.values():
      for other in others:
        pair = source.place(first), source.place(other)
        repeated.append(pair)
        if source.classes_of(first) != source.classes_of(other):
          contradictions.append(pair)
  same: set[tuple[int, int]] = set()
  for pixels, (first, *others) in parts[0].places.items():
    for other in parts[1].places.get(pixels, ()):
      pair = train.place(first), validation.place(other)
      leaked.append(pair)
      same.update((each, other) for each in (first, *others))
      if train.classes_of(first) != validation.classes_of(other):
        contradictions.append(pair)
  found = [
    (train.place(first), validation.place(second), distance)
    for (first, second), distance in _twins(*parts).items()
    if (first, second) not in same
  ]
  found.sort(key=lambda pair: pair[2])
  return Report(*parts, repeated, leaked, contradictions, found)


def _twins(train: Part, validation: Part) -> dict[tuple[int, int], int]:
  """Returns the distance of each pair of examples that are nearly the same."""
  if not train.hashes or not validation.hashes:
    return {}
  found = twins.pairs(np.concatenate(train.hashes), np.stack(validation.hashes))
  return {
    (train.hashed[first], validation.hashed[second]): distance
    for (first, second), distance in found.items()
  }


def _check_part(
  name: str, source: AnySource, progress: Progress, *, shifted: bool = False
) -> Part:
  part = Part(
    name=name,
    examples=source.num_examples,
    class_counts=dict.fromkeys(source.class_names, 0),
    sizes=collections.Counter(),
    channels=collections.Counter(),
    formats=collections.Counter(),
    turned=0,
    slow=0,
    brightness=[],
    dark=[],
    bad=[],
    places={},
    notes=getattr(source, "notes", ()),
  )
  looks = scan.each(source, _make_look(source, shifted))
  for index, look in progress(looks, name, source.num_examples):
    if isinstance(look, scan.BadExample):
      part.bad.append(look.message)
      continue
    for class_name in source.classes_of(index):
      part.class_counts[class_name] += 1
    part.sizes[look.height, look.width] += 1
    part.channels[look.stored.channels] += 1
    part.formats[look.stored.format] += 1
    part.turned += look.stored.orientation != 1
    part.slow += look.stored.is_slow
    part.brightness.append(look.brightness)
    if look.brightest < DARK:
      part.dark.append(source.place(index))
    part.places.setdefault(look.pixels, []).append(index)
    if look.hashes is not None:
      part.hashed.append(index)
      part.hashes.append(look.hashes)
  return part


def _make_look(source: AnySource, shifted: bool) -> Callable[[int], Look]:
  def look_at(pixels: np.ndarray, said: Stored) -> Look:
    height, width = pixels.shape[:2]
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    brightness = float(pixels.mean()), int(pixels.max())
    hashes = twins.hashes(pixels, shifted=shifted)
    return Look(height, width, said, *brightness, digest.digest(), hashes)

  if not isinstance(source, EncodedSource):
    in_memory = Stored("", source.image_shape[2])
    return lambda index: look_at(source.images[index], in_memory)
  read = reading.make_read(source.examples)

  def look(index: int) -> Look:
    contents = read(tf.constant(index, tf.int64))
    pixels = reading.whole(contents, source).numpy()
    return look_at(pixels, stored(contents))

  return look


def save(report: Report, path: str | os.PathLike[str]) -> None:
  """Writes the report as JSON.

  Raises:
    OSError: the file cannot be written.
  """
  parts = {
    part.name: {
      "examples": part.examples,
      "class_counts": part.class_counts,
      "sizes": {f"{h}x{w}": n for (h, w), n in part.sizes.most_common()},
      "channels": {str(c): n for c, n in part.channels.most_common()},
      "formats": dict(part.formats.most_common()),
      "turned": part.turned,
      "decoded_in_python": part.slow,
      "brightness": _brightness(part.brightness),
      "dark": part.dark,
      "bad": part.bad,
    }
    for part in (report.train, report.validation)
  }
  found = {
    **parts,
    "repeated": report.repeated,
    "leaked": report.leaked,
    "contradictions": report.contradictions,
    "twins": report.twins,
    "notes": _notes(report),
  }
  with writing.new_file(path) as file:
    file.write(f"{json.dumps(found, indent=2)}\n".encode())


def as_text(report: Report, *, most: int = 10) -> str:
  """Returns the report as text.

  Args:
    report: of `check`.
    most: the largest number of a list's entries that is shown.
  """
  lines = _notes(report)
  for part in (report.train, report.validation):
    lines.append(f"{part.name}: {part.examples} images, {len(part.bad)} bad")
    lines.append(f"  height x width: {_sizes(part.sizes)}")
    brightness = _brightness(part.brightness)
    counts = part.channels.most_common()
    shown = ", ".join(f"{channels} ({n})" for channels, n in counts)
    lines.append(f"  channels: {shown or 'none'}")
    lines += _of_files(part)
    shown = ", ".join(f"{k} {v:.0f}" for k, v in brightness.items())
    lines.append(f"  brightness, 0 to 255: {shown}")
    lines.append(f"  classes: {_balance(part.class_counts, most)}")
  for title, places in (
    ("cannot be decoded", report.bad),
    (
      f"nearly black, no pixel above {DARK}: scale those of 12 bits in 16",
      [*report.train.dark, *report.validation.dark],
    ),
    ("twice in one part", report.repeated),
    ("in both parts", report.leaked),
    ("with the same pixels in two classes", report.contradictions),
    (
      "nearly the same in both parts",
      [f"{a} ~ {b} ({bits} of 255 bits)" for a, b, bits in report.twins],
    ),
  ):
    lines.append(f"{title}: {len(places)}")
    for place in places[:most]:
      text = place if isinstance(place, str) else " = ".join(place)
      lines.append(f"  {text}")
    if len(places) > most:
      lines.append(f"  ... and {len(places) - most} more")
  return "\n".join(lines)


def _notes(report: Report) -> list[str]:
  """Returns the notes on both parts, each once."""
  return list(dict.fromkeys([*report.train.notes, *report.validation.notes]))


def _of_files(part: Part) -> list[str]:
  """Returns lines on formats and EXIF; of arrays none."""
  if set(part.formats) <= {""}:
    return []
  counts = part.formats.most_common()
  lines = ["  formats: " + ", ".join(f"{name} ({n})" for name, n in counts)]
  if part.slow:
    lines.append(
      f"  decoded slowly, in Python: {part.slow}; --mode=convert writes them in"
      " a form that is read fast"
    )
  lines.append(f"  turned by their EXIF orientation: {part.turned}")
  return lines


def _brightness(means: list[float]) -> dict[str, float]:
  """Returns the least, median and greatest of the images' brightness."""
  if not means:
    return {}
  values = np.percentile(means, (0, 50, 100)).round(1).tolist()
  return dict(zip(("least", "median", "greatest"), values))


def _sizes(sizes: collections.Counter[tuple[int, int]]) -> str:
  if len(sizes) <= 3:
    shown = (f"{h} x {w} ({n})" for (h, w), n in sizes.most_common())
    return ", ".join(shown) or "none"
  sides = np.array(list(sizes.elements()))
  least, median, greatest = np.percentile(sides, (0, 50, 100), axis=0)
  return ", ".join(
    f"{name} {height:.0f} x {width:.0f}"
    for name, (height, width) in (
      ("least", least),
      ("median", median),
      ("greatest", greatest),
    )
  )


def _balance(counts: dict[str, int], most: int) -> str:
  ordered = sorted(counts.items(), key=lambda item: -item[1])
  shown = [f"{name} {count}" for name, count in ordered]
  if len(shown) > most:
    half = most // 2
    shown = [*shown[:half], "...", *shown[-half:]]
  return f"{len(ordered)}: {', '.join(shown)}"
