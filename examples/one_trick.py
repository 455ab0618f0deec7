# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two tricks in a training loop of your own, and a schedule in Keras' fit.

    python -m examples.one_trick

The package tricks needs nothing of train_loop: its functions take tensors.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import tricks

CLASSES, STEPS, BATCH = 3, 60, 32


def make_data() -> tuple[np.ndarray, np.ndarray]:
  """Returns images whose brightest third tells the class, and labels."""
  rng = np.random.default_rng(0)
  labels = rng.integers(0, CLASSES, 480)
  images = rng.random([480, 9, 9, 1], np.float32)
  for image, label in zip(images, labels):
    image[:, 3 * label : 3 * label + 3] += 0.5
  return images, labels


def make_model() -> tf.keras.Model:
  """Returns a linear classifier."""
  layers = tf.keras.layers
  return tf.keras.Sequential(
    [tf.keras.Input([9, 9, 1]), layers.Flatten(), layers.Dense(CLASSES)]
  )


def own_loop() -> float:
  """Trains with mixup and label smoothing; returns the last loss."""
  dataset = tf.data.Dataset.from_tensor_slices(make_data()).repeat()
  model, optimizer = make_model(), tf.keras.optimizers.SGD(0.1)

  @tf.function
  def step(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    targets = tricks.smooth_labels(tf.one_hot(labels, CLASSES), 0.1)
    images, targets = tricks.mixup(images, targets, alpha=0.2, seed=seed)
    with tf.GradientTape() as tape:
      logits = model(images, training=True)
      loss = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(targets, logits)
      )
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss

  loss = tf.constant(0.0)
  for number, batch in enumerate(dataset.batch(BATCH).take(STEPS)):
    # A new seed for each step: that is all the state that mixup has.
    loss = step(*batch, tf.constant([0, number], tf.int32))
  return float(loss)


def keras_fit() -> float:
  """Trains with a warmup, a plateau and a cosine; returns the accuracy."""
  rates = tricks.make_schedule(
    "cosine",
    peak_learning_rate=0.1,
    total_steps=STEPS,
    warmup_steps=10,
    hold_steps=10,
  )

  class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """The schedule as Keras takes it."""

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
      return rates(step)

  model = make_model()
  model.compile(
    tf.keras.optimizers.SGD(Schedule(), momentum=0.9),
    tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
  )
  images, labels = make_data()
  history = model.fit(images, labels, BATCH, epochs=4, verbose=0)
  return float(history.history["accuracy"][-1])


def main() -> None:
  """Trains both, and prints how well."""
  print(f"own loop: loss {own_loop():.3f}")
  print(f"Keras fit: accuracy {keras_fit():.3f}")


if __name__ == "__main__":
  main()
