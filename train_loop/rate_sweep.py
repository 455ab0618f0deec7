# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A learning-rate sweep: some steps at rising rates, and what they tell.

Reference: Smith 2017 (arXiv 1506.01186), section 3.3.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf
from scipy import ndimage

from train_loop import run_steps as run_steps_lib
from train_loop.config import TrainConfig
from train_loop.distribution import distributed
from train_loop.scalars import scalar
from train_loop.state import TrainState
from tricks.schedules import exponential

# The width of the bell by which the losses are smoothed, in factors of ten of
# the rate.
WIDTH = 0.4
# A sweep ends once the mean of the last losses is this many times the first.
DIVERGED, LAST = 2.0, 5


@dataclasses.dataclass(frozen=True)
class Sweep:
  """The loss at each rate.

  Attributes:
    rates: [steps] float64, rising by one factor a step.
    losses: [steps] float64, that of the step at each rate.
  """

  rates: np.ndarray
  losses: np.ndarray

  @functools.cached_property
  def smoothed(self) -> np.ndarray:
    """The losses, each the mean of those about it by a Gaussian bell.

    A mean of what came before, as it is often taken, would lag behind.
    """
    decade = 1.0 / math.log10(self.rates[1] / self.rates[0])
    return ndimage.gaussian_filter1d(
      self.losses, WIDTH * decade, mode="nearest"
    )

  @property
  def suggested(self) -> float:
    """The rate at which the smoothed loss is lowest.

    A run that warms up bears it. The rate at which the loss falls fastest,
    which others take, is that of the task's easy part: on Fashion-MNIST with
    Muon 75 times below the recipe's.

    Raises:
      ValueError: the loss never falls.
    """
    lowest = int(np.argmin(self.smoothed))
    if lowest == 0:
      raise ValueError("the loss does not fall at any rate")
    return float(self.rates[lowest])


def sweep(
  model: tf.keras.Model,
  dataset: tf.data.Dataset,
  config: TrainConfig,
  *,
  lowest: float,
  highest: float,
  steps: int,
  teacher: tf.keras.Model | None = None,
) -> Sweep:
  """Trains a model for some steps at rates that rise by one factor a step.

  η(s) = lowest·(highest/lowest)^(s/(steps − 1))

  Call it under the scope of the strategy; the model is changed. It ends early
  once the loss is no number, or the mean of the LAST losses is DIVERGED times
  that of the first ones.

  Args:
    model: from images to logits, freshly made.
    dataset: of global batches, as `train_step` takes them; it is repeated.
    config: the hyperparameters; its schedule is not used.
    lowest: the rate of the first step, > 0.
    highest: the rate of the last step, > lowest.
    steps: their number, at least 2.
    teacher: for distillation.
  """
  state = TrainState(model, config)
  last = steps - 1
  # Backwards, for a schedule of its own does not rise.
  falling = exponential(highest, last, decay_factor=lowest / highest)
  run_steps = run_steps_lib.make_run_steps(
    state,
    config,
    schedule=lambda step: falling(last - step),
    teacher=teacher,
    image_size=config.loop.image_size_at(0),
  )
  iterator = iter(distributed(dataset.repeat()))
  losses: list[float] = []
  for _ in range(steps):
    run_steps(iterator, tf.constant(scalar(1)))
    loss = state.window.read()["loss"]
    state.window.reset()
    if loss is None or not math.isfinite(loss):
      break
    losses.append(loss)
    if np.mean(losses[-LAST:]) > DIVERGED * np.mean(losses[:LAST]):
      break
  rates = np.geomspace(lowest, highest, steps)[: len(losses)]
  return Sweep(rates, np.array(losses))
