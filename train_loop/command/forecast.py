# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How long a run takes, about, by the time of some of its steps.

This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses

from train_loop.config import TrainConfig

# What evaluating an image takes, of the time of training on it: forward alone.
EVALUATION = 1 / 3
LEFT_OUT = (
  "left out: starting and tracing, checkpoints, and waiting for input that is "
  "slower than the steps"
)


@dataclasses.dataclass(frozen=True)
class Forecast:
  """The time of a run.

  Attributes:
    step_seconds: of a step at full size.
    training_seconds: of all steps that are left.
    evaluations: their number.
    evaluation_seconds: of all evaluations.
    limited: whether max_minutes decides.
  """

  step_seconds: float
  training_seconds: float
  evaluations: int
  evaluation_seconds: float
  limited: bool = False

  @property
  def seconds(self) -> float:
    """Of the run."""
    if self.limited:
      return self.training_seconds
    return self.training_seconds + self.evaluation_seconds


def of_run(
  config: TrainConfig,
  images_per_second: float,
  *,
  replicas: int,
  shared: bool,
  eval_examples: int,
  image_height: int,
  start_step: int = 0,
) -> Forecast:
  """Returns the time of a run.

  Args:
    config: the hyperparameters.
    images_per_second: of one replica that trains on its share of a batch.
    replicas: that share a batch.
    shared: whether they share one device's cores, and so take turns.
    eval_examples: of each evaluation; 0 if there is none.
    image_height: of the full size.
    start_step: the step that the run begins with.
  """
  loop = config.loop
  at_once = 1 if shared else replicas
  step_seconds = loop.global_batch_size / (images_per_second * at_once)
  steps = range(start_step, loop.total_steps)
  starts = [start for _, start in loop.progressive_image_sizes] or [0]
  ends = [*starts[1:], loop.total_steps]
  whole_steps = 0.0
  for start, end in zip(starts, ends):
    size = loop.image_size_at(start) or image_height
    count = max(0, min(end, steps.stop) - max(start, steps.start))
    whole_steps += count * (size / image_height) ** 2
  evaluations = 0
  if eval_examples:
    every = loop.eval_every_steps
    last = loop.total_steps - 1  # Which evaluates anyway.
    evaluations = 1
    if every:
      evaluations += last // every - start_step // every
  evaluation = EVALUATION * eval_examples / (images_per_second * at_once)
  training = whole_steps * step_seconds
  if loop.max_minutes:
    training = 60.0 * loop.max_minutes
  return Forecast(
    step_seconds=step_seconds,
    training_seconds=training,
    evaluations=evaluations,
    evaluation_seconds=evaluations * evaluation,
    limited=bool(loop.max_minutes),
  )


def in_words(seconds: float) -> str:
  """Returns a time for people, such as "2 h 05 min"."""
  if seconds < 99.5:
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
  minutes = round(seconds / 60)
  if minutes < 100:
    return f"{minutes} min"
  hours, minutes = divmod(minutes, 60)
  if hours < 48:
    return f"{hours} h {minutes:02d} min"
  return f"{hours / 24:.1f} days"
