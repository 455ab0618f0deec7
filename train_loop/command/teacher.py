# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The teacher of a distillation: a run's network or a Keras file.

`require` is cheap and imports no TensorFlow; `load` gives the model.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from train_loop.command import trained_model
from train_loop.config import ModelConfig
from train_loop.fields import ConfigError
from train_loop.models import names as model_names
from train_loop.workdir import run_card

if TYPE_CHECKING:
  import tensorflow as tf

KERAS = "keras:"


def require(settings: ModelConfig) -> None:
  """Checks a teacher as far as that is cheap.

  Args:
    settings: has teacher, which may be "", and how it is loaded.

  Raises:
    ConfigError: it is neither a run of this command nor a file of Keras'.
  """
  teacher, path = settings.teacher, pathlib.Path(settings.teacher)
  if not teacher or teacher.startswith(KERAS):
    return
  if path.is_dir():
    card = run_card.read(path)
    if card and "network" in card:  # A library's run does not name its own.
      allow = settings.allow_python
      model_names.require_allowed(card["network"]["model"], path, allow)
      if settings.teacher_preprocessing != "none":
        raise ConfigError(
          "teacher_preprocessing must be none for the workdir of a run, got "
          f"{settings.teacher_preprocessing!r}"
        )
      return
  if path.suffix != ".keras" or not path.is_file():
    raise ConfigError(
      "teacher must be the workdir of a run of this command, a .keras file or "
      f"keras:NAME, got {teacher!r}"
    )


def load(
  settings: ModelConfig,
  *,
  image_shape: Sequence[int],
  class_names: Sequence[str],
) -> tf.keras.Model | None:
  """Returns the model that --teacher names, or None.

  Args:
    settings: has teacher, which may be "", and how it is loaded.
    image_shape: height, width and channels of the student's images.
    class_names: of the student.

  Returns:
    A model from the student's raw pixels to logits, which is not trained.

  Raises:
    ConfigError: it cannot be loaded, or does not fit the student.
  """
  require(settings)
  if not settings.teacher:
    return None

  from train_loop.models.teacher import as_teacher

  image_size = None
  if settings.teacher.startswith(KERAS):
    model = _of_keras(settings.teacher)
  elif pathlib.Path(settings.teacher).is_dir():
    trained = trained_model.load(
      settings.teacher,
      checkpoint=settings.teacher_checkpoint,
      allow_python=settings.allow_python,
    )
    _require_same_classes(trained.class_names, class_names)
    model = trained.model
    image_size = trained.image_shape[:2]
  else:
    from train_loop.models.weights import load_keras_file

    model = load_keras_file(settings.teacher, "teacher")
  return as_teacher(
    model,
    image_shape=image_shape,
    num_classes=len(class_names),
    image_size=image_size,
    preprocessing=settings.teacher_preprocessing,
  )


def _of_keras(name: str) -> tf.keras.Model:
  """Returns a network of Keras Applications with its weights of ImageNet."""
  import tensorflow as tf

  from train_loop import models
  from train_loop.models.weights import load_weights

  make = getattr(tf.keras.applications, name.partition(":")[2], None)
  if not callable(make):
    raise ConfigError(
      "teacher must be keras: and a name of tf.keras.applications, got "
      f"{name!r}"
    )
  *size, channels = make(weights=None).input_shape[1:]
  model = models.build_model(
    name,
    input_shape=(*size, channels),
    num_classes=1000,
    mean=(0.0,) * channels,
    std=(1.0,) * channels,
    dtype="float32",
  )
  load_weights(model, "imagenet")
  return model


def _require_same_classes(theirs: Sequence[str], ours: Sequence[str]) -> None:
  """Raises if a teacher's run has other names, or another order of them.

  Numbers are no names: a data set that has none numbers its classes.
  """
  numbers = [str(number) for number in range(len(ours))]
  if list(theirs) == list(ours) or numbers in (list(theirs), list(ours)):
    return
  if len(theirs) == len(ours):  # If not, the outputs do not fit either.
    raise ConfigError(
      f"teacher must have the student's classes, {', '.join(ours)}, in that "
      f"order, got {', '.join(theirs)}"
    )


def sha256(settings: ModelConfig) -> str:
  """Returns what tells a teacher from others: a hash of its file or weights.

  Args:
    settings: has teacher; "" gives "".
  """
  return trained_model.weights_sha256(
    settings.teacher, settings.teacher_checkpoint
  )
