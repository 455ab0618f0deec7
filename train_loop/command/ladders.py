# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ladders: runs that differ by one trick each, as flags of the command.

The ladders of He et al. 2018 are those of its tables 4, 5 and 6. A rung sets
flags that exist, and every other flag is the user's. This module imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from train_loop.command import devices, flags, settings, trust
from train_loop.command.flags import Values
from train_loop.fields import ConfigError, did_you_mean, refused
from train_loop.models import names as model_names

# What the tables of the paper say of top-1 on ImageNet, in percent.
_TABLE_4 = {
  "linear scaling": (75.87, 75.17),
  "warmup": (76.03, 75.93),
  "zero γ": (76.19, 76.37),
  "no bias decay": (76.16, 76.03),
  "low precision": (76.15, 76.21),
}
_TABLE_5 = {"ResNet": 76.21, "B": 76.66, "C": 76.87, "D": 77.16}
_TABLE_6 = {
  "efficient": 77.16,
  "cosine decay": 77.91,
  "label smoothing": 78.31,
  "distillation": 78.67,
  "mixup": 79.15,
  "distillation and mixup": 79.29,
}
# The paper divides the rate by 10 at these parts of the run: epochs 30, 60 and
# 90 of 120.
_STEPS_AT = (0.25, 0.5, 0.75)
_LABEL_SMOOTHING, _MIXUP_ALPHA = 0.1, 0.2
# Flags of a start that each run of a ladder gets.
_OF_EACH_START = (trust.ALLOW, "checkpoint", "profile_steps")

# Names of flags, and their values as the command line spells them.
Flags = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Trick:
  """What a rung adds.

  Attributes:
    name: what it is called.
    off: the flags without it.
    on: the flags with it.
  """

  name: str
  off: Flags
  on: Flags


@dataclasses.dataclass(frozen=True)
class Rung:
  """A way to train.

  Attributes:
    name: what it is called.
    flags: what it sets besides the user's flags.
    adds_to: the number of the rung that it is compared with; None for the
      first.
    paper: the paper's top-1 in percent, by column.
  """

  name: str
  flags: Flags
  adds_to: int | None = None
  paper: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ladder:
  """Ways to train that are compared.

  Attributes:
    name: as --ladder spells it.
    rungs: the ways, first that without the tricks, or with all.
    notes: what a reader must know besides, a sentence each.
  """

  name: str
  rungs: tuple[Rung, ...]
  notes: tuple[str, ...] = ()

  def folder(self, number: int) -> str:
    """Returns the name of the folder of a rung's runs."""
    name = self.rungs[number].name.replace("γ", "gamma")
    safe = re.sub(r"[^A-Za-z0-9.=,_-]+", "_", name).strip("_")
    return f"{number}_{safe[:80]}"


def make(values: Values) -> Ladder:
  """Returns the ladder that the flags ask for.

  Args:
    values: the flags' values.

  Raises:
    ConfigError: a flag of it does not exist, or a rung would change nothing.
  """
  makers = {
    "efficient": _efficient,
    "refinements": _refinements,
    "model_tweaks": _model_tweaks,
  }
  if values.ladder in makers:
    return makers[values.ladder](values)
  if "=" not in values.ladder:
    raise ConfigError(
      f"ladder must be {', '.join(makers)}, or flags with their values as in "
      f"label_smoothing=0.1,mixup_alpha=0.2, got {values.ladder!r}"
      f"{did_you_mean(values.ladder, makers)}"
    )
  return _of_flags(values)


def _efficient(values: Values) -> Ladder:
  """Table 4: what lets a large batch train as well as a small one."""
  rate, batch = values.base_learning_rate, values.global_batch_size
  _require_effect(values, "warmup_epochs", "warmup")
  _require_effect(values, "weight_decay", "no bias decay")
  if values.weights:
    raise refused(
      "weights",
      values.weights,
      "left out for ladder efficient: weights that are loaded keep their γ",
    )
  low = values.precision
  if low in (flags.AUTO_TEXT, "float32"):
    low = "mixed_float16" if devices.visible_gpus() else "mixed_bfloat16"
  unscaled = rate * 256 / batch
  tricks = [
    Trick(
      "linear scaling",
      {"base_learning_rate": flags.spelled("base_learning_rate", unscaled)},
      {"base_learning_rate": flags.spelled("base_learning_rate", rate)},
    ),
    Trick(
      "warmup",
      {"warmup_epochs": "0"},
      {"warmup_epochs": f"{values.warmup_epochs:g}"},
    ),
    Trick("zero γ", {"zero_gamma": "false"}, {"zero_gamma": "true"}),
    Trick(
      "no bias decay",
      {"decay_kernels_only": "false"},
      {"decay_kernels_only": "true"},
    ),
    Trick("low precision", {"precision": "float32"}, {"precision": low}),
  ]
  notes = []
  if batch == 256:
    del tricks[0]
    notes.append(
      "Linear scaling is left out: at global_batch_size=256 it changes nothing."
    )
  paper = {
    name: {"ResNet-50, batch 256": small, "ResNet-50, batch 1024": large}
    for name, (small, large) in _TABLE_4.items()
  }
  return _stack(values, tricks, "baseline", paper, notes)


def _refinements(values: Values) -> Ladder:
  """Table 6: what makes a good training better."""
  epochs = values.epochs
  boundaries = values.boundary_epochs
  if not values["boundary_epochs"].present:
    boundaries = [f"{part * epochs:.6g}" for part in _STEPS_AT]
  steps = {"schedule": "step", "boundary_epochs": ",".join(boundaries)}
  smoothing = values.label_smoothing or _LABEL_SMOOTHING
  alpha = values.mixup_alpha or _MIXUP_ALPHA
  cutmix = {"cutmix_alpha": "0"} if values.cutmix_alpha else {}
  tricks = [
    Trick("cosine decay", steps, {"schedule": "cosine"}),
    Trick(
      "label smoothing",
      {"label_smoothing": "0"},
      {"label_smoothing": f"{smoothing:g}"},
    ),
    Trick("distillation", {"teacher": ""}, {"teacher": values.teacher}),
    Trick(
      "mixup",
      {"mixup_alpha": "0", **cutmix},
      {"mixup_alpha": f"{alpha:g}", **cutmix},
    ),
  ]
  notes = []
  if not values.teacher:
    del tricks[2]
    notes.append("Distillation is left out: it needs --teacher.")
  column = "ResNet-50-D"
  paper = {name: {column: top1} for name, top1 in _TABLE_6.items()}
  if values.ladder_order != settings.LADDER_ORDERS[0] or not values.teacher:
    return _stack(values, tricks, "efficient", paper, notes)
  cosine, smooth, distil, mix = tricks
  notes.append(
    "Mixup without distillation is compared with label smoothing, and both "
    "with mixup alone."
  )
  ways: list[tuple[str, list[Trick], int | None]] = [
    ("efficient", [], None),
    ("cosine decay", [cosine], 0),
    ("label smoothing", [cosine, smooth], 1),
    ("distillation", [cosine, smooth, distil], 2),
    ("mixup", [cosine, smooth, mix], 2),
    ("distillation and mixup", tricks, 4),
  ]
  rungs = tuple(
    Rung(_added(name, to), _merged(tricks, on), to, paper[name])
    for name, on, to in ways
  )
  return Ladder(values.ladder, rungs, tuple(notes))


def _model_tweaks(values: Values) -> Ladder:
  """Table 5: ResNet, and its tweaks B, C and D."""
  distinct = model_names.distinct_variants(values.model)
  if len(distinct) < 2:
    fitting = [
      model
      for model in model_names.MODELS
      if len(model_names.distinct_variants(model)) > 1
    ]
    raise refused(
      "model",
      values.model,
      f"one of {', '.join(fitting)} for ladder model_tweaks, which have the "
      "variants B, C or D",
    )
  if values.ladder_order != settings.LADDER_ORDERS[0]:
    raise refused(
      "ladder_order",
      values.ladder_order,
      "cumulative for ladder model_tweaks: each variant has those before it",
    )
  if values.weights:
    raise refused(
      "weights",
      values.weights,
      "left out for ladder model_tweaks: they are of one variant",
    )
  rungs: list[Rung] = []
  notes = []
  for variant, name in zip(model_names.MODEL_VARIANTS, _TABLE_5):
    if variant in distinct:
      to = len(rungs) - 1 if rungs else None
      added = name if to is None else f"+ {name}"
      paper = {"ResNet-50": _TABLE_5[name]}
      rungs.append(Rung(added, {"model_variant": variant}, to, paper))
    else:
      notes.append(f"{name} is left out: in {values.model} it changes nothing.")
  return Ladder(values.ladder, tuple(rungs), tuple(notes))


def _of_flags(values: Values) -> Ladder:
  """A ladder of the user's own flags."""
  tricks = []
  # A comma inside of a value is followed by no flag's name.
  for text in re.split(r",(?=[A-Za-z_]\w*=)", values.ladder):
    on = {}
    for part in re.split(r"\+(?=[A-Za-z_]\w*=)", text):
      name, _, value = part.partition("=")
      _require_fit(name)
      on[name] = value
    tricks.append(Trick(text, {}, on))
  return _stack(values, tricks, "baseline", {}, [])


def _require_fit(name: str) -> None:
  """Raises unless a rung may set a flag."""
  if name not in flags.names():
    meant = " or ".join(flags.meant_by(name))
    raise ConfigError(
      f"ladder must name flags of the command, got {name!r}"
      + (f": did you mean {meant}?" if meant else "")
    )
  free = name in flags.FREE_FLAGS and name not in flags.BY_CONTENT
  if name == "seed" or free:
    raise ConfigError(
      f"ladder must name flags that change what is trained, got {name!r}"
      + (": give seeds" if name == "seed" else "")
    )


def _stack(
  values: Values,
  tricks: Sequence[Trick],
  first: str,
  paper: Mapping[str, Mapping[str, float]],
  notes: Sequence[str],
) -> Ladder:
  """Returns a ladder of tricks, in the order that the flags ask for."""
  if values.ladder_order == settings.LADDER_ORDERS[0]:
    rungs = [Rung(first, _merged(tricks, []), paper=paper.get(first, {}))]
    for number, trick in enumerate(tricks):
      on = _merged(tricks, tricks[: number + 1])
      own = paper.get(trick.name, {})
      rungs.append(Rung(_added(trick.name, number), on, number, own))
    return Ladder(values.ladder, tuple(rungs), tuple(notes))
  named = [name for trick in tricks for name in trick.on]
  if not any(trick.off for trick in tricks) and len(set(named)) < len(named):
    raise ConfigError(
      "ladder must name each flag once with ladder_order=leave_one_out, got "
      f"{values.ladder!r}"
    )
  rungs = [Rung("all", _merged(tricks, tricks))]
  for trick in tricks:
    others = [other for other in tricks if other is not trick]
    rungs.append(Rung(f"without {trick.name}", _merged(tricks, others), 0))
  return Ladder(values.ladder, tuple(rungs), tuple(notes))


def _added(name: str, adds_to: int | None) -> str:
  return name if adds_to is None else f"+ {name}"


def _merged(tricks: Sequence[Trick], on: Sequence[Trick]) -> dict[str, str]:
  """Returns the flags of some tricks, and of the others what they are off."""
  merged: dict[str, str] = {}
  for trick in tricks:
    if trick not in on:
      merged.update(trick.off)
  for trick in on:
    merged.update(trick.on)
  return merged


def _require_effect(values: Values, name: str, trick: str) -> None:
  """Raises if a flag is 0, so that a rung would change nothing."""
  if not values[name].value:
    raise refused(
      name,
      values[name].value,
      f"above 0 for ladder {values.ladder}, whose rung {trick} would change "
      "nothing",
    )


def given(values: Values) -> dict[str, str]:
  """Returns the user's flags that every run of a ladder gets.

  Args:
    values: the flags' values.

  Returns:
    Those that the command line or its recipe gives, but for what says what this
    start does; they need no recipe.
  """
  default = flags.parse()
  start = {"recipe", "seed", *flags.OF_A_START} - {*_OF_EACH_START}
  return {
    name: flags.spelled(name, values[name].value)
    for name in flags.names()
    if name not in start and values[name].value != default[name].value
  }


def as_words(asked: Flags) -> list[str]:
  """Returns flags as words of a command line."""
  return [f"--{name}={value}" for name, value in asked.items()]


def parsed(asked: Flags) -> Values:
  """Returns the values of flags, checked.

  Args:
    asked: values as the command line spells them, by name.

  Raises:
    ConfigError: one is none of its kind, or out of range.
  """
  return flags.parse(*as_words(asked))


def result_flags(asked: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the flags on which a run's result depends, by name.

  Args:
    asked: all flags, or those of a run's card.
  """
  by_content = {name: asked.get(name) or "" for name in flags.BY_CONTENT}
  return {**flags.comparable(asked), **by_content}
