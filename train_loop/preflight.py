# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`auto`: measures a few real steps of each candidate and keeps the fastest.

No rule of thumb tells which precision is fastest, or whether XLA helps: on a
GPU both do, on most CPUs both lose. So the run's own network is trained for
some steps on a batch of its own data, in each way, before the run starts.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Callable, NamedTuple

import tensorflow as tf
from absl import logging

from train_loop import loop
from train_loop.config import PRECISIONS, PrecisionConfig, TrainConfig
from train_loop.state import TrainState

WARMUP_STEPS = 2
TIMED_STEPS = 5
# A candidate whose loss is further from float32's than this is not taken.
LOSS_TOLERANCE = 0.05


class Trial(NamedTuple):
  """What a few steps of one candidate gave."""

  choice: PrecisionConfig
  images_per_second: float
  loss: float


def candidates(
  precision: str, jit_compile: str, *, gpu: bool
) -> list[PrecisionConfig]:
  """Returns what is worth a try; float32 without XLA first where allowed.

  Args:
    precision: "auto" or one of `PRECISIONS`.
    jit_compile: "auto", "true" or "false".
    gpu: whether there is one. Without, float16 is emulated, and bfloat16 has
      convolutions only through XLA: neither is tried unless asked for.
  """
  precisions = PRECISIONS if precision == "auto" else (precision,)
  compiled = (
    (False, True) if jit_compile == "auto" else (jit_compile == "true",)
  )
  choices = [
    PrecisionConfig(precision=name, jit_compile=jit)
    for name in precisions
    for jit in compiled
  ]
  if gpu or precision != "auto":
    return choices
  return [
    choice
    for choice in choices
    if choice.precision == "float32"
    or (choice.precision == "mixed_bfloat16" and choice.jit_compile)
  ]


def measure(
  make_model: Callable[[str], tf.keras.Model],
  dataset: tf.data.Dataset,
  config: TrainConfig,
  choices: list[PrecisionConfig],
) -> PrecisionConfig:
  """Returns the fastest choice whose loss agrees with the first's.

  Args:
    make_model: from a precision to the run's network, with the same weights
      each time.
    dataset: the training stream; its first batch is used, again and again.
    config: the run's hyperparameters.
    choices: at least one; the first is what the others must agree with.
  """
  if len(choices) == 1:
    return choices[0]
  batches = dataset.take(1).cache().repeat()
  trials: list[Trial] = []
  for choice in choices:
    trial = _try(make_model(choice.precision), batches, config, choice)
    logging.info(
      "auto: precision %s, jit_compile %s: %.0f images/s, loss %.4f",
      choice.precision,
      choice.jit_compile,
      trial.images_per_second,
      trial.loss,
    )
    trials.append(trial)
  best = fastest(trials)
  logging.info(
    "auto: took precision %s, jit_compile %s", best.precision, best.jit_compile
  )
  return best


def fastest(trials: list[Trial]) -> PrecisionConfig:
  """Returns the fastest choice whose loss is close to the first's."""
  reference = trials[0].loss
  agreeing = [
    trial
    for trial in trials
    if abs(trial.loss - reference) <= LOSS_TOLERANCE * max(1.0, abs(reference))
  ]
  return max(agreeing or trials[:1], key=lambda t: t.images_per_second).choice


def _try(
  model: tf.keras.Model,
  batches: tf.data.Dataset,
  config: TrainConfig,
  choice: PrecisionConfig,
) -> Trial:
  """Trains for a few steps, and times the last of them."""
  config = dataclasses.replace(config, precision=choice)
  state = TrainState(model, config)
  run_steps = loop.make_run_steps(state, config)
  iterator = iter(
    tf.distribute.get_strategy().experimental_distribute_dataset(batches)
  )
  run_steps(iterator, tf.constant(WARMUP_STEPS, tf.int64))
  state.window.reset()
  start = time.perf_counter()
  run_steps(iterator, tf.constant(TIMED_STEPS, tf.int64))
  loss = state.window.read()["loss"]
  seconds = time.perf_counter() - start
  images = TIMED_STEPS * config.loop.global_batch_size
  return Trial(choice, images / seconds, float("inf") if loss is None else loss)
