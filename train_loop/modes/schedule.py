# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the learning rate of each step as a table and a picture.

Nothing is trained, and TensorFlow is not imported: the schedule that a run
follows in its graph takes NumPy's integers too.
"""

from __future__ import annotations

import io
import pathlib
from typing import Any, Callable

import numpy as np

import tricks
from train_loop.command import branching, compose, flags
from train_loop.config import TrainConfig
from train_loop.schedule import make_schedule
from train_loop.workdir.writing import write_atomically, writing

TABLE = "schedule.csv"
PICTURE = "schedule.png"
# A picture needs no more points than it has pixels.
_POINTS = 5000


def run(values: flags.Values) -> int:
  """Writes schedule.csv and schedule.png to workdir.

  Args:
    values: the flags' values.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: a bad flag, or a folder that cannot be written.
    DataError: bad data: their number of examples turns epochs into steps.
  """
  flags.require_workdir(values)
  flags.require_numbers(values, "schedule")
  branch_step = 0
  if values.init_from:
    branching.require(values)
    branch_step = branching.adopt(values).step
  config = compose.plan(values, with_weights=False).config
  rates = tricks.learning_rates(make_schedule(config), config.loop.total_steps)
  folder = pathlib.Path(values.workdir)
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
  write_atomically(folder / TABLE, table(rates, config))
  with writing(folder / PICTURE):
    (folder / PICTURE).write_bytes(picture(rates, config, branch_step))
  print(
    f"{folder} has {TABLE} and {PICTURE}: {len(rates)} steps, learning rate "
    f"{rates[0]:.4g} at first, {rates.max():.4g} at its peak, {rates[-1]:.4g} "
    "at the end"
  )
  return 0


def phases(config: TrainConfig) -> dict[str, tuple[int, int]]:
  """Returns the first step and the step after the last of each phase."""
  total, warmup = config.loop.total_steps, config.schedule.warmup_steps
  held, hold, decay = (
    warmup + config.schedule.hold_steps,
    "hold",
    config.schedule.schedule,
  )
  if decay == "warmup_stable_decay":
    held, hold, decay = total - config.schedule.decay_steps, "stable", "decay"
  all_phases = {
    "warmup": (0, warmup),
    hold: (warmup, held),
    decay: (held, total),
  }
  return {name: (a, b) for name, (a, b) in all_phases.items() if b > a}


def table(rates: np.ndarray, config: TrainConfig) -> str:
  """Returns a line a step: step, epoch, phase, learning rate.

  Args:
    rates: [total_steps] float32.
    config: the run's.
  """
  loop = config.loop
  lines = ["step,epoch,phase,learning_rate\n"]
  for phase, (start, end) in phases(config).items():
    for step in range(start, end):
      epoch = step * loop.global_batch_size / loop.examples_per_epoch
      lines.append(f"{step},{epoch:.4f},{phase},{rates[step]:.9g}\n")
  return "".join(lines)


def picture(
  rates: np.ndarray, config: TrainConfig, branch_step: int = 0
) -> bytes:
  """Returns a PNG of the rates; phases, SWA and a branch's start are marked.

  Args:
    rates: [total_steps] float32.
    config: the run's.
    branch_step: the step that a branch begins with, or 0.
  """
  from matplotlib.figure import Figure

  steps = np.unique(np.linspace(0, len(rates) - 1, _POINTS).astype(int))
  figure = Figure(figsize=(8, 4.5), layout="constrained")
  axes = figure.subplots()
  axes.plot(steps, rates[steps], color="tab:blue", linewidth=2)
  for index, (name, (start, end)) in enumerate(phases(config).items()):
    axes.axvspan(start, end, color="0.93" if index % 2 else "1.0", zorder=0)
    axes.annotate(
      name,
      ((start + end) / 2, 1.01),
      xycoords=("data", "axes fraction"),
      ha="center",
    )
  swa_steps = config.regularization.swa_steps
  if swa_steps:
    axes.axvspan(
      len(rates) - swa_steps,
      len(rates),
      color="tab:orange",
      alpha=0.2,
      label="weights averaged (SWA)",
    )
  if branch_step:
    axes.axvline(
      branch_step, color="tab:red", linestyle="--", label="branches off"
    )
  if swa_steps or branch_step:
    axes.legend()
  axes.set_xlim(0, len(rates))
  axes.set_ylim(bottom=0)
  axes.set_xlabel("step")
  axes.set_ylabel("learning rate")
  axes.grid(alpha=0.3)
  below = axes.secondary_xaxis(-0.18, functions=_step_to_epoch(config))
  below.set_xlabel("epoch")
  png = io.BytesIO()
  figure.savefig(png, format="png", dpi=120)
  return png.getvalue()


def _step_to_epoch(
  config: TrainConfig,
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
  """Returns how a step becomes an epoch, and back."""
  epochs = config.loop.global_batch_size / config.loop.examples_per_epoch
  return (lambda step: step * epochs), (lambda epoch: epoch / epochs)
