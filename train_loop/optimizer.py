# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A gradient becomes an update: by our rules, or by TensorFlow Addons'."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Union

import tensorflow as tf

import tricks
from train_loop import config as config_lib

# Keeps AutoGraph off functions that need no conversion, which costs seconds.
_unconverted = tf.autograph.experimental.do_not_convert


class OurOptimizer:
  """One of the update rules of `tricks`, and its variables.

  Attributes:
    slots: the variables of each parameter, such as its momentum.
  """

  def __init__(
    self,
    config: config_lib.OptimizerConfig,
    parameters: Sequence[tf.Variable],
    *,
    kernels: Sequence[bool],
    decayed: Sequence[bool],
    rate_multipliers: Sequence[float],
  ) -> None:
    """Creates the slots, which are zeros at first.

    Args:
      config: its `optimizer` is one of `config.OPTIMIZERS`.
      parameters: the variables to update.
      kernels: for each parameter, whether it is a kernel.
      decayed: for each parameter, whether weight decay applies.
      rate_multipliers: by what each parameter's learning rate is multiplied.
    """
    self._rule = tricks.make_optimizer(
      config.optimizer, momentum=config.momentum, nesterov=config.nesterov
    )
    self._parameters = list(parameters)
    self._kernels = list(kernels)
    self._decays = [config.weight_decay if d else 0.0 for d in decayed]
    self._rate_multipliers = list(rate_multipliers)
    self.slots = [
      tuple(_zeros_like(v) for _ in self._rule.slots) for v in parameters
    ]

  @_unconverted
  def apply(
    self,
    gradients: Sequence[tf.Tensor],
    *,
    learning_rate: tf.Tensor,
    step: tf.Tensor,
  ) -> None:
    """Updates parameters and slots.

    Args:
      gradients: one for each parameter, float32, finite, summed over replicas.
      learning_rate: of this step, float32 scalar.
      step: 0-based, int64 scalar.
    """
    for parameter, gradient, slots, kernel, weight_decay, multiplier in zip(
      self._parameters,
      gradients,
      self.slots,
      self._kernels,
      self._decays,
      self._rate_multipliers,
    ):
      rate = learning_rate
      if multiplier != 1.0:
        rate = learning_rate * multiplier
      new_parameter, new_slots = self._rule.update(
        parameter.read_value(),
        gradient,
        tuple(slot.read_value() for slot in slots),
        learning_rate=rate,
        weight_decay=weight_decay,
        kernel=kernel,
        step=step,
      )
      parameter.assign(new_parameter)
      for slot, new_slot in zip(slots, new_slots):
        slot.assign(new_slot)


class AddonsOptimizer:
  """One optimizer of TensorFlow Addons, `--optimizer=tfa:NAME`.

      w ← w − η·λ·w   if w decays;   then the optimizer's own step, at rate η

  So decay is decoupled, whichever the optimizer, as in Addons' own SGDW and
  AdamW; an optimizer's own decay stays off. Momentum and Nesterov are given to
  those that have them; the rest keeps Addons' defaults. Addons ended in 2024,
  and its last release imports only up to TensorFlow 2.15.

  Attributes:
    slots: all its variables, in one tuple.
  """

  def __init__(
    self,
    config: config_lib.OptimizerConfig,
    parameters: Sequence[tf.Variable],
    *,
    decayed: Sequence[bool],
  ) -> None:
    """Creates the optimizer and its slots.

    Args:
      config: its `optimizer` is one of `config.ADDONS_OPTIMIZERS`.
      parameters: the variables to update.
      decayed: for each parameter, whether weight decay applies.

    Raises:
      ConfigError: Addons is not installed, or there are several replicas: its
        optimizers cannot update inside the branch that skips an overflow.
    """
    config_lib.require_addons(config.optimizer)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
      raise config_lib.ConfigError(
        f"optimizer must be one of {', '.join(config_lib.OPTIMIZERS)} on "
        f"several replicas ({replicas}), got {config.optimizer!r}"
      )
    import tensorflow_addons as tfa

    make = getattr(tfa.optimizers, config.optimizer.removeprefix("tfa:"))
    # Addons calls it for the rate at every step.
    self._rate = tf.Variable(0.0, trainable=False)
    options: dict[str, Any] = {
      "learning_rate": self._rate.read_value,
      "weight_decay": 0.0,
      "momentum": config.momentum,
      "nesterov": config.nesterov,
    }
    accepted = inspect.signature(make).parameters
    self._optimizer = make(**{k: options[k] for k in options if k in accepted})
    # Now, not in the first step: a checkpoint is restored before that.
    self._parameters = list(parameters)
    self._optimizer._create_all_weights(self._parameters)
    self.slots = [tuple(self._optimizer.variables())]
    self._decays = [config.weight_decay * is_decayed for is_decayed in decayed]

  @_unconverted
  def apply(
    self,
    gradients: Sequence[tf.Tensor],
    *,
    learning_rate: tf.Tensor,
    step: tf.Tensor,
  ) -> None:
    """Updates parameters and slots; arguments as of `OurOptimizer.apply`."""
    del step  # Addons counts its own.
    self._rate.assign(learning_rate)
    for parameter, weight_decay in zip(self._parameters, self._decays):
      if weight_decay:
        parameter.assign_sub(learning_rate * weight_decay * parameter)
    self._optimizer.apply_gradients(
      zip(gradients, self._parameters), experimental_aggregate_gradients=False
    )


Optimizer = Union[OurOptimizer, AddonsOptimizer]


def make_optimizer(
  config: config_lib.OptimizerConfig,
  parameters: Sequence[tf.Variable],
  *,
  kernels: Sequence[bool],
  decayed: Sequence[bool],
  rate_multipliers: Sequence[float],
) -> Optimizer:
  """Creates the optimizer that the config names, with its slots.

  Args:
    config: the settings; `optimizer` is one of ours or of Addons'.
    parameters: the variables to update.
    kernels: for each parameter, whether it is a kernel.
    decayed: for each parameter, whether weight decay applies.
    rate_multipliers: by what each parameter's learning rate is multiplied; all
      1 for Addons' optimizers.

  Raises:
    ConfigError: it is one of Addons', which is not installed or there are
      several replicas.
  """
  if config.optimizer in config_lib.ADDONS_OPTIMIZERS:
    return AddonsOptimizer(config, parameters, decayed=decayed)
  return OurOptimizer(
    config,
    parameters,
    kernels=kernels,
    decayed=decayed,
    rate_multipliers=rate_multipliers,
  )


def _zeros_like(variable: tf.Variable) -> tf.Variable:
  return tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
