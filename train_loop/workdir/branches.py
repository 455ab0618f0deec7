# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A branch: a new run that goes on from a checkpoint of another, its parent.

It takes the whole state, and the step with it, so that the order of the data
and every random number go on as the parent's would. The parent is only read.
This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from train_loop.config import CHECKPOINTS
from train_loop.fields import ConfigError, refused
from train_loop.workdir import checkpoint_files, run_card
from train_loop.workdir.changes import RATE, Change
from train_loop.workdir.checkpoint_files import DIRECTORY, Damaged

LATEST, BEST = CHECKPOINTS

# What settings, and flags of these names, change in a branch, if that is not
# what they change in a run that goes on; "" is refused.
EFFECTS: dict[str, str] = {
  "seed": "",
  **dict.fromkeys(
    ("ema_decay", "swa_steps", "swa_every_steps", "swa_epochs"),
    "the average of the weights",
  ),
  "patience": "when the branch ends early",
  "cool_down_epochs": RATE,
}
_KEEPS = (
  "a branch keeps network, data, batch size, optimizer, precision and seed, "
  "by which its order goes on; for a new run of the weights alone give "
  "weights in place of init_from"
)


@dataclasses.dataclass(frozen=True)
class Origin:
  """The checkpoint that a branch goes on from.

  Attributes:
    workdir: of the parent.
    step: of the checkpoint.
    path: of its files, without their suffixes.
    card: the parent's.
    sha256: of the checkpoint's files.
  """

  workdir: str
  step: int
  path: pathlib.Path
  card: dict[str, Any]
  sha256: str

  @property
  def name(self) -> str:
    """How init_from spells it."""
    return f"{self.workdir}@{self.step}"

  def for_card(self) -> dict[str, Any]:
    """Returns what the branch's run card says of it."""
    return {
      "workdir": self.workdir,
      "step": self.step,
      "sha256": self.sha256,
      "run_key": self.card.get("run_key", ""),
    }


def find(init_from: str, *, checkpoint: str = LATEST) -> Origin:
  """Finds the checkpoint that a branch goes on from, and checks its files.

  Args:
    init_from: a run's folder; or the folder, @, and the step of one of its
      checkpoints, which may be that of the best evaluation.
    checkpoint: "latest", the newest that is whole, or "best", if init_from has
      no step.

  Raises:
    ConfigError: there is no such run, or no such checkpoint that is whole.
  """
  workdir, step = split(init_from)
  card = run_card.read(workdir)
  if card is None:
    raise refused("init_from", init_from, "a run's workdir, or workdir@step")
  folder = pathlib.Path(workdir) / DIRECTORY
  latest = [folder / f"ckpt-{s}" for s in checkpoint_files.steps(folder)]
  best = [folder / BEST / f"ckpt-{s}" for s in _best_steps(folder)]
  paths = best if checkpoint == BEST and step is None else [*latest, *best]
  paths = [path for path in paths if step is None or _step(path) == step]
  for path in paths:
    try:
      checkpoint_files.require_whole(path, run_key=card.get("run_key", ""))
    except Damaged:
      continue
    digest = checkpoint_files.sha256(path)
    return Origin(workdir, _step(path), path, card, digest)
  there = sorted({_step(path) for path in [*latest, *best]} - {step})
  raise ConfigError(
    f"init_from must name a checkpoint that is there and whole, got "
    f"{init_from!r}: {workdir} has "
    + (f"those of the steps {', '.join(map(str, there))}" if there else "none")
  )


def require(origin: Origin, found: Sequence[Change]) -> None:
  """Raises unless a branch may differ from its parent as it does.

  Args:
    origin: the parent.
    found: by `changes.find`, with `EFFECTS`.

  Raises:
    ConfigError: names each setting that a branch must keep.
  """
  refused_ones = [
    f"{each.name}={each.then!r}, not {each.now!r}"
    for each in found
    if not each.effect
  ]
  if refused_ones:
    raise ConfigError(
      f"init_from {origin.name} is a run with {'; '.join(refused_ones)}: "
      f"{_KEEPS}"
    )


def require_steps_left(origin: Origin, total_steps: int) -> None:
  """Raises a ConfigError if a branch would end at the step it begins with."""
  if total_steps <= origin.step:
    raise ConfigError(
      f"epochs must be more than the {origin.step} steps that init_from has "
      f"had, got {total_steps} steps"
    )


def split(init_from: str) -> tuple[str, int | None]:
  """Returns the folder that init_from names, and the step if it has one."""
  workdir, at, step = os.fspath(init_from).rpartition("@")
  if at and step.isdecimal() and not os.path.isdir(init_from):
    return workdir, int(step)
  return os.fspath(init_from), None


def _best_steps(folder: pathlib.Path) -> list[int]:
  return checkpoint_files.steps(folder / BEST)


def _step(path: pathlib.Path) -> int:
  return int(path.name.rpartition("-")[2])
