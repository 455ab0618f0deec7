# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning rate schedules: warmup, hold, then cosine or another decay.

A schedule is a pure function from the 0-based step to the rate of that step.
Small ones are joined into the one that a run follows:

  >>> schedule = warmup_hold_cosine(
  ...   0.4, total_steps=100, warmup_steps=10, hold_steps=5
  ... )
  >>> [round(float(schedule(step)), 3) for step in (0, 9, 14, 15, 57, 100)]
  [0.04, 0.4, 0.4, 0.4, 0.204, 0.0]

The same function takes a tensor and gives one, in a graph too; or it takes
integers of Python or NumPy and gives NumPy's floats, without TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tricks.names import DECAY_SHAPES, SCHEDULES

# An integer, or an array or tensor of integers, 0-based; or a place between two
# steps, in float64.
Step = Any
# A float32 of the step's shape: NumPy's, or a tensor if the step is one.
Rate = Any
Schedule = Callable[[Step], Rate]


def constant(learning_rate: float) -> Schedule:
  """Keeps one rate.

  η(s) = learning_rate

  Args:
    learning_rate: the rate, >= 0.

  Returns:
    A schedule.

  Raises:
    ValueError: the rate is out of its range.
  """
  _check_rate("learning_rate", learning_rate)

  def schedule(step: Step) -> Rate:
    return _cast(learning_rate + 0.0 * _cast(step, "float64"), "float32")

  return schedule


def polynomial(
  initial_learning_rate: float,
  decay_steps: int,
  *,
  end_learning_rate: float = 0.0,
  power: float = 1.0,
) -> Schedule:
  """Moves from one rate to another along a power of the steps that remain.

  η(s) = end + (initial − end)·(1 − min(s, T)/T)^power

  Args:
    initial_learning_rate: the rate at step 0, >= 0.
    decay_steps: T, after which the rate is `end_learning_rate`, >= 1.
    end_learning_rate: the rate at and after T, >= 0.
    power: the exponent, > 0; 1 is linear.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.
  """
  _check_rate("initial_learning_rate", initial_learning_rate)
  _check_rate("end_learning_rate", end_learning_rate)
  _check_decay_steps(decay_steps)
  if not 0.0 < power < math.inf:
    raise ValueError(f"power must be finite and > 0, got {power}")
  span = initial_learning_rate - end_learning_rate

  def schedule(step: Step) -> Rate:
    remaining = 1.0 - _fraction(step, decay_steps)
    rate = end_learning_rate + span * remaining**power
    return _cast(rate, "float32")

  return schedule


def linear(
  initial_learning_rate: float,
  decay_steps: int,
  *,
  end_learning_rate: float = 0.0,
) -> Schedule:
  """Moves from one rate to another in equal steps.

  η(s) = end + (initial − end)·(1 − min(s, T)/T)

  Args:
    initial_learning_rate: the rate at step 0, >= 0.
    decay_steps: T, after which the rate is `end_learning_rate`, >= 1.
    end_learning_rate: the rate at and after T, >= 0.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.
  """
  return polynomial(
    initial_learning_rate, decay_steps, end_learning_rate=end_learning_rate
  )


def cosine(peak_learning_rate: float, decay_steps: int) -> Schedule:
  """Decays along half a cosine.

  η(s) = ½·peak·(1 + cos(π·min(s, T)/T))

  Args:
    peak_learning_rate: the rate at step 0, >= 0.
    decay_steps: T, at and after which the rate is 0, >= 1.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.

  Reference: He et al. 2018, section 5.1; Loshchilov and Hutter 2016.
  """
  _check_rate("peak_learning_rate", peak_learning_rate)
  _check_decay_steps(decay_steps)

  def schedule(step: Step) -> Rate:
    angle = math.pi * _fraction(step, decay_steps)
    rate = 0.5 * peak_learning_rate * (1.0 + _library(angle).cos(angle))
    return _cast(rate, "float32")

  return schedule


def exponential(
  initial_learning_rate: float, decay_steps: int, *, decay_factor: float
) -> Schedule:
  """Multiplies the rate by a factor over each `decay_steps`, continuously.

  η(s) = initial·decay_factor^(s/decay_steps)

  Args:
    initial_learning_rate: the rate at step 0, >= 0.
    decay_steps: the steps that one factor takes, >= 1.
    decay_factor: the factor, in (0, 1].

  Returns:
    A schedule; it keeps falling after `decay_steps`.

  Raises:
    ValueError: an argument is out of its range.
  """
  _check_rate("initial_learning_rate", initial_learning_rate)
  _check_decay_steps(decay_steps)
  _check_decay_factor(decay_factor)

  def schedule(step: Step) -> Rate:
    exponent = _cast(step, "float64") / decay_steps
    rate = initial_learning_rate * _library(step).exp(
      math.log(decay_factor) * exponent
    )
    return _cast(rate, "float32")

  return schedule


def one_minus_sqrt(peak_learning_rate: float, decay_steps: int) -> Schedule:
  """Decays fast at first, then slower.

  η(s) = peak·(1 − √(min(s, T)/T))

  Args:
    peak_learning_rate: the rate at step 0, >= 0.
    decay_steps: T, at and after which the rate is 0, >= 1.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.

  Reference: Hägele et al. 2024, section 3.
  """
  _check_rate("peak_learning_rate", peak_learning_rate)
  _check_decay_steps(decay_steps)

  def schedule(step: Step) -> Rate:
    fraction = _fraction(step, decay_steps)
    rate = peak_learning_rate * (1.0 - _library(fraction).sqrt(fraction))
    return _cast(rate, "float32")

  return schedule


def piecewise(
  learning_rates: Sequence[float], boundaries: Sequence[int]
) -> Schedule:
  """Keeps a rate until each boundary.

  η(s) = learning_rates[i],   i = the number of boundaries <= s

  Args:
    learning_rates: one rate more than there are boundaries, each >= 0.
    boundaries: the first step of each next rate, rising, each >= 1.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.
  """
  return join([constant(rate) for rate in learning_rates], boundaries)


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
  """Follows one schedule after another, each from its own step 0.

  η(s) = schedules[i](s − boundaries[i−1]),   i = the number of boundaries <= s

  Args:
    schedules: one more than there are boundaries.
    boundaries: the first step of each next schedule, rising, each >= 1.

  Returns:
    A schedule.

  Raises:
    ValueError: the numbers do not fit or the boundaries do not rise.
  """
  if len(schedules) != len(boundaries) + 1:
    raise ValueError(
      f"{len(boundaries)} boundaries part {len(boundaries) + 1} schedules,"
      f" got {len(schedules)}"
    )
  starts = (0, *boundaries)
  if not all(start < end for start, end in zip(starts, boundaries)):
    raise ValueError(
      f"boundaries must rise and be >= 1, got {tuple(boundaries)}"
    )

  def schedule(step: Step) -> Rate:
    step, library = _exact(step), _library(step)
    rate = schedules[0](step)
    for start, following in zip(boundaries, schedules[1:]):
      # Before its start a schedule gets step 0, never a negative one.
      later = following(library.maximum(step - start, 0))
      rate = library.where(step < start, rate, later)
    return rate

  return schedule


def warmup(
  schedule: Schedule,
  *,
  warmup_steps: int,
  warmup_learning_rate: float = 0.0,
  hold_steps: int = 0,
) -> Schedule:
  """Puts a linear warmup and a plateau before a schedule.

  η(s) = initial + (peak − initial)·(s + 1)/W        for s < W
  η(s) = peak                                        for W <= s < W + H
  η(s) = schedule(s − W − H)                         after, peak = schedule(0)

  The first step is trained with a rate above `warmup_learning_rate` and the
  last of the W with the peak. W = H = 0 is the schedule itself.

  Args:
    schedule: what follows; its step 0 is the peak.
    warmup_steps: W, >= 0.
    warmup_learning_rate: the rate from which the warmup starts, >= 0.
    hold_steps: H, steps at the peak before the schedule starts, >= 0.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.

  Reference: He et al. 2018, section 3.1; Goyal et al. 2017.
  """
  _check_rate("warmup_learning_rate", warmup_learning_rate)
  _check_not_negative("warmup_steps", warmup_steps)
  _check_not_negative("hold_steps", hold_steps)

  def rise(step: Step) -> Rate:
    peak = _cast(schedule(step * 0), "float64")
    span = peak - warmup_learning_rate
    fraction = _fraction(_exact(step) + 1, warmup_steps)
    return _cast(warmup_learning_rate + span * fraction, "float32")

  def hold(step: Step) -> Rate:
    return schedule(step * 0)

  parts = [schedule]
  boundaries: list[int] = []
  if hold_steps:
    parts.insert(0, hold)
    boundaries.append(warmup_steps + hold_steps)
  if warmup_steps:
    parts.insert(0, rise)
    boundaries.insert(0, warmup_steps)
  return join(parts, boundaries)


def warmup_hold_cosine(
  peak_learning_rate: float,
  *,
  total_steps: int,
  warmup_steps: int = 0,
  warmup_learning_rate: float = 0.0,
  hold_steps: int = 0,
) -> Schedule:
  """The paper's schedule: linear warmup, plateau, cosine down to 0.

  η(s) = ½·peak·(1 + cos(π·(s − W − H)/(T − W − H)))   for W + H <= s < T

  with `warmup` before, and 0 at and after T.

  Args:
    peak_learning_rate: the highest rate, >= 0.
    total_steps: T, > warmup_steps + hold_steps.
    warmup_steps: W, >= 0.
    warmup_learning_rate: the rate from which the warmup starts, >= 0.
    hold_steps: H, >= 0.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.

  Reference: He et al. 2018, sections 3.1 and 5.1.
  """
  decay_steps = _steps_left(total_steps, warmup_steps, hold_steps)
  return warmup(
    cosine(peak_learning_rate, decay_steps),
    warmup_steps=warmup_steps,
    warmup_learning_rate=warmup_learning_rate,
    hold_steps=hold_steps,
  )


def warmup_stable_decay(
  peak_learning_rate: float,
  *,
  total_steps: int,
  decay_steps: int,
  warmup_steps: int = 0,
  warmup_learning_rate: float = 0.0,
  decay_shape: str = "sqrt",
) -> Schedule:
  """Rises to the peak, stays there, and decays to 0 at the end.

  η(s) = peak                                        for W <= s < T − D
  η(s) = peak·(1 − √x)                               for T − D <= s < T
  η(s) = 0                                           at and after T

  with `warmup` before and x = (s − T + D)/D; a linear decay is peak·(1 − x), a
  cosine ½·peak·(1 + cos(π·x)). Until the decay no rate depends on T: a longer
  run has the same steps, and the decay may start from any of them.

  Args:
    peak_learning_rate: the highest rate, >= 0.
    total_steps: T, >= warmup_steps + decay_steps.
    decay_steps: D, >= 1.
    warmup_steps: W, >= 0.
    warmup_learning_rate: the rate from which the warmup starts, >= 0.
    decay_shape: one of DECAY_SHAPES.

  Returns:
    A schedule.

  Raises:
    ValueError: an argument is out of its range.

  Reference: Hu et al. 2024, "MiniCPM", section 4; Hägele et al. 2024, "Scaling
  Laws and Compute-Optimal Training Beyond Fixed Training Durations".
  """
  decays: dict[str, Callable[[float, int], Schedule]] = {
    "sqrt": one_minus_sqrt,
    "linear": linear,
    "cosine": cosine,
  }
  if decay_shape not in decays:
    raise ValueError(
      f"decay_shape must be one of {', '.join(DECAY_SHAPES)}, got"
      f" {decay_shape!r}"
    )
  stable_steps = total_steps - warmup_steps - decay_steps
  if not stable_steps >= 0:
    raise ValueError(
      "total_steps must be >= warmup_steps + decay_steps ="
      f" {warmup_steps} + {decay_steps}, got {total_steps}"
    )
  return warmup(
    decays[decay_shape](peak_learning_rate, decay_steps),
    warmup_steps=warmup_steps,
    warmup_learning_rate=warmup_learning_rate,
    hold_steps=stable_steps,
  )


def make_schedule(
  name: str,
  *,
  peak_learning_rate: float,
  total_steps: int,
  warmup_steps: int = 0,
  warmup_learning_rate: float = 0.0,
  hold_steps: int = 0,
  boundary_steps: Sequence[int] = (),
  decay_factor: float = 0.1,
  end_learning_rate: float = 0.0,
  polynomial_power: float = 2.0,
  decay_steps: int = 0,
  decay_shape: str = "sqrt",
) -> Schedule:
  """Makes a schedule by its name; warmup and hold stand before each.

  Args:
    name: one of SCHEDULES.
    peak_learning_rate: the rate after the warmup, >= 0.
    total_steps: steps of the run, > warmup_steps + hold_steps.
    warmup_steps: steps of linear warmup, >= 0.
    warmup_learning_rate: the rate from which the warmup starts, >= 0.
    hold_steps: steps at the peak before the decay starts, >= 0.
    boundary_steps: "step" only, the steps of the run at which the rate is
      multiplied by `decay_factor`; rising, > warmup_steps + hold_steps. One
      that lies after `total_steps` is never reached.
    decay_factor: of "step"; and of "exponential", which ends at
      peak·decay_factor; in (0, 1].
    end_learning_rate: "linear" and "polynomial", the rate at `total_steps`.
    polynomial_power: "polynomial" only, > 0.
    decay_steps: "warmup_stable_decay" only, the steps of the decay at the end,
      >= 1. It fills what they leave with its peak, and takes no hold_steps.
    decay_shape: "warmup_stable_decay" only, one of DECAY_SHAPES.

  Returns:
    A schedule.

  Raises:
    ValueError: an unknown name or an argument out of its range.

  Reference: He et al. 2018, sections 2, 3.1 and 5.1.
  """
  if name == "warmup_stable_decay":
    if hold_steps:
      raise ValueError(f"hold_steps must be 0 with {name}, got {hold_steps}")
    return warmup_stable_decay(
      peak_learning_rate,
      total_steps=total_steps,
      decay_steps=decay_steps,
      warmup_steps=warmup_steps,
      warmup_learning_rate=warmup_learning_rate,
      decay_shape=decay_shape,
    )
  steps_left = _steps_left(total_steps, warmup_steps, hold_steps)
  if name == "cosine":
    decay = cosine(peak_learning_rate, steps_left)
  elif name == "step":
    decay = _step_decay(
      peak_learning_rate,
      boundary_steps,
      warmup_steps + hold_steps,
      decay_factor,
    )
  elif name == "constant":
    decay = constant(peak_learning_rate)
  elif name == "linear":
    decay = linear(
      peak_learning_rate, steps_left, end_learning_rate=end_learning_rate
    )
  elif name == "polynomial":
    decay = polynomial(
      peak_learning_rate,
      steps_left,
      end_learning_rate=end_learning_rate,
      power=polynomial_power,
    )
  elif name == "exponential":
    decay = exponential(
      peak_learning_rate, steps_left, decay_factor=decay_factor
    )
  else:
    raise ValueError(
      f"schedule must be one of {', '.join(SCHEDULES)}, got {name!r}"
    )
  return warmup(
    decay,
    warmup_steps=warmup_steps,
    warmup_learning_rate=warmup_learning_rate,
    hold_steps=hold_steps,
  )


def learning_rates(schedule: Schedule, total_steps: int) -> np.ndarray:
  """Returns the rate of each step of a run, to look at or to plot.

  Args:
    schedule: a schedule of this file, or any function like it.
    total_steps: the steps of the run, >= 1.

  Returns:
    [total_steps] float32: the rates of the steps 0, 1, ...

  Raises:
    ValueError: total_steps is out of its range.

  >>> learning_rates(linear(0.4, 4), 5).tolist()
  [0.4000000059604645, 0.30000001192092896, 0.20000000298023224, ...]
  """
  if not total_steps >= 1:
    raise ValueError(f"total_steps must be >= 1, got {total_steps}")
  return np.asarray(schedule(np.arange(total_steps)), np.float32)


def _step_decay(
  peak: float, boundary_steps: Sequence[int], start: int, decay_factor: float
) -> Schedule:
  _check_decay_factor(decay_factor)
  if not (boundary_steps and boundary_steps[0] > start):
    raise ValueError(
      "schedule 'step' needs boundary_steps after warmup_steps + hold_steps ="
      f" {start}, got {tuple(boundary_steps)}"
    )
  rates = [peak * decay_factor**i for i in range(len(boundary_steps) + 1)]
  return piecewise(rates, [boundary - start for boundary in boundary_steps])


def _fraction(step: Step, steps: int) -> Any:
  # In float64: float32 rounds step 16,777,217 to the step before.
  return _library(step).minimum(_cast(step, "float64") / steps, 1.0)


def _exact(step: Step) -> Any:
  """Returns a step in int64, or in float64 if it lies between two."""
  kind = step.dtype if hasattr(step, "dtype") else type(step)
  floating = np.issubdtype(getattr(kind, "as_numpy_dtype", kind), np.floating)
  return _cast(step, "float64" if floating else "int64")


def _library(number: Any) -> Any:
  """Returns the module that computes with a number: TensorFlow's or NumPy."""
  if isinstance(number, (int, float, np.ndarray, np.generic)):
    return np
  import tensorflow as tf

  return tf


def _cast(number: Any, dtype: str) -> Any:
  library = _library(number)
  if library is np:
    return np.asarray(number).astype(dtype)[()]
  return library.cast(number, dtype)


def _steps_left(total_steps: int, warmup_steps: int, hold_steps: int) -> int:
  _check_not_negative("warmup_steps", warmup_steps)
  _check_not_negative("hold_steps", hold_steps)
  decay_steps = total_steps - warmup_steps - hold_steps
  if not decay_steps >= 1:
    raise ValueError(
      f"total_steps must be > warmup_steps + hold_steps = {warmup_steps} +"
      f" {hold_steps}, got {total_steps}"
    )
  return decay_steps


def _check_rate(name: str, rate: float) -> None:
  if not 0.0 <= rate < math.inf:
    raise ValueError(f"{name} must be finite and >= 0, got {rate}")


def _check_decay_steps(decay_steps: int) -> None:
  if not decay_steps >= 1:
    raise ValueError(f"decay_steps must be >= 1, got {decay_steps}")


def _check_not_negative(name: str, steps: int) -> None:
  if not steps >= 0:
    raise ValueError(f"{name} must be >= 0, got {steps}")


def _check_decay_factor(decay_factor: float) -> None:
  if not 0.0 < decay_factor <= 1.0:
    raise ValueError(f"decay_factor must be in (0, 1], got {decay_factor}")
