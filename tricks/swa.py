# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""SWA: the equal average of the weights along the end of a run."""

from __future__ import annotations

import tensorflow as tf

from tricks.ema import ema


def swa_decay_at(
  step: int | tf.Tensor, *, total_steps: int, swa_steps: int, every_steps: int
) -> tf.Tensor:
  """Returns what the average keeps of itself after a step.

  The weights after the last step, and those each `every_steps` before it, as
  far as they lie in the last `swa_steps`, are averaged:

  d(s) = (n − 1)/n   after the step that gives the nth of them
  d(s) = 0           before the first: the average is the weights themselves
  d(s) = 1           between two of them

  >>> steps = {"total_steps": 9, "swa_steps": 6, "every_steps": 2}
  >>> [round(float(swa_decay_at(s, **steps)), 2) for s in range(9)]
  [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.5, 1.0, 0.67]

  Args:
    step: s, 0-based, int or int tensor.
    total_steps: of the run, >= 1.
    swa_steps: how many of the last steps count, in [1, total_steps].
    every_steps: the steps between two that are averaged, >= 1.

  Returns:
    A float32 scalar, for `swa`.

  Raises:
    ValueError: an argument is out of its range.

  Reference: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and
  Better Generalization", algorithm 1.
  """
  if not 1 <= swa_steps <= total_steps:
    raise ValueError(
      f"swa_steps must be in [1, {total_steps}], got {swa_steps}"
    )
  if not every_steps >= 1:
    raise ValueError(f"every_steps must be >= 1, got {every_steps}")
  left = total_steps - 1 - tf.cast(step, tf.int64)
  first = (swa_steps - 1) // every_steps  # So many come after the first one.
  number = tf.cast(first + 1 - left // every_steps, tf.float64)
  kept = tf.where(left % every_steps == 0, (number - 1.0) / number, 1.0)
  is_before = left >= first * every_steps
  return tf.cast(tf.where(is_before, tf.zeros_like(kept), kept), tf.float32)


def swa(average: tf.Tensor, value: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
  """Moves an average towards a value, or keeps its bits.

  average ← decay·average + (1 − decay)·value

  Args:
    average: float32.
    value: of the same shape.
    decay: float32 scalar in [0, 1]; 0 gives the value itself, 1 the average.

  Returns:
    The new average, in the average's dtype.
  """
  average = tf.convert_to_tensor(average)
  return tf.where(decay < 1.0, ema(average, value, decay), average)
