# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`model.fit`, as Keras' own guides show it.

    python -m benchmarks.peers.keras_fit --task=step --case=resnet20

Tasks: `step`, the training step on a constant batch. With --tuned many steps
run in a call (steps_per_execution) and XLA is as --jit_compile says; without it
Keras decides.
"""

from __future__ import annotations

import argparse
from typing import Any

import tensorflow as tf

from benchmarks import machine_peak
from benchmarks.cases import Case
from benchmarks.flops import forward_macs
from benchmarks.peers import child, keras_networks


def compiled(
  options: argparse.Namespace, case: Case, optimizer: Any
) -> tf.keras.Model:
  """Builds and compiles the case's network."""
  model = keras_networks.network(tf.keras, case)
  settings: dict[str, Any] = {}
  if options.tuned:
    settings["steps_per_execution"] = case.steps
    settings["jit_compile"] = options.jit_compile == "true"
  model.compile(
    optimizer=optimizer,
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    **settings,
  )
  return model


def step(options: argparse.Namespace) -> child.Measure:
  """Times `model.fit` on a constant batch."""
  tf.keras.mixed_precision.set_global_policy(options.precision)
  case = child.case_of(options)
  optimizer = tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
  model = compiled(options, case, optimizer)
  batches = tf.data.Dataset.from_tensors(case.batch()).repeat()

  def run(steps: int) -> None:
    model.fit(batches, steps_per_epoch=steps, verbose=0)

  return child.step_rate(
    run,
    case=case,
    macs=forward_macs(model),
    parameters=model.count_params(),
    peak=lambda: machine_peak.tensorflow_peak(options.precision),
    seconds=options.seconds,
  )


if __name__ == "__main__":
  child.main(__doc__, {"step": step})
