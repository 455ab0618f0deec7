# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Resume as a grid: each optimizer, with each trick, in each precision.

A state that was saved, and restored into a new one, takes the same steps as the
one that went on, bit for bit. Eagerly, since tracing would take the most time;
`resume_test` has whole runs.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import step
from train_loop.config import ADDONS_OPTIMIZERS, OPTIMIZERS
from train_loop.schedule import make_schedule
from train_loop.state import TrainState

STEPS, STOP = 4, 2
# The settings of each trick, and the arguments of its network.
TRICKS = {
  "plain": ({}, {}),
  "ema": ({"ema_decay": 0.9}, {}),
  "mixup": ({"mixup_alpha": 0.2}, {}),
  "cutmix": ({"cutmix_alpha": 1.0}, {}),
  "stochastic_depth": ({}, {"drop_probability": 0.5}),
  "accumulation": ({"accumulate_steps": 2}, {}),
  "parallel_micro_batches": (
    {"accumulate_steps": 2, "parallel_micro_batches": True},
    {},
  ),
  "progressive_sizes": (
    {"progressive_image_sizes": ((4, 0), (6, 1), (8, 3))},
    {"any_size": True},
  ),
  "float16": ({"precision": "mixed_float16"}, {"dtype": "mixed_float16"}),
  "bfloat16": ({"precision": "mixed_bfloat16"}, {"dtype": "mixed_bfloat16"}),
  "all": (
    {
      "ema_decay": 0.9,
      "mixup_alpha": 0.2,
      "accumulate_steps": 2,
      "precision": "mixed_float16",
    },
    {"drop_probability": 0.5, "dtype": "mixed_float16"},
  ),
}
ADDONS = ("tfa:LAMB", "tfa:SGDW")


@pytest.fixture(scope="module")
def batches():
  return [tiny.batch(16, seed=seed) for seed in range(STEPS)]


def take_steps(state, config, batches):
  """Takes a step on each batch."""
  schedule = make_schedule(config)
  for batch in batches:
    size = config.loop.image_size_at(int(state.step.numpy()))
    state.window.add(
      step.train_step(state, batch, config, schedule=schedule, image_size=size)
    )


def saved(state, path):
  """Saves a state; returns where, and every tensor that the files hold."""
  path = tf.train.Checkpoint(**state.checkpoint_items()).write(str(path))
  reader = tf.train.load_checkpoint(path)
  names = reader.get_variable_to_shape_map()
  return path, {
    name: reader.get_tensor(name) for name in names if not name.startswith("_")
  }


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *ADDONS])
@pytest.mark.parametrize("trick", TRICKS)
def test_a_restored_state_goes_on_with_the_same_bits(
  optimizer, trick, batches, tmp_path
):
  if optimizer in ADDONS_OPTIMIZERS:
    if not tf.__version__.startswith("2.15."):
      pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
    pytest.importorskip("tensorflow_addons")
  settings, network = TRICKS[trick]
  config = tiny.config(
    optimizer=optimizer,
    base_learning_rate=0.1,
    global_batch_size=16,
    warmup_steps=1,
    total_steps=8,
    label_smoothing=0.1,
    **settings,
  )
  state = TrainState(tiny.model(**network), config)
  if state.loss_scale is not None:  # Its first step overflows.
    state.loss_scale.value.assign(2.0**36)
  take_steps(state, config, batches[:STOP])
  path, _ = saved(state, tmp_path / "stopped")
  take_steps(state, config, batches[STOP:])
  _, whole = saved(state, tmp_path / "whole")

  restored = TrainState(tiny.model(**network, seed=1), config)
  checkpoint = tf.train.Checkpoint(**restored.checkpoint_items())
  checkpoint.read(path).assert_consumed()
  take_steps(restored, config, batches[STOP:])
  _, resumed = saved(restored, tmp_path / "resumed")
  assert whole.keys() == resumed.keys()
  for name, value in whole.items():
    np.testing.assert_array_equal(value, resumed[name], err_msg=name)
