# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The audit: what each variable is, and what the tricks do to it.

A run writes it as `audit.txt` before its first step, and shows it in
TensorBoard.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tabulate
import tensorflow as tf

from train_loop.state import TrainState
from tricks import keras_compat


@dataclasses.dataclass(frozen=True)
class Row:
  """A variable of the model.

  Attributes:
    name: with the names of its layers.
    shape: of its value.
    dtype: of its value.
    trained: whether gradients change it; BatchNorm's statistics and frozen
      variables are not trained.
    decays: whether weight decay applies.
    zero_gamma: whether it is a γ that starts at 0.
    rate_multiplier: by what its learning rate is multiplied.
    mean: of its values, now.
    deviation: of its values, now.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  trained: bool
  decays: bool
  zero_gamma: bool
  rate_multiplier: float
  mean: float
  deviation: float

  @property
  def size(self) -> int:
    """How many numbers it holds."""
    return int(np.prod(self.shape, dtype=np.int64))


def rows(state: TrainState) -> list[Row]:
  """Returns a row for each variable of a model, those that are trained first.

  Args:
    state: of a run, before its first step if initial values are wanted.
  """
  model = state.model
  gammas = {
    id(layer.gamma)
    for layer in keras_compat.flat_layers(model)
    if keras_compat.is_batch_norm(layer) and layer.gamma is not None
  }
  trained = zip(
    model.trainable_variables, state.decayed, state.rate_multipliers
  )
  untrained = ((v, False, 0.0) for v in model.non_trainable_variables)
  found = []
  for trains, group in ((True, trained), (False, untrained)):
    for variable, decays, multiplier in group:
      value = np.asarray(tf.convert_to_tensor(variable), np.float64)
      is_zero = not value.any()
      found.append(
        Row(
          name=keras_compat.variable_name(variable),
          shape=tuple(value.shape),
          dtype=tf.as_dtype(variable.dtype).name,
          trained=trains,
          decays=bool(decays),
          zero_gamma=id(variable) in gammas and is_zero,
          rate_multiplier=multiplier,
          mean=float(value.mean()),
          deviation=float(value.std()),
        )
      )
  return found


def as_text(audit: Sequence[Row], *, form: str = "simple") -> str:
  """Returns the audit as a table with totals.

  Args:
    audit: from `rows`.
    form: a format of tabulate: "simple" for a terminal, "github" for Markdown.
  """
  table = [
    [
      row.name,
      "x".join(map(str, row.shape)) or "scalar",
      row.dtype,
      "yes" if row.decays else "",
      "yes" if row.zero_gamma else "",
      f"{row.rate_multiplier:.3g}" if row.trained else "not trained",
      f"{row.mean:.3g}",
      f"{row.deviation:.3g}",
    ]
    for row in audit
  ]
  heads = [
    *("variable", "shape", "dtype", "decays", "zero γ", "rate ×"),
    *("mean", "deviation"),
  ]
  text = tabulate.tabulate(table, heads, tablefmt=form, disable_numparse=True)

  def total(rows: Sequence[Row]) -> str:
    return f"{sum(row.size for row in rows):,} in {len(rows)} variables"

  trained = [row for row in audit if row.trained]
  decayed = [row for row in audit if row.decays]
  zeroed = [row for row in audit if row.zero_gamma]
  return (
    f"{text}\n\ntrained: {total(trained)}; decayed: {total(decayed)}; zero γ: "
    f"{total(zeroed)}; all: {total(audit)}\n"
  )
