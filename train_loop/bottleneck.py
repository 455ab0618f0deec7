# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run's time went into, and what would make it shorter, in a sentence.

`Stopwatch` is told what the loop does; `sentence` names what holds the run up,
and the first remedy of `REMEDIES` that fits. This module imports no TensorFlow.

How the input's share is measured: the loop runs in a graph, and takes each
batch there. Two clocks around that, `tf.timestamp`, tell how long it waited;
they cost a few microseconds a step. On a CPU nothing else of the step runs
meanwhile, so the wait is lost time; what the input takes from the step besides,
since both need the cores, the clocks do not see. On a GPU the wait may overlap
with what the device still computes, and is more than what is lost. Both errors
are gone once the loop has timed a few steps on a constant batch, `ceiling`:

  input = time of the steps − steps · time of a step on a constant batch
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any, Callable

from train_loop.config import TrainConfig

# What time goes into. Tracing and compiling is in the first call of each size
# of images; host is all that has no other name.
KINDS = (
  "compute",
  "input",
  "tracing",
  "host",
  "summaries",
  "checkpoints",
  "evaluation",
)
# A share of the time from which on something holds the run up; and the share
# that a remedy aims at.
NOTABLE, AIM = 0.1, 0.05
# In training it is said from this share on, after so many seconds.
SAID_FROM, SAID_AFTER = 0.2, 30.0
# The part of the free memory that a cache leaves to all else, as --cache=auto
# does: data.cache._SPARE, which this package does not import.
_SPARE = 0.5


@dataclasses.dataclass(frozen=True)
class Shares:
  """What time went into.

  Attributes:
    seconds: all of it.
    parts: of each of `KINDS` its share; they sum to 1.
    images_per_second: while steps were taken.
    ceiling: images per second on a constant batch; None if that is not known.
  """

  seconds: float
  parts: dict[str, float]
  images_per_second: float = 0.0
  ceiling: float | None = None

  @property
  def holdup(self) -> str:
    """What takes most of the time besides computing; compute if none does."""
    parts = {name: part for name, part in self.parts.items()}
    del parts["compute"]
    most = max(parts, key=lambda name: parts[name])
    return most if parts[most] >= NOTABLE else "compute"

  def for_card(self) -> dict[str, Any]:
    """Returns the figures as JSON can hold them."""
    return {
      "seconds": round(self.seconds, 3),
      "shares": {name: round(part, 4) for name, part in self.parts.items()},
      "images_per_second": round(self.images_per_second, 1),
      "images_per_second_on_a_constant_batch": (
        None if self.ceiling is None else round(self.ceiling, 1)
      ),
    }


@dataclasses.dataclass(frozen=True)
class Facts:
  """What the remedies depend on; what is not known is None.

  Attributes:
    cache: where images are kept, "none", "memory" or "disk"; None if they are
      arrays, or a data set of the caller's.
    cache_bytes: what keeping them takes.
    free_bytes: of memory.
    random_crops: whether a cache keeps encoded images, to be decoded anew.
    input_threads: that prepare batches; 0 is one per core.
    cpus: that this process may use.
    own_data: whether the data set is one of the command's.
    log_every_steps: as the flag.
    checkpoint_every_steps: the steps between checkpoints; 0 is none.
    eval_every_steps: the steps between evaluations; 0 is none.
    steps_per_epoch: of the training data.
    steps_per_loop: as the flag; 0 is what fits in a second.
    jit_compile: whether XLA compiles the step.
    measured: whether auto chose precision and jit_compile.
    gpu: whether a GPU computes.
    measures_batch_size: whether auto chose the batch size.
  """

  cache: str | None = None
  cache_bytes: int | None = None
  free_bytes: int | None = None
  random_crops: bool = False
  input_threads: int = 0
  cpus: int | None = None
  own_data: bool = False
  log_every_steps: int = 100
  checkpoint_every_steps: int = 0
  eval_every_steps: int = 0
  steps_per_epoch: float = 1.0
  steps_per_loop: int = 0
  jit_compile: bool = False
  measured: bool = False
  gpu: bool = False
  measures_batch_size: bool = False

  @property
  def fits_in_memory(self) -> bool:
    """Whether a cache takes no more than half of the free memory."""
    if self.cache_bytes is None or self.free_bytes is None:
      return False
    return self.cache_bytes <= self.free_bytes * (1 - _SPARE)


NO_FACTS = Facts()


def with_settings(facts: Facts, config: TrainConfig) -> Facts:
  """Returns facts with those that a run's hyperparameters tell."""
  loop = config.loop
  return dataclasses.replace(
    facts,
    log_every_steps=loop.log_every_steps,
    checkpoint_every_steps=loop.save_every_steps,
    eval_every_steps=loop.eval_every_steps,
    steps_per_epoch=loop.examples_per_epoch / loop.global_batch_size,
    steps_per_loop=loop.steps_per_loop,
    jit_compile=config.precision.jit_compile,
  )


@dataclasses.dataclass(frozen=True)
class Remedy:
  """What may be changed if something holds a run up.

  Attributes:
    kind: which of `KINDS` it is for.
    fits: whether it helps, from the shares and the facts.
    text: what to change, from the same.
  """

  kind: str
  fits: Callable[[Shares, Facts], bool]
  text: Callable[[Shares, Facts], str]


def _size(count: int | None) -> str:
  return f"{(count or 0) / 2**30:.1f} GiB"


def _fewer(shares: Shares, kind: str) -> int:
  """Returns by how much rarer something must be to take a share of `AIM`."""
  part = shares.parts[kind]
  times = part * (1 - AIM) / (AIM * max(1 - part, 0.01))
  return max(2, math.ceil(times - 1e-6))


def _rarer_evaluation(shares: Shares, facts: Facts) -> str:
  """Returns the flag, or the setting, for evaluations that take `AIM`."""
  steps = facts.eval_every_steps * _fewer(shares, "evaluation")
  if facts.own_data:
    return f"--eval_every_epochs={steps / facts.steps_per_epoch:.3g}"
  return f"eval_every_steps={steps}"


def _cacheable(facts: Facts) -> bool:
  return facts.cache == "none" and not facts.random_crops


# The first of its kind that fits is named.
REMEDIES = (
  Remedy(
    "input",
    lambda _, f: _cacheable(f) and f.fits_in_memory,
    lambda _, f: (
      f"--cache=memory fits in {_size(f.cache_bytes)} and would remove it"
    ),
  ),
  Remedy(
    "input",
    lambda _, f: _cacheable(f),
    lambda _, f: (
      f"--cache=disk keeps decoded images, {_size(f.cache_bytes)} for all runs"
    ),
  ),
  Remedy(
    "input",
    lambda _, f: 0 < f.input_threads < (f.cpus or 0),
    lambda _, f: f"--input_threads=0 reads with all {f.cpus} cores",
  ),
  Remedy(
    "input",
    lambda _, f: f.cache == "none" and f.fits_in_memory,
    lambda _, f: (
      f"--cache=memory fits in {_size(f.cache_bytes)} and saves the reading, "
      "not the decoding"
    ),
  ),
  Remedy(
    "input",
    lambda _, f: f.cache is not None and f.random_crops,
    lambda _, f: (
      "--mode=convert --convert_resize=N makes smaller images, which decode "
      "faster; --data_service decodes on other machines"
    ),
  ),
  Remedy(
    "input",
    lambda _, f: f.own_data,
    lambda _, f: (
      "less augmentation, more cores, or --data_service, which prepares "
      "batches on other machines"
    ),
  ),
  Remedy(
    "input",
    lambda _, f: True,
    lambda _, f: (
      "cache() the data set that was passed, or give its map num_parallel_calls"
    ),
  ),
  Remedy(
    "evaluation",
    lambda _, f: f.eval_every_steps > 0,
    lambda s, f: f"{_rarer_evaluation(s, f)} evaluates less often",
  ),
  Remedy(
    "checkpoints",
    lambda _, f: f.checkpoint_every_steps > 0,
    lambda s, f: (
      "--checkpoint_every_steps="
      f"{f.checkpoint_every_steps * _fewer(s, 'checkpoints')} saves less often"
    ),
  ),
  Remedy(
    "summaries",
    lambda _, f: True,
    lambda s, f: (
      f"--log_every_steps={f.log_every_steps * _fewer(s, 'summaries')} logs "
      "less often"
    ),
  ),
  Remedy(
    "tracing",
    lambda _, f: f.jit_compile,
    lambda _, f: (
      "XLA compiles once a start: a longer run pays less for it, "
      "--jit_compile=false nothing"
    ),
  ),
  Remedy(
    "tracing",
    lambda _, f: True,
    lambda _, f: "it is paid once a start: a longer run pays less for it",
  ),
  Remedy(
    "host",
    lambda _, f: f.steps_per_loop > 0,
    lambda _, f: "--steps_per_loop=auto makes calls of a second each",
  ),
  Remedy(
    "host",
    lambda _, f: True,
    lambda s, f: (
      f"--log_every_steps={f.log_every_steps * _fewer(s, 'host')} makes the "
      "calls longer"
    ),
  ),
  Remedy(
    "compute",
    lambda _, f: f.own_data and not f.measured,
    lambda _, f: (
      "--precision=auto --jit_compile=auto measure faster ways to compute"
    ),
  ),
  Remedy(
    "compute",
    lambda _, f: f.own_data and f.gpu and not f.measures_batch_size,
    lambda _, f: "--global_batch_size=auto measures what the GPU is filled by",
  ),
)


def remedy(shares: Shares, facts: Facts) -> str:
  """Returns what to change, "" if nothing is known to help."""
  for each in REMEDIES:
    if each.kind == shares.holdup and each.fits(shares, facts):
      return each.text(shares, facts)
  return ""


def sentence(shares: Shares, facts: Facts) -> str:
  """Names what holds a run up, by how much, and what to change.

  Example:
    >>> parts = dict.fromkeys(KINDS, 0.0) | {"compute": 0.69, "input": 0.31}
    >>> facts = Facts(cache="none", cache_bytes=10**9, free_bytes=10**10)
    >>> sentence(Shares(60.0, parts), facts)
    'input-bound: 31% of the time; --cache=memory fits in 0.9 GiB and would \
remove it'

  Args:
    shares: as measured.
    facts: what the remedies depend on.
  """
  kind = shares.holdup
  told = f"{kind}-bound: {shares.parts[kind]:.0%} of the time"
  others = sorted(
    (name for name in KINDS if name != kind and shares.parts[name] >= 0.005),
    key=lambda name: -shares.parts[name],
  )
  if kind != "compute" and others != ["compute"]:
    told += " ("
    told += ", ".join(f"{name} {shares.parts[name]:.0%}" for name in others)
    told += ")"
  if shares.ceiling is not None:
    told += (
      f", {shares.images_per_second:,.0f} images/s of the "
      f"{shares.ceiling:,.0f} on a constant batch"
    )
  change = remedy(shares, facts)
  return f"{told}; {change}" if change else told


@dataclasses.dataclass
class _Calls:
  """Those of the steps on images of one size."""

  steps: int = 0
  seconds: float = 0.0
  waited: float = 0.0


class Stopwatch:
  """Adds up what the time of one start of a run goes into.

  Attributes:
    facts: what the remedies depend on.
    ceilings: by the size of images, the seconds of a step on a constant batch.
  """

  def __init__(
    self,
    *,
    global_batch_size: int,
    facts: Facts = NO_FACTS,
    clock: Callable[[], float] = time.perf_counter,
  ) -> None:
    self.facts = facts
    self.ceilings: dict[int | None, float] = {}
    self._batch = global_batch_size
    self._clock = clock
    self._start = clock()
    self._spent = dict.fromkeys(KINDS, 0.0)
    self._calls: dict[int | None, _Calls] = {}
    self._said: set[str] = set()
    self._window = _Calls()

  @contextlib.contextmanager
  def spent_on(self, kind: str) -> Iterator[None]:
    """Counts the time of the context as one of `KINDS`."""
    start, inner = self._clock(), sum(self._spent.values())
    try:
      yield
    finally:
      within = sum(self._spent.values()) - inner
      self._spent[kind] += self._clock() - start - within

  def called(
    self,
    steps: int,
    seconds: float,
    *,
    waited: float,
    traced: bool,
    image_size: int | None = None,
  ) -> None:
    """Counts a call of run_steps.

    Args:
      steps: that it took.
      seconds: that it took.
      waited: the seconds in which it waited for batches.
      traced: whether it traced the step.
      image_size: the height of the images.
    """
    if traced:  # Its few steps are not told from the tracing.
      self._spent["tracing"] += seconds
      return
    for calls in (
      self._calls.setdefault(image_size, _Calls()),
      self._window,
    ):
      calls.steps += steps
      calls.seconds += seconds
      calls.waited += min(waited, seconds)

  def input_share(self) -> dict[str, float]:
    """Returns the share of the steps' time since the last read, if any was."""
    calls, self._window = self._window, _Calls()
    if not calls.steps:
      return {}
    return {"input_share": round(calls.waited / max(calls.seconds, 1e-9), 4)}

  def step_seconds(self, image_size: int | None = None) -> float | None:
    """Returns the mean time of a step so far; None if none was timed."""
    calls = self._calls.get(image_size)
    return calls.seconds / calls.steps if calls else None

  @property
  def seconds(self) -> float:
    """Since the start."""
    return self._clock() - self._start

  def shares(self) -> Shares:
    """Returns what the time since the start went into."""
    spent, total = dict(self._spent), max(self.seconds, 1e-9)
    stepped = sum(calls.seconds for calls in self._calls.values())
    lost = sum(self._lost(size, calls) for size, calls in self._calls.items())
    spent["input"] += lost
    spent["compute"] += stepped - lost
    spent["host"] += max(0.0, total - sum(spent.values()))
    images = self._batch * sum(calls.steps for calls in self._calls.values())
    return Shares(
      seconds=total,
      parts={
        name: seconds / sum(spent.values()) for name, seconds in spent.items()
      },
      images_per_second=images / max(stepped, 1e-9),
      ceiling=self._ceiling(images),
    )

  def _lost(self, size: int | None, calls: _Calls) -> float:
    """Returns the seconds of some calls that the input has taken."""
    if size not in self.ceilings:
      return calls.waited
    lost = calls.seconds - calls.steps * self.ceilings[size]
    # A CPU computes nothing while it waits.
    least = 0.0 if self.facts.gpu else calls.waited
    return min(max(lost, least), calls.seconds)

  def _ceiling(self, images: int) -> float | None:
    """Returns the images per second if no batch had to be waited for."""
    if not images or self._calls.keys() - self.ceilings.keys():
      return None
    seconds = sum(
      calls.steps * self.ceilings[size] for size, calls in self._calls.items()
    )
    return images / seconds

  def for_card(self) -> dict[str, Any]:
    """Returns what the run card says of the time since the start."""
    shares = self.shares()
    return {**shares.for_card(), "sentence": sentence(shares, self.facts)}

  def news(self) -> str:
    """Returns what holds the run up, the first time that it is notable."""
    if self.seconds < SAID_AFTER:
      return ""
    shares = self.shares()
    kind = shares.holdup
    steady = kind not in ("compute", "tracing", "host")
    if kind in self._said or not steady or shares.parts[kind] < SAID_FROM:
      return ""
    self._said.add(kind)
    return sentence(shares, self.facts)
