# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loop: many steps a call, exact evaluation, checkpoints, resume."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Iterator
from typing import Any, Callable, Union

import numpy as np
import tensorflow as tf
from absl import logging

import tricks
from train_loop import config as config_lib
from train_loop import machine, step
from train_loop.config import ConfigError
from train_loop.state import TrainState
from train_loop.workdir import checkpoints, run_card
from train_loop.workdir import reporter as reporting
from tricks import keras_compat

TrainData = Union[tf.data.Dataset, Callable[[int], tf.data.Dataset]]

# Settings that may change between two starts of one run: they move no number.
FREE_SETTINGS = ("checkpoint_every_steps", "keep_checkpoints", "steps_per_loop")
# A call of the loop lasts about this long where steps_per_loop is 0.
CALL_SECONDS = 1.0
# Batches that are ready before the step asks for them.
_BATCHES_AHEAD = 4


class Diverged(ArithmeticError):
  """The loss or its gradient stopped being finite, and no remedy is left."""


class Stopped(Exception):
  """The run was asked to stop, and has saved its state."""


class InputFailed(RuntimeError):
  """TensorFlow met an error in the input, or in a step.

  Attributes:
    steps: the steps, from the first to the one after the last, of the call that
      failed; none in evaluation.
  """

  def __init__(self, error: tf.errors.OpError, steps: range) -> None:
    super().__init__(str(error))
    self.steps = steps


class OneTrace:
  """Fails the second trace of a `tf.function`, naming what changed.

  A trace costs seconds and happens silently; a loop that is traced again at
  every call trains at a crawl. Called from inside the traced function, so that
  it runs once a trace.
  """

  def __init__(self, name: str) -> None:
    self._name = name
    self._first: dict[str, str] | None = None

  def __call__(self, **arguments: Any) -> None:
    """Notes the arguments' specs; raises TypeError from the second time on."""
    specs = {name: str(spec) for name, spec in arguments.items()}
    if self._first is None:
      self._first = specs
      return
    changes = [
      f"{name} was {self._first[name]} and is {spec}"
      for name, spec in specs.items()
      if spec != self._first[name]
    ]
    raise TypeError(
      f"{self._name} was traced again: "
      + ("; ".join(changes) or "a captured Python object changed")
      + ". Give every batch of a run the same keys, shapes and dtypes"
    )


def make_run_steps(
  state: TrainState,
  config: config_lib.TrainConfig,
  *,
  teacher: tf.keras.Model | None = None,
  image_size: int | None = None,
) -> Callable[[Any, tf.Tensor], None]:
  """Returns `run_steps(iterator, num_steps)`: training steps in one graph call.

  Args:
    state: the run's variables.
    config: the hyperparameters.
    teacher: for distillation.
    image_size: the height that images are resized to; None leaves them.

  Returns:
    A `tf.function` of an iterator over (distributed) global batches and of a
    scalar integer tensor.
  """
  strategy = tf.distribute.get_strategy()
  schedule = make_schedule(config)
  one_trace = OneTrace("run_steps")

  def replica_step(batch: step.Batch) -> None:
    metrics = step.train_step(
      state,
      batch,
      config,
      schedule=schedule,
      teacher=teacher,
      image_size=image_size,
    )
    state.window.add(metrics)

  if config.precision.jit_compile and not tf.distribute.has_strategy():
    # With no other replica to wait for, XLA compiles the step as a whole, and a
    # GPU is not left waiting for the update's many small operations.
    replica_step = tf.function(replica_step, jit_compile=True)

  @tf.function
  def run_steps(iterator: Any, num_steps: tf.Tensor) -> None:
    one_trace(
      batch=iterator.element_spec,
      num_steps=tf.TensorSpec.from_tensor(num_steps),
    )
    for _ in tf.range(num_steps):
      strategy.run(replica_step, args=(next(iterator),))

  return run_steps


def make_schedule(config: config_lib.TrainConfig) -> step.Schedule:
  """Returns the learning rate as a function of the step."""
  schedule = tricks.make_schedule(
    config.schedule.schedule,
    peak_learning_rate=tricks.scale_learning_rate(
      config.schedule.base_learning_rate, config.loop.global_batch_size
    ),
    total_steps=config.loop.total_steps,
    warmup_steps=config.schedule.warmup_steps,
    warmup_learning_rate=config.schedule.warmup_learning_rate,
    hold_steps=config.schedule.hold_steps,
    boundary_steps=config.schedule.boundary_steps,
    decay_factor=config.schedule.decay_factor,
    polynomial_power=config.schedule.polynomial_power,
  )
  return step.unconverted(schedule)


def make_evaluate(
  model: tf.keras.Model,
  dataset: tf.data.Dataset,
  config: config_lib.TrainConfig,
) -> Callable[[], dict[str, float]]:
  """Returns `evaluate()`, exact over every example of `dataset`.

  Args:
    model: from images to logits, as it is whenever `evaluate` is called.
    dataset: batches of `image` and `label`, of any sizes.
    config: the hyperparameters.

  Returns:
    A function that gives the means `eval_loss`, `eval_top1` and `eval_top5`,
    and `eval_examples`.
  """
  strategy = tf.distribute.get_strategy()
  batches = strategy.experimental_distribute_dataset(
    padded_batches(dataset, config.loop.global_batch_size)
  )

  def replica_step(batch: step.Batch) -> step.Metrics:
    return step.eval_step(model, batch, config)

  def add(total: tf.Tensor, replicas: Any) -> tf.Tensor:
    # Every replica holds the sum over all of them: one is enough.
    one = strategy.experimental_local_results(replicas)[0]
    return total + tf.cast(one, tf.float64)

  @tf.function
  def sum_all() -> dict[str, tf.Tensor]:
    totals = {name: tf.constant(0.0, tf.float64) for name in step.EVAL_SUMS}
    for batch in batches:
      sums = strategy.run(replica_step, args=(batch,))
      totals = {name: add(totals[name], sums[name]) for name in totals}
    return totals

  def evaluate() -> dict[str, float]:
    totals = {name: float(total) for name, total in sum_all().items()}
    examples = totals.pop("examples")
    if not examples:
      raise ConfigError("eval_dataset must hold at least one example, got none")
    means = {f"eval_{name}": sum / examples for name, sum in totals.items()}
    return {**means, "eval_examples": int(examples)}

  return evaluate


def evaluate(
  model: tf.keras.Model,
  dataset: tf.data.Dataset,
  config: config_lib.TrainConfig,
  workdir: str | os.PathLike[str],
) -> dict[str, float]:
  """Evaluates the latest checkpoint of a run, and changes nothing in it.

  Args:
    model: the run's network; it gets the run's weights, averaged where the run
      averages them.
    dataset: batches of `image` and `label`, of any sizes, one epoch.
    config: the run's hyperparameters.
    workdir: the run's folder.

  Returns:
    `eval_loss`, `eval_top1`, `eval_top5` and `eval_examples`.

  Raises:
    ConfigError: there is no checkpoint, or it is of another network.
  """
  checkpoints.restore_model(model, workdir)
  with _input_failures(range(0)):
    return make_evaluate(model, dataset, config)()


def padded_batches(
  dataset: tf.data.Dataset, batch_size: int
) -> tf.data.Dataset:
  """Returns `dataset` in batches of one size, with a `mask` over padding.

  Args:
    dataset: batches of `image` and `label`, of any sizes.
    batch_size: examples a batch; the last one is filled up with zeros.

  Returns:
    Batches with `mask`, [batch_size] bool: false for what was filled up.
  """

  def pad(batch: step.Batch) -> step.Batch:
    count = tf.shape(batch["label"])[0]

    def fill(values: tf.Tensor) -> tf.Tensor:
      tail = [[0, 0]] * (values.shape.rank - 1)
      padded = tf.pad(values, [[0, batch_size - count], *tail])
      return tf.ensure_shape(padded, [batch_size, *values.shape[1:]])

    return {
      "image": fill(batch["image"]),
      "label": fill(batch["label"]),
      "mask": tf.range(batch_size) < count,
    }

  if _batch_size(dataset) != batch_size:
    dataset = dataset.rebatch(batch_size)
  return dataset.map(pad).prefetch(_BATCHES_AHEAD)


def train_and_evaluate(
  model: tf.keras.Model,
  train_dataset: TrainData,
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
  settings = comparable_settings(config)
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
    _train_batches(train_dataset, config, start_step)
  )
  evaluate = None
  if eval_dataset is not None:
    evaluate = with_averages(state, make_evaluate(model, eval_dataset, config))
  with contextlib.closing(
    reporting.Reporter(
      workdir, start_step=start_step, total_steps=config.loop.total_steps
    )
  ) as reporter:
    if start_step == 0:
      with _input_failures(range(1)):
        grid = _augmented_images(state, batches, config)
      reporter.image("augmented", grid, step=0)
    _run(
      state,
      functools.partial(make_run_steps, state, config, teacher=teacher),
      iter(batches),
      evaluate,
      config=config,
      saver=saver,
      reporter=reporter,
      should_stop=should_stop,
    )
  final = reporting.last_records(workdir)
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
  reporter: reporting.Reporter,
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
    with pace.timed(count), _input_failures(range(now, now + count)):
      run_steps(iterator, tf.constant(count, tf.int64))
      now = int(state.step.numpy())
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


@contextlib.contextmanager
def _input_failures(steps: range) -> Iterator[None]:
  """Tells where the input stood when it failed."""
  try:
    yield
  except (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
  ) as error:
    raise InputFailed(error, steps) from error


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
  """Reads and resets the metrics; raises where no remedy for them is left."""
  record = state.window.read()
  state.window.reset()
  scale = None
  if state.loss_scale is not None:
    scale = float(state.loss_scale.value.numpy())
    record["loss_scale"] = scale
  hopeless = scale is None or (record["loss"] is None and scale <= 1.0)
  if record["skipped_steps"] and hopeless:
    raise Diverged(
      f"diverged: the gradient is not finite before step "
      f"{int(state.step.numpy())}, at learning rate "
      f"{record['learning_rate']:.4g}; lower base_learning_rate, lengthen "
      "warmup, or set clip_global_norm"
    )
  return record


def _evaluate(
  state: TrainState,
  evaluate: Callable[[], dict[str, float]],
  where: dict[str, Any],
  saver: checkpoints.Checkpoints,
  reporter: reporting.Reporter,
) -> None:
  """Evaluates, reports, and keeps the best."""
  start = time.perf_counter()
  with _input_failures(range(0)):
    results = evaluate()
  seconds = round(time.perf_counter() - start, 3)
  reporter.evaluation({**where, **results, "eval_seconds": seconds})
  if results["eval_top1"] > float(state.best_top1.numpy()):
    state.best_top1.assign(results["eval_top1"])
    saver.save_best()


def with_averages(
  state: TrainState, evaluate: Callable[[], dict[str, float]]
) -> Callable[[], dict[str, float]]:
  """Returns `evaluate` on the averaged weights, where there are any."""
  strategy = tf.distribute.get_strategy()

  @tf.function
  def swap_averages() -> None:
    strategy.run(state.swap_averages)

  def evaluate_averages() -> dict[str, float]:
    swap_averages()
    results = evaluate()
    swap_averages()
    return results

  return evaluate_averages if state.averages else evaluate


def comparable_settings(config: config_lib.TrainConfig) -> dict[str, Any]:
  """Returns the settings that a run may not change when it is continued."""
  fields = (dataclasses.asdict(part) for part in vars(config).values())
  settings = {name: v for part in fields for name, v in part.items()}
  return {k: v for k, v in settings.items() if k not in FREE_SETTINGS}


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


def _train_batches(
  dataset: TrainData, config: config_lib.TrainConfig, start_step: int
) -> tf.data.Dataset:
  """Returns endless full batches from `start_step` on."""
  if callable(dataset):
    return dataset(start_step)
  batch_size = config.loop.global_batch_size
  dataset = dataset.repeat()
  if _batch_size(dataset) != batch_size:
    dataset = dataset.rebatch(batch_size, drop_remainder=True)
  return dataset.skip(start_step).prefetch(_BATCHES_AHEAD)


def _batch_size(dataset: tf.data.Dataset) -> int | None:
  return dataset.element_spec["label"].shape[0]


def _augmented_images(
  state: TrainState, batches: Any, config: config_lib.TrainConfig
) -> np.ndarray:
  """Returns a picture of the first batch as the network will see it."""
  strategy = tf.distribute.get_strategy()

  def mix(batch: step.Batch) -> tf.Tensor:
    return step.mixed_batch(batch, state.step, state.num_classes, config)[0]

  images = strategy.run(mix, args=(next(iter(batches)),))
  first = strategy.experimental_local_results(images)[0]
  return reporting.image_grid(first.numpy())
