# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The update rules by name: pure functions, and the slots of each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from tricks import adamw, lamb, lars, muon
from tricks import momentum as momentum_lib
from tricks.names import OPTIMIZERS


class Optimizer(NamedTuple):
  """An update rule.

  Attributes:
    slots: the names of what it keeps for each parameter: float32 tensors of
      the parameter's shape, zeros at first.
    update: (parameter, gradient, slots, *, learning_rate, weight_decay, kernel,
      step) -> (new_parameter, new_slots); pure. weight_decay is a Python
      number, 0 if the parameter does not decay; kernel, a bool, says whether it
      is the kernel of a convolution or dense layer; step is 0-based.
  """

  slots: tuple[str, ...]
  update: Callable


def make_optimizer(
  name: str,
  *,
  momentum: float = 0.9,
  nesterov: bool = False,
  beta_1: float = 0.9,
  beta_2: float = 0.999,
  epsilon: float = 1e-8,
  trust_coefficient: float = 0.001,
) -> Optimizer:
  """Makes an update rule by its name.

  >>> make_optimizer("sgd", momentum=0.9).slots
  ('momentum',)

  Args:
    name: one of OPTIMIZERS.
    momentum: "sgd", "lars" and "muon" only, in [0, 1).
    nesterov: "sgd", "lars" and "muon" only.
    beta_1: "adamw" and "lamb" only, in [0, 1).
    beta_2: "adamw" and "lamb" only, in [0, 1).
    epsilon: "adamw" and "lamb" only, > 0.
    trust_coefficient: "lars" only, > 0.

  Returns:
    The rule.

  Raises:
    ValueError: an unknown name or an argument out of its range.
  """
  momentum_lib.check_momentum(momentum)
  adamw.check_adam(beta_1, beta_2, epsilon)
  lars.check_trust_coefficient(trust_coefficient)
  heavy_ball: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov}
  adam: dict[str, Any] = {
    "beta_1": beta_1,
    "beta_2": beta_2,
    "epsilon": epsilon,
  }
  if name == "sgd":
    update = functools.partial(momentum_lib.momentum_update, **heavy_ball)
    return Optimizer(momentum_lib.SLOTS, update)
  if name == "adamw":
    return Optimizer(adamw.SLOTS, functools.partial(adamw.adamw_update, **adam))
  if name == "lars":
    update = functools.partial(
      lars.lars_update, trust_coefficient=trust_coefficient, **heavy_ball
    )
    return Optimizer(lars.SLOTS, update)
  if name == "lamb":
    return Optimizer(lamb.SLOTS, functools.partial(lamb.lamb_update, **adam))
  if name == "muon":
    update = functools.partial(muon.muon_update, **heavy_ball)
    return Optimizer(muon.SLOTS, update)
  raise ValueError(
    f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}"
  )
