# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation on TensorFlow's fused op, for Keras 2 and Keras 3.

Keras 3's own BatchNormalization left the fused op for separate moments and
arithmetic. That costs a training step 20 to 45% on a CPU, and on a GPU a pass
over memory more. This layer computes what Keras 2's fused layer computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tricks import keras_compat

_COMPUTE_DTYPES = ("float32", "float16", "bfloat16")


@tf.keras.utils.register_keras_serializable(package="train_loop")
class BatchNorm(tf.keras.layers.Layer):
  """Normalises each channel over the batch, then scales and shifts it.

      y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

  In training, mean and (biased) variance are the batch's own, and the moving
  statistics follow them:

      moving = momentum * moving + (1 - momentum) * batch

  The moving variance follows the *unbiased* variance of the batch (divided by
  n - 1): the fused op gives it, and Keras 2's fused layer uses it too, but not
  the layer of Keras 3. In inference, and in a frozen layer
  (`trainable = False`), mean and variance are the moving ones.

  Parameters and statistics are float32 under every policy. Only the
  activations are in half precision, and the op computes in float32 inside.

  Under a `tf.distribute` strategy each replica normalises by the statistics of
  its own part of the batch and writes its own copy of the moving statistics;
  the training step averages the copies. With `synchronized`, every replica
  uses the statistics of the global batch, and the copies stay equal.

  Args:
    momentum: Share of the moving statistics that a step keeps, in (0, 1).
    epsilon: Added to the variance, > 0.
    gamma_initializer: Initial scale. "zeros" turns off a residual branch.
    synchronized: Whether replicas share their moments. This takes all-reduces
      in the middle of the network, so the layer then cannot run in a nested
      `tf.function` (one compiled by XLA, say) inside `strategy.run`.
    **kwargs: `name`, `dtype` and `trainable`, as every Keras layer has them.

  Input: [batch, height, width, channels] or [batch, channels], float32,
    float16 or bfloat16.
  Output: Same shape, in the compute dtype.

  Raises:
    ValueError: An argument is out of range, or the input has another rank, an
      unknown number of channels or another dtype.

  Reference: Ioffe and Szegedy 2015 (arXiv 1502.03167).
  """

  def __init__(
    self,
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    gamma_initializer: Any = "ones",
    synchronized: bool = False,
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    if not 0.0 < momentum < 1.0:
      raise ValueError(f"momentum must be in (0, 1), got {momentum}")
    if not epsilon > 0.0:
      raise ValueError(f"epsilon must be > 0, got {epsilon}")
    self.momentum = float(momentum)
    self.epsilon = float(epsilon)
    self.gamma_initializer = tf.keras.initializers.get(gamma_initializer)
    self.synchronized = bool(synchronized)

  def build(self, input_shape: Sequence[int | None]) -> None:
    """Makes the four vectors, one element a channel."""
    if len(input_shape) not in (2, 4):
      raise ValueError(
        "BatchNorm takes inputs of rank 2 or 4, got an input of shape "
        f"{tuple(input_shape)}; reshape it"
      )
    channels = input_shape[-1]
    if channels is None:
      raise ValueError(
        "BatchNorm must know the number of channels, got an input of shape "
        f"{tuple(input_shape)}; set its last dimension"
      )
    if self.compute_dtype not in _COMPUTE_DTYPES:
      raise ValueError(
        f"BatchNorm's dtype must be one of {', '.join(_COMPUTE_DTYPES)}, got "
        f"{self.compute_dtype}"
      )
    self.gamma = self._add_vector("gamma", channels, self.gamma_initializer)
    self.beta = self._add_vector("beta", channels, "zeros")
    self.moving_mean = self._add_vector(
      "moving_mean", channels, "zeros", trainable=False
    )
    self.moving_variance = self._add_vector(
      "moving_variance", channels, "ones", trainable=False
    )
    super().build(input_shape)

  def _add_vector(
    self, name: str, size: int, initializer: Any, *, trainable: bool = True
  ) -> Any:
    return self.add_weight(
      name=name,
      shape=(size,),
      dtype="float32",
      initializer=initializer,
      trainable=trainable,
      **keras_compat.KEEP_FLOAT32,
    )

  def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
    """Normalises `inputs`; in training, updates the moving statistics."""
    inputs = tf.cast(inputs, self.compute_dtype)
    images = inputs if len(inputs.shape) == 4 else inputs[:, None, None, :]
    training = bool(training) and self.trainable
    if training and self.synchronized and _num_replicas() > 1:
      outputs = self._normalize_by_global_batch(images)
    else:
      outputs = self._normalize(images, training)
    return outputs if len(inputs.shape) == 4 else outputs[:, 0, 0, :]

  def _normalize(self, images: tf.Tensor, training: bool) -> tf.Tensor:
    outputs, moving_mean, moving_variance = tf.compat.v1.nn.fused_batch_norm(
      images,
      self.gamma,
      self.beta,
      mean=self.moving_mean,
      variance=self.moving_variance,
      epsilon=self.epsilon,
      is_training=training,
      exponential_avg_factor=1.0 - self.momentum if training else 1.0,
    )
    if training:
      self.moving_mean.assign(moving_mean)
      self.moving_variance.assign(moving_variance)
    return outputs

  def _normalize_by_global_batch(self, images: tf.Tensor) -> tf.Tensor:
    """The fused op's formulas, with the sums taken over all replicas."""
    images = tf.cast(images, tf.float32)
    replica = tf.distribute.get_replica_context()
    count = tf.cast(tf.reduce_prod(tf.shape(images)[:-1]), tf.float32)
    total, count = replica.all_reduce(
      tf.distribute.ReduceOp.SUM, [tf.reduce_sum(images, [0, 1, 2]), count]
    )
    # Two rounds, because E[x^2] - E[x]^2 in one cancels if the mean is
    # large.
    centered = images - total / count
    squares = replica.all_reduce(
      tf.distribute.ReduceOp.SUM, tf.reduce_sum(tf.square(centered), [0, 1, 2])
    )
    unbiased = squares / tf.maximum(count - 1.0, 1.0)
    self._follow(self.moving_mean, total / count)
    self._follow(self.moving_variance, unbiased)
    scale = self.gamma * tf.math.rsqrt(squares / count + self.epsilon)
    return tf.cast(centered * scale + self.beta, self.compute_dtype)

  def _follow(self, moving: Any, batch: tf.Tensor) -> None:
    moving.assign(self.momentum * moving + (1.0 - self.momentum) * batch)

  def compute_output_shape(
    self, input_shape: Sequence[int | None]
  ) -> Sequence[int | None]:
    """The shape of the input."""
    return input_shape

  def get_config(self) -> dict[str, Any]:
    """The arguments, as `from_config` takes them."""
    return {
      **super().get_config(),
      "momentum": self.momentum,
      "epsilon": self.epsilon,
      "gamma_initializer": tf.keras.initializers.serialize(
        self.gamma_initializer
      ),
      "synchronized": self.synchronized,
    }


def _num_replicas() -> int:
  # None outside a replica: the batch is whole there.
  replica = tf.distribute.get_replica_context()
  return 1 if replica is None else replica.num_replicas_in_sync
