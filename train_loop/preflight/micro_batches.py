# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--accumulate_steps=auto`: as many micro-batches at once as pay on a CPU.

Each is computed on its share of the cores, so that no core waits for others
within an operation. Twice as many are tried as long as that is faster, each in
a process of its own: TensorFlow reads once how many threads an operation has.
BatchNorm normalises each micro-batch by its own statistics. This module imports
no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Callable

from absl import logging

from train_loop import machine
from train_loop.preflight import batch_sizes, trial_cache, trials
from train_loop.preflight.batch_sizes import BUDGET_SECONDS
from train_loop.preflight.choose import agrees
from train_loop.preflight.trials import Choice, Job, Trial

# A micro-batch has so many examples at least, for BatchNorm's statistics.
LEAST_EXAMPLES = 8


def counts(batch_size: int, cpus: int) -> list[int]:
  """Returns how many micro-batches may be tried, each twice as many.

  Args:
    batch_size: examples a step.
    cpus: that this process may use.

  >>> counts(128, 4), counts(24, 64), counts(32, 1)
  ([2, 4], [2], [])
  """
  found, count = [], 2
  while (
    count <= cpus
    and batch_size % count == 0
    and batch_size >= count * LEAST_EXAMPLES
  ):
    found.append(count)
    count *= 2
  return found


def choose(
  job: Job,
  choice: Choice,
  workload: dict[str, Any],
  *,
  cpus: int,
  start: Callable[..., Any] = trials.TrialProcess,
) -> tuple[int, list[Trial]]:
  """Returns in how many parts a batch is computed, and the trials behind it.

  Args:
    job: what a trial trains, in one part.
    choice: what it computes in.
    workload: what a step computes, as JSON holds it.
    cpus: that this process may use.
    start: a `TrialProcess` from a job and `onednn`.
  """
  candidates = counts(job.config.loop.global_batch_size, cpus)
  key = {
    "at_once": candidates,
    "choice": dataclasses.asdict(choice),
    "machine": machine.fingerprint(),
    "workload": workload,
  }
  tried = trial_cache.read(key)
  if not tried and candidates:
    logging.info(
      "accumulate_steps: measuring for at most %.0f s, once",
      BUDGET_SECONDS * (1 + len(candidates)),
    )
    tried = _measured(job, choice, candidates, start=start)
    if not tried[0].failure:
      trial_cache.write(key, tried)
  taken = fastest(tried)
  for trial in tried:
    logging.info(
      "accumulate_steps: %d at once, %s",
      trial.micro_batches,
      trial.failure or f"{trial.images_per_second:,.0f} images/s",
    )
  return taken, tried


def _measured(
  job: Job, choice: Choice, candidates: Sequence[int], *, start: Any
) -> list[Trial]:
  """Tries the whole batch, then more and more parts while that is faster.

  The whole batch is tried again here, so that all are of the same minutes.
  """
  tried: list[Trial] = []
  for count in (1, *candidates):
    logging.info("accumulate_steps: measuring %d at once", count)
    with start(job.in_parts(count), onednn=choice.onednn) as process:
      trial = process.run(choice, timeout=BUDGET_SECONDS)
    tried.append(dataclasses.replace(trial, micro_batches=count))
    if fastest(tried) != count:
      break
  return tried


def fastest(tried: Sequence[Trial]) -> int:
  """Returns the number of parts that is taken; 1 if the whole batch failed.

  More parts must be faster, as of `batch_sizes.fastest`, with about the loss of
  the whole batch.
  """
  agreeing = (trial for trial in tried if agrees(trial, tried[0]))
  taken = batch_sizes.fastest(agreeing)
  return taken.micro_batches if taken else 1
