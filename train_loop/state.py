# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The state of a run: all that changes while it trains, in variables.

A checkpoint of a `TrainState` is the whole run: the model, the optimizer's
slots, the averaged weights, the loss scale, the step that drives schedule, data
order and augmentation, the best result, and the sums of the metrics since they
were last logged.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

import tricks
from train_loop import budget, compatibility
from train_loop import config as config_lib
from train_loop.models import fine_tuning, recomputing
from train_loop.optimizer import make_optimizer
from tricks import keras_compat

# The part of a checkpoint that those of older builds do not have: zeros.
LOST = "lost"


class MetricWindow(tf.Module):
  """Sums of each step's metrics on the device, read and reset when logged.

  The means are over the steps that were applied: a step that was skipped for a
  float16 overflow has no finite loss.
  """

  def __init__(self) -> None:
    super().__init__()
    self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
    self.applied = tf.Variable(0.0, trainable=False)
    self.loss = tf.Variable(0.0, trainable=False)
    self.top1 = tf.Variable(0.0, trainable=False)
    self.gradient_norm = tf.Variable(0.0, trainable=False)
    self.learning_rate = tf.Variable(0.0, trainable=False)

  def add(self, metrics: dict[str, tf.Tensor]) -> None:
    """Adds the metrics that `train_step` returned."""
    finite = metrics["finite"]
    self.steps.assign_add(1)
    self.applied.assign_add(tf.cast(finite, tf.float32))
    for name in ("loss", "top1", "gradient_norm"):
      value = tf.where(finite, metrics[name], 0.0)
      getattr(self, name).assign_add(value)
    self.learning_rate.assign(metrics["learning_rate"])

  def read(self) -> dict[str, Any]:
    """Returns the means since the last reset, and the last learning rate."""
    steps, applied = int(self.steps.numpy()), float(self.applied.numpy())
    means = {
      name: float(getattr(self, name).numpy()) / applied if applied else None
      for name in ("loss", "top1", "gradient_norm")
    }
    return {
      **means,
      "learning_rate": float(self.learning_rate.numpy()),
      "skipped_steps": steps - int(applied),
    }

  def reset(self) -> None:
    """Sets all sums to zero."""
    for variable in self.variables:
      variable.assign(tf.zeros_like(variable))


class LostSteps(tf.Module):
  """Counts lost steps: their gradient is not finite, and nothing mends that.

  A lost step changes nothing but the step's number. What `on_nonfinite` does
  about it, `nonfinite.Guard` does between two calls of run_steps.

  Attributes:
    total: int64, the lost steps of the run.
    in_a_row: int64, those since the last step that was applied.
    rollbacks: int64, how often the run went back to a checkpoint.
    order_offset: int64, how many batches of the data were left out by that: the
      batch of a step is that of the place step + order_offset.
    fatal_step: int64, the lost step that ends training or leads back, or -1. No
      step after it changes anything. Not saved.
  """

  def __init__(self) -> None:
    super().__init__()

    def counter(value: int = 0) -> tf.Variable:
      return tf.Variable(value, dtype=tf.int64, trainable=False)

    self.total = counter()
    self.in_a_row = counter()
    self.rollbacks = counter()
    self.order_offset = counter()
    self.fatal_step = counter(-1)

  def goes_on(self) -> tf.Tensor:
    """Returns whether no step was fatal, a bool scalar."""
    return self.fatal_step < 0

  def add(
    self, step: tf.Tensor, *, finite: tf.Tensor, lost: tf.Tensor, most: int
  ) -> None:
    """Counts a step.

    Args:
      step: int64 scalar, its number.
      finite: whether it was applied, a bool scalar.
      lost: whether it was lost; a step that a smaller loss scale may mend is
        neither.
      most: the number of lost steps in a row of which none is fatal.
    """
    more = tf.cast(lost & self.goes_on(), tf.int64)
    in_a_row = tf.where(finite, tf.zeros_like(more), self.in_a_row + more)
    fatal = (more > 0) & (in_a_row > most)
    self.fatal_step.assign(tf.where(fatal, step, self.fatal_step))
    self.total.assign_add(more)
    self.in_a_row.assign(in_a_row)

  def checkpoint_items(self) -> dict[str, tf.Variable]:
    """Returns what of it is saved."""
    return {
      name: getattr(self, name)
      for name in ("total", "in_a_row", "rollbacks", "order_offset")
    }


class NotedGradients(tf.Module):
  """The norms of a step's gradients, noted if they are wanted; not saved.

  Attributes:
    wanted: whether the next step is to note them, a bool scalar.
    squares: the square of the norm of each parameter's gradient, as the update
      took it, [parameters] float32.
  """

  def __init__(self, count: int) -> None:
    super().__init__()
    self.wanted = tf.Variable(False, trainable=False)
    self.squares = tf.Variable(tf.zeros([count]), trainable=False)

  def note(self, gradients: list[tf.Tensor]) -> None:
    """Notes the norms of gradients, float32, if they are wanted."""

    def note() -> None:
      halves = [tf.nn.l2_loss(gradient) for gradient in gradients]
      self.squares.assign(2.0 * tf.stack(halves))

    tf.cond(self.wanted, note, lambda: None)


class TrainState:
  """The variables of a run.

  Create it under the scope of the strategy that trains it: every variable is
  then mirrored, and each replica writes the same value to its own copy.

  Attributes:
    model: the Keras model, from images to logits; if auxiliary_weight is above
      0, to a list of logits and the auxiliary heads' logits.
    network: the model, or its forward pass that keeps less; called to train.
    num_classes: the width of the logits.
    step: int64, the 0-based step that comes next.
    parameters: the trainable `tf.Variable`s, in the model's order.
    decayed: for each parameter, whether weight decay applies.
    untrained: the model's variables that are not trained.
    statistics: those of `untrained` that a step may change: floating-point, and
      not of a frozen layer. BatchNorm's moving mean and variance.
    counters: those of `untrained` that are integers: the states of random
      numbers.
    rate_multipliers: for each parameter, by what its rate is multiplied.
    optimizer: turns gradients into updates, and keeps its slots.
    averages: the averages of `averaged`, EMA's or SWA's, or none.
    followed: pairs of an average and its variable, without the frozen ones,
      whose average never changes.
    loss_scale: the dynamic loss scale under mixed_float16, else None.
    window: the metrics since they were last logged.
    lost: the steps whose gradient was not finite, and what they led to.
    noted: the norms of the last gradients that were wanted.
    best: the result of the best evaluation so far, -1 before the first.
    evaluations_since_best: their number, if there is a patience, else None.
    timetable: where the run is in its time, if that is limited, else None.
  """

  def __init__(
    self, model: tf.keras.Model, config: config_lib.TrainConfig
  ) -> None:
    self.model = model
    self.network = (
      model
      if config.precision.recompute == "none"
      else recomputing.recomputed(model)
    )
    self.num_classes = compatibility.num_classes(model)
    self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
    self.parameters = keras_compat.tf_variables(model.trainable_variables)
    self.decayed = tricks.decay_mask(
      model, decay_kernels_only=config.optimizer.decay_kernels_only
    )
    self.untrained = keras_compat.tf_variables(model.non_trainable_variables)
    frozen = {id(v) for v in keras_compat.tf_variables(_frozen(model))}
    self.statistics = [
      v for v in self.untrained if v.dtype.is_floating and id(v) not in frozen
    ]
    self.counters = [v for v in self.untrained if not v.dtype.is_floating]
    self.rate_multipliers = fine_tuning.rate_multipliers(
      model,
      layer_decay=config.optimizer.layer_decay,
      head_learning_rate_multiplier=(
        config.optimizer.head_learning_rate_multiplier
      ),
    )
    self.optimizer = make_optimizer(
      config.optimizer,
      self.parameters,
      kernels=tricks.kernel_mask(model),
      decayed=self.decayed,
      rate_multipliers=self.rate_multipliers,
    )
    settings = config.regularization
    averages = settings.ema_decay or settings.swa_steps
    averaged = self.averaged if averages else []
    self.averages = [_copy(v) for v in averaged]
    self.followed = [
      (average, variable)
      for average, variable in zip(self.averages, averaged)
      if id(variable) not in frozen
    ]
    half = config.precision.precision == "mixed_float16"
    self.loss_scale = tricks.LossScale() if half else None
    self.window = MetricWindow()
    self.lost = LostSteps()
    self.noted = NotedGradients(len(self.parameters))
    self.best = tf.Variable(-1.0, trainable=False, name="best")
    self.evaluations_since_best = (
      tf.Variable(0, dtype=tf.int64, trainable=False, name="since_best")
      if config.loop.patience
      else None
    )
    self.timetable = budget.Timetable() if config.loop.max_minutes else None

  @property
  def averaged(self) -> list[tf.Variable]:
    """The variables that `averages` follows, in its order."""
    floating = [v for v in self.untrained if v.dtype.is_floating]
    return self.parameters + floating

  def remedy_left(self) -> tf.Tensor:
    """Returns whether a smaller loss scale may make the gradient finite."""
    if self.loss_scale is None:
      return tf.constant(False)
    return self.loss_scale.value > 1.0

  def checkpoint_items(self) -> dict[str, Any]:
    """Returns what `tf.train.Checkpoint` takes to save the whole state."""
    items = {
      "step": self.step,
      "parameters": self.parameters,
      "untrained": self.untrained,
      "slots": [list(slots) for slots in self.optimizer.slots],
      "averages": self.averages,
      "window": self.window,
      "best_top1": self.best,  # As the checkpoints of older builds have it.
      LOST: self.lost.checkpoint_items(),
    }
    for name in ("loss_scale", "evaluations_since_best", "timetable"):
      if getattr(self, name) is not None:
        items[name] = getattr(self, name)
    return items

  def branch_off(self, *, new_averages: bool) -> None:
    """Begins a branch with its parent's state: the best result is its own.

    Args:
      new_averages: whether the parent kept none; they start at the weights.
    """
    self.best.assign(-1.0)
    if self.evaluations_since_best is not None:
      self.evaluations_since_best.assign(0)
    if new_averages:
      for average, variable in zip(self.averages, self.averaged):
        average.assign(variable.read_value())

  @keras_compat.unconverted
  def swap_averages(self) -> None:
    """Exchanges the model's variables and their averages.

    Evaluation calls it before and after: twice changes no bit.
    """
    for variable, average in zip(self.averaged, self.averages):
      value = variable.read_value()
      variable.assign(average.read_value())
      average.assign(value)


def _frozen(model: tf.keras.Model) -> list[Any]:
  """Returns the variables of the layers that are set not to be trained."""
  layers = keras_compat.flat_layers(model)
  return [v for layer in layers if not layer.trainable for v in layer.variables]


def _copy(variable: tf.Variable) -> tf.Variable:
  return tf.Variable(variable.read_value(), trainable=False)
