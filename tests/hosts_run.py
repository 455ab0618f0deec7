# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny network on several devices or hosts, in its own process.

    python -m tests.hosts_run WORKDIR [--logical_devices=N] [--tf_config=JSON]
      [--stop_after=CALLS] [--kill_after=CALLS]

Prints the outcome as the last line of stdout. Each call of the loop takes five
steps of fifty.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal

import numpy as np
import tensorflow as tf

import data
from data.sources import source as sources
from tests import tiny
from train_loop import train_and_evaluate
from train_loop.command import devices as devices_lib
from train_loop.command.settings import DeviceSettings
from train_loop.failures import HostLost, Stopped
from train_loop.fields import ConfigError
from train_loop.models import fusing

STEPS = 50
# The batch that holds NaN; the run goes back, and on with those after it.
BAD_PLACE = 13


def main() -> None:
  """Trains as the command line says."""
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir")
  parser.add_argument("--logical_devices", type=int, default=1)
  parser.add_argument("--tf_config", default="")
  parser.add_argument("--stop_after", type=int, default=0)
  parser.add_argument("--kill_after", type=int, default=0)
  parser.add_argument("--own_statistics", action="store_true")
  parser.add_argument("--rollback", action="store_true")
  parser.add_argument("--precision", default="float32")
  parser.add_argument("--jit_compile", action="store_true")
  options = parser.parse_args()
  if options.tf_config:
    os.environ["TF_CONFIG"] = options.tf_config
  print(train(options), flush=True)


def train(options: argparse.Namespace) -> str:
  """Trains; returns what came of it."""
  devices = devices_lib.find(
    DeviceSettings(logical_devices=options.logical_devices)
  )
  calls = 0

  def should_stop() -> bool:
    nonlocal calls
    calls += 1
    if calls == options.kill_after:
      os.kill(os.getpid(), signal.SIGKILL)
    return calls == options.stop_after

  strategy = devices.strategy()  # Before TensorFlow computes.
  images = make_inputs()
  train_dataset = images.train_dataset(devices.shard)
  validation = images.eval_dataset(devices.shard)
  try:
    with strategy.scope():
      train_and_evaluate(
        make_model(options),
        functools.partial(with_nan, train_dataset)
        if options.rollback
        else train_dataset,
        (lambda: validation) if devices.hosts > 1 else validation,
        make_config(options),
        options.workdir,
        should_stop=should_stop,
      )
  except (ConfigError, HostLost, Stopped) as error:
    return f"{type(error).__name__}: {error}"
  return "finished"


def with_nan(train_dataset, place: int) -> tf.data.Dataset:
  """Returns the batches from a place on, as float32, with the bad one."""

  def spoilt(number, batch):
    images = tf.cast(batch["image"], tf.float32)
    bad = tf.equal(number, BAD_PLACE)
    return {**batch, "image": tf.where(bad, np.nan, images)}

  return train_dataset(place).enumerate(place).map(spoilt)


def make_model(options: argparse.Namespace):
  """Returns a network that drops blocks."""
  model = tiny.model(dtype=options.precision, drop_probability=0.2)
  if not options.own_statistics:
    fusing.synchronize_batch_norm(model)
  return model


def make_config(options: argparse.Namespace):
  """Returns a config that draws for each example, and is no chaos."""
  return tiny.config(
    total_steps=STEPS,
    global_batch_size=128,
    base_learning_rate=0.002,
    steps_per_loop=5,
    log_every_steps=10,
    eval_every_steps=25,
    **({"checkpoint_every_steps": 10} if options.rollback else {}),
    on_nonfinite="rollback" if options.rollback else "stop",
    mixup_alpha=0.2,
    ema_decay=0.9,
    label_smoothing=0.1,
    precision=options.precision,
    jit_compile=options.jit_compile,
  )


def make_inputs() -> data.Inputs:
  """Returns augmented images, and a number to evaluate that is odd."""
  train, validation = (
    sources.Source(*tiny.arrays(count, seed=seed), tuple("abcd"), "quarters")
    for count, seed in ((256, 0), (101, 1))
  )
  return data.Inputs(
    train=train,
    validation=validation,
    global_batch_size=128,
    augmentation=data.Augmentation(pad_crop=1, erasing_probability=0.25),
  )


if __name__ == "__main__":
  main()
