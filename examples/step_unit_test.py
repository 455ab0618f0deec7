# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A unit test of a training step: state, batch, config, and a direct call."""

import numpy as np
import tensorflow as tf

from train_loop import TrainConfig, TrainState, make_schedule, train_step


def test_a_step_lowers_the_loss() -> None:
  layers = [tf.keras.Input([4, 4, 1]), tf.keras.layers.Flatten()]
  model = tf.keras.Sequential([*layers, tf.keras.layers.Dense(3)])
  config = TrainConfig.of(
    total_steps=3, examples_per_epoch=6, global_batch_size=6
  )
  state = TrainState(model, config)
  images = np.random.default_rng(0).random([6, 4, 4, 1])
  batch = {"image": tf.constant(images), "label": tf.range(6) % 3}
  rate = make_schedule(config)
  first, *_, last = [
    train_step(state, batch, config, schedule=rate)["loss"] for _ in range(3)
  ]
  assert last < first
  assert int(state.step) == 3
