# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the time of each kind of operation."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import operations, step_profile


def space_of(*lines: list[tuple[str, int, int]]) -> xplane_pb2.XSpace:
  """Makes a profile of threads' events: name, start and length in ms."""
  space = xplane_pb2.XSpace()
  plane = space.planes.add(name="/host:CPU")
  for events in lines:
    line = plane.lines.add()
    for name, start, length in events:
      number = len(plane.event_metadata) + 1
      plane.event_metadata[number].name = name
      line.events.add(
        metadata_id=number,
        offset_ps=start * 10**9,
        duration_ps=length * 10**9,
      )
  return space


def test_an_operations_time_is_its_own():
  space = space_of(
    [
      ("net/loop:While", 0, 100),
      ("net/conv1/Conv2D:Conv2D", 10, 20),
      ("net/conv2/Conv2D:Conv2D", 40, 30),
      ("Threadpool::Record", 41, 20),
      ("net/relu:Relu", 70, 5),
      ("net/add:AddV2", 100, 7),
    ],
    [("net/relu_1:Relu", 0, 11), ("FunctionRun", 12, 50)],
  )
  found = operations.times(space)
  assert {k: v["calls"] for k, v in found.items()} == {
    "While": 1,
    "Conv2D": 2,
    "Relu": 2,
    "AddV2": 1,
  }
  assert {k: v["seconds"] for k, v in found.items()} == pytest.approx(
    {"While": 0.045, "Conv2D": 0.05, "Relu": 0.016, "AddV2": 0.007}
  )


def test_a_profile_of_a_function_has_its_operations():
  with tf.device("CPU"):
    matrix = tf.random.stateless_normal([256, 256], [0, 0])
  square = tf.function(lambda x: tf.linalg.matmul(x, x))

  def run() -> None:
    with tf.device("CPU"):
      for _ in range(3):
        square(matrix).numpy()

  run()

  (name,) = [n for n in operations.profiled(run) if n.endswith("MatMul")]
  again = operations.profiled(run)[name]
  assert again["calls"] == 3
  assert 0 < again["seconds"] < 60


def test_small_operations_share_a_line():
  record = {
    "steps": 2,
    "operations": {
      "Relu": {"seconds": 0.5, "calls": 4},
      "Conv2D": {"seconds": 1.49, "calls": 8},
      "Mul": {"seconds": 0.004, "calls": 100},
      "Sub": {"seconds": 0.006, "calls": 50},
    },
  }
  rows = step_profile.rows(record)
  assert list(rows) == ["Conv2D", "Relu", "all others"]
  assert rows["Conv2D"].median("seconds") == pytest.approx(0.745)
  assert rows["Conv2D"].median("share") == pytest.approx(0.745)
  assert rows["all others"].median("calls") == 75
  total = sum(row.median("share") for row in rows.values())
  assert total == pytest.approx(1)
