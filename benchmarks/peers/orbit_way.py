# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Orbit, TensorFlow's own library for training loops, with legacy Keras.

    python -m benchmarks.peers.orbit_way --task=step --case=resnet20

Task `step`: the training step on a constant batch, by a `StandardTrainer`,
whose loop is in the graph, with optimizer, layers and metrics of legacy Keras,
which Orbit itself uses.
"""

from __future__ import annotations

import argparse
from typing import Any

import orbit
import tensorflow as tf
import tf_keras

from benchmarks import machine_peak
from benchmarks.peers import child, keras_networks


class Trainer(orbit.StandardTrainer):
  """A trainer as in Orbit's own examples."""

  def __init__(self, model: Any, optimizer: Any, dataset: Any) -> None:
    self._strategy = tf.distribute.get_strategy()
    super().__init__(self._strategy.experimental_distribute_dataset(dataset))
    self._model = model
    self._optimizer = optimizer
    self._loss = tf_keras.metrics.Mean("loss")
    self._top1 = tf_keras.metrics.SparseCategoricalAccuracy("top1")

  def train_loop_begin(self) -> None:
    """Resets the metrics."""
    self._loss.reset_states()
    self._top1.reset_states()

  def train_step(self, iterator: Any) -> None:
    """Takes one step on every replica."""

    def replica_step(batch: tuple[tf.Tensor, tf.Tensor]) -> None:
      images, labels = batch
      with tf.GradientTape() as tape:
        logits = self._model(images, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
      gradients = tape.gradient(loss, self._model.trainable_variables)
      pairs = zip(gradients, self._model.trainable_variables)
      self._optimizer.apply_gradients(pairs)
      self._loss.update_state(loss)
      self._top1.update_state(labels, logits)

    self._strategy.run(replica_step, args=(next(iterator),))

  def train_loop_end(self) -> dict[str, tf.Tensor]:
    """Reads the metrics."""
    return {"loss": self._loss.result(), "top1": self._top1.result()}


def step(options: argparse.Namespace) -> child.Measure:
  """Times `Trainer.train` on a constant batch."""
  case = child.case_of(options)
  model = keras_networks.network(tf_keras, case)
  optimizer = tf_keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
  batches = tf.data.Dataset.from_tensors(case.batch()).repeat()
  trainer = Trainer(model, optimizer, batches)

  def run(steps: int) -> None:
    results = trainer.train(tf.constant(steps))
    results["loss"].numpy()  # Waits for the device.

  return child.keras_step_rate(
    run,
    model,
    case=case,
    peak=machine_peak.tensorflow_peak,
    seconds=options.seconds,
  )


if __name__ == "__main__":
  child.main(__doc__, {"step": step})
