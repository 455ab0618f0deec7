# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny network as a process of its own, which may kill itself.

    python -m tests.tiny_run WORKDIR [--seconds=S] [--dataset=NAME --data_dir=D]

With seconds the process sends itself SIGKILL that long after its first call of
the loop, wherever it then is: in a step, an evaluation, a checkpoint, a log.
Without a data set it trains on arrays.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading

import data
from data.sources import source as sources
from tests import tiny
from train_loop import train_and_evaluate


def main() -> None:
  """Trains as the command line says."""
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir")
  parser.add_argument("--seconds", type=float)
  parser.add_argument("--dataset")
  parser.add_argument("--data_dir")
  train(**vars(parser.parse_args()))


def train(
  workdir: str | os.PathLike[str],
  *,
  seconds: float | None = None,
  dataset: str | None = None,
  data_dir: str | None = None,
) -> None:
  """Trains; every part of the state that a checkpoint must hold is in use."""
  config = tiny.config(
    total_steps=120 if dataset else 240,
    log_every_steps=7,
    eval_every_steps=30,
    checkpoint_every_steps=11,
    accumulate_steps=2,
    parallel_micro_batches=True,
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

  inputs = make_inputs(dataset, data_dir)
  train_and_evaluate(
    tiny.model(drop_probability=0.3),
    inputs.train_dataset(),
    inputs.eval_dataset(),
    config,
    workdir,
    should_stop=should_stop,
  )


def make_inputs(dataset: str | None, data_dir: str | None) -> data.Inputs:
  """Returns batches of 32, augmented in every way that the data allow."""
  options = {"global_batch_size": 32, "seed": 3}
  augmentation = {
    "flip": dataset is not None,
    "pad_crop": 1,
    "erasing_probability": 0.25,
  }
  if dataset is None:
    train, validation = (
      sources.Source(*tiny.arrays(count, seed=seed), tuple("abcd"), "quarters")
      for count, seed in ((256, 0), (100, 1))
    )
  else:
    train, validation = data.load(
      data.SourceOptions(dataset, str(data_dir or ""), image_channels=1)
    )
    options |= {"image_size": 8, "cache": "none"}
    augmentation |= {
      "random_resized_crop": True,
      "color_jitter": 0.2,
      "auto_augment": "trivial_augment",
    }
  return data.Inputs(
    train=train,
    validation=validation,
    augmentation=data.Augmentation(**augmentation),
    **options,
  )


if __name__ == "__main__":
  main()
