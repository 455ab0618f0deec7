# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names that flags accept for a model, known without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence

from train_loop.fields import ConfigError, did_you_mean
from train_loop.models import keras_names

# He et al. 2015, table 1: networks for 224x224 images; name -> depth.
RESNETS: dict[str, int] = {
  "resnet18": 18,
  "resnet34": 34,
  "resnet50": 50,
  "resnet101": 101,
  "resnet152": 152,
}

# He et al. 2015, table 1: depth -> number of blocks in each of four stages.
STAGE_BLOCKS: dict[int, tuple[int, int, int, int]] = {
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}

# He et al. 2015, section 4.2: networks for 32x32 images; name -> depth.
SMALL_RESNETS: dict[str, int] = {
  "resnet20": 20,
  "resnet32": 32,
  "resnet44": 44,
  "resnet56": 56,
}

# Shallow and wide, for 28x28 images; name -> depth, width of the first stage.
COMPACT_RESNETS: dict[str, tuple[int, int]] = {
  "resnet8": (8, 32),
  "resnet14": (14, 40),
}

MODELS: tuple[str, ...] = (*RESNETS, *SMALL_RESNETS, *COMPACT_RESNETS)

# The network of 2015, and the tweaks of He et al. 2018, figure 2. Each includes
# the one before it.
MODEL_VARIANTS: tuple[str, ...] = ("a", "b", "c", "d")


def distinct_variants(model: str) -> tuple[str, ...]:
  """Returns the variants that are different networks, of each the first name.

  Args:
    model: its name, as `parts` takes it.

  >>> distinct_variants("resnet50")
  ('a', 'b', 'c', 'd')
  >>> distinct_variants("resnet20")
  ('a', 'd')
  >>> distinct_variants("keras:MobileNet")
  ('a',)
  """
  if model in RESNETS:  # Basic blocks have no stride that B could move.
    return MODEL_VARIANTS if RESNETS[model] >= 50 else ("a", "c", "d")
  return ("a", "d") if model in SMALL_RESNETS else ("a",)


# Arguments of `build_model` and settings that networks from elsewhere lack.
OURS_ONLY: tuple[str, ...] = ("model_variant", "stochastic_depth")

# Where other networks are from: --model=place:name.
KERAS = "keras"
PYTHON = "python"


def parts(model: str) -> tuple[str, str]:
  """Splits a model's name into its place and its name there.

  Args:
    model: such as "resnet50", "keras:MobileNet" or "python:networks.small".

  Returns:
    The place, `KERAS` or `PYTHON`, and "" for ours; and the name.

  Raises:
    ConfigError: there is no such network.
  """
  if model in MODELS:
    return "", model
  place, _, name = model.partition(":")
  if place == KERAS and name in keras_names.FAMILY_OF:
    return place, name
  module, _, function = name.rpartition(".")
  path = [*module.split("."), function]
  if place == PYTHON and all(part.isidentifier() for part in path):
    return place, name
  known = [*MODELS, *(f"{KERAS}:{name}" for name in keras_names.FAMILY_OF)]
  raise ConfigError(
    f"model must be one of {', '.join(MODELS)}, or keras:NAME for a classifier "
    "of tf.keras.applications, or python:package.module.function for a builder "
    f"of your own, got {model!r}{did_you_mean(model, known)}"
  )


def require_allowed(
  model: object, path: str | os.PathLike[str], allow_python: bool
) -> None:
  """Raises if a run card names a function as its model that is not allowed.

  Args:
    model: what the card says, as `parts` takes it.
    path: of the run.
    allow_python: whether such functions may be called.

  Raises:
    ConfigError: names the model and the run.
  """
  if str(model).startswith(f"{PYTHON}:") and not allow_python:
    raise not_allowed(str(model), f"the run card of {os.fspath(path)} names")


def not_allowed(model: str, who_names_it: str) -> ConfigError:
  """Returns the error of a model that is a function and not allowed."""
  return ConfigError(
    f"model must not be {model}, which {who_names_it} and which is code: give "
    f"--model={model} yourself, or --allow_python, to run it"
  )


def require_image_shape(model: str, input_shape: Sequence[int | None]) -> None:
  """Raises a ConfigError if a network takes no images of a shape.

  Args:
    model: Its name, as `parts` takes it.
    input_shape: (height, width, channels); height and width may be None.
  """
  place, name = parts(model)
  if place == KERAS:
    keras_names.require_image_shape(name, input_shape)
