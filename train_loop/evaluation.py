# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exact evaluation: every example counts once, whatever the batch size."""

from __future__ import annotations

import os
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from train_loop import batches as batches_lib
from train_loop import compatibility, distribution
from train_loop import config as config_lib
from train_loop import multi_label as multi_label_lib
from train_loop.config import ConfigError
from train_loop.failures import input_failures
from train_loop.models import auxiliary
from train_loop.state import TrainState
from train_loop.step import (
  EVAL_SUMS,
  EVAL_SUMS_OF_CLASSES,
  Batch,
  Metrics,
  eval_step,
)
from train_loop.workdir import checkpoints
from tricks.keras_compat import unconverted


class EvaluationStopped(Exception):
  """An evaluation was asked to stop, and has no result."""


def make_evaluate(
  model: tf.keras.Model,
  dataset: batches_lib.EvalData,
  config: config_lib.TrainConfig,
  *,
  thresholds: np.ndarray | None = None,
) -> Callable[..., dict[str, Any]]:
  """Returns `evaluate()`, exact over every example of `dataset`.

  Args:
    model: from images to logits; `evaluate` uses its weights at that time, and
      no auxiliary head.
    dataset: batches of `image` and `label`, of any sizes; or, if there are
      several hosts, a function that returns those of this one.
    config: the hyperparameters.
    thresholds: [num_classes], from which probability on a label of task
      multi_label is said to be there; None is one half.

  Returns:
    A function that returns the means `eval_loss`, `eval_top1`, `eval_top5`, if
    there are more than five classes, and `eval_balanced_accuracy`, the mean
    over the classes of their top-1; and the number `eval_examples`. With task
    multi_label it returns the figures of `multi_label.figures` and, unless
    thresholds are given, `eval_thresholds`, fitted to these examples. It raises
    a ConfigError if there are none.
    It takes the number of batches that it stops after; -1, the default, is
    all; and a function that is asked after each batch: if it returns True,
    EvaluationStopped is raised. Several hosts evaluate all, whatever is asked.
  """
  model = auxiliary.main_output(model)
  strategy = tf.distribute.get_strategy()
  host = distribution.host()
  num_classes = compatibility.num_classes(model)
  own_batches = batches_lib.eval_batches(dataset, config, num_classes, host)
  all_batches = distribution.distributed(own_batches)
  multi_label = config.loss.multi_label

  def zeros() -> Metrics:
    shapes: dict[str, tuple[int, ...]]
    shapes = dict.fromkeys(("loss", "examples"), ())
    if not multi_label:
      shapes |= dict.fromkeys(EVAL_SUMS, ())
      shapes |= dict.fromkeys(EVAL_SUMS_OF_CLASSES, (num_classes,))
    return {name: tf.zeros(shape, tf.float64) for name, shape in shapes.items()}

  @unconverted
  def replica_step(batch: Batch) -> Metrics:
    return eval_step(model, batch, config)

  @unconverted
  def sums_of(batch: Any) -> Metrics:
    sums = strategy.run(replica_step, args=(batch,))
    # Each replica has the sum over all of them, and the rows of all.
    return {
      name: tf.cast(
        strategy.experimental_local_results(replicas)[0], tf.float64
      )
      for name, replicas in sums.items()
    }

  sums_of_batch = tf.function(sums_of)

  def sum_all(batches: Any, should_stop: Callable[[], bool]) -> Metrics:
    totals, rows = zeros(), []
    for batch in batches:
      sums = sums_of_batch(batch)
      totals = {name: total + sums[name] for name, total in totals.items()}
      if multi_label:
        rows.append(_joined(sums))
      if should_stop():
        raise EvaluationStopped
    return {**totals, "rows": tf.concat(rows, axis=0)} if rows else totals

  # Hosts may have more examples than others: all go on until none has any.
  @tf.function
  def sum_until_none_has_more(iterator: Any) -> Metrics:
    totals, before = zeros(), tf.constant(-1.0, tf.float64)
    rows = tf.TensorArray(tf.float64, 0, dynamic_size=True, infer_shape=False)
    count = 0
    while totals["examples"] > before:
      before = totals["examples"]
      sums = sums_of(next(iterator))
      if multi_label:
        rows = rows.write(count, _joined(sums))
        count += 1
      totals = {name: total + sums[name] for name, total in totals.items()}
    return {**totals, "rows": rows.concat()} if multi_label else totals

  def evaluate(
    count: int = -1, should_stop: Callable[[], bool] = lambda: False
  ) -> dict[str, Any]:
    if host.count > 1:
      totals = sum_until_none_has_more(iter(all_batches))
    elif count == -1:
      totals = sum_all(all_batches, should_stop)
    else:
      some = distribution.distributed(own_batches.take(count))
      totals = sum_all(some, should_stop)
    if not totals["examples"]:
      raise ConfigError("eval_dataset must hold at least one example, got none")
    if multi_label:
      return _figures_of_rows(totals, thresholds)
    return _means(totals, num_classes)

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
) -> dict[str, Any]:
  """Evaluates a checkpoint of a run, and changes nothing in it.

  Args:
    model: the run's network; it gets the run's weights, averaged if the run
      averages them.
    dataset: batches of `image` and `label`, of any sizes, one epoch.
    config: the run's hyperparameters.
    workdir: the run's folder.
    checkpoint: "latest" or "best", as `checkpoints.restore_model` takes it.

  Returns:
    As the function that `make_evaluate` returns.

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
  state: TrainState, evaluate: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
  """Returns `evaluate` on the averaged weights, if the run averages them."""
  swap_averages = make_swap_averages(state)

  def evaluate_averages(*arguments: Any) -> dict[str, Any]:
    swap_averages()
    try:
      return evaluate(*arguments)
    finally:
      swap_averages()

  return evaluate_averages if state.averages else evaluate


def make_swap_averages(state: TrainState) -> Callable[[], None]:
  """Returns `state.swap_averages` for all replicas, in a graph."""
  strategy = tf.distribute.get_strategy()

  @tf.function
  def swap_averages() -> None:
    strategy.run(state.swap_averages)

  return swap_averages


def _means(totals: Metrics, num_classes: int) -> dict[str, Any]:
  """Returns the figures of images with one label."""
  examples = float(totals["examples"])
  means = {
    f"eval_{name}": float(totals[name]) / examples
    for name in EVAL_SUMS
    if name != "examples"
  }
  if num_classes <= 5:  # Every class is among the first five.
    del means["eval_top5"]
  hits, counts = (totals[name].numpy() for name in EVAL_SUMS_OF_CLASSES)
  means["eval_balanced_accuracy"] = float(
    np.mean(hits[counts > 0] / counts[counts > 0])
  )
  return {**means, "eval_examples": int(examples)}


def _figures_of_rows(
  totals: Metrics, thresholds: np.ndarray | None
) -> dict[str, Any]:
  """Returns the figures of images with any number of labels."""
  rows = totals["rows"].numpy()
  mask, labels, logits = np.split(rows, [1, (rows.shape[1] + 1) // 2], axis=1)
  counted = mask[:, 0] > 0
  labels = labels[counted].astype(np.int32)
  probabilities = multi_label_lib.sigmoid(logits[counted])
  results = {
    "eval_loss": float(totals["loss"] / totals["examples"]),
    **multi_label_lib.figures(labels, probabilities, thresholds),
    "eval_examples": int(totals["examples"]),
  }
  if thresholds is None:
    fitted = multi_label_lib.fitted_thresholds(labels, probabilities)
    results["eval_thresholds"] = fitted
  return results


def _joined(sums: Metrics) -> tf.Tensor:
  """Returns mask, labels and logits side by side, [batch, 1 + 2 K]."""
  mask = sums["mask"][:, tf.newaxis]
  return tf.concat([mask, sums["label"], sums["logits"]], axis=1)
