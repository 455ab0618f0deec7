# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs of a small network that have to agree, each in several ways."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import tensorflow as tf
from absl import logging

import tricks
from train_loop import models
from train_loop.config import TrainConfig
from train_loop.failures import Stopped
from train_loop.loop import train_and_evaluate
from train_loop.models import fusing
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.step import train_step
from train_loop.verifying.formulas import BOUND, Check, difference, why_no_xla
from train_loop.workdir import metrics_file
from tricks import keras_compat

_BATCH = 64
# Rounding in another order, grown over some steps of training.
_BOUND = 1e-3
# Of the mean loss in the last fifth of the run, and the steps of it.
_PRECISION_BOUND, _PRECISION_STEPS = 0.1, 100


@dataclasses.dataclass(frozen=True, eq=False)
class Digits:
  """The data.

  Attributes:
    images: [examples, 8, 8, 1] uint8.
    labels: [examples] int32.
  """

  images: np.ndarray
  labels: np.ndarray

  def batches(self, step: int) -> tf.data.Dataset:
    """Returns the endless batches from a step on."""
    examples = tf.data.Dataset.from_tensor_slices(
      {"image": self.images, "label": self.labels}
    )
    return examples.repeat().batch(_BATCH, drop_remainder=True).skip(step)

  def batch(self) -> dict[str, tf.Tensor]:
    """Returns the first batch."""
    return next(iter(self.batches(0)))

  def config(self, **settings: Any) -> TrainConfig:
    """Returns hyperparameters, with fields changed by their own names."""
    common: dict[str, Any] = {
      "total_steps": 12,
      "examples_per_epoch": len(self.images),
      "global_batch_size": _BATCH,
      "base_learning_rate": 0.4,
      "warmup_steps": 4,
      "weight_decay": 1e-4,
      "log_every_steps": 4,
    }
    return TrainConfig.of(**{**common, **settings})


def _model(precision: str = "float32") -> tf.keras.Model:
  tf.keras.utils.set_random_seed(0)
  return models.build_model(
    "resnet8",
    input_shape=(8, 8, 1),
    num_classes=10,
    mean=(80.0,),
    std=(96.0,),
    dtype=precision,
  )


def _values(model: tf.keras.Model) -> list[np.ndarray]:
  return [v.numpy() for v in keras_compat.tf_variables(model.variables)]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
  """Leaves out what runs say, and their bar."""
  before = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stderr(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(before)


def _train(
  digits: Digits,
  config: TrainConfig,
  workdir: pathlib.Path,
  *,
  model: tf.keras.Model | None = None,
  should_stop: Callable[[], bool] = lambda: False,
) -> list[np.ndarray]:
  """Trains; returns the weights."""
  model = model or _model(config.precision.precision)
  with _quietly():
    train_and_evaluate(
      model, digits.batches, None, config, workdir, should_stop=should_stop
    )
  return _values(model)


def decay_is_of_kernels() -> Iterator[Check]:
  """Yields whether kernels decay, and nothing else does."""
  model = _model()
  expected = [len(v.shape) > 1 for v in model.trainable_variables]
  wrong = sum(a != b for a, b in zip(tricks.decay_mask(model), expected))
  yield Check("weight decay of kernels alone, wrong variables", wrong, 0.0)


def steps_agree(digits: Digits) -> Iterator[Check]:
  """Yields whether steps of training are the same in a graph, and by XLA."""

  def trained(mode: str) -> list[np.ndarray]:
    config = digits.config(jit_compile=mode == "XLA")
    model = _model()
    state = TrainState(model, config)
    step: Any = functools.partial(
      train_step, state, config=config, schedule=make_schedule(config)
    )
    if mode != "eager":
      step = tf.function(step, jit_compile=mode == "XLA", autograph=False)
    for _ in range(3):
      step(digits.batch())
    return _values(model)

  eager, no_xla = trained("eager"), why_no_xla()
  yield Check(
    "3 steps: eager = graph", difference(trained("graph"), eager), _BOUND
  )
  if no_xla:
    note = f"XLA does not run here: {no_xla}"
    yield Check("3 steps: eager = XLA", 0.0, BOUND, note)
  else:
    gap = difference(trained("XLA"), eager)
    yield Check("3 steps: eager = XLA", gap, _BOUND)


def replicas_agree(
  digits: Digits, strategy: tf.distribute.Strategy
) -> Iterator[Check]:
  """Yields whether one replica trains as two do.

  Args:
    digits: the data.
    strategy: of two replicas.
  """

  def trained(folder: str) -> list[np.ndarray]:
    model = _model()
    fusing.synchronize_batch_norm(model)  # Of the whole batch.
    return _train(
      digits,
      # At a low rate: at a high one rounding is grown a thousandfold.
      digits.config(
        total_steps=4,
        warmup_steps=0,
        base_learning_rate=0.02,
        mixup_alpha=0.2,
      ),
      pathlib.Path(folder),
      model=model,
    )

  with (
    tempfile.TemporaryDirectory() as one,
    tempfile.TemporaryDirectory() as two,
  ):
    alone = trained(one)
    with strategy.scope():
      together = trained(two)
  count = strategy.num_replicas_in_sync
  yield Check(
    f"4 steps: one replica = {count}", difference(together, alone), _BOUND
  )


def runs_repeat(digits: Digits, *, exactly: bool) -> Iterator[Check]:
  """Yields whether a run is the same twice, and if it was stopped.

  Args:
    digits: the data.
    exactly: whether to the bit.
  """
  config = digits.config(
    mixup_alpha=0.2, label_smoothing=0.1, ema_decay=0.9, momentum=0.9
  )
  bound = 0.0 if exactly else _BOUND
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    first = _train(digits, config, root / "first")
    second = _train(digits, config, root / "second")
    yield Check("12 steps twice", difference(second, first), bound)

    def should_stop() -> bool:
      return bool(metrics_file.read_metrics(root / "stopped"))

    with contextlib.suppress(Stopped):
      _train(digits, config, root / "stopped", should_stop=should_stop)
    records = metrics_file.read_metrics(root / "stopped")
    resumed = _train(digits, config, root / "stopped")
    yield Check(
      f"12 steps, stopped at step {records[-1]['step']} and gone on",
      difference(resumed, first),
      bound,
    )


def precisions_agree(
  digits: Digits, steps: int = _PRECISION_STEPS
) -> Iterator[Check]:
  """Yields whether half precision learns as float32 does.

  The difference is that of the mean losses of the last fifth of the steps, as
  a part of the loss that float32 begins with.
  """

  def losses(precision: str) -> list[float]:
    config = digits.config(
      total_steps=steps,
      warmup_steps=steps // 10,
      log_every_steps=steps // 5,
      precision=precision,
    )
    with tempfile.TemporaryDirectory() as folder:
      _train(digits, config, pathlib.Path(folder))
      return [r["loss"] for r in metrics_file.read_metrics(folder)]

  full = losses("float32")
  for precision in tricks.PRECISIONS[1:]:
    gap = abs(losses(precision)[-1] - full[-1]) / full[0]
    yield Check(
      f"{steps} steps: float32 = {precision}, loss", gap, _PRECISION_BOUND
    )
