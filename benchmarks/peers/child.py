# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all peers share: their flags, their turns and their records."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from benchmarks import machine_peak
from benchmarks.cases import CASES, Case
from benchmarks.flops import forward_macs, train_flops

Measure = Callable[[], dict[str, Any]]
Task = Callable[[argparse.Namespace], Measure]


def main(description: str | None, tasks: Mapping[str, Task]) -> None:
  """Runs a peer: sets up the task named by --task, then measures in turns.

  Args:
    description: for --help.
    tasks: for each name, a function that sets up and returns a function that
      measures once.
  """
  options = _parser(description, tasks).parse_args()
  measure = tasks[options.task](options)
  say({"ready": True})
  for _ in sys.stdin:
    say(measure())


def say(record: Mapping[str, Any]) -> None:
  """Prints one record."""
  print(json.dumps(record), flush=True)


def _parser(
  description: str | None, tasks: Mapping[str, Task]
) -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    "--task", choices=tasks, default=next(iter(tasks)), help="what to measure"
  )
  add(
    "--case", choices=CASES, default="resnet20", help="which network to train"
  )
  add("--batch_size", type=int, help="images per step; default: the case's")
  add("--image_size", type=int, help="height and width; default: the case's")
  add("--steps", type=int, help="steps per epoch; default: the case's")
  add("--seconds", type=float, default=1.0, help="shortest time to measure")
  add("--precision", default="float32", help="as train_loop's flag")
  add("--jit_compile", choices=("true", "false"), default="false")
  add("--fuse_batch_norm", choices=("true", "false"), default="false")
  add("--recompute", choices=("none", "blocks"), default="none")
  add("--compile", action="store_true", help="torch.compile the network")
  add("--tuned", action="store_true", help="model.fit with steps_per_execution")
  add(
    "--at_once",
    type=int,
    default=1,
    help="micro-batches in parallel; ours only",
  )
  add("--log_every_steps", type=int, help="default: the recipe's")
  add("--pad_crop", type=int, default=0, help="shift by up to this many pixels")
  add("--epochs", type=float, help="epochs; default: the recipe's")
  add("--exif_orientation", default="apply", help="apply or ignore")
  add("--jpeg_dct", default="accurate", help="accurate or fast")
  add("--folder", help="of JPEG files by class, or of TFRecord files")
  add("--target", type=float, default=1.0, help="stop at this test accuracy")
  add("--seed", type=int, default=0, help="seed of weights and order")
  return parser


def case_of(options: argparse.Namespace) -> Case:
  """Returns the case named by --case, of other sizes if they are given."""
  case = CASES[options.case]
  height, width, channels = case.image_shape
  size = options.image_size
  return dataclasses.replace(
    case,
    batch_size=options.batch_size or case.batch_size,
    image_shape=(size or height, size or width, channels),
  )


def step_rate(
  run: Callable[[int], None],
  *,
  case: Case,
  macs: int,
  parameters: int,
  peak: Callable[[], float],
  gpu_bytes: Callable[[], int | None],
  seconds: float,
) -> Measure:
  """Returns a function that measures the speed of a training step.

  Args:
    run: runs a number of training steps and waits for them.
    case: the network and batch that are trained.
    macs: multiply-accumulates of a forward pass over one image.
    parameters: the number of the network's parameters.
    peak: measures the machine's peak, in FLOP/s.
    gpu_bytes: the most that was allocated on the GPU, or None without one.
    seconds: the shortest time to measure.
  """
  run(case.steps)  # Traces, compiles, and fills the caches.
  timed = Timed(run, steps=case.steps, seconds=seconds)

  def measure() -> dict[str, Any]:
    step_seconds = timed()
    rate = case.batch_size / step_seconds
    flops = rate * train_flops(macs)
    peak_flops = peak()
    return {
      "images_per_second": rate,
      "step_seconds": step_seconds,
      "gflops": flops / 1e9,
      "matmul_gflops": peak_flops / 1e9,
      "share_of_peak": flops / peak_flops,
      "peak_rss_bytes": peak_rss_bytes(),
      "peak_gpu_bytes": gpu_bytes(),
      "parameters": parameters,
      "forward_macs": macs,
    }

  return measure


def keras_step_rate(
  run: Callable[[int], None],
  model: Any,
  *,
  case: Case,
  peak: Callable[[], float],
  seconds: float,
) -> Measure:
  """Returns `step_rate` of a functional model of any Keras version."""
  return step_rate(
    run,
    case=case,
    macs=forward_macs(model),
    parameters=model.count_params(),
    peak=peak,
    gpu_bytes=machine_peak.tensorflow_gpu_bytes,
    seconds=seconds,
  )


class Timed:
  """Times steps, and increases their number until they take long enough."""

  def __init__(
    self, run: Callable[[int], None], *, steps: int, seconds: float
  ) -> None:
    self._run = run
    self._steps = steps
    self._seconds = seconds

  def __call__(self) -> float:
    """Returns the seconds per step."""
    while True:
      start = time.perf_counter()
      self._run(self._steps)
      seconds = time.perf_counter() - start
      if seconds >= self._seconds:
        return seconds / self._steps
      needed = 1.2 * self._seconds / max(seconds, 1e-6)
      self._steps *= min(100, math.ceil(needed))


def epoch_rate(images: int, seconds: float) -> dict[str, float]:
  """Returns the record of an epoch."""
  return {
    "images_per_second": images / seconds,
    "seconds": seconds,
    "peak_rss_bytes": peak_rss_bytes(),
  }


def input_rate(
  run: Callable[[int], None],
  *,
  batch_size: int,
  seconds: float,
  cores: int | None = None,
) -> Measure:
  """Returns a function that measures the speed of an input pipeline.

  Args:
    run: reads a number of batches.
    batch_size: images per batch.
    seconds: the shortest time to measure.
    cores: the number of cores that the pipeline may use; None is all.
  """
  cores = cores or os.cpu_count() or 1
  run(2)
  timed = Timed(run, steps=2, seconds=seconds)

  def measure() -> dict[str, Any]:
    rate = batch_size / timed()
    return {
      "images_per_second": rate,
      "images_per_second_and_core": rate / cores,
      "peak_rss_bytes": peak_rss_bytes(),
    }

  return measure


class Race:
  """Records accuracy over training time; evaluation does not count."""

  def __init__(self, target: float) -> None:
    self._target = target
    self._steps = 0
    self._seconds = 0.0
    self._curve: list[dict[str, float]] = []

  @property
  def won(self) -> bool:
    """Whether the target was reached."""
    return any(point["top1"] >= self._target for point in self._curve)

  def trained(self, steps: int, seconds: float) -> None:
    """Records trained steps and the seconds that they took."""
    self._steps += steps
    self._seconds += seconds

  def evaluated(self, top1: float) -> None:
    """Records the accuracy at this point."""
    self._curve.append(
      {"step": self._steps, "seconds": self._seconds, "top1": top1}
    )

  def run(
    self,
    train: Callable[[int], None],
    evaluate: Callable[[], float],
    parts: Iterable[int],
  ) -> None:
    """Trains and evaluates in turns until the target is reached.

    Args:
      train: runs a number of steps and waits for them.
      evaluate: returns the test accuracy.
      parts: the number of steps before each evaluation.
    """
    for steps in parts:
      start = time.perf_counter()
      train(steps)
      self.trained(steps, time.perf_counter() - start)
      self.evaluated(evaluate())
      if self.won:
        return

  def record(self) -> dict[str, Any]:
    """Returns the whole curve."""
    return {
      "curve": self._curve,
      "seconds": self._seconds,
      "best_top1": max(point["top1"] for point in self._curve),
    }


def peak_rss_bytes() -> int:
  """Returns the largest memory that this process has used."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == "darwin" else 1024 * peak
