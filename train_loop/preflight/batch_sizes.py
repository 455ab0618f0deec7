# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--global_batch_size=auto`: the smallest size that is as fast as any.

Each size is twice the one before. It trains some steps in a process of its own,
so that one that the memory does not hold ends that process, and not the run;
and one that would take too much by the growth so far is not tried at all, since
the system might then end other programs. This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from absl import logging

from train_loop import machine
from train_loop.config import MAX_BATCH_SIZE
from train_loop.fields import ConfigError
from train_loop.preflight import trial_cache, trials
from train_loop.preflight.trials import Choice, Job, Trial

# The size at which precision and the like are measured before.
FIRST = 64
SMALLEST = 16
# An epoch has this many steps at least: fewer do not train well.
STEPS_AN_EPOCH = 10
# A larger size must be faster by this factor to be taken, and the search ends
# after so many in a row that are not.
GAIN = 1.03
IN_VAIN = 2
# A trial's peak may be this part of the memory: evaluation and the input
# pipeline need some besides.
MOST_MEMORY = 0.8
BUDGET_SECONDS = 180.0


def first(multiple: int, smallest: int = FIRST) -> int:
  """Returns the least size from `smallest` on that is `multiple` · 2^k."""
  size = multiple
  while size < smallest:
    size *= 2
  return size


def sizes(multiple: int, examples_per_epoch: int) -> list[int]:
  """Returns the sizes that may be tried, each twice the one before.

  Args:
    multiple: what each is a multiple of: accumulate_steps, replicas.
    examples_per_epoch: of the training data.
  """
  largest = min(MAX_BATCH_SIZE, examples_per_epoch // STEPS_AN_EPOCH)
  found = [first(multiple, SMALLEST)]
  while 2 * found[-1] <= largest:
    found.append(2 * found[-1])
  return found


def choose(
  job: Job,
  choice: Choice,
  workload: dict[str, Any],
  candidates: list[int],
  *,
  copies: int = 1,
  start: Callable[..., Any] = trials.TrialProcess,
) -> tuple[int, list[Trial]]:
  """Returns the batch size of a run, and the trials that it was taken from.

  Args:
    job: what a trial trains.
    choice: what it computes in.
    workload: what a step computes, as JSON holds it; its batch is left out.
    candidates: the sizes, as of `sizes`.
    copies: replicas that share the memory.
    start: a `TrialProcess` from a job and `onednn`.

  Raises:
    ConfigError: no size works.
  """
  key = {
    "sizes": candidates,
    "choice": dataclasses.asdict(choice),
    "machine": machine.fingerprint(),
    # Measured again if a tenth more or less of it is free.
    "memory": round(math.log(machine.available_memory(), 1.1)),
    "copies": copies,
    "workload": {k: v for k, v in workload.items() if k != "batch"},
  }
  tried = trial_cache.read(key)
  if not tried:
    logging.info(
      "global_batch_size: measuring for at most %.0f s, once", BUDGET_SECONDS
    )
    with start(job, onednn=choice.onednn) as process:
      tried = list(measured(process, choice, candidates, copies=copies))
    if tried[0].images_per_second:
      trial_cache.write(key, tried)
  taken = fastest(tried)
  if taken is None:
    raise ConfigError(
      "global_batch_size must be a number, for auto found none that works: "
      f"{tried[0].batch_size} {tried[0].failure}"
    )
  logging.info(
    "global_batch_size: %d of %d to %d, with %s images/s and %.0f%% of the "
    "memory%s",
    taken.batch_size,
    tried[0].batch_size,
    tried[-1].batch_size,
    f"{taken.images_per_second:,.0f}",
    100.0 * taken.memory,
    f" ({tried[-1].batch_size}: {tried[-1].failure})" * bool(tried[-1].failure),
  )
  return taken.batch_size, tried


def measure_one(
  job: Job,
  choice: Choice,
  workload: dict[str, Any],
  *,
  start: Callable[..., Any] = trials.TrialProcess,
) -> Trial:
  """Returns the trial of the run's own batch size, measured once and kept.

  Args:
    job: what a trial trains.
    choice: what it computes in.
    workload: what a step computes, as JSON holds it.
    start: a `TrialProcess` from a job and `onednn`.
  """
  key = {
    "one": dataclasses.asdict(choice),
    "machine": machine.fingerprint(),
    "workload": workload,
  }
  kept = trial_cache.read(key)
  if kept:
    return kept[0]
  logging.info("measuring a few steps, in a process of its own")
  with start(job, onednn=choice.onednn) as process:
    trial = process.run(choice, timeout=BUDGET_SECONDS)
  if not trial.failure:
    trial_cache.write(key, [trial])
  return trial


def measured(
  process: Any,
  choice: Choice,
  candidates: Iterable[int],
  *,
  copies: int = 1,
  clock: Callable[[], float] = time.monotonic,
) -> Iterator[Trial]:
  """Yields the trial of each size, until larger ones fail or gain nothing.

  Args:
    process: a `TrialProcess`.
    choice: what it computes in.
    candidates: the sizes, rising.
    copies: replicas that share the memory.
    clock: seconds.
  """
  deadline = clock() + BUDGET_SECONDS
  done: list[Trial] = []
  for size in candidates:
    expected = expected_memory(done)
    if expected > MOST_MEMORY:
      failure = f"not tried: it would take {expected:.0%} of the memory"
      yield Trial(choice, failure=failure, batch_size=size)
      return
    trial = process.run(choice, timeout=deadline - clock(), batch_size=size)
    trial = dataclasses.replace(trial, memory=copies * trial.memory)
    trial = without_room(trial)
    yield trial
    done.append(trial)
    taken = fastest(done)
    if trial.failure or taken in done[:-IN_VAIN]:
      return


def without_room(trial: Trial) -> Trial:
  """Returns the trial; as a failure if it leaves too little of the memory."""
  if trial.failure or trial.memory <= MOST_MEMORY:
    return trial
  failure = f"takes {trial.memory:.0%} of the memory"
  return dataclasses.replace(
    trial, failure=failure, images_per_second=0.0, loss=None
  )


def expected_memory(done: list[Trial]) -> float:
  """Returns what part of the memory twice the last size will take, about.

  A part grows with the size, and a part, such as the weights, does not: of two
  trials the second one's growth is half of the next one's.
  """
  if not done:
    return 0.0
  if len(done) == 1:
    return done[0].memory
  before, last = done[-2].memory, done[-1].memory
  return last + 2.0 * max(0.0, last - before)


def fastest(tried: Iterable[Trial]) -> Trial | None:
  """Returns the trial that is taken: of rising sizes the last that gained."""
  taken = None
  for trial in tried:
    if trial.failure:
      continue
    if (
      taken is None or trial.images_per_second > GAIN * taken.images_per_second
    ):
      taken = trial
  return taken
