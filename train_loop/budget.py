# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""How long a run is: so many steps, or the steps that fit into its time.

With a budget of time nobody knows the number of steps before the run, and the
speed changes while it runs. So the planned schedule - warmup, hold, decay,
boundaries and sizes of images - is laid over the steps that fit: each step goes
on by a *stride*, which is below 1 if more steps fit than were planned. After
each call of run_steps the pace is measured and the stride of what is left is
set anew, so that the schedule ends when the time does.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

import tensorflow as tf
from absl import logging

from train_loop import config as config_lib
from train_loop.fields import refused
from train_loop.scalars import scalar
from train_loop.schedule import make_schedule
from tricks.schedules import Schedule

if TYPE_CHECKING:
  from train_loop.state import TrainState

# What the measurements of earlier calls weigh, each time one more is made.
_KEPT = 0.8
# Over so many steps at least the schedule is laid before the pace is known.
_FIRST_STEPS = 1000
# The part of the budget for which the first evaluation batches are timed.
_LOOK = 0.005
# If the time is used up while more than this part of the schedule is left, the
# rest is laid over as many steps as that part of the time has.
_REST = 0.01
# Two positions in the schedule that differ by less are the same.
_SAME = 1e-6


class PlannedLength:
  """A run of the planned steps, however long they take.

  Attributes:
    total_steps: the step at which the run ends, as far as is known now.
    schedule: from the step to the learning rate, for `run_steps`.
  """

  def __init__(self, config: config_lib.TrainConfig, state: TrainState) -> None:
    self._loop = config.loop
    self._state = state
    self.total_steps = config.loop.total_steps
    self.schedule: Schedule = make_schedule(config)
    # The run may have been killed after the checkpoint of its last step.
    self._is_over = self.is_out_of_patience(int(state.step.numpy()))

  def image_size_at(self, step: int) -> int | None:
    """Returns the height of training images at a step; None is the full one."""
    return self._loop.image_size_at(step)

  def growths(self, step: int) -> list[int]:
    """Returns the steps after `step` from which on images are larger."""
    starts = (start for _, start in self._loop.progressive_image_sizes)
    return [start for start in starts if start > step]

  def called(self, step: int, count: int, *, traced: bool) -> None:
    """Notes that a call of run_steps has ended.

    Args:
      step: the step that comes next.
      count: the steps of the call.
      traced: whether the call traced the step.
    """

  def go_back(self, step: int) -> None:
    """Notes that the run goes on from an earlier step, which was restored."""

  def look(
    self,
    evaluate: Callable[[int], Any] | None,
    batches: int,
    save: Callable[[], None],
  ) -> None:
    """Finds out how long evaluating and saving take, if that matters.

    Args:
      evaluate: evaluates so many batches; -1 is all.
      batches: how many there are, or below 0 if that is not known.
      save: saves the state.
    """

  def evaluating(self) -> contextlib.AbstractContextManager[None]:
    """Returns the context of an evaluation."""
    return contextlib.nullcontext()

  def saving(self) -> contextlib.AbstractContextManager[None]:
    """Returns the context of a save."""
    return contextlib.nullcontext()

  def is_out_of_patience(self, step: int) -> bool:
    """Ends the run at a step if it has had enough evaluations in vain."""
    count = self._state.evaluations_since_best
    if count is None or int(count.numpy()) < self._loop.patience:
      return False
    self.total_steps = step
    return True

  def ending(self) -> dict[str, Any]:
    """Returns why the finished run has ended early, if it has."""
    count = self._state.evaluations_since_best
    if count is None or int(count.numpy()) < self._loop.patience:
      return {}
    number = self._loop.patience
    evaluations = f"{number} evaluation{'' if number == 1 else 's'}"
    return {"ended_early": f"no better result in {evaluations}"}

  def for_card(self) -> dict[str, Any]:
    """Returns what the run card says of the length of the finished run."""
    return {}


class Timetable(tf.Module):
  """Where a run with a budget is, and its pace; saved with its state.

  The position of step s in the schedule, in planned steps, is

  position(s) = start_position + (s − start_step)·stride
  """

  def __init__(self) -> None:
    super().__init__()
    self.elapsed = _number("elapsed")
    self.start_step = tf.Variable(
      0, dtype=tf.int64, trainable=False, name="start_step"
    )
    self.start_position = _number("start_position")
    self.stride = _number("stride")
    # 0 is not known yet.
    self.step_seconds = _number("step_seconds")
    self.evaluation_seconds = _number("evaluation_seconds")
    self.saving_seconds = _number("saving_seconds")

  def position(self, step: Any) -> tf.Tensor:
    """Returns the position of a step in the schedule, a float64 tensor."""
    steps = tf.cast(step - self.start_step, tf.float64)
    return self.start_position + steps * self.stride


def _number(name: str) -> tf.Variable:
  return tf.Variable(0.0, dtype=tf.float64, trainable=False, name=name)


class Budget(PlannedLength):
  """A run that ends when its time does, and its schedule with it.

  What is counted: from the first step of each start on, all time, with tracing,
  evaluating and saving; of a start that was killed, up to its last checkpoint.
  """

  def __init__(
    self,
    config: config_lib.TrainConfig,
    state: TrainState,
    *,
    clock: Callable[[], float] = time.perf_counter,
  ) -> None:
    """Lays the rest of the schedule over what is left of the time.

    Args:
      config: the hyperparameters, of which loop.max_minutes is above 0.
      state: the run's, restored.
      clock: seconds; all hosts must be told the same.
    """
    super().__init__(config, state)
    assert state.timetable is not None
    self._timetable = state.timetable
    self._planned_steps = config.loop.total_steps
    self._seconds = 60.0 * config.loop.max_minutes
    self._evaluates = False
    self._told = False
    self._is_late = False
    # By the size of images: steps and their seconds, the latest weigh most.
    self._pace: dict[int | None, tuple[float, float]] = {}
    self._traced_seconds: dict[int | None, float] = {}
    planned = self.schedule
    self.schedule = lambda step: planned(self._timetable.position(step))
    self._elapsed = float(self._timetable.elapsed.numpy())
    self._clock = clock
    self._mark = clock()
    self._measured_size = self.image_size_at(int(state.step.numpy()))
    if not self._is_over:
      self._lay(int(state.step.numpy()))

  def image_size_at(self, step: int) -> int | None:
    """Returns the height of training images at a step; None is the full one."""
    return self._loop.image_size_at(math.floor(self._position(step) + _SAME))

  def growths(self, step: int) -> list[int]:
    """Returns the steps after `step` from which on images are larger."""
    first, stride = self._timetable.start_step, self._timetable.stride
    begun = float(self._timetable.start_position.numpy())
    if not stride.numpy():
      return []
    found = [
      int(first.numpy())
      + math.ceil((start - _SAME - begun) / float(stride.numpy()))
      for _, start in self._loop.progressive_image_sizes
    ]
    return [start for start in found if start > step]

  def called(self, step: int, count: int, *, traced: bool) -> None:
    """Takes the time of a call, and lays what is left of the schedule anew."""
    seconds = self._note()
    size = self.image_size_at(step - 1)
    if traced:
      self._traced_seconds[size] = seconds
    else:
      steps, total = self._pace.get(size, (0.0, 0.0))
      steps, total = _KEPT * steps + count, _KEPT * total + seconds
      self._pace[size], self._measured_size = (steps, total), size
      self._timetable.step_seconds.assign(scalar(total / steps))
    if not self._is_late:
      self._lay(step)

  def go_back(self, step: int) -> None:
    """Lays the schedule from an earlier step on over the time that is left."""
    self._note()
    self._is_late = False
    self._lay(step)

  def look(
    self,
    evaluate: Callable[[int], Any] | None,
    batches: int,
    save: Callable[[], None],
  ) -> None:
    """Times a save, and some batches of an evaluation if none was timed."""
    if not self._timetable.saving_seconds.numpy():
      with self.saving():
        save()
    self._evaluates = evaluate is not None
    if evaluate is None:
      return
    evaluate(1)  # Traces and compiles.
    self._note()
    if not self._timetable.evaluation_seconds.numpy():
      seconds = self._estimated(evaluate, batches)
      self._timetable.evaluation_seconds.assign(scalar(seconds))

  def _estimated(self, evaluate: Callable[[int], Any], batches: int) -> float:
    """Returns the seconds of all batches, by those of the first ones."""

    def timed(count: int) -> float:
      evaluate(count)
      return self._note()

    if batches < 0:
      return timed(-1)
    count, before, seconds = 1, 0.0, timed(1)
    while seconds < _LOOK * self._seconds:
      count, before = 2 * count, seconds
      if count >= batches:
        return timed(-1)
      seconds = timed(count)
    # What the first batch takes longer than others is in both.
    a_batch = (seconds - before) / (count - count // 2)
    return seconds + (batches - count) * max(0.0, a_batch)

  @contextlib.contextmanager
  def evaluating(self) -> Iterator[None]:
    """Times an evaluation."""
    self._note()
    yield
    self._timetable.evaluation_seconds.assign(scalar(self._note()))

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """Times a save, which holds the time up to its beginning."""
    self._note()
    yield
    self._timetable.saving_seconds.assign(scalar(self._note()))

  def for_card(self) -> dict[str, Any]:
    """Returns the time that was used and what it was used for."""
    self._note()
    return {
      "budget": {
        "max_minutes": self._loop.max_minutes,
        "minutes": round(self._elapsed / 60.0, 4),
        "steps": self.total_steps,
        "planned_steps": self._planned_steps,
        "reached": round(
          self._position(self.total_steps) / self._planned_steps, 4
        ),
      }
    }

  def _note(self) -> float:
    """Adds the seconds since the last note to those used; returns them."""
    now = self._clock()
    seconds, self._mark = now - self._mark, now
    # Kept here too: a step back restores an earlier one, but no time.
    self._elapsed += seconds
    self._timetable.elapsed.assign(scalar(self._elapsed))
    return seconds

  def _position(self, step: int) -> float:
    return float(self._timetable.position(scalar(step)).numpy())

  def _lay(self, step: int) -> None:
    """Lays what is left of the schedule over the steps that still fit."""
    position = self._position(step)
    left = self._planned_steps - position
    steps = self._steps_that_fit(step, position) if left > _SAME else 0
    if not steps and left > _REST * self._planned_steps:
      steps = self._last_steps(position)
    self.total_steps = step + steps
    if steps:
      self._timetable.start_step.assign(scalar(step))
      self._timetable.start_position.assign(scalar(position))
      self._timetable.stride.assign(scalar(left / steps))
      self._tell()

  def _last_steps(self, position: float) -> int:
    """Returns over how many steps a schedule is ended whose time is over."""
    step_seconds = self._mean_step_seconds(position)
    steps = 0
    if step_seconds:
      steps = max(1, round(_REST * self._seconds / step_seconds))
    self._is_late = True
    logging.warning(
      "max_minutes: the time is used up at %.1f%% of the schedule; %s",
      100.0 * position / self._planned_steps,
      f"{steps} steps end it" if steps else "the run ends there",
    )
    return steps

  def _tell(self) -> None:
    if not self._told and self._pace:
      logging.info(
        "max_minutes: about %d steps fit into %g minutes; the schedule of %d "
        "steps is laid over them",
        self.total_steps,
        self._loop.max_minutes,
        self._planned_steps,
      )
      self._told = True

  def _steps_that_fit(self, step: int, position: float) -> int:
    """Returns the number of steps for which there is time, to the nearest."""
    evaluation = float(self._timetable.evaluation_seconds.numpy())
    saving = float(self._timetable.saving_seconds.numpy())
    # The last step evaluates, and saves: as the best so far, and the latest.
    ending = evaluation + 2 * saving if self._evaluates else saving
    time_left = self._seconds - self._elapsed - ending
    step_seconds = self._mean_step_seconds(position)
    if not step_seconds and time_left > 0.0:
      return max(_FIRST_STEPS, self._planned_steps)

    def seconds(steps: int) -> float:
      """Returns what steps take, with what is due before the last one."""
      evaluations, saves = (
        (step + steps - 1) // every - (step - 1) // every if every else 0
        for every in (self._loop.eval_every_steps, self._loop.save_every_steps)
      )
      return (
        steps * step_seconds
        + evaluations * evaluation * self._evaluates
        + saves * saving
        + self._tracing_left(position)
      )

    low, high = 0, config_lib.MAX_STEPS - step
    while low < high:
      middle = (low + high + 1) // 2
      if seconds(middle) <= time_left + 0.5 * step_seconds:
        low = middle
      else:
        high = middle - 1
    return low

  def _mean_step_seconds(self, position: float) -> float:
    """Returns the mean time of a step of what is left, 0 if none is known."""
    known = float(self._timetable.step_seconds.numpy())
    if not known:
      return 0.0
    measured, total = self._measured_size, 0.0
    for size, share in self._sizes_left(position):
      steps, seconds = self._pace.get(size, (0.0, 0.0))
      # Until it is known it is taken to grow with the number of pixels.
      growth = (size / measured) ** 2 if size and measured else 1.0
      total += share * (seconds / steps if steps else known * growth)
    return total

  def _tracing_left(self, position: float) -> float:
    """Returns the seconds for tracing the sizes that are to come."""
    longest = max(self._traced_seconds.values(), default=0.0)
    sizes = [size for size, _ in self._sizes_left(position)]
    return longest * sum(size not in self._traced_seconds for size in sizes)

  def _sizes_left(self, position: float) -> list[tuple[int | None, float]]:
    """Returns the sizes of images to come, each with its share of the steps."""
    sizes = self._loop.progressive_image_sizes
    if not sizes:
      return [(None, 1.0)]
    ends = [start for _, start in sizes[1:]] + [self._planned_steps]
    left = [
      (size, end - max(start, position + _SAME))
      for (size, start), end in zip(sizes, ends)
    ]
    whole = sum(max(0.0, steps) for _, steps in left)
    return [(size, steps / whole) for size, steps in left if steps > 0.0]


def make_length(
  config: config_lib.TrainConfig,
  state: TrainState,
  clock: Callable[[], float],
) -> PlannedLength:
  """Returns how long a run is, by its config.

  Args:
    config: the hyperparameters.
    state: the run's, restored.
    clock: seconds; all hosts must be told the same.
  """
  if config.loop.max_minutes:
    return Budget(config, state, clock=clock)
  return PlannedLength(config, state)


def note_evaluation(state: TrainState, *, better: bool) -> None:
  """Counts the evaluations since the best one, if there is a patience."""
  count = state.evaluations_since_best
  if count is not None:
    count.assign(0 if better else count + 1)


def require_evaluations(
  config: config_lib.TrainConfig, evaluates: bool
) -> None:
  """Raises unless a patience has evaluations to wait for.

  Args:
    config: the hyperparameters.
    evaluates: whether there is data to evaluate.
  """
  loop = config.loop
  if loop.patience and not (evaluates and loop.eval_every_steps):
    raise refused(
      "patience",
      loop.patience,
      "0 without evaluations in training: with mode train, without "
      "eval_dataset, or with eval_every_epochs at 0",
    )
  if loop.patience and config.schedule.schedule != "constant":
    logging.warning(
      "patience=%d may end the run before schedule %s has lowered the learning "
      "rate; --schedule=constant lowers nothing",
      loop.patience,
      config.schedule.schedule,
    )
