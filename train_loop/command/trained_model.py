# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The network of a finished run or of a Keras file: the teacher."""

from __future__ import annotations

import hashlib
import pathlib
from typing import TYPE_CHECKING, Any

from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.workdir import run_card

if TYPE_CHECKING:
  import tensorflow as tf


def require_teacher(teacher: str) -> dict[str, Any] | None:
  """Returns the card of a teacher that is a run, None of a file or of none.

  Args:
    teacher: the flag's value; "" is none.

  Raises:
    ConfigError: it is neither a run of this command nor a file of Keras'.
  """
  if not teacher:
    return None
  path = pathlib.Path(teacher)
  card = run_card.read(path) if path.is_dir() else None
  if card and "network" in card:  # A library's run does not name its own.
    return card
  if path.suffix != ".keras" or not path.is_file():
    raise ConfigError(
      "teacher must be the workdir of a run of this command or a .keras file, "
      f"got {teacher!r}"
    )
  return None


def load_teacher(teacher: str) -> tf.keras.Model | None:
  """Returns the model that --teacher names, or None.

  Args:
    teacher: the flag's value; "" is none.

  Raises:
    ConfigError: it is no teacher, or cannot be loaded.
  """
  card = require_teacher(teacher)
  if not teacher:
    return None
  import tensorflow as tf

  from train_loop import models
  from train_loop.workdir import checkpoints

  if card:
    model = models.build_model(**card["network"], dtype="float32")
    checkpoints.restore_model(model, teacher)
  else:
    try:
      model = tf.keras.models.load_model(teacher, compile=False)
    # Keras raises what its file formats do, from BadZipFile to TypeError.
    except Exception as error:
      raise ConfigError(
        "teacher must be a .keras file of a model of Keras' own layers, got "
        f"{teacher!r}: {first_line(error)[:200]}"
      ) from error
  model.trainable = False
  return model


def teacher_sha256(teacher: str) -> str:
  """Returns what tells a teacher from others: a hash of its file or weights.

  Args:
    teacher: the flag's value; "" is none, and gives "".
  """
  path = pathlib.Path(teacher)
  if not teacher:
    return ""
  files = [path]
  if path.is_dir():
    files = sorted((path / "checkpoints").glob("ckpt-*"))
  digest = hashlib.sha256()
  for file in files:
    digest.update(file.name.encode() if path.is_dir() else b"")
    digest.update(file.read_bytes())
  return digest.hexdigest()
