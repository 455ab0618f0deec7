# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates the run in workdir, and writes the folder report in it.

On the run's own data; or, by --data_dir, on any folder of its classes: then on
all its images, unless it has a part for evaluation as the run's data have.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import logging

import data
from data.sources import image_folder
from data.sources.source import with_classes
from train_loop.command import (
  compose,
  flags,
  reporting,
  terminal,
  trained_model,
)
from train_loop.fields import ConfigError
from train_loop.workdir import run_card


def run(values: flags.Values) -> int:
  """Evaluates the run in workdir with its own flags.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: workdir holds no run, or a flag differs from the run's.
    DataError: bad data, or data of other classes.
  """
  flags.require_workdir(values)
  workdir = values.workdir
  card = trained_model.require_card(workdir)
  other_data = bool(values["data_dir"].present)
  trained_model.adopt_flags(card, values)
  config, choice = compose.as_evaluated(card, values)
  names = run_card.class_names(card)
  validation = _validation(values, card, names, other_data=other_data)
  if names:
    validation = with_classes(validation, names)
  compose.import_for_one_device(choice, values)
  trained = trained_model.load(
    workdir,
    allow_python=True,
    checkpoint=values.checkpoint,
    dtype=choice.precision,
  )
  folder = pathlib.Path(workdir) / reporting.FOLDER
  found = reporting.evaluate(
    trained.model, validation, values, config, trained.thresholds
  )
  print(f"{workdir}: {terminal.summary(found.results())}")
  try:
    found.write(folder)
    logging.info("%s shows mistakes and each class", folder / reporting.PAGE)
  except ConfigError as error:  # A run may be where nothing can be written.
    logging.warning("no report is written: %s", error)
  return 0


def _validation(
  values: flags.Values,
  card: dict[str, Any],
  names: Sequence[str] | None,
  *,
  other_data: bool,
) -> data.AnySource:
  """Returns the data to evaluate.

  A folder may be the run's own, moved: then the part that was held out counts.
  """
  names_split = values["eval_split"].present
  if not other_data or names_split or values.dataset != "image_folder":
    return compose.load_sources(values, names)[1]
  try:
    _, validation = compose.load_sources(values, names)
  except data.DataError as error:
    try:
      return _whole(values)
    except data.DataError:
      if values.validation_fraction:
        raise
      raise error from None
  same = validation.fingerprint() == card["data"].get("test_sha256")
  if values.validation_fraction and not same:
    return _whole(values)
  return validation


def _whole(values: flags.Values) -> data.AnySource:
  """Returns all images of the folder data_dir."""
  options = flags.group(data.SourceOptions, values)
  source = image_folder.load_whole(
    values.data_dir, channels=values.image_channels
  )
  return dataclasses.replace(source, decoding=options.decoding)
