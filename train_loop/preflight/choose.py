# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`auto`: measures a few real steps of each candidate and keeps the fastest.

No rule of thumb tells which precision is fastest, or whether XLA helps: on a
GPU both do, on most CPUs both lose. So the run's own network is trained for
some steps on a batch of its own data, in each way, before the run starts; and
as long as machine, versions, network and shapes stay, never again. This module
imports no TensorFlow: what it chooses comes before that import.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Callable

from absl import logging

from train_loop import machine
from train_loop.config import PRECISIONS, RECOMPUTE, TrainConfig
from train_loop.fields import check, setting
from train_loop.preflight import trial_cache, trials
from train_loop.preflight.batch_sizes import without_room
from train_loop.preflight.trials import Choice, Device, Job, Trial

AUTO = "auto"
SWITCH = (AUTO, "true", "false")
KEEP, BLOCKS = RECOMPUTE
# The compute capability from which on an NVIDIA GPU has tensor cores for it.
LEAST_CAPABILITY = {
  "mixed_float16": (7, 0),
  "mixed_bfloat16": (8, 0),
  "tensor_float_32": (8, 0),
}
# A candidate whose loss is further from float32's than this is not taken.
LOSS_TOLERANCE = 0.05
# The whole preflight may take this long; what comes later is not tried.
BUDGET_SECONDS = 180.0


@dataclasses.dataclass(frozen=True)
class Asked:
  """What the flags of these names say: "auto", or the value.

  `tensor_float_32` is measured only if the precision is: who asks for float32
  gets float32.
  """

  onednn: str = setting(
    AUTO,
    choices=SWITCH,
    help="Let TensorFlow use oneDNN on a CPU, whatever it would do by itself; "
    "auto measures, and says what it took.",
  )
  tensor_float_32: str = setting(
    AUTO,
    choices=SWITCH,
    help="Let a GPU round the factors of float32 products to TensorFloat-32; "
    "auto measures if precision is auto, and is false if it is not.",
  )
  precision: str = setting(
    AUTO,
    choices=(AUTO, *PRECISIONS),
    help="What forward and backward compute in; auto measures, and says what "
    "it took.",
  )
  jit_compile: str = setting(
    AUTO,
    choices=SWITCH,
    help="Let XLA compile the step, or if there are several replicas forward "
    "and backward alone; auto measures, and says what it took.",
  )

  fuse_batch_norm: str = setting(
    AUTO,
    choices=SWITCH,
    help="Put the fused BatchNorm of our networks in the place of Keras' own "
    "BatchNormalization in other networks, which computes the same; auto "
    "measures, and says what it took. Our networks have it anyway.",
  )
  recompute: str = setting(
    "none",
    choices=(AUTO, *RECOMPUTE),
    help="Let the backward pass compute the network's blocks, such as residual "
    "blocks, again in place of keeping them: less memory for a third more "
    "time, and the same gradients. auto does so if the batch does not fit.",
  )

  def __post_init__(self) -> None:
    check(self)

  def settled(self) -> Choice | None:
    """Returns the choice if nothing is left to measure, else None."""
    measured = dataclasses.replace(self, tensor_float_32="false")
    if AUTO in dataclasses.astuple(measured):
      return None
    return Choice(
      onednn=self.onednn == "true",
      tensor_float_32=self.tensor_float_32 == "true",
      precision=self.precision,
      jit_compile=self.jit_compile == "true",
      fuse_batch_norm=self.fuse_batch_norm == "true",
      recompute=self.recompute,
    )


def candidates(asked: Asked, device: Device) -> list[Choice]:
  """Returns the candidates in the order in which they are tried.

  Plain float32 comes first, XLA last; among the candidates with XLA half
  precision comes first, because it is most often the fastest on a GPU, and time
  may run out: XLA takes a minute for a large network. BatchNorm is fused only
  if that is asked for; `measure` finds out about the rest.

  Args:
    asked: what the flags say; what they leave open is varied.
    device: what TensorFlow has at hand.
  """
  open_precision = asked.precision == AUTO
  choices = [
    Choice(
      onednn,
      tensor_float_32,
      precision,
      jit_compile,
      fuse_batch_norm=asked.fuse_batch_norm == "true",
      recompute=KEEP if asked.recompute == AUTO else asked.recompute,
    )
    for onednn in _values(asked.onednn, (True, False))
    for jit_compile in _values(asked.jit_compile, (False, True))
    for precision in (PRECISIONS if open_precision else (asked.precision,))
    for tensor_float_32 in _values(
      asked.tensor_float_32, (False, True) if open_precision else (False,)
    )
  ]
  first, *rest = [
    choice
    for choice in choices
    if (not open_precision or _is_native(choice, device))
    and (
      choice.onednn or asked.onednn != AUTO or _onednn_may_slow(choice, device)
    )
    and (
      not choice.tensor_float_32
      or asked.tensor_float_32 != AUTO
      or _tensor_float_32_acts(choice, device)
    )
  ]

  def place(choice: Choice) -> tuple[bool, bool]:
    compiled = choice.jit_compile
    return compiled, compiled and choice.precision == "float32"

  return [first, *sorted(rest, key=place)]


def _values(asked: str, options: tuple[bool, ...]) -> tuple[bool, ...]:
  return options if asked == AUTO else (asked == "true",)


def _is_native(choice: Choice, device: Device) -> bool:
  """Returns whether the device computes in this precision without emulation.

  No CPU computes in float16. It computes in bfloat16 through XLA, or through
  oneDNN if it has the instructions; emulated, both are ten times slower than
  float32.
  """
  if choice.precision == "float32":
    return True
  if device.gpu:
    return device.compute_capability >= LEAST_CAPABILITY[choice.precision]
  return choice.precision == "mixed_bfloat16" and (
    choice.jit_compile or (choice.onednn and device.native_bfloat16)
  )


def _onednn_may_slow(choice: Choice, device: Device) -> bool:
  """Returns whether the step may be faster without oneDNN.

  oneDNN is made for x86 CPUs. With XLA most of the step is compiled, and the
  rest was never slower with oneDNN.
  """
  return device.x86 and not device.gpu and not choice.jit_compile


def _tensor_float_32_acts(choice: Choice, device: Device) -> bool:
  """Returns whether TensorFloat-32 would round float32 products here."""
  return (
    choice.precision == "float32"
    and device.gpu
    and device.compute_capability >= LEAST_CAPABILITY["tensor_float_32"]
  )


def choose(
  asked: Asked,
  job: Job,
  workload: dict[str, Any],
  *,
  start: Callable[..., Any] = trials.TrialProcess,
) -> tuple[Choice, list[Trial]]:
  """Returns the fastest choice whose loss agrees with float32's.

  Args:
    asked: what the flags say; if they leave nothing open, nothing is tried.
    job: what a trial trains.
    workload: what a step computes, as JSON holds it; see `workload_of`.
    start: a `TrialProcess` from a job and `onednn`.

  Returns:
    The choice, and the trials that it was taken from: none if nothing was open.

  Raises:
    ConfigError: no process could be started.
  """
  choice = asked.settled()
  if choice is not None:
    return choice, []
  key = {
    "asked": dataclasses.asdict(asked),
    "machine": machine.fingerprint(),
    "workload": workload,
  }
  path = trial_cache.path_of(key)
  tried = trial_cache.read(key)
  if tried:
    logging.info("auto: measured before, and kept in %s", path)
  else:
    logging.info(
      "auto: measuring for at most %.0f s, once; to be kept in %s",
      BUDGET_SECONDS,
      path,
    )
    tried = measure(asked, job, start=start)
    if reference_of(tried) is not None:
      trial_cache.write(key, tried)
  for line in table(tried):
    logging.info("auto: %s", line)
  return fastest(tried), tried


def unmeasured(asked: Asked, *, gpu: bool) -> Asked:
  """Returns what is taken for what is open if several hosts train.

  All must compute the same, and each would measure something else.

  Args:
    asked: what the flags say.
    gpu: whether the hosts compute on GPUs.
  """
  taken = {
    "onednn": "true",
    "tensor_float_32": "false",
    "precision": "mixed_float16" if gpu else "float32",
    "jit_compile": "false",
    "fuse_batch_norm": "true",
    "recompute": KEEP,
  }
  open_ones = {
    name: value for name, value in taken.items() if getattr(asked, name) == AUTO
  }
  logging.info(
    "auto: several hosts, so nothing is measured: %s",
    ", ".join(f"{name}={value}" for name, value in open_ones.items()),
  )
  return dataclasses.replace(asked, **open_ones)


def workload_of(
  network: dict[str, Any],
  image_shape: tuple[int, int, int],
  config: TrainConfig,
  teacher: str | None,
) -> dict[str, Any]:
  """Returns what decides how long a step takes: shapes, and tricks in use.

  The strength of a trick and the length of the run change no step's time.
  """
  parts = (config.optimizer, config.regularization)
  settings = {k: v for part in parts for k, v in vars(part).items()}
  return {
    "network": network,
    "batch": [config.loop.global_batch_size, *image_shape],
    "teacher": teacher,
    "optimizer": config.optimizer.optimizer,
    "accumulate_steps": config.optimizer.accumulate_steps,
    "on": sorted(name for name, value in settings.items() if value),
  }


def measure(
  asked: Asked, job: Job, *, start: Callable[..., Any]
) -> list[Trial]:
  """Tries each candidate, all with one oneDNN setting in one process.

  If recompute is open, and the first candidate does not fit, all compute blocks
  again.

  If fused BatchNorm is open, it is tried in the first candidate, for it costs a
  trial: the others have it or not, as was faster there, and the fastest of a
  process is tried the other way at its end.
  """
  deadline = time.monotonic() + BUDGET_SECONDS
  tried: list[Trial] = []
  open_fusing = asked.fuse_batch_norm == AUTO
  recompute = KEEP if asked.recompute == AUTO else asked.recompute

  def run(process: Any, choice: Choice) -> None:
    nonlocal recompute
    left = deadline - time.monotonic()
    choice = dataclasses.replace(choice, recompute=recompute)
    logging.info("auto: measuring %s", described(choice))
    trial = process.run(choice, timeout=left)
    if asked.recompute == AUTO and not tried:
      trial = without_room(trial)
      recompute = BLOCKS if trial.failure else KEEP
    tried.append(trial)
    if len(tried) == 1 and recompute != choice.recompute:
      run(process, choice)

  def run_each(process: Any, choices: list[Choice]) -> None:
    for choice in choices:
      if open_fusing and tried:
        fused = fastest(tried[:2]).fuse_batch_norm
        choice = dataclasses.replace(choice, fuse_batch_norm=fused)
      run(process, choice)
      if open_fusing and len(tried) == 1:
        run(process, other_batch_norm(choice))
    other = other_batch_norm(fastest(tried))
    untried = other not in [trial.choice for trial in tried]
    if open_fusing and untried and other.onednn == choices[0].onednn:
      run(process, other)

  first = asked.onednn != "false"
  with start(job, onednn=first) as process:
    choices = candidates(asked, process.device)
    run_each(process, [c for c in choices if c.onednn == first])
    if asked.onednn == AUTO and process.device.gpu:
      logging.info("auto: oneDNN is on; there is a GPU, so it does not matter")
  others = [choice for choice in choices if choice.onednn != first]
  if others:
    with start(job, onednn=not first) as process:
      run_each(process, others)
  return tried


def other_batch_norm(choice: Choice) -> Choice:
  """Returns the same choice with BatchNorm fused if it is not, or not if so."""
  return dataclasses.replace(choice, fuse_batch_norm=not choice.fuse_batch_norm)


def reference_of(tried: list[Trial]) -> Trial | None:
  """Returns the trial that the others are compared with, None if none worked.

  It is the first trial that worked with the arithmetic of the first candidate:
  float32, or the precision that was asked for.
  """
  first = tried[0].choice
  for trial in tried:
    same_arithmetic = (
      trial.choice.precision == first.precision
      and trial.choice.tensor_float_32 == first.tensor_float_32
    )
    if same_arithmetic and trial.loss is not None:
      return trial
  return None


def agrees(trial: Trial, reference: Trial) -> bool:
  """Returns whether a trial worked, with about the reference's loss."""
  if trial.loss is None or reference.loss is None:
    return False
  room = LOSS_TOLERANCE * max(1.0, abs(reference.loss))
  return abs(trial.loss - reference.loss) <= room


def fastest(tried: list[Trial]) -> Choice:
  """Returns the fastest choice that agrees; the first one if none does."""
  reference = reference_of(tried)
  if reference is None:
    return tried[0].choice
  agreeing = [trial for trial in tried if agrees(trial, reference)]
  return max(agreeing, key=lambda trial: trial.images_per_second).choice


def described(choice: Choice) -> str:
  """Returns a choice in words, for people."""
  words = [choice.precision]
  if choice.tensor_float_32:
    words.append("TensorFloat-32")
  words.append("with XLA" if choice.jit_compile else "without XLA")
  words.append("with oneDNN" if choice.onednn else "without oneDNN")
  if choice.fuse_batch_norm:
    words.append("with fused BatchNorm")
  if choice.recompute == BLOCKS:
    words.append("computing blocks again")
  return ", ".join(words)


def table(tried: list[Trial]) -> list[str]:
  """Returns the lines of a table of the trials, for the log."""
  # Not at the top: it takes a while, and most runs measure nothing.
  from tabulate import tabulate

  names = [field.name for field in dataclasses.fields(Choice)]
  rows = []
  for trial in tried:
    values = [str(value).lower() for value in dataclasses.astuple(trial.choice)]
    note = _note(trial, tried)
    rows.append([*values, trial.images_per_second, trial.loss, note])
  return tabulate(
    rows,
    [*names, "images/s", "loss", "note"],
    tablefmt="plain",
    floatfmt=(*("" for _ in names), ".0f", ".4f", ""),
  ).splitlines()


def _note(trial: Trial, tried: list[Trial]) -> str:
  """Returns what the table says of a trial's result."""
  reference = reference_of(tried)
  notes = []
  if trial.failure:
    notes.append(f"failed: {trial.failure}")
  elif reference is not None and not agrees(trial, reference):
    notes.append("its loss disagrees")
  if trial.choice == fastest(tried):
    notes.append("taken")
  return ", ".join(notes)
