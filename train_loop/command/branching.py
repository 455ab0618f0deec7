# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A branch by flags: it has its parent's, but for those that are given.

This module imports no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from absl import logging

from train_loop.command import flags, resume, trust
from train_loop.fields import ConfigError, refused
from train_loop.models import names as model_names
from train_loop.workdir import branches
from train_loop.workdir.branches import Origin

# What cool_down_epochs lays.
_LAID = ("schedule", "epochs", "decay_epochs")
_STABLE = "warmup_stable_decay"


def require(values: flags.Values) -> None:
  """Raises a ConfigError if flags of a branch do not fit each other."""
  if values.init_from and values["weights"].present and values.weights:
    raise ConfigError(
      "weights must be left out with init_from, which goes on with a run's "
      "weights, momentum, step and order; weights begins a new run with "
      f"weights alone; got {values.weights!r}"
    )
  if values.cool_down_epochs and not values.init_from:
    raise refused(
      "cool_down_epochs", values.cool_down_epochs, "0 without init_from"
    )


def adopt(values: flags.Values, card: dict[str, Any] | None = None) -> Origin:
  """Takes over the parent's flags that the command line leaves out.

  Args:
    values: the command line's, with init_from; changed in place.
    card: the branch's own, if it has begun and has no checkpoint yet: its flags
      are adopted already.

  Returns:
    The checkpoint that the branch goes on from.

  Raises:
    ConfigError: there is no such checkpoint, or a branch must keep a flag that
      is another one.
  """
  if card:
    workdir, _ = branches.split(values.init_from)
    origin = branches.find(f"{workdir}@{card['parent']['step']}")
    _require_same(values, card, origin)
    return origin
  origin = branches.find(values.init_from, checkpoint=values.checkpoint)
  if not {"flags", "choice", "network"} <= set(origin.card):
    raise ConfigError(
      f"init_from must be a run of this command, got {origin.workdir!r}"
    )
  model = origin.card["network"]["model"]
  allow = trust.allows(values, model)
  model_names.require_allowed(model, origin.workdir, allow)
  flags.adopt(origin.card["flags"], values)
  if not values["cool_down_epochs"].present:  # A parent may have had its own.
    values["cool_down_epochs"].value = 0.0
  _lay_cool_down(values, origin)
  found = resume.difference(
    origin.card["flags"], values, effects=branches.EFFECTS
  )
  if found.changed:
    logging.info(
      "the branch has other flags than %s:\n%s",
      origin.name,
      found.as_text(allow=True),
    )
  branches.require(origin, found.changed)
  return origin


def _lay_cool_down(values: flags.Values, origin: Origin) -> None:
  """Lets the rate decay from the branch's first step to its last."""
  epochs = values.cool_down_epochs
  if not epochs:
    return
  for name in _LAID:
    if values[name].present:
      raise ConfigError(
        f"{name} must be left out with cool_down_epochs, which sets it, got "
        f"{values[name].value!r}"
      )
  settings = origin.card["settings"]
  had = (
    origin.step * settings["global_batch_size"] / settings["examples_per_epoch"]
  )
  for name, value in zip(_LAID, (_STABLE, had + epochs, epochs)):
    values[name].value = value
  values["hold_epochs"].value = 0.0


def require_own(values: flags.Values, card: dict[str, Any]) -> None:
  """Raises unless a branch that goes on has the parent that it was begun with.

  Its parent may be gone: only if another is named they are compared.

  Args:
    values: the command's, adopted.
    card: the branch's.
  """
  if values.init_from == card["flags"].get("init_from", ""):
    return
  origin = None
  if values.init_from:
    origin = branches.find(values.init_from, checkpoint=values.checkpoint)
  _require_same(values, card, origin)


def _require_same(
  values: flags.Values, card: dict[str, Any], origin: Origin | None
) -> None:
  """Raises unless a checkpoint is that which a branch was begun with."""
  parent = card.get("parent")
  if origin and parent and origin.sha256 == parent["sha256"]:
    return
  begun = "was begun at step 0"
  if parent:
    begun = f"was begun from {parent['workdir']}@{parent['step']}"
  raise ConfigError(
    f"init_from must be left out, for the run in {values.workdir} {begun}, got "
    f"another checkpoint, {values.init_from!r}: take another workdir"
  )
