# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The formulas of the tricks, written down anew in NumPy, float64.

They share no code with the tricks, which tests compare with them too.
"""

from __future__ import annotations

import math

import numpy as np

Slots = tuple[np.ndarray, ...]


def rate(
  name: str,
  step: int,
  *,
  peak: float,
  total_steps: int,
  warmup_steps: int,
  hold_steps: int,
  last_steps: int,
) -> float:
  """Returns the learning rate of a step.

  Args:
    name: one of `tricks.SCHEDULES`.
    step: 0-based.
    peak: the highest rate.
    total_steps: T.
    warmup_steps: W, from 0 to the peak.
    hold_steps: at the peak.
    last_steps: of the decay of warmup_stable_decay; two boundaries of step are
      so many steps apart, and multiply by 1/10.
  """
  if step < warmup_steps:
    return peak * (step + 1) / warmup_steps
  start = warmup_steps + hold_steps
  if step < start:
    return peak
  done = min((step - start) / (total_steps - start), 1.0)
  left = min(max(0.0, 1 - (total_steps - step) / last_steps), 1.0)
  boundaries = (start + last_steps, start + 2 * last_steps)
  factors: dict[str, float] = {
    "constant": 1.0,
    "cosine": (1 + math.cos(math.pi * done)) / 2,
    "linear": 1 - done,
    "polynomial": (1 - done) ** 2,
    "exponential": 0.1 ** ((step - start) / (total_steps - start)),
    "step": 0.1 ** sum(step >= boundary for boundary in boundaries),
    "warmup_stable_decay": 1 - math.sqrt(left),
  }
  return peak * factors[name]


def smoothed(targets: np.ndarray, epsilon: float) -> np.ndarray:
  """Returns [batch, K] one-hot rows, of which each class gets ε/K."""
  return targets * (1 - epsilon) + epsilon / targets.shape[1]


def blended(
  values: np.ndarray, lam: float, permutation: np.ndarray
) -> np.ndarray:
  """Returns λ·x_i + (1 − λ)·x_j, [batch, ...]."""
  return lam * values + (1 - lam) * values[permutation]


def softmax(logits: np.ndarray) -> np.ndarray:
  """Returns probabilities, [batch, K]."""
  powers = np.exp(logits - logits.max(axis=1, keepdims=True))
  return powers / powers.sum(axis=1, keepdims=True)


def distillation(
  logits: np.ndarray, teacher_logits: np.ndarray, temperature: float
) -> np.ndarray:
  """Returns T²·CE(softmax(r/T), softmax(z/T)), [batch]."""
  wanted = softmax(teacher_logits / temperature)
  found = softmax(logits / temperature)
  return -(temperature**2) * (wanted * np.log(found)).sum(axis=1)


def updated(
  name: str,
  w: np.ndarray,
  g: np.ndarray,
  slots: Slots,
  *,
  learning_rate: float,
  weight_decay: float,
  kernel: bool,
  step: int,
  momentum: float,
) -> tuple[np.ndarray, Slots]:
  """Takes a step of an update rule, without Nesterov's look ahead.

  Args:
    name: one of `tricks.OPTIMIZERS`, whose other options are at the default.
    w: the parameter.
    g: its gradient.
    slots: what the rule keeps, zeros at first.
    learning_rate: η.
    weight_decay: λ.
    kernel: whether w is a kernel.
    step: 0-based.
    momentum: μ of sgd, lars and muon.

  Returns:
    The new parameter and slots.
  """
  if name in ("adamw", "lamb"):
    m = 0.9 * slots[0] + 0.1 * g
    v = 0.999 * slots[1] + 0.001 * g**2
    corrected = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
    u = corrected[0] / (np.sqrt(corrected[1]) + 1e-8) + weight_decay * w
    if name == "lamb" and kernel:
      u = u * np.linalg.norm(w) / np.linalg.norm(u)
    return w - learning_rate * u, (m, v)
  (v,) = slots
  if name == "muon":
    v = momentum * v + g
    u = v
    if kernel and w.ndim > 2:
      u = _orthogonal(v.reshape(-1, v.shape[-1])).reshape(v.shape)
    return w - learning_rate * (u + weight_decay * w), (v,)
  scale = 1.0
  if name == "lars" and kernel:
    sizes = float(np.linalg.norm(w)), float(np.linalg.norm(g))
    scale = 0.001 * sizes[0] / (sizes[1] + weight_decay * sizes[0])
  g = g + weight_decay * w
  if name == "lars":  # The rate is part of the velocity.
    v = momentum * v + learning_rate * scale * g
    return w - v, (v,)
  v = momentum * v + g
  return w - learning_rate * v, (v,)


def _orthogonal(matrix: np.ndarray) -> np.ndarray:
  """Returns Muon's direction, its iteration done on the singular values."""
  u, s, vt = np.linalg.svd(matrix, full_matrices=False)
  s = s / np.linalg.norm(s)
  for _ in range(5):
    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
  inputs, outputs = matrix.shape
  return math.sqrt(max(1.0, outputs / inputs)) * (u * s) @ vt
