# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decodes all images, reports, and draws some as training sees them."""

from __future__ import annotations

import pathlib

from train_loop import machine
from train_loop.command import compose, flags, terminal
from train_loop.fields import ConfigError
from train_loop.workdir.writing import writing


def run(values: flags.Values) -> int:
  """Checks the data that the flags name, and writes the report to workdir.

  Args:
    values: the flags' values.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: a bad flag, or an image that cannot be decoded.
    DataError: bad data.
  """
  flags.require_workdir(values)
  inputs = compose.make_inputs(values)
  machine.import_tensorflow(onednn=True)
  from data.preparation import check, picture

  report = check.check(
    inputs.train, inputs.validation, progress=terminal.progress
  )
  folder = pathlib.Path(values.workdir)
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
    check.save(report, folder / "check_data.json")
  print(check.as_text(report))
  if report.bad:
    raise ConfigError(
      f"{len(report.bad)} images cannot be decoded, the first is "
      f"{report.bad[0]}: replace them, or train with --on_bad_image=skip"
    )
  with writing(folder):
    picture.save(folder / "check_data.png", inputs)
  print(f"{folder} has check_data.json and check_data.png")
  return 0
