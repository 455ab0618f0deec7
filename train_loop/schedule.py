# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The config's schedule. This module imports no TensorFlow."""

from __future__ import annotations

import tricks
from train_loop import config as config_lib


def make_schedule(config: config_lib.TrainConfig) -> tricks.Schedule:
  """Returns the learning rate as a function of the step.

  Args:
    config: the hyperparameters.

  Returns:
    A function from the 0-based step, an integer or a tensor, to its rate.
  """
  return tricks.make_schedule(
    config.schedule.schedule,
    peak_learning_rate=tricks.scale_learning_rate(
      config.schedule.base_learning_rate, config.loop.global_batch_size
    ),
    total_steps=config.loop.total_steps,
    warmup_steps=config.schedule.warmup_steps,
    warmup_learning_rate=config.schedule.warmup_learning_rate,
    hold_steps=config.schedule.hold_steps,
    boundary_steps=config.schedule.boundary_steps,
    decay_factor=config.schedule.decay_factor,
    polynomial_power=config.schedule.polynomial_power,
    decay_steps=config.schedule.decay_steps,
    decay_shape=config.schedule.decay_shape,
  )
