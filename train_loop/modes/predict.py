# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers image files with the classes of a run, as its evaluation sees them.

    train_loop --mode=predict --workdir=runs/pets cat.jpg photos
    find photos -name '*.jpg' | train_loop --mode=predict --workdir=runs/pets -

The answers are written to stdout in the order of the inputs, all else to
stderr. The exit status is 0 if every image has an answer, 2 if one has none.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import tabulate

from data import DataError
from data.images import formats
from data.sources import image_files
from train_loop.command import compose, flags, terminal, trained_model
from train_loop.command.settings import PredictSettings
from train_loop.config import TrainConfig
from train_loop.failures import BAD_INPUT, first_line
from train_loop.fields import ConfigError

if TYPE_CHECKING:
  import tensorflow as tf

  from train_loop.step import Batch

# A batch of a run on many accelerators could be too much for one.
_MAX_BATCH = 256
# Formats whose files begin as a list of paths could.
_AMBIGUOUS = ("BMP", "PGM", "PPM")
_CLOSED_PIPE = 128 + 13  # As a shell says of a process that SIGPIPE ended.
STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class Image:
  """An image to answer.

  Attributes:
    name: as it was given.
    path: where it is read.
    error: why it cannot be, or "".
  """

  name: str
  path: str
  error: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
  """What is said of an image.

  Attributes:
    name: of the image, as it was given.
    classes: pairs of a class and its probability, the likeliest first; if
      images have any number of labels, those that are said to be there.
    error: why there are none, or "".
  """

  name: str
  classes: Sequence[tuple[str, float]] = ()
  error: str = ""


def run(values: flags.Values) -> int:
  """Answers the images of the flag inputs.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run in workdir.

  Returns:
    The exit status: 0, or 2 if an image has no answer.

  Raises:
    ConfigError: workdir holds no run, or a flag differs from the run's.
  """
  flags.require_workdir(values)
  settings = flags.group(PredictSettings, values)
  if not settings.inputs:
    raise ConfigError(
      "inputs must be given: train_loop --mode=predict --workdir=DIR FILES, or "
      "- for their paths on standard input"
    )
  if values["data_dir"].present:
    raise ConfigError(
      f"data_dir must be left out for mode predict, got {values.data_dir!r}: "
      "give files and folders behind the flags"
    )
  card = trained_model.require_card(values.workdir)
  trained_model.adopt_flags(card, values)
  config, choice = compose.as_evaluated(card, values)
  if isinstance(sys.stdout, io.TextIOWrapper):  # A name need not be UTF-8.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
  with tempfile.TemporaryDirectory() as folder:
    images = find(settings.inputs, folder)
    compose.import_for_one_device(choice, values)
    trained = trained_model.load(
      values.workdir,
      checkpoint=values.checkpoint,
      dtype=choice.precision,
      allow_python=True,  # If it needed to be, it is.
    )
    top = min(settings.top, len(trained.class_names))
    write = _FORMATS[settings.format](sys.stdout, top)
    bad = 0
    try:
      for answers in answer(
        trained, images, config, top=top, input_threads=values.input_threads
      ):
        bad += _name_errors(answers)
        write(answers)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read what it wanted.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      return _CLOSED_PIPE
  return BAD_INPUT if bad else 0


def find(inputs: Sequence[str], folder: str) -> list[Image]:
  """Returns the images that inputs name, in their order.

  Args:
    inputs: files; folders, whose images are sorted; "-" for standard input.
    folder: gets the image that standard input holds, if it holds one.
  """
  images: list[Image] = []
  for name in inputs:
    if name == STANDARD_INPUT:
      images += _on_standard_input(sys.stdin.buffer.read(), folder)
    else:
      images += _below(name)
  return images


def _on_standard_input(content: bytes, folder: str) -> list[Image]:
  """Returns the image on standard input, or those whose paths it holds."""
  kind = formats.kind_of(content)
  # A BMP holds its size next, with a zero, so that no path begins like it.
  is_bmp = kind == "BMP" and b"\0" in content[:10]
  if is_bmp or (kind and kind not in _AMBIGUOUS):
    path = os.path.join(folder, "image")
    with open(path, "wb") as file:
      file.write(content)
    return [Image(STANDARD_INPUT, path)]
  # As find -print0 writes them, or with each in a line.
  parted = content.split(b"\0") if b"\0" in content else content.splitlines()
  return [
    image for path in parted if path for image in _below(os.fsdecode(path))
  ]


def _below(name: str) -> list[Image]:
  """Returns a file, or the images of a folder."""
  if not os.path.isdir(name):
    return [Image(name, name, _file_error(name))]
  try:
    paths = image_files.find_images(name)
  except DataError as error:
    return [Image(name, name, str(error))]
  if not paths:
    return [Image(name, name, "the folder holds no image")]
  return [Image(path, path, _file_error(path)) for path in paths]


def _file_error(path: str) -> str:
  """Returns why a path is no file that can be read, or ""."""
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError) as error:
    return first_line(error)
  return "" if stat.S_ISREG(mode) else "it is no file"


def answer(
  trained: trained_model.TrainedModel,
  images: Sequence[Image],
  config: TrainConfig,
  *,
  top: int,
  input_threads: int = 0,
) -> Iterator[list[Answer]]:
  """Yields the answers to images, in their order, a batch at a time.

  The images are decoded and cut as the run's evaluation does it, and judged by
  the same graph.

  Args:
    trained: the run's network.
    images: at least one.
    config: the hyperparameters of its evaluation.
    top: the number of classes in an answer, at most all.
    input_threads: threads that decode; 0 is one per core.

  Raises:
    ConfigError: the run's images are not square, or neither gray nor RGB.
  """
  import tensorflow as tf

  from data import pipeline, reading
  from train_loop import batches as batches_lib
  from train_loop.step import eval_logits

  channels = trained.image_shape[-1]
  image_size = trained.image_size
  if channels not in (1, 3):
    raise ConfigError(
      "workdir must hold a run on gray or RGB images, got one on "
      f"{channels} channels"
    )
  source = pipeline.of_paths(
    [image.path for image in images],
    channels=channels,
    decoding=trained.decoding,
  )
  files = [number for number, image in enumerate(images) if not image.error]

  def failed(numbers: Iterable[int]) -> list[Answer]:
    return [
      Answer(
        images[number].name,
        error=images[number].error or reading.why_bad(source, number),
      )
      for number in numbers
    ]

  if not files:
    yield failed(range(len(images)))
    return
  parts = config.optimizer.parts_at_once
  batch_size = min(config.loop.global_batch_size, len(files), _MAX_BATCH)
  batch_size = -(-batch_size // parts) * parts

  thresholds = trained.thresholds
  activation = tf.nn.softmax if thresholds is None else tf.nn.sigmoid

  @tf.function
  def ranked(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    logits = eval_logits(trained.model, batch["image"], config)
    return tf.math.top_k(activation(logits), k=top)

  dataset = pipeline.image_dataset(
    source.take(files),
    batch_size=batch_size,
    image_size=image_size,
    eval_resize=trained.eval_resize,
    input_threads=input_threads,
  )
  done = 0
  for batch in batches_lib.padded_batches(dataset, batch_size):
    best = zip(*(part.numpy() for part in ranked(batch)))
    answers: list[Answer] = []
    for label, row in zip(batch["label"].numpy()[batch["mask"].numpy()], best):
      answers += failed(range(done, files[label]))
      done = files[label] + 1
      answers.append(
        Answer(
          images[done - 1].name,
          [
            (trained.class_names[i], float(p))
            for p, i in zip(*row)
            if thresholds is None or p >= thresholds[i]
          ],
        )
      )
    yield answers
  yield failed(range(done, len(images)))


def _name_errors(answers: Sequence[Answer]) -> int:
  """Says which images have no answer; returns their number."""
  errors = [answer for answer in answers if answer.error]
  for bad in errors:
    terminal.say(f"image {bad.name} has no answer: {bad.error}")
  return len(errors)


Write = Callable[[Sequence[Answer]], None]


def _table(file: TextIO, top: int) -> Write:
  """Returns what writes a table, for people; its heading comes once."""
  heading = ["image"]
  for rank in range(1, top + 1):
    heading += ["", f"top-{rank}"]
  alignment = ("left", *("right", "left") * top)

  def write(answers: Sequence[Answer]) -> None:
    rows = []
    for answer in answers:
      cells = ((f"{p:.2%}", name) for name, p in answer.classes)
      if not answer.error:
        rows.append([answer.name, *itertools.chain.from_iterable(cells)])
    if rows:
      table = tabulate.tabulate(
        rows,
        heading,
        tablefmt="plain",
        disable_numparse=True,
        colalign=alignment,
      )
      print(table, file=file)
      heading.clear()

  return write


def _jsonl(file: TextIO, top: int) -> Write:
  """Returns what writes a JSON object in each line."""
  del top

  def line(answer: Answer) -> dict[str, Any]:
    if answer.error:
      return {"image": answer.name, "error": answer.error}
    classes = [{"class": name, "probability": p} for name, p in answer.classes]
    return {"image": answer.name, "classes": classes}

  def write(answers: Sequence[Answer]) -> None:
    for answer in answers:
      print(json.dumps(line(answer), ensure_ascii=False), file=file)

  return write


def _csv(file: TextIO, top: int) -> Write:
  """Returns what writes CSV, with a heading."""
  writer = csv.writer(file, lineterminator="\n")
  columns = [
    f"{kind}_{rank}"
    for rank in range(1, top + 1)
    for kind in ("class", "probability")
  ]
  writer.writerow(["image", "error", *columns])

  def write(answers: Sequence[Answer]) -> None:
    for answer in answers:
      cells = itertools.chain.from_iterable(answer.classes)
      writer.writerow([answer.name, answer.error, *cells])

  return write


_FORMATS = {"table": _table, "jsonl": _jsonl, "csv": _csv}
