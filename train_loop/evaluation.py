# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exact evaluation: every example counts once, whatever the batch size."""

from __future__ import annotations

import os
from typing import Any, Callable

import tensorflow as tf

from train_loop import batches as batches_lib
from train_loop import compatibility, distribution
from train_loop import config as config_lib
from train_loop.config import ConfigError
from train_loop.failures import input_failures
from train_loop.models import auxiliary
from train_loop.state import TrainState
from train_loop.step import EVAL_SUMS, Batch, Metrics, eval_step
from train_loop.workdir import checkpoints
from tricks.keras_compat import unconverted


class EvaluationStopped(Exception):
  """An evaluation was asked to stop, and has no result."""


def make_evaluate(
  model: tf.keras.Model,
  dataset: batches_lib.EvalData,
  config: config_lib.TrainConfig,
) -> Callable[..., dict[str, float]]:
  """Returns `evaluate()`, exact over every example of `dataset`.

  Args:
    model: from images to logits; `evaluate` uses its weights at that time, and
      no auxiliary head.
    dataset: batches of `image` and `label`, of any sizes; or, if there are
      several hosts, a function that returns those of this one.
    config: the hyperparameters.

  Returns:
    A function that returns the means `eval_loss`, `eval_top1` and `eval_top5`,
    and the number `eval_examples`; it raises a ConfigError if there are none.
    It takes the number of batches that it stops after; -1, the default, is
    all; and a function that is asked after each batch: if it returns True,
    EvaluationStopped is raised. Several hosts evaluate all, whatever is asked.
  """
  model = auxiliary.main_output(model)
  strategy = tf.distribute.get_strategy()
  host = distribution.host()
  own_batches = batches_lib.eval_batches(
    dataset, config, compatibility.num_classes(model), host
  )
  all_batches = distribution.distributed(own_batches)

  @unconverted
  def replica_step(batch: Batch) -> Metrics:
    return eval_step(model, batch, config)

  @unconverted
  def sums_of(batch: Any) -> Metrics:
    sums = strategy.run(replica_step, args=(batch,))
    # Each replica has the sum over all of them.
    return {
      name: tf.cast(
        strategy.experimental_local_results(replicas)[0], tf.float64
      )
      for name, replicas in sums.items()
    }

  sums_of_batch = tf.function(sums_of)

  def sum_all(batches: Any, should_stop: Callable[[], bool]) -> Metrics:
    totals = _zeros()
    for batch in batches:
      totals = tf.nest.map_structure(tf.add, totals, sums_of_batch(batch))
      if should_stop():
        raise EvaluationStopped
    return totals

  # Hosts may have more examples than others: all go on until none has any.
  @tf.function
  def sum_until_none_has_more(iterator: Any) -> Metrics:
    totals = _zeros()
    before = tf.constant(-1.0, tf.float64)
    while totals["examples"] > before:
      before = totals["examples"]
      sums = sums_of(next(iterator))
      totals = {name: total + sums[name] for name, total in totals.items()}
    return totals

  def evaluate(
    count: int = -1, should_stop: Callable[[], bool] = lambda: False
  ) -> dict[str, float]:
    if host.count > 1:
      sums = sum_until_none_has_more(iter(all_batches))
    elif count == -1:
      sums = sum_all(all_batches, should_stop)
    else:
      some = distribution.distributed(own_batches.take(count))
      sums = sum_all(some, should_stop)
    totals = {name: float(total) for name, total in sums.items()}
    examples = totals.pop("examples")
    if not examples:
      raise ConfigError("eval_dataset must hold at least one example, got none")
    means = {f"eval_{name}": totals[name] / examples for name in totals}
    return {**means, "eval_examples": int(examples)}

  return evaluate


def count_batches(
  dataset: batches_lib.EvalData,
  config: config_lib.TrainConfig,
  num_classes: int,
) -> int:
  """Returns the number of batches of an evaluation, or -1 or -2."""
  batches = batches_lib.eval_batches(
    dataset, config, num_classes, distribution.host()
  )
  return int(batches.cardinality())


def evaluate(
  model: tf.keras.Model,
  dataset: tf.data.Dataset,
  config: config_lib.TrainConfig,
  workdir: str | os.PathLike[str],
  *,
  checkpoint: str = checkpoints.LATEST,
) -> dict[str, float]:
  """Evaluates a checkpoint of a run, and changes nothing in it.

  Args:
    model: the run's network; it gets the run's weights, averaged if the run
      averages them.
    dataset: batches of `image` and `label`, of any sizes, one epoch.
    config: the run's hyperparameters.
    workdir: the run's folder.
    checkpoint: "latest" or "best", as `checkpoints.restore_model` takes it.

  Returns:
    `eval_loss`, `eval_top1`, `eval_top5` and `eval_examples`.

  Raises:
    ConfigError: there is no checkpoint, it is of another network, the data do
      not fit the model, or there are no examples.
    InputFailed: TensorFlow met an error in the input.
  """
  compatibility.require(model, config, eval_dataset=dataset)
  checkpoints.restore_model(model, workdir, checkpoint=checkpoint)
  with input_failures(range(0), config):
    return make_evaluate(model, dataset, config)()


def with_averages(
  state: TrainState, evaluate: Callable[..., dict[str, float]]
) -> Callable[..., dict[str, float]]:
  """Returns `evaluate` on the averaged weights, if the run averages them."""
  strategy = tf.distribute.get_strategy()

  @tf.function
  def swap_averages() -> None:
    strategy.run(state.swap_averages)

  def evaluate_averages(*arguments: Any) -> dict[str, float]:
    swap_averages()
    try:
      return evaluate(*arguments)
    finally:
      swap_averages()

  return evaluate_averages if state.averages else evaluate


def _zeros() -> Metrics:
  return {name: tf.constant(0.0, tf.float64) for name in EVAL_SUMS}
