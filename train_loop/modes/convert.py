# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the data as TFRecord files."""

from __future__ import annotations

from train_loop import machine
from train_loop.command import compose, flags, terminal
from train_loop.fields import ConfigError


def run(values: flags.Values) -> int:
  """Writes the data that the flags name to output_dir.

  Args:
    values: the flags' values.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: a bad flag.
    DataError: bad data, or a folder that cannot be written.
  """
  if not values.output_dir:
    raise ConfigError("output_dir must be given: --output_dir=DIR")
  sources = compose.load_sources(values)
  machine.import_tensorflow(onednn=True)
  from data.preparation import convert

  counts = convert.convert(
    *sources,
    values.output_dir,
    resize=values.convert_resize,
    skip_bad_images=values.on_bad_image == "skip",
    progress=terminal.progress,
  )
  written = ", ".join(f"{count} {part}" for part, count in counts.items())
  print(f"{values.output_dir} is written: {written}")
  return 0
