# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The hyperparameters of a run: small frozen dataclasses, one a concern.

Every field is validated where it enters, and counts optimizer steps: epochs
became steps in `flags.config_from_flags`, and nowhere else. The flag, the field
and the argument of the trick that uses it are spelled alike. This module
imports no TensorFlow, so that a bad value is told before anything slow starts.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import math
from collections.abc import Iterable
from typing import Any

SCHEDULES = (
  "cosine",
  "step",
  "constant",
  "linear",
  "polynomial",
  "exponential",
)
OPTIMIZERS = ("sgd", "adamw", "lars", "lamb", "muon")
# Those of TensorFlow Addons' last release that can be made of a rate alone.
ADDONS_OPTIMIZERS = (
  "tfa/AdaBelief",
  "tfa/AdamW",
  "tfa/ConditionalGradient",
  "tfa/LAMB",
  "tfa/LazyAdam",
  "tfa/NovoGrad",
  "tfa/ProximalAdagrad",
  "tfa/RectifiedAdam",
  "tfa/SGDW",
  "tfa/Yogi",
)
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


class ConfigError(ValueError):
  """A setting or an input that does not do; its message is one line."""


def require_addons(optimizer: str) -> None:
  """Raises a ConfigError where an optimizer's package is missing.

  Args:
    optimizer: of `OPTIMIZERS` or `ADDONS_OPTIMIZERS`.
  """
  if optimizer not in ADDONS_OPTIMIZERS:
    return
  version = importlib.metadata.version("tensorflow")
  found = importlib.util.find_spec("tensorflow_addons") is not None
  if not found or not version.startswith("2.15."):
    raise ConfigError(
      f"optimizer {optimizer!r} needs TensorFlow Addons, which ended with "
      f"TensorFlow 2.15: pip install 'train_loop[addons]' with a Python below "
      f"3.12; this is TensorFlow {version} "
      f"{'with' if found else 'without'} Addons"
    )


def _require(condition: bool, name: str, value: Any, remedy: str) -> None:
  """Raises a ConfigError in one line: the name, its value and the remedy."""
  if not condition:
    raise ConfigError(f"{name} must be {remedy}, got {value!r}")


def _require_number(
  name: str,
  value: float,
  *,
  low: float = -math.inf,
  high: float = math.inf,
  open_low: bool = False,
  open_high: bool = False,
) -> None:
  """Raises unless `value` is a finite number in the given interval."""
  above = value > low if open_low else value >= low
  below = value < high if open_high else value <= high
  left = "(" if open_low or low == -math.inf else "["
  right = ")" if open_high or high == math.inf else "]"
  interval = f"a finite number in {left}{low:g}, {high:g}{right}"
  _require(math.isfinite(value) and above and below, name, value, interval)


def _require_count(name: str, value: int, *, low: int) -> None:
  """Raises unless `value` is a whole number and at least `low`."""
  whole = isinstance(value, int) and not isinstance(value, bool)
  _require(whole and value >= low, name, value, f"an integer >= {low}")


def _require_choice(name: str, value: str, choices: Iterable[str]) -> None:
  _require(value in tuple(choices), name, value, "one of " + ", ".join(choices))


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
  """The learning rate of every step (He et al. 2018, sections 3.1 and 5.1).

  Attributes:
    schedule: one of `SCHEDULES`.
    base_learning_rate: the rate for a batch of 256; the peak rate is
      `base_learning_rate * global_batch_size / 256` (linear scaling).
    warmup_steps: steps of linear warmup.
    warmup_learning_rate: the rate that warmup starts from.
    hold_steps: steps at the peak between warmup and decay.
    boundary_steps: the steps at which `step` multiplies the rate by
      `decay_factor`, increasing.
    decay_factor: what `step` multiplies by at each of `boundary_steps`, and
      what `exponential` has multiplied by when the run ends.
    polynomial_power: the exponent of `polynomial`.
  """

  schedule: str = "cosine"
  base_learning_rate: float = 0.1
  warmup_steps: int = 0
  warmup_learning_rate: float = 0.0
  hold_steps: int = 0
  boundary_steps: tuple[int, ...] = ()
  decay_factor: float = 0.1
  polynomial_power: float = 2.0

  def __post_init__(self) -> None:
    _require_choice("schedule", self.schedule, SCHEDULES)
    _require_number(
      "base_learning_rate", self.base_learning_rate, low=0.0, open_low=True
    )
    _require_count("warmup_steps", self.warmup_steps, low=0)
    _require_number("warmup_learning_rate", self.warmup_learning_rate, low=0.0)
    _require_count("hold_steps", self.hold_steps, low=0)
    increasing = all(
      a < b for a, b in zip((0, *self.boundary_steps), self.boundary_steps)
    )
    _require(
      increasing and (self.schedule != "step" or bool(self.boundary_steps)),
      "boundary_steps",
      self.boundary_steps,
      "positive and increasing, and given for schedule step",
    )
    _require_number(
      "decay_factor", self.decay_factor, low=0.0, high=1.0, open_low=True
    )
    _require_number(
      "polynomial_power", self.polynomial_power, low=0.0, open_low=True
    )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How a gradient becomes an update.

  Attributes:
    optimizer: one of `OPTIMIZERS` or `ADDONS_OPTIMIZERS`.
    momentum: of sgd, lars, muon and tfa/SGDW.
    nesterov: Nesterov's momentum, for sgd, lars, muon and tfa/SGDW.
    weight_decay: coupled (g + λw) for sgd and lars, decoupled for all others.
    decay_kernels_only: leave biases and BatchNorm's γ and β undecayed (He et
      al. 2018, section 3.1).
    clip_global_norm: the largest global norm of the gradient; 0 clips nothing.
    accumulate_steps: micro-batches that one step sums its gradient over.
    parallel_micro_batches: compute and evaluate them at once, and not one
      after another, which takes less memory. A CPU is faster so where each has
      cores of its own: TF_NUM_INTRAOP_THREADS says how many an operation may
      take, and the command sets it.
  """

  optimizer: str = "sgd"
  momentum: float = 0.9
  nesterov: bool = True
  weight_decay: float = 1e-4
  decay_kernels_only: bool = True
  clip_global_norm: float = 0.0
  accumulate_steps: int = 1
  parallel_micro_batches: bool = False

  def __post_init__(self) -> None:
    _require_choice("optimizer", self.optimizer, OPTIMIZERS + ADDONS_OPTIMIZERS)
    _require_number(
      "momentum", self.momentum, low=0.0, high=1.0, open_high=True
    )
    _require_number("weight_decay", self.weight_decay, low=0.0)
    # What makes them so is for parameters that decay: without, they would be
    # SGD and Adam under another name.
    _require(
      self.optimizer not in ("lars", "lamb", "muon") or self.weight_decay > 0,
      "weight_decay",
      self.weight_decay,
      f"above 0 with optimizer {self.optimizer}",
    )
    _require_number("clip_global_norm", self.clip_global_norm, low=0.0)
    _require_count("accumulate_steps", self.accumulate_steps, low=1)
    _require(
      self.accumulate_steps > 1 or not self.parallel_micro_batches,
      "accumulate_steps",
      self.accumulate_steps,
      "above 1 with parallel_micro_batches",
    )

  @property
  def parts_at_once(self) -> int:
    """How many parts of a batch are computed at the same time."""
    return self.accumulate_steps if self.parallel_micro_batches else 1


@dataclasses.dataclass(frozen=True)
class RegularizationConfig:
  """What keeps the network from over-fitting (He et al. 2018, section 5).

  Attributes:
    label_smoothing: ε of `targets * (1 - ε) + ε / K`, in [0, 1).
    mixup_alpha: α of mixup's Beta(α, α); 0 is off.
    cutmix_alpha: α of CutMix's Beta(α, α); 0 is off. Not with mixup.
    distill_temperature: T of distillation, where there is a teacher.
    ema_decay: of the average of weights and BatchNorm statistics that
      evaluation uses; 0 is off.
  """

  label_smoothing: float = 0.0
  mixup_alpha: float = 0.0
  cutmix_alpha: float = 0.0
  distill_temperature: float = 20.0
  ema_decay: float = 0.0

  def __post_init__(self) -> None:
    _require_number(
      "label_smoothing",
      self.label_smoothing,
      low=0.0,
      high=1.0,
      open_high=True,
    )
    _require_number("mixup_alpha", self.mixup_alpha, low=0.0)
    _require_number("cutmix_alpha", self.cutmix_alpha, low=0.0)
    _require(
      not (self.mixup_alpha and self.cutmix_alpha),
      "cutmix_alpha",
      self.cutmix_alpha,
      f"0 where mixup_alpha is on (it is {self.mixup_alpha})",
    )
    _require_number(
      "distill_temperature", self.distill_temperature, low=0.0, open_low=True
    )
    _require_number(
      "ema_decay", self.ema_decay, low=0.0, high=1.0, open_high=True
    )


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """How an evaluation predicts.

  Attributes:
    flip_tta: average the predictions for each image and its mirror image.
  """

  flip_tta: bool = False


@dataclasses.dataclass(frozen=True)
class PrecisionConfig:
  """What the forward and backward pass compute in, and what compiles the step.

  Attributes:
    precision: one of `PRECISIONS` (He et al. 2018, section 3.2).
    jit_compile: let XLA compile the step; where it is one of several replicas'
      steps, the forward and backward pass alone.
  """

  precision: str = "float32"
  jit_compile: bool = False

  def __post_init__(self) -> None:
    _require_choice("precision", self.precision, PRECISIONS)


@dataclasses.dataclass(frozen=True)
class LoopConfig:
  """How long the loop runs, and when it looks up.

  Attributes:
    total_steps: optimizer steps of the whole run.
    global_batch_size: examples a step, over all replicas.
    examples_per_epoch: of the training data; `epoch` in the logs is
      `step * global_batch_size / examples_per_epoch`.
    steps_per_loop: steps between two looks of the host; 0 measures, and takes
      what fits in about a second.
    log_every_steps: steps that a logged mean is taken over.
    eval_every_steps: steps between evaluations; the last step always
      evaluates. 0 evaluates after the last step only.
    checkpoint_every_steps: steps between checkpoints; the last step always
      saves. 0 saves after each evaluation.
    keep_checkpoints: how many of the latest are kept, the best besides.
    progressive_image_sizes: pairs of a height and the step from which on
      training images are resized to it, the first from step 0; evaluation sees
      the full size. The steps of one size are one trace. Empty: the full size.
    seed: of mixup and CutMix; the command gives the data's order, the initial
      weights and stochastic depth the same.
  """

  total_steps: int
  global_batch_size: int
  examples_per_epoch: int
  steps_per_loop: int = 0
  log_every_steps: int = 100
  eval_every_steps: int = 0
  checkpoint_every_steps: int = 0
  keep_checkpoints: int = 2
  progressive_image_sizes: tuple[tuple[int, int], ...] = ()
  seed: int = 0

  def __post_init__(self) -> None:
    for name in ("total_steps", "global_batch_size", "examples_per_epoch"):
      _require_count(name, getattr(self, name), low=1)
    _require_count("log_every_steps", self.log_every_steps, low=1)
    _require_count("keep_checkpoints", self.keep_checkpoints, low=1)
    for name in (
      "steps_per_loop",
      "eval_every_steps",
      "checkpoint_every_steps",
      "seed",
    ):
      _require_count(name, getattr(self, name), low=0)
    _require(self.seed < 2**31, "seed", self.seed, "below 2**31")
    starts = [start for _, start in self.progressive_image_sizes]
    sizes = [size for size, _ in self.progressive_image_sizes]
    _require(
      starts == sorted(set(starts))
      and starts[:1] in ([], [0])
      and all(size >= 1 for size in sizes),
      "progressive_image_sizes",
      self.progressive_image_sizes,
      "sizes >= 1 from increasing steps, the first from 0",
    )

  def image_size_at(self, step: int) -> int | None:
    """Returns the height of training images at a step; None is the full one."""
    reached = [s for s, start in self.progressive_image_sizes if start <= step]
    return reached[-1] if reached else None


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """Everything that `train_and_evaluate` needs to know beside model and data.

  Example:
    >>> config = TrainConfig(
    ...   loop=LoopConfig(
    ...     total_steps=1000, global_batch_size=256, examples_per_epoch=60000
    ...   ),
    ...   schedule=ScheduleConfig(base_learning_rate=0.2, warmup_steps=100),
    ... )
    >>> config.optimizer.momentum
    0.9
  """

  loop: LoopConfig
  schedule: ScheduleConfig = ScheduleConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  regularization: RegularizationConfig = RegularizationConfig()
  evaluation: EvaluationConfig = EvaluationConfig()
  precision: PrecisionConfig = PrecisionConfig()

  def __post_init__(self) -> None:
    ramp = self.schedule.warmup_steps + self.schedule.hold_steps
    _require(
      ramp < self.loop.total_steps,
      "warmup_steps + hold_steps",
      ramp,
      f"below total_steps ({self.loop.total_steps})",
    )
    boundaries = self.schedule.boundary_steps
    _require(
      self.schedule.schedule != "step" or boundaries[0] > ramp,
      "boundary_steps",
      boundaries,
      f"after warmup_steps + hold_steps ({ramp})",
    )
    batch, parts = self.loop.global_batch_size, self.optimizer.accumulate_steps
    _require(
      batch % parts == 0,
      "global_batch_size",
      batch,
      f"a multiple of accumulate_steps ({parts})",
    )
