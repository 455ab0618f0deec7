# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Resume as a grid: each optimizer, with each trick, in each precision.

A state is saved and restored into a new one; both take the same steps and end
with the same bits in every variable. Eager, since most of the time would go
into traces; `resume_test` has whole runs.
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
from train_loop.workdir import checkpoints
from tricks import precision

STEPS, STOP = 3, 1
# The settings of each trick, and the arguments of its network.
TRICKS = {
  "plain": ({}, {}),
  "ema": ({"ema_decay": 0.9}, {}),
  "swa": ({"swa_steps": 7}, {}),
  "mixup": ({"mixup_alpha": 0.2}, {}),
  "cutmix": ({"cutmix_alpha": 1.0}, {}),
  "stochastic_depth": ({}, {"drop_probability": 0.5}),
  "accumulation": ({"accumulate_steps": 2}, {}),
  "parallel_micro_batches": (
    {"accumulate_steps": 2, "parallel_micro_batches": True},
    {},
  ),
  "recompute": ({"recompute": "blocks"}, {"drop_probability": 0.5}),
  "progressive_sizes": (
    {"progressive_image_sizes": ((4, 0), (6, 1), (8, 2))},
    {"any_size": True},
  ),
  "float16": ({"precision": "mixed_float16"}, {"dtype": "mixed_float16"}),
  "bfloat16": ({"precision": "mixed_bfloat16"}, {"dtype": "mixed_bfloat16"}),
  "frozen": ({"ema_decay": 0.9}, {"frozen": 4}),
  # Dropout's counters, and the weights, go back within a step.
  "sam": ({"sam_rho": 0.05}, {"drop_probability": 0.5}),
  "rates": ({"layer_decay": 0.7, "head_learning_rate_multiplier": 3.0}, {}),
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
# They are the same whatever the update rule: two see them.
OF_ANY_OPTIMIZER = ("sam", "swa")
GRID = [
  (optimizer, trick)
  for trick in TRICKS
  for optimizer in (*OPTIMIZERS, *ADDONS)
  if trick not in OF_ANY_OPTIMIZER or optimizer in ("sgd", "adamw")
]


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


def everything(state):
  """Returns the values of all the variables, saved or not."""
  groups = {
    "model": state.model.variables,
    "slots": [slot for slots in state.optimizer.slots for slot in slots],
    "averages": state.averages,
    "loss_scale": state.loss_scale.variables if state.loss_scale else [],
    "window": state.window.variables,
    "counters": [state.step, state.best],
  }
  return {name: tiny.values(variables) for name, variables in groups.items()}


@pytest.mark.parametrize(("optimizer", "trick"), GRID)
def test_a_restored_state_goes_on_with_the_same_bits(
  optimizer, trick, batches, tmp_path, monkeypatch
):
  if optimizer in ADDONS_OPTIMIZERS:
    if not tf.__version__.startswith("2.15."):
      pytest.skip("tensorflow_addons imports up to TensorFlow 2.15 only")
    pytest.importorskip("tensorflow_addons")
    if trick == "rates":
      pytest.skip("Addons' optimizers have one rate for all parameters")
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
  # The loss scale grows after the stop, by a count that began before it.
  monkeypatch.setattr(precision, "GROWTH_STEPS", STOP + 1)
  state = TrainState(tiny.model(**network), config)
  take_steps(state, config, batches[:STOP])
  state.best.assign(0.5)
  checkpoints.Checkpoints(state, tmp_path, keep=1).save()
  stopped = everything(state)
  take_steps(state, config, batches[STOP:])
  whole = everything(state)

  restored = TrainState(tiny.model(**network, seed=1), config)
  assert checkpoints.Checkpoints(restored, tmp_path, keep=1).restore_latest()
  take_steps(restored, config, batches[STOP:])
  resumed = everything(restored)
  for name, values in whole.items():
    for value, other in zip(values, resumed[name]):
      np.testing.assert_array_equal(value, other, err_msg=name)
    if values:  # Each group of variables changes after the stop.
      pairs = zip(values, stopped[name])
      assert any((value != before).any() for value, before in pairs), name
