# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The hyperparameters of a run: small frozen dataclasses, one a concern.

Each field says what it does, and its range is checked when it enters. Fields
count optimizer steps: the command's epochs become steps in
`command.config_from_flags`, and nowhere else. A flag, its field and the
argument of the trick that uses it have the same name. This module imports no
TensorFlow, so that a bad value is refused before anything slow starts.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import importlib.util
from typing import Any

from train_loop.fields import ConfigError, check, refused, setting
from train_loop.models import keras_names
from train_loop.models import names as model_names
from train_loop.models.names import MODEL_VARIANTS, MODELS
from tricks.names import DECAY_SHAPES, OPTIMIZERS, PRECISIONS, SCHEDULES

__all__ = [
  "ADDONS_OPTIMIZERS",
  "CHECKPOINTS",
  "OPTIMIZERS",
  "PRECISIONS",
  "SCHEDULES",
  "ConfigError",
  "EvaluationConfig",
  "LoopConfig",
  "LossConfig",
  "ModelConfig",
  "OptimizerConfig",
  "PrecisionConfig",
  "RegularizationConfig",
  "ScheduleConfig",
  "TrainConfig",
  "require_addons",
]

# The optimizers of TensorFlow Addons' last release that need only a rate.
ADDONS_OPTIMIZERS = (
  "tfa:AdaBelief",
  "tfa:AdamW",
  "tfa:ConditionalGradient",
  "tfa:LAMB",
  "tfa:LazyAdam",
  "tfa:NovoGrad",
  "tfa:ProximalAdagrad",
  "tfa:RectifiedAdam",
  "tfa:SGDW",
  "tfa:Yogi",
)
# The seeds of mixup and CutMix take the step as an int32.
MAX_STEPS = 2**31 - 1
MAX_BATCH_SIZE = 2**20
# The checkpoints of a run that can be asked for: the newest, and that of the
# best evaluation.
CHECKPOINTS = ("latest", "best")
# Whether an image has one label, or any number of them.
TASKS = ("single_label", "multi_label")
CLASS_BALANCES = ("none", "weights", "sampling", "logit_adjustment")
# What the backward pass may compute again.
RECOMPUTE = ("none", "blocks")
# What may follow a step whose gradient is not finite.
ON_NONFINITE = ("stop", "skip", "rollback")


def require_addons(optimizer: str) -> None:
  """Raises a ConfigError if an optimizer's package is missing.

  Args:
    optimizer: one of `OPTIMIZERS` or `ADDONS_OPTIMIZERS`.
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
  if not condition:
    raise refused(name, value, remedy)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The network that the command builds, and its teacher."""

  model: str = setting(
    "resnet20",
    known=model_names.parts,
    help=f"The network: one of {', '.join(MODELS)}; or keras:NAME, a "
    "classifier of tf.keras.applications, such as keras:MobileNet; or "
    "python:package.module.function, a builder of your own.",
  )
  allow_python: bool = setting(
    False,
    help="Call the function of a model python:... that a flagfile or a run "
    "card names; one on the command line is called anyway. Without it a run "
    "of such a model goes on, or answers, if --model is given again.",
  )
  model_variant: str = setting(
    "d",
    choices=MODEL_VARIANTS,
    help="ResNet-B, C or D, if the network is an ImageNet ResNet; a is the "
    "network before these tweaks.",
  )
  zero_gamma: bool = setting(
    True,
    help="Start the last BatchNorm of each residual branch at γ = 0; weights "
    "that are loaded keep their γ.",
  )
  weights: str = setting(
    "",
    path=True,
    help="Start from these weights: the workdir of a run, a .safetensors file "
    "of torchvision's or timm's ResNets, a .keras or .weights.h5 file; or "
    "imagenet, which Keras downloads for keras:NAME. See fine_tuning.md.",
  )
  freeze: tuple[str, ...] = setting(
    (),
    help="Layers that keep the weights they start from: beginnings of their "
    "names, such as stem,stage1; or all_but_head.",
  )
  sync_batch_norm: bool = setting(
    False,
    help="Let BatchNorm use the statistics of the global batch, and not of "
    "each replica's share of it. Not with jit_compile.",
  )
  stochastic_depth: float = setting(
    0.0,
    low=0.0,
    high=1.0,
    open_high=True,
    help="Probability of dropping the last residual block of an example in "
    "training; earlier blocks are dropped less often. 0 drops none.",
  )
  teacher: str = setting(
    "",
    path=True,
    help="Distill from this model: the workdir of a run; a .keras file, from "
    "images to logits or to a softmax; or keras:NAME, a network of Keras "
    "Applications with its weights of ImageNet. Images are resized to the "
    "teacher's size, and gray becomes RGB if it takes that.",
  )
  teacher_checkpoint: str = setting(
    CHECKPOINTS[0],
    choices=CHECKPOINTS,
    help="Which checkpoint of a workdir is the teacher: the latest, or that of "
    "the best evaluation.",
  )
  teacher_preprocessing: str = setting(
    "none",
    choices=tuple(keras_names.MODES),
    help="What a .keras file from elsewhere expects of pixels: none, 0..255; "
    "unit, 0..1; or a mode of Keras' preprocess_input: tf, -1..1; torch, by "
    "ImageNet's mean and deviation; caffe, BGR minus the mean.",
  )

  def __post_init__(self) -> None:
    check(self)
    _require(
      bool(self.weights) or not self.freeze,
      "freeze",
      ",".join(self.freeze),
      "left out without weights: a layer frozen at random never learns",
    )
    place, _ = model_names.parts(self.model)
    for name in model_names.OURS_ONLY if place else ():
      value, default = getattr(self, name), getattr(ModelConfig, name)
      _require(value == default, name, value, f"left out with {self.model}")


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
  """The learning rate of each step (He et al. 2018, sections 3.1 and 5.1)."""

  schedule: str = setting(
    "cosine",
    choices=SCHEDULES,
    help="How the learning rate decays from its peak.",
  )
  base_learning_rate: float = setting(
    0.1,
    low=0.0,
    open_low=True,
    help="Peak learning rate for a batch of 256; the peak of the run is "
    "base_learning_rate * global_batch_size / 256 (linear scaling).",
  )
  warmup_steps: int = setting(
    0, low=0, flag=False, help="Steps of linear warmup."
  )
  warmup_learning_rate: float = setting(
    0.0, low=0.0, help="The learning rate that warmup starts from."
  )
  hold_steps: int = setting(
    0, low=0, flag=False, help="Steps at the peak between warmup and decay."
  )
  boundary_steps: tuple[int, ...] = setting(
    (),
    flag=False,
    help="The steps at which schedule step multiplies the rate by "
    "decay_factor, increasing; other schedules ignore them.",
  )
  decay_factor: float = setting(
    0.1,
    low=0.0,
    high=1.0,
    open_low=True,
    help="Schedule step multiplies the rate by it at each boundary; with "
    "schedule exponential the rate ends at this part of its peak.",
  )
  polynomial_power: float = setting(
    2.0, low=0.0, open_low=True, help="The exponent of schedule polynomial."
  )
  decay_steps: int = setting(
    0,
    low=0,
    flag=False,
    help="Steps of the decay at the end of schedule warmup_stable_decay, which "
    "needs at least one; other schedules ignore them.",
  )
  decay_shape: str = setting(
    DECAY_SHAPES[0],
    choices=DECAY_SHAPES,
    help="How schedule warmup_stable_decay falls: sqrt is 1 - √x.",
  )

  def __post_init__(self) -> None:
    check(self)
    boundaries = self.boundary_steps
    increasing = all(a < b for a, b in zip((0, *boundaries), boundaries))
    _require(
      self.schedule != "step" or (increasing and bool(boundaries)),
      "boundary_steps",
      boundaries,
      "positive and increasing, and given for schedule step",
    )
    stable = self.schedule == "warmup_stable_decay"
    _require(
      not (stable and self.hold_steps),
      "hold_steps",
      self.hold_steps,
      "0 with schedule warmup_stable_decay, which stays at its peak anyway",
    )
    _require(
      not stable or self.decay_steps > 0,
      "decay_steps",
      self.decay_steps,
      "at least 1 with schedule warmup_stable_decay",
    )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """How a gradient becomes an update."""

  optimizer: str = setting(
    "sgd",
    choices=OPTIMIZERS + ADDONS_OPTIMIZERS,
    help="The update rule. Those of TensorFlow Addons need TensorFlow 2.15.",
  )
  momentum: float = setting(
    0.9,
    low=0.0,
    high=1.0,
    open_high=True,
    help="Momentum of sgd, lars, muon and tfa:SGDW.",
  )
  nesterov: bool = setting(
    True, help="Nesterov's momentum, for sgd, lars, muon and tfa:SGDW."
  )
  weight_decay: float = setting(
    1e-4,
    low=0.0,
    help="λ: coupled (g + λw) for sgd and lars, decoupled for all others.",
  )
  decay_kernels_only: bool = setting(
    True,
    help="Leave biases and BatchNorm's γ and β undecayed (He et al. 2018, "
    "section 3.1).",
  )
  layer_decay: float = setting(
    1.0,
    low=0.0,
    high=1.0,
    open_low=True,
    help="Multiply the learning rate of each block by this once for every "
    "block between it and the logits, and once more; 1 trains all at one rate.",
  )
  head_learning_rate_multiplier: float = setting(
    1.0,
    low=0.0,
    open_low=True,
    help="Multiply the learning rate of the head, the layer that gives the "
    "logits.",
  )
  clip_global_norm: float = setting(
    0.0,
    low=0.0,
    help="Largest global norm of the gradient; 0 clips nothing.",
  )
  sam_rho: float = setting(
    0.0,
    low=0.0,
    help="ρ of sharpness-aware minimization (SAM, Foret et al. 2021): each "
    "step's gradient is taken at the weights moved uphill by ρ, which takes "
    "twice the time; 0.05 is usual, 0 is off.",
  )
  accumulate_steps: int = setting(
    1,
    low=1,
    auto=True,
    help="Micro-batches whose gradients make one step. auto, for a CPU, "
    "measures before the run, and takes as many at once as make it faster.",
  )
  parallel_micro_batches: bool = setting(
    False,
    help="Compute the micro-batches of accumulate_steps at once, each on its "
    "share of the CPU's cores: faster for small networks. One after another "
    "they take less memory.",
  )

  def __post_init__(self) -> None:
    check(self)
    _require(
      self.accumulate_steps > 1 or not self.parallel_micro_batches,
      "accumulate_steps",
      self.accumulate_steps,
      "above 1 with parallel_micro_batches",
    )
    if self.optimizer in ADDONS_OPTIMIZERS:
      for name in ("layer_decay", "head_learning_rate_multiplier"):
        _require(
          getattr(self, name) == 1.0,
          name,
          getattr(self, name),
          f"1 with {self.optimizer}, which has one rate for all parameters",
        )

  @property
  def parts_at_once(self) -> int:
    """How many parts of a batch are computed at the same time."""
    return self.accumulate_steps if self.parallel_micro_batches else 1


@dataclasses.dataclass(frozen=True)
class RegularizationConfig:
  """What keeps the network from over-fitting (He et al. 2018, section 5)."""

  label_smoothing: float = setting(
    0.0,
    low=0.0,
    high=1.0,
    open_high=True,
    help="ε of targets * (1 - ε) + ε / K.",
  )
  mixup_alpha: float = setting(
    0.0, low=0.0, help="α of mixup's Beta(α, α); 0 is off."
  )
  cutmix_alpha: float = setting(
    0.0, low=0.0, help="α of CutMix's Beta(α, α); 0 is off. Not with mixup."
  )
  distill_temperature: float = setting(
    20.0,
    low=0.0,
    open_low=True,
    help="Temperature of distillation, if there is a teacher.",
  )
  auxiliary_weight: float = setting(
    0.0,
    low=0.0,
    help="Weight of the loss of a network's auxiliary head, which "
    "keras:InceptionV3 gets if it is above 0; 0.4 is usual. 0 is off.",
  )
  ema_decay: float = setting(
    0.0,
    low=0.0,
    high=1.0,
    open_high=True,
    help="Decay of the average of weights and BatchNorm statistics that "
    "evaluation uses; 0 is off.",
  )
  swa_steps: int = setting(
    0,
    low=0,
    flag=False,
    help="How many of the last steps stochastic weight averaging counts; 0 is "
    "off.",
  )
  swa_every_steps: int = setting(
    1, low=1, flag=False, help="Steps between two that it averages."
  )

  def __post_init__(self) -> None:
    check(self)
    _require(
      not (self.swa_steps and self.ema_decay),
      "ema_decay",
      self.ema_decay,
      "0 with swa_steps (swa_epochs): there is one average of the weights",
    )
    _require(
      not (self.mixup_alpha and self.cutmix_alpha),
      "cutmix_alpha",
      self.cutmix_alpha,
      f"0 if mixup_alpha is on (it is {self.mixup_alpha})",
    )


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """What is minimised, and how rare classes count in it."""

  task: str = setting(
    TASKS[0],
    choices=TASKS,
    flag=False,
    help="single_label: softmax and cross-entropy. multi_label: a sigmoid and "
    "binary cross-entropy for each label, the mean over them.",
  )
  class_balance: str = setting(
    "none",
    choices=CLASS_BALANCES,
    help="What makes up for rare classes: weights of the loss, by the "
    "effective number of examples (Cui et al. 2019); sampling, the examples of "
    "each class equally often; or logit_adjustment, the logarithm of a class's "
    "frequency added to its logit in training (Menon et al. 2021).",
  )
  class_balance_beta: float = setting(
    0.999,
    low=0.0,
    high=1.0,
    help="β of class_balance=weights: 0 weighs all classes alike, 1 by the "
    "inverse of their frequency.",
  )
  logit_adjustment_tau: float = setting(
    1.0, low=0.0, help="τ of class_balance=logit_adjustment."
  )
  focal_gamma: float = setting(
    0.0,
    low=0.0,
    help="γ of the focal loss (Lin et al. 2017), which counts examples less "
    "that are answered well; 2 in the paper; 0 is cross-entropy.",
  )
  class_counts: tuple[int, ...] = setting(
    (),
    flag=False,
    help="Training examples of each class, for class_balance=weights and "
    "logit_adjustment.",
  )

  def __post_init__(self) -> None:
    check(self)
    _require(
      self.class_balance == "none" or not self.multi_label,
      "class_balance",
      self.class_balance,
      "none with task=multi_label, whose images have several classes; "
      "focal_gamma weighs rare labels up",
    )
    _require(
      all(type(n) is int and n >= 0 for n in self.class_counts),
      "class_counts",
      self.class_counts,
      "integers >= 0",
    )

  @property
  def multi_label(self) -> bool:
    """Whether an image may have any number of labels."""
    return self.task == "multi_label"

  @property
  def judged_by(self) -> str:
    """The result of an evaluation by which one is better than another."""
    if self.multi_label:
      return "eval_mean_average_precision"
    return "eval_top1"

  @property
  def needs_class_counts(self) -> bool:
    """Whether the loss depends on how often each class comes."""
    return self.class_balance in ("weights", "logit_adjustment")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """How an evaluation predicts."""

  flip_tta: bool = setting(
    False,
    help="Evaluate by the mean prediction for each image and its mirror image; "
    "mode eval may do so for a run that did not.",
  )

  def __post_init__(self) -> None:
    check(self)


@dataclasses.dataclass(frozen=True)
class PrecisionConfig:
  """What the forward and backward pass compute in, and what compiles the step.

  The flags of these names are those of `preflight.choose.Asked`, for they may
  be auto.
  """

  precision: str = setting(
    "float32",
    choices=PRECISIONS,
    flag=False,
    help="What forward and backward compute in (He et al. 2018, section 3.2).",
  )
  jit_compile: bool = setting(
    False,
    flag=False,
    help="Let XLA compile the step; of several replicas forward and backward "
    "alone.",
  )
  recompute: str = setting(
    "none",
    choices=RECOMPUTE,
    flag=False,
    help="What the backward pass computes again in place of keeping it: none, "
    "or the network's blocks.",
  )

  def __post_init__(self) -> None:
    check(self)


@dataclasses.dataclass(frozen=True)
class LoopConfig:
  """How long the loop runs, and what happens between its calls."""

  total_steps: int = setting(
    low=1, high=MAX_STEPS, flag=False, help="Optimizer steps of the whole run."
  )
  examples_per_epoch: int = setting(
    low=1,
    flag=False,
    help="Examples of the training data; epoch in the logs is step * "
    "global_batch_size / examples_per_epoch.",
  )
  global_batch_size: int = setting(
    256,
    low=1,
    high=MAX_BATCH_SIZE,
    auto=True,
    help="Examples a step, over all replicas. auto measures before the run, "
    "and takes the smallest size that is as fast as any that fits.",
  )
  steps_per_loop: int = setting(
    0,
    low=0,
    auto=True,
    help="Steps per call of the compiled loop; signals, logging and the bar "
    "act between calls. auto measures, and takes what fits in a second.",
  )
  log_every_steps: int = setting(
    100, low=1, help="Steps that a logged mean is taken over."
  )
  eval_every_steps: int = setting(
    0,
    low=0,
    flag=False,
    help="Steps between evaluations; 0 evaluates after the last step only, "
    "which always evaluates.",
  )
  checkpoint_every_steps: int = setting(
    0,
    low=0,
    help="Steps between checkpoints, the last step always saves; 0 saves "
    "whenever an evaluation is due.",
  )
  keep_checkpoints: int = setting(
    2,
    low=1,
    help="How many of the latest checkpoints are kept; the best is kept "
    "besides.",
  )
  max_minutes: float = setting(
    0.0,
    low=0.0,
    help="Minutes that training takes, with evaluating and saving: the "
    "schedule of the epochs is stretched or compressed to the steps that fit. "
    "0 trains for the epochs. See budgets.md.",
  )
  patience: int = setting(
    0,
    low=0,
    help="End the run after so many evaluations without a better top-1, or "
    "mean average precision with task=multi_label; 0 never does.",
  )
  progressive_image_sizes: tuple[tuple[int, int], ...] = setting(
    (),
    flag=False,
    help="Pairs of a height and the step from which on training images are "
    "resized to it, the first from step 0; evaluation sees the full size. Each "
    "size is traced once. Empty is the full size throughout.",
  )
  profile_steps: tuple[int, ...] = setting(
    (),
    flag=False,
    help="The first step that is traced for TensorBoard's page Profile, and "
    "the one after the last; empty traces none.",
  )
  on_nonfinite: str = setting(
    "stop",
    choices=ON_NONFINITE,
    help="What follows a step whose gradient is not finite, if float16 has no "
    "smaller loss scale left: stop, with exit status 3; skip the step and go "
    "on; or rollback: go on from the last checkpoint with the data that come "
    "after that step's. See numbers_going_wrong.md.",
  )
  max_skipped_steps: int = setting(
    10,
    low=1,
    help="Steps in a row that on_nonfinite=skip leaves out before it stops.",
  )
  max_rollbacks: int = setting(
    3,
    low=1,
    help="How often on_nonfinite=rollback goes back in a run before it stops.",
  )
  seed: int = setting(
    0,
    low=0,
    high=2**31 - 1,
    help="Seed of weights, data order, augmentation, mixup, CutMix and "
    "stochastic depth.",
  )

  def __post_init__(self) -> None:
    check(self)
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

    _require(
      not self.profile_steps
      or (
        len(self.profile_steps) == 2
        and 0 <= self.profile_steps[0] < self.profile_steps[1]
      ),
      "profile_steps",
      ",".join(map(str, self.profile_steps)),
      "two steps, the second after the first, as in 100,110",
    )

  @property
  def save_every_steps(self) -> int:
    """Steps between checkpoints; 0 saves after the last step only."""
    return self.checkpoint_every_steps or self.eval_every_steps

  def image_size_at(self, step: int) -> int | None:
    """Returns the height of training images at a step; None is the full one."""
    reached = [s for s, start in self.progressive_image_sizes if start <= step]
    return reached[-1] if reached else None


# In the order of TrainConfig's fields.
_CONCERNS = (
  LoopConfig,
  ScheduleConfig,
  OptimizerConfig,
  RegularizationConfig,
  EvaluationConfig,
  PrecisionConfig,
  LossConfig,
)


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
  loss: LossConfig = LossConfig()

  @classmethod
  def of(cls, **settings: Any) -> TrainConfig:
    """Makes a config of settings by their own names, whatever their concern.

    Example:
      >>> config = TrainConfig.of(
      ...   total_steps=9, examples_per_epoch=64, global_batch_size=64,
      ...   mixup_alpha=0.2,
      ... )
      >>> config.regularization.mixup_alpha
      0.2

    Args:
      **settings: fields of `LoopConfig`, of which total_steps and
        examples_per_epoch have no default, and of the other concerns.

    Raises:
      ConfigError: there is no such setting, or its value is out of range.
    """
    names = {
      field.name: {each.name for each in dataclasses.fields(concern)}
      for field, concern in zip(dataclasses.fields(cls), _CONCERNS)
    }
    known = sorted(set().union(*names.values()))
    for name in settings:
      if name not in known:
        meant = difflib.get_close_matches(name, known, 1)
        hint = f": did you mean {meant[0]}?" if meant else ""
        raise ConfigError(f"there is no setting {name}{hint}")
    for name in ("total_steps", "examples_per_epoch"):
      _require(name in settings, name, None, "given")
    return cls(
      *(
        concern(**{name: settings[name] for name in own & set(settings)})
        for concern, own in zip(_CONCERNS, names.values())
      )
    )

  def __post_init__(self) -> None:
    ramp = self.schedule.warmup_steps + self.schedule.hold_steps
    _require(
      ramp < self.loop.total_steps,
      "warmup_steps + hold_steps",
      ramp,
      f"below total_steps ({self.loop.total_steps})",
    )
    if self.schedule.schedule == "warmup_stable_decay":
      ends = self.schedule.warmup_steps + self.schedule.decay_steps
      _require(
        ends <= self.loop.total_steps,
        "warmup_steps + decay_steps",
        ends,
        f"at most total_steps ({self.loop.total_steps})",
      )
    self._require_averages()
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

  def _require_averages(self) -> None:
    """Raises unless stochastic weight averaging, if it is on, has its steps."""
    steps = self.regularization.swa_steps
    if not steps:
      return
    every = self.regularization.swa_every_steps
    _require(
      every < steps <= self.loop.total_steps,
      "swa_steps",
      steps,
      f"in ({every}, {self.loop.total_steps}]: more than swa_every_steps, or "
      "there is nothing to average",
    )
    _require(
      not self.loop.max_minutes,
      "max_minutes",
      self.loop.max_minutes,
      "0 with swa_steps (swa_epochs), which must know the last step",
    )
