# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The network of a run of the command, from its folder alone."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from typing import TYPE_CHECKING, Any

from absl import logging

import data
from train_loop.command import flags, trust
from train_loop.config import CHECKPOINTS
from train_loop.fields import ConfigError
from train_loop.models import names as model_names
from train_loop.workdir import metrics_file, run_card
from train_loop.workdir.reading import read_file

if TYPE_CHECKING:
  import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class TrainedModel:
  """The network of a run, and what it must be given and gives.

  Attributes:
    model: from raw pixels [batch, height, width, channels], 0..255, to logits
      [batch, num_classes] float32; with averaged weights if the run averages
      them.
    card: the run's.
    flags: the run's, by name; a flag that its build did not have is at its
      default.
    class_names: one for each class.
    image_shape: height, width and channels of the images in evaluation.
    thresholds: if images have any number of labels, the probability from which
      on each is said to be there; if not, None.
  """

  model: tf.keras.Model
  card: dict[str, Any]
  flags: dict[str, Any]
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  thresholds: tuple[float, ...] | None = None

  @property
  def image_size(self) -> int:
    """Height and width of the images in evaluation.

    Raises:
      ConfigError: the run's images are arrays that are not square.
    """
    height, width, _ = self.image_shape
    if height != width:
      raise ConfigError(
        "workdir must hold a run on square images, to which image files can "
        f"be cut, got one on {height}x{width}"
      )
    return height

  @property
  def eval_resize(self) -> int:
    """As `data.images.decode.central_crop` takes it."""
    return int(self.flags["eval_resize"])

  @property
  def decoding(self) -> data.Decoding:
    """How the run's encoded images became pixels."""
    return data.Decoding(self.flags["exif_orientation"], self.flags["jpeg_dct"])

  @property
  def flip_tta(self) -> bool:
    """Whether the run's evaluation averages over images and their mirrors."""
    return bool(self.flags["flip_tta"])


def require_card(
  workdir: str | os.PathLike[str], *, flag: str = "workdir"
) -> dict[str, Any]:
  """Returns the card of a run of the command.

  Args:
    workdir: the run's folder.
    flag: that names it.

  Raises:
    ConfigError: there is none, or it is a run of a program of its own.
  """
  card = run_card.read(workdir)
  # A library's run has no flags, and does not name its network.
  if card is None or not {"flags", "choice", "network"} <= set(card):
    raise ConfigError(
      f"{flag} must hold a run of this command, got {os.fspath(workdir)!r}"
    )
  return card


def adopt_flags(card: dict[str, Any], values: flags.Values) -> None:
  """Gives every flag that the command line left out the run's value.

  Args:
    card: the run's.
    values: the command line's; changed in place.

  Raises:
    ConfigError: a flag on which more than an evaluation depends differs, or the
      run's network is a function that the command line does not allow.
  """
  model = card["network"]["model"]
  model_names.require_allowed(
    model, values.workdir, trust.allows(values, model)
  )
  flags.adopt(card["flags"], values)
  # An evaluation has no use of the teacher, which may be gone.
  values["teacher"].value = ""
  asked = flags.comparable(flags.as_dict(values))
  may_change = {name: asked[name] for name in flags.EVAL_FLAGS}
  saved = flags.comparable(card["flags"])
  run_card.require_same(values.workdir, {**saved, **may_change}, asked)


def load(
  workdir: str | os.PathLike[str],
  *,
  checkpoint: str = CHECKPOINTS[0],
  dtype: str = "float32",
  allow_python: bool = False,
) -> TrainedModel:
  """Loads the network of a run of the command; needs no data.

  Args:
    workdir: the run's folder.
    checkpoint: "latest" or "best", as `checkpoints.restore_model` takes it.
    dtype: the Keras dtype policy that the network computes in;
      `card["choice"]["precision"]` is that of the run.
    allow_python: whether a function that the card names as its network,
      python:package.module.function, may be called.

  Returns:
    The network and its description.

  Raises:
    ConfigError: workdir holds no run of the command, or no such checkpoint; or
      its network is a function that may not be called.
  """
  card = require_card(workdir)
  model_names.require_allowed(card["network"]["model"], workdir, allow_python)

  from train_loop import models
  from train_loop.models import auxiliary, fusing
  from train_loop.workdir import checkpoints

  model = models.build_model(**card["network"], dtype=dtype)
  # Cards of older builds lack it.
  fused = card["choice"].get("fuse_batch_norm", False)
  model = fusing.with_our_layers(model, fuse_batch_norm=fused)
  step = checkpoints.restore_model(model, workdir, checkpoint=checkpoint)
  saved = {**flags.as_dict(flags.parse()), **flags.completed(card["flags"])}
  thresholds = None
  if saved["task"] == "multi_label":
    thresholds = _thresholds(workdir, step, card["network"]["num_classes"])
  return TrainedModel(
    model=auxiliary.main_output(model),
    card=card,
    flags=saved,
    class_names=_class_names(card),
    image_shape=_image_shape(card, saved),
    thresholds=thresholds,
  )


def _class_names(card: dict[str, Any]) -> tuple[str, ...]:
  """Returns the names of the classes; numbers if an older card has none."""
  count = card["network"]["num_classes"]
  names = run_card.class_names(card) or list(map(str, range(count)))
  if len(names) != count:
    raise ConfigError(
      f"run_card.json must name {count} classes, got {len(names)}"
    )
  return tuple(map(str, names))


def _thresholds(
  workdir: str | os.PathLike[str], step: int, num_classes: int
) -> tuple[float, ...]:
  """Returns the thresholds that the evaluation at a step was fitted to."""
  for record in reversed(metrics_file.read_metrics(workdir)):
    found = record.get("eval_thresholds")
    fits = isinstance(found, list) and len(found) == num_classes
    if fits and record["step"] == step:
      return tuple(map(float, found))
  logging.warning(
    "no evaluation of step %d is on record: a label counts from a probability "
    "of one half on",
    step,
  )
  return (0.5,) * num_classes


def _image_shape(
  card: dict[str, Any], saved: dict[str, Any]
) -> tuple[int, int, int]:
  """Returns the shape of the images in evaluation.

  Cards of older builds do not have it: they have the network's, which is open
  if the images grow; the last of their sizes is then that of square images.
  """
  if "image_shape" in card:
    return tuple(card["image_shape"])
  *sides, channels = card["network"]["input_shape"]
  if None in sides:
    size = (
      saved["image_size"] or card["settings"]["progressive_image_sizes"][-1][0]
    )
    sides = [size, size]
  return (*sides, channels)


def weights_sha256(weights: str, checkpoint: str) -> str:
  """Returns what tells weights from others: a hash of the file or checkpoint.

  Args:
    weights: a file, or a run's folder; "" is none, and gives "". Of a name that
      is no file, such as "imagenet", it is the name's hash.
    checkpoint: "latest" or "best", of a folder.
  """
  path = pathlib.Path(weights)
  if not weights:
    return ""
  if not path.exists():
    return hashlib.sha256(weights.encode()).hexdigest()
  files = [path]
  if path.is_dir():
    folder = path / "checkpoints"
    if checkpoint != CHECKPOINTS[0]:
      folder /= checkpoint
    files = sorted(folder.glob("ckpt-*"))
  digest = hashlib.sha256()
  for file in files:
    digest.update(file.name.encode() if path.is_dir() else b"")
    digest.update(read_file(file))
  return digest.hexdigest()
