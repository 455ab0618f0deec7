# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny problem as a process of its own, which may kill itself.

    python -m tests.tiny_run WORKDIR [SECONDS]

With SECONDS the process sends itself SIGKILL that long after its first call of
the loop, wherever it then is: in a step, an evaluation, a checkpoint, a log.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading

from data import pipeline, sources
from tests import tiny
from train_loop import train_and_evaluate


def main(workdir: str, seconds: float | None = None) -> None:
  """Trains; every part of the state that a checkpoint must hold is in use."""
  config = tiny.config(
    total_steps=240,
    log_every_steps=7,
    eval_every_steps=30,
    checkpoint_every_steps=11,
    mixup_alpha=0.2,
    ema_decay=0.95,
    label_smoothing=0.1,
    seed=3,
  )
  timers: list[threading.Timer] = []

  def should_stop() -> bool:
    if seconds is not None and not timers:
      timers.append(
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
      )
      timers[0].start()
    return False

  images, labels = tiny.arrays(256)
  source = sources.Source(
    images=images,
    labels=labels,
    class_names=tuple("abcd"),
    name="quarters",
  )
  train_dataset = functools.partial(
    pipeline.train_dataset,
    source,
    global_batch_size=config.loop.global_batch_size,
    seed=config.loop.seed,
    pad_crop=1,
    erasing_probability=0.25,
  )
  train_and_evaluate(
    tiny.model(),
    lambda step: train_dataset(start_step=step),
    tiny.dataset(100, seed=1),
    config,
    workdir,
    should_stop=should_stop,
  )


if __name__ == "__main__":
  main(sys.argv[1], *map(float, sys.argv[2:]))
