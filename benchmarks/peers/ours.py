# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""train_loop itself, as its users call it.

    python -m benchmarks.peers.ours --task=step --case=resnet20

Tasks: `step`, the training step on a constant batch.
"""

from __future__ import annotations

import argparse
from typing import Any

import tensorflow as tf

from benchmarks import machine_peak
from benchmarks.cases import Case
from benchmarks.flops import forward_macs
from benchmarks.peers import child
from train_loop import config as config_lib
from train_loop import loop, models
from train_loop.models import names, small_resnet
from train_loop.state import TrainState


def network(case: Case, *, dtype: str = "float32") -> tf.keras.Model:
  """Builds the case's network from `train_loop.models`."""
  arguments: dict[str, Any] = {
    "model_variant": case.model_variant,
    "input_shape": case.image_shape,
    "num_classes": case.num_classes,
    "mean": case.mean,
    "std": case.std,
    "dtype": dtype,
  }
  if case.network == "dense":
    return _dense(case)
  if case.network in names.MODELS:
    return models.build_model(case.network, **arguments)
  depth = int(case.network[len("resnet") :])
  return small_resnet.small_resnet(depth, **arguments)


def _dense(case: Case) -> tf.keras.Model:
  pixels = tf.keras.Input(case.image_shape)
  features = tf.keras.layers.Flatten()(pixels)
  return tf.keras.Model(
    pixels, tf.keras.layers.Dense(case.num_classes)(features)
  )


def constant_batches(case: Case) -> tf.data.Dataset:
  """One batch, again and again: an input that costs nothing."""
  images, labels = case.batch()
  return tf.data.Dataset.from_tensors(
    {"image": images, "label": labels}
  ).repeat()


def step(options: argparse.Namespace) -> child.Measure:
  """Times `loop.make_run_steps` on a constant batch."""
  case = child.case_of(options)
  config = config_lib.TrainConfig(
    loop=config_lib.LoopConfig(
      total_steps=10**9,
      global_batch_size=case.batch_size,
      examples_per_epoch=case.batch_size,
    ),
    schedule=config_lib.ScheduleConfig(schedule="constant"),
    optimizer=config_lib.OptimizerConfig(weight_decay=0.0),
    precision=config_lib.PrecisionConfig(
      precision=options.precision, jit_compile=options.jit_compile == "true"
    ),
  )
  state = TrainState(network(case, dtype=options.precision), config)
  run_steps = loop.make_run_steps(state, config)
  iterator = iter(
    tf.distribute.get_strategy().experimental_distribute_dataset(
      constant_batches(case)
    )
  )

  def run(steps: int) -> None:
    run_steps(iterator, tf.constant(steps, tf.int64))
    state.step.numpy()  # Waits for the device.

  return child.step_rate(
    run,
    case=case,
    macs=forward_macs(state.model),
    parameters=state.model.count_params(),
    peak=lambda: machine_peak.tensorflow_peak(options.precision),
    seconds=options.seconds,
  )


if __name__ == "__main__":
  child.main(__doc__, {"step": step})
