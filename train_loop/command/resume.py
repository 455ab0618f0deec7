# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Says what another flag would change in a run that goes on.

This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tabulate
from absl import logging

import data
from train_loop.command import flags
from train_loop.workdir import changes
from train_loop.workdir.changes import Change

# What changes of flags change that are no settings of the loop.
_EFFECTS: dict[str, str] = {
  "epochs": changes.LENGTH,
  **dict.fromkeys(
    ("warmup_epochs", "hold_epochs", "decay_epochs", "boundary_epochs"),
    changes.RATE,
  ),
  "eval_every_epochs": changes.WATCHED,
  "swa_every_epochs": changes.IF_ON["swa_every_steps"],
  "eval_resize": "how the run is evaluated",
  **{
    field.name: "the training images"
    for field in flags.fields_of(data.Augmentation)
  },
}
# As far as both values are on.
_IF_ON: dict[str, str] = {
  "progressive_image_sizes": changes.LENGTH,
  "swa_epochs": changes.IF_ON["swa_steps"],
}
# Why flags never change, if that is not the network or its variables.
_REFUSED: dict[str, str] = {
  "global_batch_size": "what a step is, by which the run counts",
  **{field.name: "the data" for field in flags.fields_of(data.SourceOptions)},
  **dict.fromkeys(
    ("precision", "jit_compile", "onednn", "tensor_float_32"),
    "what the run computes in",
  ),
  **dict.fromkeys(
    ("optimizer", "ema_decay", "swa_epochs"), "what checkpoints hold"
  ),
  **dict.fromkeys(("patience", "max_minutes"), "what checkpoints hold"),
  **dict.fromkeys(("zero_gamma", "cool_down_epochs"), "only how a run begins"),
}


@dataclasses.dataclass(frozen=True)
class Difference:
  """How the flags of a command differ from those of the run in workdir.

  Attributes:
    harmless: those that change no result.
    changed: all others.
  """

  harmless: Sequence[Change] = ()
  changed: Sequence[Change] = ()

  def say(self, values: flags.Values) -> None:
    """Logs a block of what is another flag, if one is.

    Args:
      values: the command's.
    """
    if self.harmless or self.changed:
      logging.info(
        "%s was begun with other flags:\n%s",
        values.workdir,
        self.as_text(allow=values.allow_changes),
      )

  def as_text(self, *, allow: bool) -> str:
    """Returns a line for each flag: what was, what is, what that changes.

    Args:
      allow: whether the command allows changes.
    """
    rows = [(c, _said(c, allow)) for c in self.changed]
    rows += [(c, f"{c.effect}: taken") for c in self.harmless]
    return tabulate.tabulate(
      [
        [c.name, _shown(c.name, c.then), _shown(c.name, c.now), said]
        for c, said in rows
      ],
      ["flag", "then", "now", "what that changes"],
      disable_numparse=True,
    )


def _shown(name: str, value: Any) -> str:
  """Returns a value as a cell of the block."""
  return flags.spelled(name, value) or "-"


def _said(change: Change, allow: bool) -> str:
  """Returns what a change that is not harmless means."""
  if change.effect:
    return f"{change.effect}: {'taken' if allow else 'needs --allow_changes'}"
  own = "the network"
  if change.name in changes.ALLOWED or change.name in _EFFECTS:
    own = "the schedule, which max_minutes lays by the clock"
  return f"{_REFUSED.get(change.name, own)}: refused"


def difference(
  saved: Mapping[str, Any],
  values: flags.Values,
  *,
  effects: Mapping[str, str] | None = None,
) -> Difference:
  """Compares the flags of a run with those of a command.

  Args:
    saved: the flags of the run's card.
    values: the command's; those that it left out are the run's.
    effects: what flags change, if that is not what they do in a run that goes
      on: see `branches.EFFECTS`.
  """
  asked = flags.as_dict(values)
  effects = {**_EFFECTS, **(effects or {})}
  # The network takes images of any size, and a checkpoint has averages, only if
  # the run was begun so.
  for name, effect in _IF_ON.items():
    before, after = (each.get(name) for each in (saved, asked))
    effects.setdefault(name, effect if before and after else "")
  changed = changes.find(
    flags.comparable(saved), flags.comparable(asked), effects=effects
  )
  free = [
    name
    for name in flags.FREE_FLAGS
    if name in saved and name not in (*flags.OF_A_START, "recipe", "init_from")
  ]
  harmless = [
    dataclasses.replace(
      change,
      effect="nothing, if it holds the same"
      if change.name in flags.BY_CONTENT
      else "no result",
    )
    for change in changes.find(
      {name: saved[name] for name in free},
      {name: asked[name] for name in free},
    )
  ]
  return Difference(harmless, changed)
