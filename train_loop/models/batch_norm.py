# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation on TensorFlow's fused op, for Keras 2 and Keras 3.

Keras 3's own BatchNormalization left the fused op for separate moments and
arithmetic. That costs a training step 20 to 45% on a CPU, and on a GPU a pass
over memory more. This layer computes what Keras 2's fused layer computed, and
takes the arguments of both: `fusing` puts it into other people's networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from train_loop.models import policies
from tricks import keras_compat

COMPUTE_DTYPES = ("float32", "float16", "bfloat16")
# The fused op takes no smaller one; it adds 1.001e-5 at least.
MIN_EPSILON = 1e-5
# Arguments of Keras' layers that this one does not have, with the values that
# ask for nothing.
_ASK_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
  "renorm": (False, None),
  "virtual_batch_size": (None,),
  "adjustment": (None,),
  "fused": (True, None),
}
# What only counts with `renorm`.
_OF_RENORM = ("renorm_clipping", "renorm_momentum")


@tf.keras.utils.register_keras_serializable(package="train_loop")
class BatchNorm(tf.keras.layers.Layer):
  """Normalises each channel over the batch, then scales and shifts it.

      y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

  In training, mean and (biased) variance are the batch's own, and the moving
  statistics follow them:

      moving = momentum * moving + (1 - momentum) * batch

  The moving variance follows the *unbiased* variance of the batch (divided by
  n - 1): the fused op gives it, and Keras 2's fused layer and PyTorch use it.
  The layer of Keras 3 follows the biased one; with `unbiased_variance=False`
  this one does too, for a few operations on vectors. In inference, and in a
  frozen layer (`trainable = False`), mean and variance are the moving ones.

  Parameters and statistics are float32 under every policy. Only the
  activations are in half precision, and the op computes in float32 inside.

  Under a `tf.distribute` strategy each replica normalises by the statistics of
  its own part of the batch and writes its own copy of the moving statistics;
  the training step averages the copies. With `synchronized`, every replica
  uses the statistics of the global batch, and the copies stay equal.

  The arguments are those of `tf.keras.layers.BatchNormalization`, with other
  defaults for momentum and epsilon; weights have the same names and order. So
  `BatchNorm.from_config(layer.get_config())` takes its place.

  Args:
    axis: That of the channels, which must be the last one.
    momentum: Share of the moving statistics that a step keeps, in [0, 1].
    epsilon: Added to the variance, >= 1e-5, the least that the op takes.
    center: Whether there is a beta; without, nothing is added.
    scale: Whether there is a gamma; without, nothing is multiplied.
    beta_initializer: Initial shift.
    gamma_initializer: Initial scale. "zeros" turns off a residual branch.
    moving_mean_initializer: Initial moving mean.
    moving_variance_initializer: Initial moving variance.
    beta_regularizer: As `Layer.add_weight` takes it; so the next three.
    gamma_regularizer: Of gamma.
    beta_constraint: Of beta.
    gamma_constraint: Of gamma.
    synchronized: Whether replicas share their moments. This takes all-reduces
      in the middle of the network, so the layer then cannot run in a nested
      `tf.function` (one compiled by XLA, say) inside `strategy.run`.
    unbiased_variance: Whether the moving variance follows the batch's unbiased
      variance, or the biased one.
    **kwargs: `name`, `dtype` and `trainable`, as every Keras layer has them.
      Keras' `renorm`, `virtual_batch_size`, `adjustment` and `fused` are taken
      with the values that ask for nothing.

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
    axis: int | Sequence[int] = -1,
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = "zeros",
    gamma_initializer: Any = "ones",
    moving_mean_initializer: Any = "zeros",
    moving_variance_initializer: Any = "ones",
    beta_regularizer: Any = None,
    gamma_regularizer: Any = None,
    beta_constraint: Any = None,
    gamma_constraint: Any = None,
    synchronized: bool = False,
    unbiased_variance: bool = True,
    **kwargs: Any,
  ) -> None:
    super().__init__(**_understood(kwargs))
    if not 0.0 <= momentum <= 1.0:
      raise ValueError(f"momentum must be in [0, 1], got {momentum}")
    if not epsilon >= MIN_EPSILON:
      raise ValueError(f"epsilon must be >= {MIN_EPSILON:g}, got {epsilon}")
    axes = tf.nest.flatten(axis)
    if len(axes) != 1:
      raise ValueError(f"axis must be one axis, the last, got {list(axes)}")
    self.axis = int(axes[0])
    self.momentum = float(momentum)
    self.epsilon = float(epsilon)
    self.center = bool(center)
    self.scale = bool(scale)
    self.beta_initializer = tf.keras.initializers.get(beta_initializer)
    self.gamma_initializer = tf.keras.initializers.get(gamma_initializer)
    self.moving_mean_initializer = tf.keras.initializers.get(
      moving_mean_initializer
    )
    self.moving_variance_initializer = tf.keras.initializers.get(
      moving_variance_initializer
    )
    self.beta_regularizer = tf.keras.regularizers.get(beta_regularizer)
    self.gamma_regularizer = tf.keras.regularizers.get(gamma_regularizer)
    self.beta_constraint = tf.keras.constraints.get(beta_constraint)
    self.gamma_constraint = tf.keras.constraints.get(gamma_constraint)
    self.synchronized = bool(synchronized)
    self.unbiased_variance = bool(unbiased_variance)
    self.supports_masking = True
    self.gamma: Any = None
    self.beta: Any = None

  def build(self, input_shape: Sequence[int | None]) -> None:
    """Makes the vectors, one element a channel."""
    rank = len(input_shape)
    if rank not in (2, 4):
      raise ValueError(
        "BatchNorm takes inputs of rank 2 or 4, got an input of shape "
        f"{tuple(input_shape)}; reshape it"
      )
    if self.axis not in (-1, rank - 1):
      raise ValueError(
        f"axis must be the last one, -1 or {rank - 1}, got {self.axis} for an "
        f"input of shape {tuple(input_shape)}; transpose it"
      )
    channels = input_shape[-1]
    if channels is None:
      raise ValueError(
        "BatchNorm must know the number of channels, got an input of shape "
        f"{tuple(input_shape)}; set its last dimension"
      )
    if self.compute_dtype not in COMPUTE_DTYPES:
      raise ValueError(
        f"BatchNorm's dtype must be one of {', '.join(COMPUTE_DTYPES)}, got "
        f"{self.compute_dtype}"
      )
    if self.scale:
      self.gamma = self._add_vector(
        "gamma",
        channels,
        self.gamma_initializer,
        regularizer=self.gamma_regularizer,
        constraint=self.gamma_constraint,
      )
    if self.center:
      self.beta = self._add_vector(
        "beta",
        channels,
        self.beta_initializer,
        regularizer=self.beta_regularizer,
        constraint=self.beta_constraint,
      )
    self.moving_mean = self._add_vector(
      "moving_mean", channels, self.moving_mean_initializer, trainable=False
    )
    self.moving_variance = self._add_vector(
      "moving_variance",
      channels,
      self.moving_variance_initializer,
      trainable=False,
    )
    super().build(input_shape)

  def _add_vector(
    self, name: str, size: int, initializer: Any, **options: Any
  ) -> Any:
    return self.add_weight(
      name=name,
      shape=(size,),
      dtype="float32",
      initializer=initializer,
      **options,
      **keras_compat.KEEP_FLOAT32,
    )

  @keras_compat.unconverted
  def call(
    self,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
  ) -> tf.Tensor:
    """Normalises `inputs`; in training, updates the moving statistics.

    Args:
      inputs: As the class says.
      training: Whether to normalise by the batch's own statistics.
      mask: [batch, height, width] or [batch], false for what these statistics
        leave out; None is none.
    """
    inputs = tf.cast(inputs, self.compute_dtype)
    if mask is not None and len(mask.shape) != len(inputs.shape) - 1:
      raise ValueError(
        "mask must have the input's shape without the channels, got "
        f"{tuple(mask.shape)} for an input of shape {tuple(inputs.shape)}"
      )
    flat = len(inputs.shape) == 2
    images = inputs[:, None, None, :] if flat else inputs
    training = bool(training) and self.trainable
    synchronized = self.synchronized and _num_replicas() > 1
    if training and (synchronized or mask is not None):
      counted = None if mask is None else tf.reshape(mask, tf.shape(images)[:3])
      outputs = self._normalize_by_moments(images, counted, synchronized)
    else:
      outputs = self._normalize(images, training)
    return outputs[:, 0, 0, :] if flat else outputs

  def _normalize(self, images: tf.Tensor, training: bool) -> tf.Tensor:
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
      tf.cast(images, _dtype_of_op(images)),
      self._gamma(images),
      self._beta(images),
      mean=self.moving_mean,
      variance=self.moving_variance,
      epsilon=self.epsilon,
      is_training=training,
      exponential_avg_factor=1.0 - self.momentum if training else 1.0,
    )
    if training:
      self.moving_mean.assign(mean)
      if not self.unbiased_variance:
        # The share of the batch times (n - 1) / n; the rest stays.
        one_nth = 1.0 / _count(images)
        kept = self.momentum * self.moving_variance
        variance = variance * (1.0 - one_nth) + kept * one_nth
      self.moving_variance.assign(variance)
    return tf.cast(outputs, self.compute_dtype)

  def _normalize_by_moments(
    self, images: tf.Tensor, mask: tf.Tensor | None, synchronized: bool
  ) -> tf.Tensor:
    """The fused op's formulas, with sums over all replicas, or over a part."""
    images = tf.cast(images, tf.float32)
    weights = 1.0 if mask is None else tf.cast(mask, tf.float32)[..., None]
    count = _count(images) if mask is None else tf.reduce_sum(weights)

    def summed(values: Any) -> Any:
      if not synchronized:
        return values
      replica = tf.distribute.get_replica_context()
      return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)

    total, count = summed([tf.reduce_sum(images * weights, [0, 1, 2]), count])
    count = tf.maximum(count, 1.0)
    mean = total / count
    # Two rounds, because E[x^2] - E[x]^2 in one cancels if the mean is
    # large.
    centered = images - mean
    squares = summed(tf.reduce_sum(tf.square(centered) * weights, [0, 1, 2]))
    variance = squares / count
    self._follow(self.moving_mean, mean)
    if self.unbiased_variance:
      self._follow(self.moving_variance, squares / tf.maximum(count - 1.0, 1.0))
    else:
      self._follow(self.moving_variance, variance)
    scale = self._gamma(images) * tf.math.rsqrt(variance + self.epsilon)
    return tf.cast(centered * scale + self._beta(images), self.compute_dtype)

  def _gamma(self, images: tf.Tensor) -> Any:
    return tf.ones(images.shape[-1]) if self.gamma is None else self.gamma

  def _beta(self, images: tf.Tensor) -> Any:
    return tf.zeros(images.shape[-1]) if self.beta is None else self.beta

  def _follow(self, moving: Any, batch: tf.Tensor) -> None:
    moving.assign(self.momentum * moving + (1.0 - self.momentum) * batch)

  def compute_output_shape(
    self, input_shape: Sequence[int | None]
  ) -> Sequence[int | None]:
    """The shape of the input."""
    return input_shape

  def get_config(self) -> dict[str, Any]:
    """The arguments, as `from_config` takes them."""
    initializers, regularizers, constraints = (
      tf.keras.initializers,
      tf.keras.regularizers,
      tf.keras.constraints,
    )
    return {
      **super().get_config(),
      "axis": self.axis,
      "momentum": self.momentum,
      "epsilon": self.epsilon,
      "center": self.center,
      "scale": self.scale,
      "beta_initializer": initializers.serialize(self.beta_initializer),
      "gamma_initializer": initializers.serialize(self.gamma_initializer),
      "moving_mean_initializer": initializers.serialize(
        self.moving_mean_initializer
      ),
      "moving_variance_initializer": initializers.serialize(
        self.moving_variance_initializer
      ),
      "beta_regularizer": regularizers.serialize(self.beta_regularizer),
      "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
      "beta_constraint": constraints.serialize(self.beta_constraint),
      "gamma_constraint": constraints.serialize(self.gamma_constraint),
      "synchronized": self.synchronized,
      "unbiased_variance": self.unbiased_variance,
    }


def _understood(kwargs: dict[str, Any]) -> dict[str, Any]:
  """Returns the arguments without those of Keras' layer that ask for nothing.

  Raises:
    ValueError: one asks for something.
  """
  for name, nothing in _ASK_FOR_NOTHING.items():
    if name in kwargs and kwargs[name] not in nothing:
      raise ValueError(
        f"{name} must be left out, for BatchNorm does not have it, got "
        f"{kwargs[name]!r}; use tf.keras.layers.BatchNormalization"
      )
  known = (*_ASK_FOR_NOTHING, *_OF_RENORM)
  return {name: kwargs[name] for name in kwargs if name not in known}


def _dtype_of_op(images: tf.Tensor) -> tf.DType:
  """Returns in what the fused op takes images.

  oneDNN, which computes it on a CPU, has kernels for bfloat16 if the channels
  are a multiple of 16, and a loop that takes ten times as long if not.
  """
  loop = images.dtype == tf.bfloat16 and images.shape[-1] % 16 != 0
  return tf.float32 if loop and policies.on_cpu() else images.dtype


def _count(images: tf.Tensor) -> tf.Tensor:
  """Returns over how many values of a channel the statistics go."""
  return tf.cast(tf.reduce_prod(tf.shape(images)[:-1]), tf.float32)


def _num_replicas() -> int:
  # None outside a replica: the batch is whole there.
  replica = tf.distribute.get_replica_context()
  return 1 if replica is None else replica.num_replicas_in_sync
