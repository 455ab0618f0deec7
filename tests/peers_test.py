# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The peers of the benchmarks train the same network, and count alike."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import flops, harness
from benchmarks.cases import CASES
from benchmarks.peers import child, keras_networks, ours
from tricks.muon import muon_update

pytestmark = pytest.mark.any_keras

COMPARED = ("resnet20", "resnet50", "resnet50_d", "fashion_mnist")
# Multiply-accumulates of a forward pass over one image, in millions.
PUBLISHED_MACS = {
  # torchvision's documentation: 4.09 GFLOPS, by which it means these.
  "resnet50": ((224, 224, 3), 4090, 10),
  # 40.81 million with projections (option B of He et al. 2015), of which ours,
  # option A, has none.
  "resnet20": ((32, 32, 3), 40.81 - 2 * 0.131, 0.01),
}


@functools.cache
def own_network(name):
  return ours.network(CASES[name])


@pytest.mark.parametrize("name", PUBLISHED_MACS)
def test_published_arithmetic(name):
  shape, millions, tolerance = PUBLISHED_MACS[name]
  case = dataclasses.replace(CASES[name], image_shape=shape)
  macs = flops.forward_macs(ours.network(case))
  assert macs / 1e6 == pytest.approx(millions, abs=tolerance)
  assert flops.train_flops(macs) == 6 * macs


def test_arithmetic_of_a_small_network():
  layers = tf.keras.layers
  pixels = tf.keras.Input((8, 6, 3))
  features = layers.Conv2D(5, 3, strides=2, padding="same")(pixels)
  features = layers.BatchNormalization()(features)
  logits = layers.Dense(7)(layers.Flatten()(features))
  macs = flops.forward_macs(tf.keras.Model(pixels, logits))
  assert macs == 4 * 3 * (3 * 3 * 3 * 5) + (4 * 3 * 5) * 7


@pytest.mark.parametrize("name", COMPARED)
def test_keras_network_is_the_same(name):
  theirs = keras_networks.network(tf.keras, CASES[name])
  mine = own_network(name)
  assert theirs.count_params() == mine.count_params()
  shapes = [
    sorted(tuple(v.shape) for v in model.trainable_variables)
    for model in (theirs, mine)
  ]
  assert shapes[0] == shapes[1]
  assert flops.forward_macs(theirs) == flops.forward_macs(mine)


@pytest.mark.parametrize("name", ["resnet20", "fashion_mnist"])
def test_keras_network_computes_the_same(name):
  case = dataclasses.replace(CASES[name], batch_size=2)
  theirs, mine = keras_networks.network(tf.keras, case), own_network(name)
  theirs.set_weights(weights_in_order_of(theirs, mine))
  images, _ = case.batch()
  expected = mine(images, training=False).numpy()
  found = theirs(images, training=False).numpy()
  np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def weights_in_order_of(theirs, mine):
  """Returns our weights, layer by layer of the same kind, for `theirs`."""
  kinds = ("Conv2D", "BatchNorm", "Dense")

  def of_kind(model, kind):
    return [layer for layer in model.layers if type(layer).__name__[:9] == kind]

  queues = {
    kind: iter(sorted(of_kind(mine, kind), key=position(mine)))
    for kind in kinds
  }
  weights = []
  for layer in theirs.layers:
    kind = type(layer).__name__[:9]
    if kind in queues:
      weights += next(queues[kind]).get_weights()
  return weights


def position(model):
  return model.layers.index


# In a process of its own: PyTorch and TensorFlow do not always share one.
LOOK_AT_TORCH = """
import dataclasses, json, sys
from benchmarks.cases import CASES
from benchmarks.peers import torch_way

case = dataclasses.replace(CASES[sys.argv[1]], batch_size=2)
model = torch_way.network(case)
images, labels = torch_way.to_device(*case.batch())
print(json.dumps({
  "parameters": sum(p.numel() for p in model.parameters()),
  "variables": torch_way.count_variables(model),
  "macs": torch_way.forward_macs(model, images),
  "logits": list(model(images).shape),
}))
"""


needs_torch = pytest.mark.skipif(
  importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


@needs_torch
@pytest.mark.parametrize("name", COMPARED)
def test_torch_network_is_the_same(name):
  finished = subprocess.run(
    [sys.executable, "-c", LOOK_AT_TORCH, name],
    cwd=harness.ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  mine = own_network(name)
  assert json.loads(finished.stdout) == {
    "parameters": sum(math.prod(v.shape) for v in mine.trainable_variables),
    "variables": mine.count_params(),
    "macs": flops.forward_macs(mine),
    "logits": [2, CASES[name].num_classes],
  }


TAKE_TORCH_STEPS = """
import json, sys
import torch
from benchmarks.peers import torch_way

arrays, rate, weight_decay = json.load(sys.stdin)
model = torch.nn.Sequential(
  torch.nn.Conv2d(2, 5, 3), torch.nn.Conv2d(3, 7, 1), torch.nn.Linear(4, 3)
).to(memory_format=torch.channels_last)
parameters = list(model.parameters())
optimizers = torch_way.muon(
  model, learning_rate=rate, weight_decay=weight_decay
)
for parameter, value in zip(parameters, arrays[0]):
  parameter.data.copy_(torch.tensor(value))
for gradients in arrays[1:]:
  for parameter, gradient in zip(parameters, gradients):
    parameter.grad = torch.tensor(gradient)
  for optimizer in optimizers:
    optimizer.step()
print(json.dumps([p.tolist() for p in parameters]))
"""


@needs_torch
@pytest.mark.parametrize("weight_decay", [1e-9, 0.1])
def test_muon_is_pytorchs(weight_decay):
  shapes = [[5, 2, 3, 3], [5], [7, 3, 1, 1], [7], [3, 4], [3]]
  rng = np.random.default_rng(0)
  arrays = [
    [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    for _ in range(5)
  ]
  lists = [[array.tolist() for array in row] for row in arrays]
  finished = subprocess.run(
    [sys.executable, "-c", TAKE_TORCH_STEPS],
    input=json.dumps([lists, 0.1, weight_decay]),
    cwd=harness.ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  for place, theirs in enumerate(json.loads(finished.stdout)):
    w, *gradients = (in_tensorflow(row[place]) for row in arrays)
    slots = (np.zeros_like(w),)
    for step, gradient in enumerate(gradients):
      w, slots = muon_update(
        w,
        gradient,
        slots,
        learning_rate=0.1,
        weight_decay=weight_decay if w.ndim > 1 else 0.0,
        kernel=w.ndim > 1,
        step=step,
        momentum=0.9,
        nesterov=True,
      )
    # Its iteration is in bfloat16. Its SGD's decay is of another kind.
    if w.ndim != 2 or weight_decay < 1e-6:
      np.testing.assert_allclose(w, in_tensorflow(np.array(theirs)), atol=0.02)


def in_tensorflow(tensor):
  """Outputs and channels come last in TensorFlow, and first in PyTorch."""
  return np.transpose(tensor, [*range(2, tensor.ndim), 1, 0][-tensor.ndim :])


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth_is_that_of_the_name(depth):
  network = ours.network(CASES[f"resnet{depth}"])
  assert sum(hasattr(layer, "kernel") for layer in network.layers) == depth


def test_a_case_gives_the_batch_that_it_says():
  for case in CASES.values():
    case = dataclasses.replace(case, batch_size=3)
    images, labels = case.batch()
    assert images.shape == (3, *case.image_shape)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert set(labels) <= set(range(case.num_classes))


def test_timing_grows_to_what_can_be_timed(monkeypatch):
  clock, calls = [0.0], []

  def run(steps):
    calls.append(steps)
    clock[0] += 0.5 * steps

  monkeypatch.setattr(child.time, "perf_counter", lambda: clock[0])
  timed = child.Timed(run, steps=4, seconds=20.0)
  assert timed() == 0.5
  assert calls == [4, 48]
  # The next turn begins where this one ended.
  assert timed() == 0.5
  assert calls == [4, 48, 48]


def test_a_step_rate_is_held_against_the_peak(monkeypatch):
  clock = [0.0]

  def run(steps):
    clock[0] += 0.5 * steps

  monkeypatch.setattr(child.time, "perf_counter", lambda: clock[0])
  measure = child.step_rate(
    run,
    case=CASES["resnet20"],
    macs=10_000_000,
    parameters=5,
    peak=lambda: 61.44e9,
    gpu_bytes=lambda: None,
    seconds=1.0,
  )
  record = measure()
  assert record["images_per_second"] == 256.0
  assert record["gflops"] == pytest.approx(256 * 6 * 0.01)
  assert record["share_of_peak"] == pytest.approx(0.25)
  assert record["peak_rss_bytes"] > 2**20
