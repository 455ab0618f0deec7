# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loop: many steps a call, exact evaluation, checkpoints, resume."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from absl import logging

from train_loop import batches as batches_lib
from train_loop import config as config_lib
from train_loop import evaluation, machine, step
from train_loop import run_steps as run_steps_lib
from train_loop.config import ConfigError
from train_loop.failures import Stopped, input_failures
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import checkpoints, metrics_file, run_card, tensorboard
from train_loop.workdir import reporter as reporter_lib
from tricks import keras_compat

# A call of the loop lasts about this long where steps_per_loop is 0.
CALL_SECONDS = 1.0


def train_and_evaluate(
  model: tf.keras.Model,
  train_dataset: batches_lib.TrainData,
  eval_dataset: tf.data.Dataset | None,
  config: config_lib.TrainConfig,
  workdir: str | os.PathLike[str],
  *,
  teacher: tf.keras.Model | None = None,
  card: dict[str, Any] | None = None,
  should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
  """Trains `model` to the end of the run, or goes on where it was stopped.

  For several replicas call it, and build the model, under the strategy's scope.

  Args:
    model: any Keras model from images, float32 as the dataset holds them, to
      logits [batch, num_classes].
    train_dataset: batches `{"image": [B, H, W, C], "label": [B]}`, one epoch,
      which is repeated, and on resume skipped to its place; or a function from
      a step to the endless dataset from that step on, which resumes in no time.
    eval_dataset: likewise, one epoch, every example of which is evaluated; None
      trains without evaluation.
    config: the hyperparameters.
    workdir: the run's folder; made where it is missing.
    teacher: a model from images to logits, for distillation.
    card: what `run_card.json` is to say besides.
    should_stop: asked between calls; True saves, then raises Stopped.

  Returns:
    The last record of training and of evaluation, merged. Where the run in
    `workdir` is finished, that of then; nothing is written.

  Raises:
    ConfigError: workdir holds a run with other settings, or model, data and
      config do not fit each other.
    Diverged: the loss is not finite.
    Stopped: as asked; the state is saved.
  """
  _require_fit(model, config)
  settings = run_card.comparable_settings(config)
  saved = run_card.read(workdir)
  if saved is not None:
    run_card.require_same(workdir, saved["settings"], settings)
    if saved["finished"]:
      logging.info("the run in %s is finished: nothing to do", workdir)
      return saved["final"]
  os.makedirs(workdir, exist_ok=True)
  card = {
    **(saved or {}),
    **(card or {}),
    "settings": settings,
    **machine.describe(),
    "parameter_count": int(model.count_params()),
  }
  run_card.write(workdir, {**card, "final": {}, "finished": False})

  state = TrainState(model, config)
  saver = checkpoints.Checkpoints(
    state, workdir, keep=config.loop.keep_checkpoints
  )
  resumed = saver.restore_latest()
  start_step = int(state.step.numpy())
  if resumed:
    logging.info("resuming %s at step %d", workdir, start_step)
  batches = tf.distribute.get_strategy().experimental_distribute_dataset(
    batches_lib.train_batches(train_dataset, config, start_step)
  )
  evaluate = None
  if eval_dataset is not None:
    evaluate = evaluation.with_averages(
      state, evaluation.make_evaluate(model, eval_dataset, config)
    )
  with contextlib.closing(
    reporter_lib.Reporter(
      workdir, start_step=start_step, total_steps=config.loop.total_steps
    )
  ) as reporter:
    if start_step == 0:
      with input_failures(range(1)):
        grid = _augmented_images(state, batches, config)
      reporter.image("augmented", grid, step=0)
    _run(
      state,
      functools.partial(
        run_steps_lib.make_run_steps,
        state,
        config,
        schedule=make_schedule(config),
        teacher=teacher,
      ),
      iter(batches),
      evaluate,
      config=config,
      saver=saver,
      reporter=reporter,
      should_stop=should_stop,
    )
  final = metrics_file.last_records(workdir)
  run_card.write(workdir, {**card, "final": final, "finished": True})
  return final


def _run(
  state: TrainState,
  make_steps: Callable[..., Callable[[Any, tf.Tensor], None]],
  iterator: Any,
  evaluate: Callable[[], dict[str, float]] | None,
  *,
  config: config_lib.TrainConfig,
  saver: checkpoints.Checkpoints,
  reporter: reporter_lib.Reporter,
  should_stop: Callable[[], bool],
) -> None:
  """Runs from the state's step to the last: log, evaluate, save, in that order.

  A checkpoint comes last at its step, so that whatever was reported up to it is
  never reported again, and what came after it is.
  """
  loop = config.loop
  total = loop.total_steps
  save_every = loop.checkpoint_every_steps or loop.eval_every_steps
  pace = Pace(loop)
  # One trace for the whole run; where images grow, one a size.
  steps_of_size = functools.lru_cache(maxsize=None)(
    lambda size: make_steps(image_size=size)
  )

  def due(every: int) -> bool:
    return now == total or bool(every and now % every == 0)

  now = int(state.step.numpy())
  while now < total:
    stops = (loop.log_every_steps, loop.eval_every_steps, save_every)
    grows = [start for _, start in loop.progressive_image_sizes if start > now]
    ends = [total, *grows, *(now + n - now % n for n in stops if n)]
    count = pace.steps(min(ends) - now)
    run_steps = steps_of_size(loop.image_size_at(now))
    with pace.timed(count), input_failures(range(now, now + count)):
      run_steps(iterator, tf.constant(count, tf.int64))
      now = int(state.step.numpy())
    run_steps_lib.require_finite(state)
    reporter.progress(now)
    epoch = now * loop.global_batch_size / loop.examples_per_epoch
    where = {"step": now, "epoch": round(epoch, 4)}
    if due(loop.log_every_steps):
      reporter.train({**where, **_read_window(state), **pace.read()})
    if evaluate and due(loop.eval_every_steps):
      _evaluate(state, evaluate, where, saver, reporter)
    if due(save_every):
      saver.save()
    if now < total and should_stop():
      saver.save()
      raise Stopped(f"stopped at step {now} of {total}, and saved")


class Pace:
  """Measures images a second, and how many steps fit in a call.

  The host looks up (to answer a signal, to move the bar) only between calls.
  How many steps a call takes changes no number that it computes.
  """

  def __init__(self, loop: config_lib.LoopConfig) -> None:
    self._batch = loop.global_batch_size
    self._fixed = loop.steps_per_loop
    self._next = 1
    self._steps = 0
    self._seconds = 0.0

  def steps(self, room: int) -> int:
    """Returns the steps of the next call, at most `room`."""
    return min(room, self._fixed or self._next)

  @contextlib.contextmanager
  def timed(self, count: int) -> Iterator[None]:
    """Times a call of `count` steps."""
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    self._steps += count
    self._seconds += seconds
    self._next = max(1, min(2 * count, int(count / seconds * CALL_SECONDS)))

  def read(self) -> dict[str, float]:
    """Returns the images a second since the last read."""
    rate = self._batch * self._steps / max(self._seconds, 1e-9)
    self._steps, self._seconds = 0, 0.0
    return {"images_per_second": round(rate, 1)}


def _read_window(state: TrainState) -> dict[str, Any]:
  """Reads and resets the metrics."""
  record = state.window.read()
  state.window.reset()
  if state.loss_scale is not None:
    record["loss_scale"] = float(state.loss_scale.value.numpy())
  return record


def _evaluate(
  state: TrainState,
  evaluate: Callable[[], dict[str, float]],
  where: dict[str, Any],
  saver: checkpoints.Checkpoints,
  reporter: reporter_lib.Reporter,
) -> None:
  """Evaluates, reports, and keeps the best."""
  start = time.perf_counter()
  with input_failures(range(0)):
    results = evaluate()
  seconds = round(time.perf_counter() - start, 3)
  reporter.evaluation({**where, **results, "eval_seconds": seconds})
  if results["eval_top1"] > float(state.best_top1.numpy()):
    state.best_top1.assign(results["eval_top1"])
    saver.save_best()


def _require_fit(model: tf.keras.Model, config: config_lib.TrainConfig) -> None:
  """Raises unless model, config and the strategy in scope fit each other."""
  replicas = tf.distribute.get_strategy().num_replicas_in_sync
  parts = replicas * config.optimizer.accumulate_steps
  if config.loop.global_batch_size % parts:
    raise ConfigError(
      f"global_batch_size must be a multiple of replicas * accumulate_steps "
      f"({parts}), got {config.loop.global_batch_size}"
    )
  dtypes = {layer.compute_dtype for layer in keras_compat.flat_layers(model)}
  half = config.precision.precision == "mixed_float16"
  if half != ("float16" in dtypes):
    raise ConfigError(
      "precision must be mixed_float16 where the model's layers compute in "
      f"float16, and only there (they compute in {', '.join(sorted(dtypes))}), "
      f"got {config.precision.precision!r}"
    )


def _augmented_images(
  state: TrainState, batches: Any, config: config_lib.TrainConfig
) -> np.ndarray:
  """Returns a picture of the first batch as the network will see it."""
  strategy = tf.distribute.get_strategy()

  def mix(batch: step.Batch) -> tf.Tensor:
    return step.mixed_batch(batch, state.step, state.num_classes, config)[0]

  images = strategy.run(mix, args=(next(iter(batches)),))
  first = strategy.experimental_local_results(images)[0]
  return tensorboard.image_grid(first.numpy())
