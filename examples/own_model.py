# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a Keras model of your own on a tf.data.Dataset of your own.

    python -m examples.own_model runs/own_model

Run it again and it says that it is finished; stop it and it goes on.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf

import train_loop


def make_model() -> tf.keras.Model:
  """Returns a network from images to logits: it ends without a softmax."""
  layers = tf.keras.layers
  images = x = tf.keras.Input([16, 16, 3])
  x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
  for filters in (16, 32):
    x = layers.Conv2D(filters, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
  x = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(images, layers.Dense(3)(x))


def make_dataset(examples: int, seed: int) -> tf.data.Dataset:
  """Returns pairs of image and label: squares in noise, of three colours."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 200, [examples, 16, 16, 3], dtype=np.uint8)
  labels = rng.integers(0, 3, examples)
  for image, label in zip(images, labels):
    row, column = rng.integers(0, 12, 2)
    image[row : row + 4, column : column + 4, label] = 255
  return tf.data.Dataset.from_tensor_slices((images, labels))


def main(workdir: str) -> None:
  """Trains to the end, or goes on; prints the top-1 of the evaluation."""
  train = make_dataset(1024, seed=0).shuffle(1024, seed=0).batch(64)
  test = make_dataset(256, seed=1).batch(64)
  config = train_loop.TrainConfig.of(
    total_steps=256,
    examples_per_epoch=1024,
    global_batch_size=64,
    eval_every_steps=64,
    base_learning_rate=0.8,
    warmup_steps=16,
    label_smoothing=0.1,
  )
  model = make_model()
  final = train_loop.train_and_evaluate(model, train, test, config, workdir)
  print(f"top-1 {final['eval_top1']:.3f}")


if __name__ == "__main__":
  main(sys.argv[1])
