# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tricks against the formulas in NumPy, run eagerly, in a graph, by XLA."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import tensorflow as tf

import tricks
from train_loop.failures import first_line
from train_loop.verifying import references

# In float32; Muon's iteration multiplies what rounding loses.
BOUND, BOUND_OF_MUON = 1e-5, 1e-4


@dataclasses.dataclass(frozen=True)
class Check:
  """Two results that have to agree.

  Attributes:
    name: what is compared.
    difference: the largest, as a part of the largest number.
    bound: of the difference.
    note: what is not compared, and why; or what was wrong.
  """

  name: str
  difference: float
  bound: float
  note: str = ""

  @property
  def agrees(self) -> bool:
    """Whether the difference is within its bound; NaN is not."""
    return self.difference <= self.bound


@dataclasses.dataclass(frozen=True, eq=False)
class Formula:
  """A trick on some input.

  Attributes:
    name: of the trick.
    ours: computes it from tensors.
    inputs: arrays, of the dtypes that it takes.
    expected: what NumPy gives, float64.
    bound: of the difference.
  """

  name: str
  ours: Callable[..., Any]
  inputs: tuple[Any, ...]
  expected: Any
  bound: float = BOUND


def difference(found: Any, expected: Any) -> float:
  """Returns the largest difference, as a part of the largest number.

  Args:
    found: a structure of arrays or tensors.
    expected: another, of the same shapes.
  """
  worst = 0.0
  pairs = zip(tf.nest.flatten(found), tf.nest.flatten(expected))
  for one, other in pairs:
    ours, theirs = np.asarray(one, np.float64), np.asarray(other, np.float64)
    scale = np.abs(theirs).max(initial=0.0) or 1.0
    # maximum() keeps a NaN.
    worst = np.maximum(worst, np.abs(ours - theirs).max(initial=0.0) / scale)
  return float(worst)


def formulas() -> Iterator[Formula]:
  """Yields each trick that is a formula."""
  for name in tricks.SCHEDULES:
    yield _schedule(name)
  draws = np.random.default_rng(0)
  labels = np.eye(7, dtype=np.float32)[draws.integers(0, 7, 12)]
  yield Formula(
    "label smoothing",
    lambda targets: tricks.smooth_labels(targets, 0.1),
    (labels,),
    references.smoothed(labels.astype(np.float64), 0.1),
  )
  images = draws.integers(0, 256, [12, 5, 4, 3]).astype(np.float32)
  permutation = draws.permutation(12).astype(np.int32)
  yield Formula(
    "mixup",
    lambda x, y, lam, j: tricks.blend(x, y, lam=lam, permutation=j),
    (images, labels, np.float32(0.3), permutation),
    tuple(
      references.blended(
        x.astype(np.float64), float(np.float32(0.3)), permutation
      )
      for x in (images, labels)
    ),
  )
  z, r = draws.normal(scale=3.0, size=[2, 12, 7]).astype(np.float32)
  yield Formula(
    "distillation",
    lambda z, r: tricks.distillation_loss(z, r, temperature=20.0),
    (z, r),
    references.distillation(z.astype(np.float64), r.astype(np.float64), 20.0),
  )
  w, g = draws.normal(size=[2, 3, 4]).astype(np.float32)
  yield Formula(
    "weight decay",
    lambda g, w: tricks.l2_gradient(g, w, 1e-2),
    (g, w),
    g.astype(np.float64) + 1e-2 * w,
  )
  for name in tricks.OPTIMIZERS:
    for kernel in (True, False):
      yield _update_rule(name, kernel)


def _schedule(name: str) -> Formula:
  holds = 0 if name == "warmup_stable_decay" else 4
  start = 7 + holds
  ours = tricks.make_schedule(
    name,
    peak_learning_rate=0.4,
    total_steps=60,
    warmup_steps=7,
    hold_steps=holds,
    boundary_steps=[start + 9, start + 18],
    decay_factor=0.1,
    end_learning_rate=0.04 if name == "exponential" else 0.0,
    polynomial_power=2.0,
    decay_steps=9,
  )
  steps = np.arange(65)
  expected = [
    references.rate(
      name,
      step,
      peak=0.4,
      total_steps=60,
      warmup_steps=7,
      hold_steps=holds,
      last_steps=9,
    )
    for step in steps.tolist()
  ]
  return Formula(f"schedule {name}", ours, (steps,), np.array(expected))


def _update_rule(name: str, kernel: bool) -> Formula:
  """Three steps of an update rule on a convolution's kernel, or on a bias."""
  shape = [3, 3, 4, 6] if kernel else [6]
  draws = np.random.default_rng(1)
  w, *gradients = draws.normal(size=[4, *shape]).astype(np.float32)
  rule = tricks.make_optimizer(name, momentum=0.9)
  settings: dict[str, Any] = {
    "learning_rate": 0.05,
    "weight_decay": 0.01 if kernel else 0.0,
    "kernel": kernel,
  }

  def ours(w: tf.Tensor, *gradients: tf.Tensor) -> Any:
    slots = tuple(tf.zeros_like(w) for _ in rule.slots)
    for step, g in enumerate(gradients):
      step_tensor = tf.constant(step, tf.int64)
      w, slots = rule.update(w, g, slots, step=step_tensor, **settings)
    return w, slots

  expected: Any = w.astype(np.float64)
  slots: Any = tuple(np.zeros(shape) for _ in rule.slots)
  for step, g in enumerate(gradients):
    expected, slots = references.updated(
      name,
      expected,
      g.astype(np.float64),
      slots,
      step=step,
      momentum=0.9,
      **settings,
    )
  what = "kernel" if kernel else "bias"
  bound = BOUND_OF_MUON if name == "muon" and kernel else BOUND
  return Formula(
    f"update rule {name}, {what}",
    ours,
    (w, *gradients),
    (expected, slots),
    bound,
  )


def against_numpy() -> Iterator[Check]:
  """Yields a check for each formula, computed eagerly."""
  for formula in formulas():
    found = formula.ours(*map(tf.constant, formula.inputs))
    gap = difference(found, formula.expected)
    yield Check(f"{formula.name} = NumPy", gap, formula.bound)


def why_no_xla() -> str:
  """Returns why XLA does not run here, "" if it does."""
  try:
    tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(1.0))
  except tf.errors.OpError as error:
    return first_line(error)
  return ""


def modes_agree() -> Iterator[Check]:
  """Yields whether all formulas are the same in a graph, and by XLA."""
  no_xla = why_no_xla()
  for mode, compiles in (("graph", False), ("XLA", True)):
    if compiles and no_xla:
      yield Check(
        "formulas: eager = XLA", 0.0, BOUND, f"XLA does not run here: {no_xla}"
      )
      continue
    worst = 0.0
    for formula in formulas():
      tensors = list(map(tf.constant, formula.inputs))
      graph = tf.function(formula.ours, jit_compile=compiles, autograph=False)
      gap = difference(graph(*tensors), formula.ours(*tensors))
      # As a part of its own bound.
      worst = float(np.maximum(worst, gap * BOUND / formula.bound))
    yield Check(f"formulas: eager = {mode}", worst, BOUND)
