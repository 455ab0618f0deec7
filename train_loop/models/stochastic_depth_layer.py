# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stochastic depth as a Keras layer, whose randomness a checkpoint resumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import tricks
from tricks.draws import part_of_replica
from tricks.keras_compat import unconverted
from tricks.stochastic_depth import check_drop_probability


@tf.keras.utils.register_keras_serializable(package="train_loop")
class StochasticDepth(tf.keras.layers.Layer):
  """Drops a residual branch at random in training: `tricks.stochastic_depth`.

  What is dropped is a function of `seed`, of how often the layer has been
  called to train, and of the example's place in the global batch. Seed and
  count are a variable of the layer, so a run that is continued from a
  checkpoint goes on with the same draws.

  Args:
    drop_probability: In [0, 1).
    seed: In [0, 2**31); None draws one from NumPy's global generator, which
      `tf.keras.utils.set_random_seed` seeds. (Keras draws initial weights from
      another one: they are the same with and without this layer.)
    **kwargs: `name` and `dtype`, as every Keras layer has them.

  Input: [batch, ...] floating.
  Output: Same shape, in the compute dtype.

  Raises:
    ValueError: `drop_probability` is out of its range.

  Reference: Huang et al. 2016 (arXiv 1603.09382).
  """

  def __init__(
    self, drop_probability: float, *, seed: int | None = None, **kwargs: Any
  ) -> None:
    super().__init__(**kwargs)
    check_drop_probability("drop_probability", drop_probability)
    self.drop_probability = float(drop_probability)
    self.seed = int(np.random.randint(2**31) if seed is None else seed)

  def build(self, input_shape: Sequence[int | None]) -> None:
    """Makes the key of the next draw: the seed, and the calls so far."""
    self.key = self.add_weight(
      name="key",
      shape=(2,),
      dtype="int64",  # TensorFlow keeps int32 variables off a GPU.
      initializer=lambda shape, dtype: tf.constant([self.seed, 0], dtype),
      trainable=False,
    )
    super().build(input_shape)

  @unconverted
  def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
    """Drops branches in training; gives `inputs` back in inference."""
    if not training:
      return inputs
    key = tf.identity(self.key)
    self.key.assign(tf.add(key, [0, 1]))
    return tricks.stochastic_depth(
      inputs,
      drop_probability=self.drop_probability,
      seed=tf.random.fold_in(key, 0, alg="philox"),
      part=part_of_replica(),
    )

  def compute_output_shape(
    self, input_shape: Sequence[int | None]
  ) -> Sequence[int | None]:
    """The shape of the input."""
    return input_shape

  def get_config(self) -> dict[str, Any]:
    """The arguments, as `from_config` takes them."""
    return {
      **super().get_config(),
      "drop_probability": self.drop_probability,
      "seed": self.seed,
    }
