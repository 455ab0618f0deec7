# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes a run's network as one file or folder for others, and checks it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

import data
from train_loop import machine
from train_loop.command import compose, flags, trained_model
from train_loop.exporting import check, formats
from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.workdir.writing import writing

if TYPE_CHECKING:
  from train_loop.exporting.classifier import Classifier

# Images that the file is asked about, and images of noise if there are none.
CHECKED = 1000
NOISE = 100
# Training images from which int8 learns the ranges of the activations.
CALIBRATION = 300
_BATCH = 32
# Of whole images in memory: photographs of a camera take 36 MB each.
_MAX_BYTES = 2**28


def run(values: flags.Values) -> int:
  """Exports the run in workdir to output_dir.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: a bad flag, a network that the format cannot carry, or a file
      that does not answer as the network does.
    DataError: bad data.
  """
  flags.require_workdir(values)
  export_format, quantize = values.export_format, values.quantize
  formats.require_new(values.output_dir, export_format)
  formats.require_quantizable(export_format, quantize)
  card = trained_model.require_card(values.workdir)
  formats.require_installed(export_format)
  trained_model.adopt_flags(card, values)
  machine.import_tensorflow(onednn=card["choice"]["onednn"])
  _use_cpu()
  sources = _sources(values)
  classifier = _classifier(values)
  calibration = None
  if quantize == "int8":
    if isinstance(sources, data.DataError):
      raise ConfigError(
        f"quantize=int8 needs the run's training images: {sources}"
      )
    calibration = _examples(sources[0], CALIBRATION, classifier).crops
  with _appearing(pathlib.Path(values.output_dir)) as partial:
    file = formats.file_of(partial, export_format)
    with machine.stderr_of_success(show_errors=False), _one_line(export_format):
      _write(classifier, file, export_format, quantize, calibration)
    logging.info("reading the file in a process without train_loop")
    questions = _questions(classifier, sources, export_format)
    found, runtime = check.check(
      export_format, file, questions, classifier.class_names
    )
    _require_agreement(found, runtime, quantize)
    size = _size(partial)
  print(f"{values.output_dir} is written: {export_format}, {size / 1e6:.1f} MB")
  for signature, agreement in found.items():
    of = f" ({signature})" if len(found) > 1 else ""
    print(f"read by {runtime} without train_loop{of}: {agreement}")
  return 0


def _use_cpu() -> None:
  """Hides GPUs: they round in other ways, and the file is checked on a CPU."""
  import tensorflow as tf

  with contextlib.suppress(RuntimeError):  # A library's caller has used them.
    tf.config.set_visible_devices([], "GPU")


def _sources(
  values: flags.Values,
) -> tuple[data.AnySource, data.AnySource] | data.DataError:
  """Returns the run's data, to train on and to evaluate; or why not."""
  try:
    inputs = compose.make_inputs(values)
  except data.DataError as error:
    return error
  return inputs.train, inputs.validation


def _classifier(values: flags.Values) -> Classifier:
  """Loads the network, with all that evaluation does to images."""
  from data.images import decode
  from train_loop import models
  from train_loop.exporting.classifier import Classifier
  from train_loop.models import auxiliary

  trained = trained_model.load(
    values.workdir,
    checkpoint=values.checkpoint,
    allow_python=True,  # If it needed to be, it is.
  )
  model, shape = trained.model, trained.image_shape
  if None in model.inputs[0].shape[1:]:
    # The run's images grew; in evaluation they have one size.
    network = {**trained.card["network"], "input_shape": shape}
    model = models.build_model(**network, dtype="float32")
    model.set_weights(trained.model.get_weights())
  height, width, channels = shape
  crop = crop_encoded = None
  if height == width:
    size: dict[str, Any] = {
      "image_size": height,
      "eval_resize": trained.eval_resize,
    }
    crop = functools.partial(decode.central_crop_of_pixels, **size)
    if channels in (1, 3):
      crop_encoded = functools.partial(
        decode.central_crop,
        channels=channels,
        decoding=trained.decoding,
        **size,
      )
  return Classifier(
    model=auxiliary.main_output(model),
    class_names=trained.class_names,
    image_shape=shape,
    flip_tta=values.flip_tta,
    thresholds=trained.thresholds,
    crop_pixels=crop,
    crop_encoded=crop_encoded,
  )


@dataclasses.dataclass(frozen=True)
class _Examples:
  """Images, as evaluation gives them to the network, and as they are stored.

  Attributes:
    crops: [images, *image_shape] uint8.
    contents: the encoded images; None of arrays.
    labels: [images] int32; None of noise, and of several labels an image.
    decoding: of the encoded images; None of arrays.
  """

  crops: np.ndarray
  contents: list[bytes] | None = None
  labels: np.ndarray | None = None
  decoding: data.Decoding | None = None


def _examples(
  source: data.AnySource, count: int, classifier: Classifier
) -> _Examples:
  """Returns up to `count` examples, evenly taken from all of a source."""
  last = source.num_examples - 1
  indices = np.unique(np.linspace(0, last, count).round().astype(np.int64))
  if isinstance(source, data.Source):
    labels = None if source.multi_label else source.labels[indices]
    return _Examples(source.images[indices], None, labels)
  import tensorflow as tf

  from data import reading

  read = reading.make_read(source.examples)
  # Encoded images become squares, gray or RGB.
  assert classifier.crop_encoded is not None
  crop = tf.function(classifier.crop_encoded)

  loaded = {}
  for index in indices:
    # A bad image is left out, as by evaluation with --on_bad_image=skip.
    with contextlib.suppress(tf.errors.OpError):
      # The file reads fewer formats than we do.
      readable = reading.readable(read(tf.constant(index)), source)
      loaded[index] = readable, crop(tf.constant(readable)).numpy()
  if not loaded:
    raise data.DataError(
      f"no image of {source.name} can be decoded, such as "
      f"{source.place(int(indices[0]))}"
    )
  contents, crops = zip(*loaded.values())
  labels = None if source.multi_label else source.labels[[*loaded]]
  return _Examples(np.stack(crops), list(contents), labels, source.decoding)


def _questions(
  classifier: Classifier,
  sources: tuple[data.AnySource, data.AnySource] | data.DataError,
  export_format: str,
) -> list[check.Question]:
  """Returns what the file is asked, with the network's own answers."""
  if isinstance(sources, data.DataError):
    logging.warning(
      "the run's images are not there (%s): the file is asked about %d images "
      "of noise",
      first_line(sources),
      NOISE,
    )
    shape = (NOISE, *classifier.image_shape)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    examples = _Examples(noise)
  else:
    examples = _examples(sources[1], CHECKED, classifier)
  import tensorflow as tf

  network = classifier.function()

  def asked(
    signature: str, batch: Any, crops: Any, labels: np.ndarray | None
  ) -> check.Question:
    answer = network(tf.constant(crops))["probabilities"].numpy()
    return check.Question(signature, batch, answer, labels)

  if export_format != "saved_model":
    return [
      asked("images", examples.crops[part], examples.crops[part], labels)
      for part, labels in _parts(examples)
    ]
  questions = []
  for batch, labels in _by_size(examples, classifier):
    crops = classifier.crop_pixels(batch) if classifier.crop_pixels else batch
    questions.append(asked("serving_default", batch, crops, labels))
  if classifier.crop_encoded:
    for contents, labels in _encoded(examples):
      crops = np.stack([classifier.crop_encoded(image) for image in contents])
      questions.append(asked("encoded_images", contents, crops, labels))
  return questions


def _parts(
  examples: _Examples,
) -> Iterator[tuple[slice, np.ndarray | None]]:
  """Yields the place of each batch, and its labels."""
  for start in range(0, len(examples.crops), _BATCH):
    part = slice(start, start + _BATCH)
    yield part, None if examples.labels is None else examples.labels[part]


def _encoded(
  examples: _Examples,
) -> Iterator[tuple[list[bytes], np.ndarray | None]]:
  """Yields batches of encoded images; arrays are encoded as PNG."""
  import tensorflow as tf

  total = 0
  for part, labels in _parts(examples):
    contents = (examples.contents or [])[part] or [
      tf.io.encode_png(image).numpy() for image in examples.crops[part]
    ]
    total += sum(map(len, contents))
    if total > _MAX_BYTES:
      return
    yield contents, labels


def _by_size(
  examples: _Examples, classifier: Classifier
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
  """Yields batches of whole images of one size, decoded as they are."""
  if examples.contents is None:
    for part, labels in _parts(examples):
      yield examples.crops[part], labels
    return
  from data.images import decode

  assert examples.decoding is not None  # Since they are encoded.
  batches: dict[tuple[int, ...], list[int]] = {}
  images: dict[int, np.ndarray] = {}
  total = 0
  for index, contents in enumerate(examples.contents):
    image = decode.decode(
      contents,
      classifier.image_shape[-1],
      decoding=examples.decoding,
    ).numpy()
    total += image.nbytes
    if total > _MAX_BYTES and images:
      break
    images[index] = image
    batches.setdefault(image.shape, []).append(index)
  for members in batches.values():
    for start in range(0, len(members), _BATCH):
      some = members[start : start + _BATCH]
      labels = None if examples.labels is None else examples.labels[some]
      yield np.stack([images[index] for index in some]), labels


def _write(
  classifier: Classifier,
  file: pathlib.Path,
  export_format: str,
  quantize: str,
  calibration: np.ndarray | None,
) -> None:
  """Calls the format's writer."""
  from train_loop.exporting import (
    keras_file,
    litert_file,
    onnx_file,
    saved_model,
  )

  writers: dict[str, Callable[[Classifier, pathlib.Path], None]] = {
    "saved_model": saved_model.write,
    "keras": keras_file.write,
    "onnx": onnx_file.write,
    "litert": functools.partial(
      litert_file.write, quantize=quantize, calibration=calibration
    ),
  }
  writers[export_format](classifier, file)


@contextlib.contextmanager
def _one_line(export_format: str) -> Iterator[None]:
  """Turns a converter's error into one that names the format."""
  try:
    yield
  except (ConfigError, OSError):
    raise
  # Each converter raises errors of its own, for what operation it has not.
  except Exception as error:
    raise ConfigError(
      f"export_format={export_format} cannot carry this network "
      f"({first_line(error)[:200]}): take another format"
    ) from error


@contextlib.contextmanager
def _appearing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the path of a new file or folder, which is `path` when it is whole.

  It has the same name, in a folder beside `path` that is removed at the end.
  """
  folder = path.absolute().parent / f".{path.name}.{uuid.uuid4().hex}.partial"
  with writing(path):
    folder.mkdir(parents=True)
  try:
    yield folder / path.name
    with writing(path):
      os.replace(folder / path.name, path)
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def _require_agreement(
  found: dict[str, check.Agreement], runtime: str, quantize: str
) -> None:
  """Raises unless the file answers as the network does."""
  for signature, agreement in found.items():
    if quantize == "none":
      right = agreement.holds
    else:
      right = np.isfinite(agreement.largest_difference)
    if not right:
      raise ConfigError(
        f"output_dir is not written: read by {runtime}, the file answers "
        f"otherwise than the network ({signature}: {agreement})"
      )


def _size(path: pathlib.Path) -> int:
  """Returns the bytes of a file, or of all files of a folder."""
  files = path.rglob("*") if path.is_dir() else [path]
  return sum(file.stat().st_size for file in files if file.is_file())
