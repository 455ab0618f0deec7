# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A tiny problem that a tiny network learns in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from train_loop import config as config_lib
from train_loop.models.batch_norm import BatchNorm
from train_loop.models.stochastic_depth_layer import StochasticDepth

NUM_CLASSES = 4
SHAPE = (8, 8, 1)


def arrays(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Returns images uint8 [count, 8, 8, 1] of a bright quarter, and labels."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 160, (count, *SHAPE), dtype=np.uint8)
  labels = rng.integers(0, NUM_CLASSES, count, dtype=np.int32)
  for image, label in zip(images, labels):
    row, column = 4 * (label // 2), 4 * (label % 2)
    image[row : row + 4, column : column + 4] += 64
  return images, labels


def dataset(count: int = 256, batch: int = 32, **keys: Any) -> tf.data.Dataset:
  """Returns one epoch of batches of `arrays`."""
  images, labels = arrays(count, **keys)
  return tf.data.Dataset.from_tensor_slices(
    {"image": images, "label": labels}
  ).batch(batch, drop_remainder=count % batch == 0)


def batch(size: int = 32, **keys: Any) -> dict[str, tf.Tensor]:
  """Returns one batch of `arrays`."""
  return next(iter(dataset(size, size, **keys)))


def model(
  *,
  dtype: str = "float32",
  seed: int = 0,
  drop_probability: float = 0.0,
  any_size: bool = False,
  frozen: int = 0,
) -> tf.keras.Model:
  """Returns a network of two convolutions, the second residual.

  Of its layers the first `frozen` are not trained: 4 end with a BatchNorm.
  """
  tf.keras.utils.set_random_seed(seed)
  layers = tf.keras.layers
  images = tf.keras.Input((None, None, 1) if any_size else SHAPE)
  x = layers.Rescaling(1 / 128, -1.0, dtype="float32")(images)
  x = layers.Conv2D(8, 3, padding="same", use_bias=False, dtype=dtype)(x)
  x = layers.ReLU(dtype=dtype)(BatchNorm(dtype=dtype)(x))
  y = layers.Conv2D(8, 3, padding="same", use_bias=False, dtype=dtype)(x)
  y = BatchNorm(dtype=dtype)(y)
  if drop_probability:
    y = StochasticDepth(drop_probability, dtype=dtype)(y)
  x = layers.Add(dtype=dtype)([x, y])
  x = layers.ReLU(dtype=dtype)(x)
  if any_size:
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
  else:
    x = layers.AveragePooling2D(4, dtype=dtype)(x)
    x = layers.Flatten(dtype=dtype)(x)
  logits = layers.Dense(NUM_CLASSES, dtype="float32")(x)
  network = tf.keras.Model(images, logits)
  for layer in network.layers[:frozen]:
    layer.trainable = False
  return network


def built(
  input_shape: tuple[int | None, ...], num_classes: int
) -> tf.keras.Model:
  """Builds a network of one convolution: --model=python:tests.tiny.built."""
  layers = tf.keras.layers
  images = tf.keras.Input(input_shape)
  x = layers.Rescaling(1 / 128, -1.0)(images)
  x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
  x = layers.ReLU()(layers.BatchNormalization()(x))
  x = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(images, layers.Dense(num_classes)(x))


def config(**changes: Any) -> config_lib.TrainConfig:
  """Returns a config of 24 steps, with fields changed by their own names."""
  settings = {
    "total_steps": 24,
    "global_batch_size": 32,
    "examples_per_epoch": 256,
    "log_every_steps": 6,
    "eval_every_steps": 8,
    "base_learning_rate": 1.6,
    "warmup_steps": 4,
  }
  return config_lib.TrainConfig.of(**{**settings, **changes})


def values(variables: Any) -> list[np.ndarray]:
  """Returns copies of the values of Keras' or TensorFlow's variables."""
  return [np.array(tf.convert_to_tensor(v)) for v in variables]
