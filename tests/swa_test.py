# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of SWA: its average, and the statistics of the averaged weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests import modes, tiny
from train_loop import evaluate, step, train_and_evaluate
from train_loop.averaged_statistics import Renewal
from train_loop.config import ConfigError
from train_loop.models.batch_norm import BatchNorm
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from tricks import swa, swa_decay_at


@pytest.mark.parametrize("mode", modes.MODES)
@pytest.mark.parametrize(("swa_steps", "every"), [(12, 4), (11, 4), (5, 1)])
def test_the_average_is_that_of_the_last_weights(swa_steps, every, mode):
  total = 20

  def move(average, value, at):
    decay = swa_decay_at(
      at, total_steps=total, swa_steps=swa_steps, every_steps=every
    )
    return swa(average, value, decay)

  rng, average, averaged = np.random.default_rng(0), np.zeros(3), []
  average = average.astype(np.float32)
  move = modes.compiled(move, mode)
  for at in range(total):
    value = rng.normal(size=3).astype(np.float32)
    found = move(average, value, np.int64(at))
    left = total - 1 - at
    if left < swa_steps and left % every == 0:
      averaged.append(value)
    if not averaged or averaged[0] is value:
      np.testing.assert_array_equal(found, value)
    elif left % every:
      np.testing.assert_array_equal(found, average)
    else:
      expected = np.mean(averaged, axis=0, dtype=np.float64)
      np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    average = found
  assert len(averaged) == -(-swa_steps // every)


@pytest.mark.parametrize(("swa_steps", "every"), [(0, 1), (21, 1), (5, 0)])
def test_steps_out_of_range_are_named(swa_steps, every):
  with pytest.raises(ValueError, match=r"(swa|every)_steps must .* got"):
    swa_decay_at(0, total_steps=20, swa_steps=swa_steps, every_steps=every)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"swa_steps": 8, "ema_decay": 0.9}, "ema_decay must be 0 with swa_steps"),
    ({"swa_steps": 30}, r"swa_steps must be in \(1, 24\]"),
    ({"swa_steps": 4, "swa_every_steps": 4}, "nothing to average, got 4"),
    ({"swa_steps": 8, "max_minutes": 1.0}, "max_minutes must be 0 with swa"),
  ],
)
def test_what_does_not_fit_is_refused(settings, message):
  with pytest.raises(ConfigError, match=message):
    tiny.config(**settings)


def network():
  """Returns convolution, BatchNorm, ReLU, twice, mean and logits."""
  tf.keras.utils.set_random_seed(0)
  layers = tf.keras.layers
  images = tf.keras.Input(tiny.SHAPE)
  x = layers.Rescaling(1 / 128, -1.0)(images)
  x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
  x = layers.ReLU()(BatchNorm()(x))
  x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
  x = layers.ReLU()(BatchNorm(momentum=0.8)(x))
  x = layers.GlobalAveragePooling2D()(x)
  return tf.keras.Model(images, layers.Dense(tiny.NUM_CLASSES)(x))


def torch_twin(torch, parameters):
  """Returns PyTorch's network of the same weights."""
  nn = torch.nn
  twin = nn.Sequential(
    *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
    *(nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1, bias=False)),
    *(nn.BatchNorm2d(6), nn.ReLU()),
    *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, tiny.NUM_CLASSES)),
  )
  with torch.no_grad():
    for theirs, ours in zip(twin.parameters(), parameters):
      axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[ours.ndim]
      theirs.copy_(torch.from_numpy(ours.transpose(axes).copy()))
  return twin


def in_torch(torch, batch):
  images = batch["image"].numpy().transpose(0, 3, 1, 2).astype(np.float32)
  return torch.from_numpy(images / 128 - 1)


def test_average_and_statistics_equal_pytorchs():
  torch = pytest.importorskip("torch")
  swa_utils = torch.optim.swa_utils
  config = tiny.config(
    total_steps=6, swa_steps=5, swa_every_steps=2, warmup_steps=0
  )
  state, theirs = TrainState(network(), config), None
  renew = Renewal(state, config, lambda: tiny.dataset(96))
  for at in range(6):
    step.train_step(
      state, tiny.batch(seed=at), config, schedule=make_schedule(config)
    )
    renew(at + 1)
    if at in (1, 3, 5):
      twin = torch_twin(torch, tiny.values(state.parameters))
      theirs = theirs or swa_utils.AveragedModel(twin)
      theirs.update_parameters(twin)
  swa_utils.update_bn([in_torch(torch, b) for b in tiny.dataset(96)], theirs)
  ours = tiny.values(state.averages)
  count = len(state.parameters)
  expected = torch_twin(torch, ours[:count])
  for one, two in zip(expected.parameters(), theirs.module.parameters()):
    np.testing.assert_allclose(one.data, two.data, rtol=1e-5, atol=1e-6)
  norms = [m for m in theirs.module if isinstance(m, torch.nn.BatchNorm2d)]
  statistics = itertools.chain(
    *((m.running_mean, m.running_var) for m in norms)
  )
  for one, two in zip(ours[count:], statistics):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_renewal_changes_the_averages_statistics_alone():
  config = tiny.config(
    total_steps=4, warmup_steps=0, swa_steps=3, accumulate_steps=2
  )
  state = TrainState(tiny.model(drop_probability=0.5), config)
  renew = Renewal(state, config, tiny.dataset)
  for at in range(3):
    step.train_step(state, tiny.batch(), config, schedule=lambda s: 0.1)
    before = tiny.values([*state.model.variables, *state.averages])
    renew(at + 1)
    after = tiny.values([*state.model.variables, *state.averages])
    same = [np.array_equal(a, b) for a, b in zip(before, after)]
    moved = 4 if at == 2 else 0  # From the second of the averaged weights on.
    assert same == [True] * (len(same) - moved) + [False] * moved


def test_a_run_is_evaluated_with_its_average(tmp_path):
  config = tiny.config(swa_steps=16, swa_every_steps=8, schedule="constant")
  result = train_and_evaluate(
    tiny.model(), tiny.dataset(), tiny.dataset(64), config, tmp_path
  )
  again = evaluate(tiny.model(seed=1), tiny.dataset(64), config, tmp_path)
  assert again == {name: result[name] for name in again}
  reader = tf.train.load_checkpoint(f"{tmp_path}/checkpoints/ckpt-24")
  before = tf.train.load_checkpoint(f"{tmp_path}/checkpoints/ckpt-16")
  place = "{}/0/.ATTRIBUTES/VARIABLE_VALUE".format
  expected = np.mean(
    [r.get_tensor(place("parameters")) for r in (before, reader)], axis=0
  )
  found = reader.get_tensor(place("averages"))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
