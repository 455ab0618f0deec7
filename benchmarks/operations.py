# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The time of each type of operation, measured by TensorFlow's profiler."""

from __future__ import annotations

import collections
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# "resnet20/stem_conv1/Conv2D:_MklNativeConv2D". Names with two colons are the
# profiler's own events.
_OPERATION = re.compile(r"[^:]+:(\w+)")


def profiled(run: Callable[[], None]) -> dict[str, dict[str, float]]:
  """Runs a function under TensorFlow's profiler.

  Returns:
    `seconds` and `calls` for each type of operation.
  """
  with tempfile.TemporaryDirectory() as folder:
    with tf.profiler.experimental.Profile(folder):
      run()
    (path,) = pathlib.Path(folder).rglob("*.xplane.pb")  # One per machine.
    return times(xplane_pb2.XSpace.FromString(path.read_bytes()))


def times(space: Any) -> dict[str, dict[str, float]]:
  """Sums the time of each type of operation over all threads of a machine.

  If an operation runs inside another one on the same thread, its time counts
  for itself only, not for the outer operation too.

  Args:
    space: the profiler's `XSpace`.

  Returns:
    `seconds` and `calls` for each type of operation.
  """
  totals: dict[str, dict[str, float]] = collections.defaultdict(
    lambda: {"seconds": 0.0, "calls": 0}
  )
  for plane in space.planes:
    for line in plane.lines:
      open_events: list[tuple[int, dict[str, float]]] = []
      for event in sorted(
        line.events, key=lambda e: (e.offset_ps, -e.duration_ps)
      ):
        name = plane.event_metadata[event.metadata_id].name
        match = _OPERATION.fullmatch(name)
        if not match:
          continue
        while open_events and open_events[-1][0] <= event.offset_ps:
          open_events.pop()
        seconds = event.duration_ps * 1e-12
        if open_events:
          open_events[-1][1]["seconds"] -= seconds
        total = totals[match[1]]
        total["seconds"] += seconds
        total["calls"] += 1
        open_events.append((event.offset_ps + event.duration_ps, total))
  return dict(totals)
