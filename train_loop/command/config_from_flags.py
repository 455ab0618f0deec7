# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From flags to a `TrainConfig`: here epochs become steps, and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from train_loop.command.flags import Values, group
from train_loop.command.settings import EpochSettings, RunSettings
from train_loop.config import (
  MAX_STEPS,
  EvaluationConfig,
  LoopConfig,
  LossConfig,
  OptimizerConfig,
  PrecisionConfig,
  RegularizationConfig,
  ScheduleConfig,
  TrainConfig,
)
from train_loop.fields import ConfigError


def config_from_flags(
  values: Values,
  *,
  examples_per_epoch: int,
  class_counts: Callable[[], Sequence[int]] = tuple,
  precision: PrecisionConfig | None = None,
) -> TrainConfig:
  """Returns the config that the flags ask for; epochs become steps.

  Args:
    values: the flags' values.
    examples_per_epoch: of the training data.
    class_counts: counts those of each class; called only if the loss needs it.
    precision: what the flags say, or what auto found; None is float32.

  Returns:
    The config.

  Raises:
    ConfigError: a value is out of range, or two do not fit each other.
  """
  spans = group(EpochSettings, values)
  # Checks the batch size, by which epochs become steps.
  loop = group(
    LoopConfig, values, total_steps=1, examples_per_epoch=examples_per_epoch
  )

  def steps(epochs: float) -> int:
    return round(epochs * examples_per_epoch / loop.global_batch_size)

  total_steps = max(1, steps(spans.epochs))
  if total_steps > MAX_STEPS:
    raise ConfigError(
      f"epochs must be at most {MAX_STEPS} steps, got {spans.epochs:g} epochs "
      f"of {total_steps} steps"
    )
  warmup_steps, hold_steps = (
    steps(spans.warmup_epochs),
    steps(spans.hold_epochs),
  )
  _require_decay(spans, warmup_steps + hold_steps, total_steps)
  decay_steps = 0
  if values.schedule == "warmup_stable_decay":
    decay_steps = max(1, steps(spans.decay_epochs or 0.2 * spans.epochs))
    _require_stable(spans, warmup_steps, decay_steps, total_steps)
  boundary_steps: tuple[int, ...] = ()
  if values.schedule == "step":
    boundary_steps = tuple(map(steps, spans.boundaries))
    _require_boundaries(spans, boundary_steps, warmup_steps + hold_steps)
  averages: dict[str, int] = {}
  if spans.swa_epochs:
    every = max(1, steps(spans.swa_every_epochs))
    averages = {"swa_steps": steps(spans.swa_epochs), "swa_every_steps": every}
    _require_averages(spans, averages["swa_steps"], every, total_steps)
  eval_every_steps = 0
  if spans.eval_every_epochs:
    eval_every_steps = max(1, steps(spans.eval_every_epochs))
  return TrainConfig(
    schedule=group(
      ScheduleConfig,
      values,
      warmup_steps=warmup_steps,
      hold_steps=hold_steps,
      decay_steps=decay_steps,
      boundary_steps=boundary_steps,
    ),
    optimizer=group(OptimizerConfig, values),
    regularization=group(RegularizationConfig, values, **averages),
    evaluation=group(EvaluationConfig, values),
    loss=_loss(values, class_counts),
    precision=precision or PrecisionConfig(),
    loop=group(
      LoopConfig,
      values,
      total_steps=total_steps,
      examples_per_epoch=examples_per_epoch,
      eval_every_steps=eval_every_steps,
      profile_steps=group(RunSettings, values).profiled,
      progressive_image_sizes=tuple(
        (size, round(fraction * total_steps)) for size, fraction in spans.sizes
      ),
    ),
  )


def _loss(
  values: Values, class_counts: Callable[[], Sequence[int]]
) -> LossConfig:
  """Returns what is minimised; it counts the classes only if it needs to."""
  loss = group(LossConfig, values, task=values.task)
  if not loss.needs_class_counts:
    return loss
  return dataclasses.replace(loss, class_counts=tuple(class_counts()))


def _require_decay(spans: EpochSettings, ramp: int, total_steps: int) -> None:
  """Raises unless warmup and hold, in steps, leave a step to decay."""
  if ramp >= total_steps:
    raise ConfigError(
      "warmup_epochs + hold_epochs must be shorter than epochs by a step: "
      f"{spans.epochs:g} epochs are {total_steps} steps, got "
      f"{spans.warmup_epochs:g} + {spans.hold_epochs:g} epochs, {ramp} steps"
    )


def _require_stable(
  spans: EpochSettings, warmup_steps: int, decay_steps: int, total_steps: int
) -> None:
  """Raises unless warmup and decay, in steps, fit into the run."""
  if spans.hold_epochs:
    raise ConfigError(
      "hold_epochs must be 0 with schedule warmup_stable_decay, which stays at "
      f"its peak until decay_epochs are left, got {spans.hold_epochs:g}"
    )
  if warmup_steps + decay_steps > total_steps:
    raise ConfigError(
      "warmup_epochs + decay_epochs must be at most epochs: "
      f"{spans.epochs:g} epochs are {total_steps} steps, got {warmup_steps} + "
      f"{decay_steps} steps"
    )


def _require_averages(
  spans: EpochSettings, swa_steps: int, every: int, total_steps: int
) -> None:
  """Raises unless there are two weights at least to average."""
  if not every < swa_steps <= total_steps:
    raise ConfigError(
      f"swa_epochs must be more than swa_every_epochs "
      f"({spans.swa_every_epochs:g}) by a step, and at most epochs "
      f"({spans.epochs:g}), got {spans.swa_epochs:g}"
    )


def _require_boundaries(
  spans: EpochSettings, boundary_steps: tuple[int, ...], ramp: int
) -> None:
  """Raises unless the boundaries, in steps, come one after another."""
  increasing = all(
    a < b for a, b in zip((ramp, *boundary_steps), boundary_steps)
  )
  if not (increasing and boundary_steps):
    raise ConfigError(
      "boundary_epochs must be given for schedule step, a step apart and after "
      f"warmup_epochs + hold_epochs ({ramp} steps), got "
      f"{','.join(spans.boundary_epochs) or 'none'}: steps {boundary_steps}"
    )
