# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What it means to go on with other settings than a run was begun with.

A run goes on with its own settings, and then ends with the same bits as one
that was not stopped. On request some may change from the next step on; others
never, for checkpoints would not fit. This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from train_loop.config import ScheduleConfig
from train_loop.fields import ConfigError
from train_loop.workdir import run_card

# What a change of these settings, and of the flags of the same names, changes
# from the next step on.
RATE = "the learning rate"
LENGTH = "how long the run is, and with it the schedule"
UPDATE = "the update by each gradient"
LOSS = "the targets, and so the loss"
WATCHED = "when the run is evaluated and logged"
ALLOWED: dict[str, str] = {
  **dict.fromkeys(("total_steps", "progressive_image_sizes"), LENGTH),
  **dict.fromkeys((f.name for f in dataclasses.fields(ScheduleConfig)), RATE),
  **dict.fromkeys(
    (
      *("momentum", "nesterov", "weight_decay", "decay_kernels_only"),
      *("layer_decay", "head_learning_rate_multiplier", "clip_global_norm"),
      *("accumulate_steps", "parallel_micro_batches", "sam_rho"),
    ),
    UPDATE,
  ),
  **dict.fromkeys(
    (
      *("label_smoothing", "mixup_alpha", "cutmix_alpha", "focal_gamma"),
      *("distill_temperature", "class_balance", "class_balance_beta"),
      *("logit_adjustment_tau", "class_counts", "teacher_sha256"),
    ),
    LOSS,
  ),
  "seed": "the order of the images, and every random number",
  **dict.fromkeys(("eval_every_steps", "log_every_steps"), WATCHED),
  "flip_tta": "how the run is evaluated",
}
# As far as both values are above 0: a checkpoint holds variables of them.
IF_ON: dict[str, str] = {
  **dict.fromkeys(
    ("ema_decay", "swa_steps", "swa_every_steps"), "the average of the weights"
  ),
  "patience": "when the run ends early",
}
_ALLOWING = ", or allow_changes to go on with others"


@dataclasses.dataclass(frozen=True)
class Change:
  """A setting that is another one than the run was begun with.

  Attributes:
    name: of the setting.
    then: what the run has.
    now: what is asked for.
    effect: what a run changes that goes on with it; "" if none may.
  """

  name: str
  then: Any
  now: Any
  effect: str


def find(
  then: Mapping[str, Any],
  now: Mapping[str, Any],
  *,
  effects: Mapping[str, str] | None = None,
) -> list[Change]:
  """Compares settings by name.

  Args:
    then: of the run, as read from its card.
    now: as JSON can hold them.
    effects: what other names change, which may change too.

  Returns:
    A change for each name with two values, in the order of the names.
  """
  then, now = (json.loads(json.dumps(dict(each))) for each in (then, now))
  found = []
  for name in sorted(set(then) | set(now)):
    before, after = then.get(name), now.get(name)
    if before != after:
      effect = {**ALLOWED, **(effects or {})}.get(name, "")
      if name in IF_ON and before and after:
        effect = IF_ON[name]
      if now.get("max_minutes") and effect in (RATE, LENGTH):
        effect = ""  # The run has laid its own schedule, by the clock.
      found.append(Change(name, before, after, effect))
  return found


def require(
  workdir: str | os.PathLike[str], found: Sequence[Change], *, allow: bool
) -> None:
  """Raises unless a run may go on with changes.

  Args:
    workdir: of the run.
    found: the changes.
    allow: whether those that are allowed may be made.

  Raises:
    ConfigError: names each one that is refused.
  """
  refused = [each for each in found if not (allow and each.effect)]
  run_card.require_same(
    workdir,
    {each.name: each.then for each in refused},
    {each.name: each.now for each in refused},
    more="" if allow or not all(each.effect for each in found) else _ALLOWING,
  )


def is_over(card: Mapping[str, Any], found: Sequence[Change]) -> bool:
  """Returns whether a run is finished, and remains so with allowed changes.

  Args:
    card: the run's, or an empty one.
    found: the changes.

  Raises:
    ConfigError: it is finished, and no change makes it longer.
  """
  if not card.get("finished"):
    return False
  if not found:
    return True
  longer = {"total_steps", "epochs"}
  if card["final"].get("ended_early"):
    longer.add("patience")
  if not any(c.name in longer and c.now > c.then for c in found):
    names = ", ".join(each.name for each in found)
    raise ConfigError(
      f"epochs must be more than the finished run had, to go on with another "
      f"{names}"
    )
  return False


def note(card: dict[str, Any], found: Sequence[Change], *, step: int) -> None:
  """Adds to a run's card what changes at a step.

  Args:
    card: with what else was changed under `changed`, which is taken out.
    found: the changes.
    step: the first one that is taken with them.

  Raises:
    ConfigError: the run has had as many steps already as it is to have.
  """
  total = next((c.now for c in found if c.name == "total_steps"), step + 1)
  if total <= step:
    raise ConfigError(
      f"epochs must be more than the {step} steps that the run has had, got "
      f"{total} steps"
    )
  changed = {**card.pop("changed", {}), **as_values(found)}
  if changed:
    card["changes"] = [
      *card.get("changes", []),
      {"step": step, "changed": changed},
    ]


def as_values(found: Iterable[Change]) -> dict[str, list[Any]]:
  """Returns what was and what is, by name."""
  return {each.name: [each.then, each.now] for each in found}
