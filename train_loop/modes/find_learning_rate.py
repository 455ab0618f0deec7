# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains some steps at rising rates, and suggests one for the run.

A network of its own is trained, on the run's own batches and by its own step.
A run in workdir is left as it is: only its flags are taken over.
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import TYPE_CHECKING

from train_loop.command import compose, flags
from train_loop.command.settings import SweepSettings
from train_loop.fields import ConfigError
from train_loop.workdir import run_card
from train_loop.workdir.writing import write_atomically, writing

if TYPE_CHECKING:
  from train_loop import rate_sweep

FOLDER = "learning_rate"
TABLE, PICTURE = "learning_rate.csv", "learning_rate.png"


def run(values: flags.Values) -> int:
  """Writes table, picture and TensorBoard's events to workdir/learning_rate.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run in workdir, if there is one.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: a bad flag, or rates at which the loss never falls.
    DataError: bad data.
  """
  flags.require_workdir(values)
  card = run_card.read(values.workdir) or {}
  if "flags" in card:
    flags.adopt(card["flags"], values)
  flags.require_numbers(values, "find_learning_rate")
  settings = flags.group(SweepSettings, values)
  planned = compose.plan(values)
  if planned.devices.hosts > 1:
    raise ConfigError(
      "mode find_learning_rate must run on one host; a run may use many"
    )
  chosen, tried = compose.choose(planned, card.get("choice"))
  folder = pathlib.Path(values.workdir) / FOLDER
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
  parts = compose.build(planned, chosen, tried)

  from train_loop import rate_sweep

  with parts.strategy.scope():
    found = rate_sweep.sweep(
      parts.model,
      parts.inputs.train_dataset()(0),
      parts.config,
      lowest=settings.sweep_from,
      highest=settings.sweep_to,
      steps=settings.sweep_steps,
      teacher=parts.teacher,
    )
  _write_table(found, folder)
  try:
    rate = found.suggested
  except ValueError as error:
    raise ConfigError(
      "sweep_from and sweep_to must enclose a rate at which the loss falls, "
      f"got {settings.sweep_from:g} and {settings.sweep_to:g}: {error} in "
      f"{settings.sweep_steps} sweep_steps; see {folder / TABLE}"
    ) from None
  _write_pictures(found, folder)
  batch = planned.config.loop.global_batch_size
  given = planned.config.schedule.base_learning_rate
  print(
    f"the loss is lowest at a rate of {rate:.2g}: with batches of {batch} "
    f"--base_learning_rate={rate * 256 / batch:.2g}, given {given:g}; "
    f"{folder} has {TABLE} and {PICTURE}"
  )
  return 0


def _write_table(found: rate_sweep.Sweep, folder: pathlib.Path) -> None:
  lines = ["learning_rate,loss,smoothed_loss\n"]
  for row in zip(found.rates, found.losses, found.smoothed):
    lines.append(",".join(f"{value:.6g}" for value in row) + "\n")
  write_atomically(folder / TABLE, "".join(lines))


def _write_pictures(found: rate_sweep.Sweep, folder: pathlib.Path) -> None:
  """Writes the chart, and the same for TensorBoard."""
  from train_loop.pages import charts
  from train_loop.workdir.tensorboard import TensorBoardWriter

  with writing(folder / PICTURE):
    (folder / PICTURE).write_bytes(charts.rate_sweep(found))
  names = ("learning_rate", "loss", "sweep/smoothed_loss")
  with contextlib.closing(TensorBoardWriter(folder, start_step=0)) as writer:
    for step, figures in enumerate(
      zip(found.rates, found.losses, found.smoothed)
    ):
      writer.scalars(dict(zip(names, map(float, figures))), step=step)
