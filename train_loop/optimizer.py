# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizers of TensorFlow Addons, `--optimizer=tfa/NAME`.

Addons ended in 2024, and its last release imports up to TensorFlow 2.15 only.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from train_loop import config as config_lib


class AddonsOptimizer:
  """One optimizer of TensorFlow Addons, which keeps its own variables.

      w ← w − η·λ·w   where w is decayed;   then the optimizer's step, at rate η

  So is decay decoupled under each of them, as in Addons' own SGDW and AdamW;
  what an optimizer has of decay itself stays off. Momentum and Nesterov reach
  those that have them; all else keeps Addons' defaults.

  Attributes:
    variables: all that it keeps, made when the optimizer is.
  """

  def __init__(
    self,
    config: config_lib.OptimizerConfig,
    parameters: Sequence[tf.Variable],
    decayed: Sequence[bool],
  ) -> None:
    """Makes the optimizer and its slots.

    Args:
      config: its `optimizer` is "tfa/NAME".
      parameters: what it is to update.
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

    make = getattr(tfa.optimizers, config.optimizer.removeprefix("tfa/"))
    # A callable is asked for the rate in every step.
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
    self.variables: list[tf.Variable] = self._optimizer.variables()
    self._decays = [config.weight_decay * is_decayed for is_decayed in decayed]

  def apply(
    self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor
  ) -> None:
    """Takes one step.

    Args:
      gradients: one a parameter, float32, summed over replicas.
      learning_rate: η, float32 scalar.
    """
    self._rate.assign(learning_rate)
    for parameter, weight_decay in zip(self._parameters, self._decays):
      if weight_decay:
        parameter.assign_sub(learning_rate * weight_decay * parameter)
    self._optimizer.apply_gradients(
      zip(gradients, self._parameters), experimental_aggregate_gradients=False
    )
