# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command's flags, and their way into a `TrainConfig`.

A flag, the config's field and the trick's argument are spelled alike, and the
default of a flag is that of its field. Epochs become steps here, and nowhere
else. This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from train_loop import config
from train_loop.config import (
  ConfigError,
  EvaluationConfig,
  LoopConfig,
  OptimizerConfig,
  PrecisionConfig,
  RegularizationConfig,
  ScheduleConfig,
  TrainConfig,
)
from train_loop.models.names import MODEL_VARIANTS, MODELS

MODES = ("train_and_eval", "train", "eval", "check_data", "convert")
RECIPES = pathlib.Path(__file__).parent.parent / "recipes"

# Flags that may differ between two starts of one run: they move no number.
FREE_FLAGS = (
  "workdir",
  "recipe",
  "mode",
  "data_dir",
  "output_dir",
  "convert_resize",
  "cache",
  "input_threads",
  "data_service",
  "on_bad_image",
  "steps_per_loop",
  "checkpoint_every_steps",
  "keep_checkpoints",
)
# Flags that --mode=eval may change: nothing but an evaluation depends on them.
EVAL_FLAGS = ("flip_tta",)


def define(datasets: Sequence[str], values: flags.FlagValues) -> None:
  """Defines every flag of the command.

  Args:
    datasets: the names that --dataset takes.
    values: where the flags are defined, `absl.flags.FLAGS` as a rule.
  """
  _define_run(values)
  _define_data(datasets, values)
  _define_augmentation(values)
  _define_model(values)
  _define_schedule(values)
  _define_optimizer(values)
  _define_regularization(values)
  _define_loop(values)


def _define_run(values: flags.FlagValues) -> None:
  text = functools.partial(flags.DEFINE_string, flag_values=values)
  text(
    "workdir",
    None,
    "The run's folder. The same command, run again, continues the run in it.",
  )
  text(
    "recipe",
    None,
    "A flagfile that ships with the package, by its name; flags after it win.",
  )
  flags.DEFINE_enum(
    "mode",
    "train_and_eval",
    MODES,
    "train_and_eval; train, without evaluation; eval: evaluate the run in "
    "workdir and change nothing; check_data: decode all images and report, in "
    "workdir too; or convert: write the data as TFRecord files to output_dir.",
    flag_values=values,
  )
  text("output_dir", "", "The new folder that mode convert writes.")


def _define_data(datasets: Sequence[str], values: flags.FlagValues) -> None:
  text = functools.partial(flags.DEFINE_string, flag_values=values)
  enum = functools.partial(flags.DEFINE_enum, flag_values=values)
  whole = functools.partial(
    flags.DEFINE_integer, lower_bound=0, flag_values=values
  )
  text(
    "dataset",
    "fashion_mnist",
    f"The data to train on. One of {', '.join(datasets)}.",
  )
  text(
    "data_dir",
    "",
    "Where the data lies. Unset, fashion_mnist looks in the system's folder "
    "and in the cache, then downloads.",
  )
  text("labels", "", "The table of paths and labels, for csv.")
  whole(
    "label_offset",
    0,
    "The label of the first class, for tfrecord; 1 in ImageNet's files.",
  )
  flags.DEFINE_float(
    "validation_fraction",
    0.0,
    "Part of the training images that is held out to evaluate, each class in "
    "proportion, where the data have no part for that.",
    flag_values=values,
  )
  whole(
    "image_channels",
    3,
    "What encoded images become: 1 is gray, 3 is RGB.",
  )
  whole(
    "image_size",
    0,
    "Height and width that encoded images get; 0 for arrays, which keep "
    "theirs.",
  )
  whole(
    "eval_resize",
    0,
    "What the shorter side of an encoded image is taken to be in evaluation, "
    "which sees the central image_size of it; 0 is image_size. 256 in the "
    "paper, with 224.",
  )
  whole(
    "convert_resize",
    0,
    "The shorter side to which mode convert reduces larger images; 0 copies "
    "them as they are.",
  )
  enum(
    "cache",
    "auto",
    ("auto", "memory", "disk", "none"),
    "Where encoded images are kept before augmentation, decoded where every "
    "epoch takes the same part of them; auto is memory where half of what is "
    "free will do.",
  )
  whole(
    "input_threads",
    0,
    "Threads that prepare batches; 0 is one a core.",
  )
  text(
    "data_service",
    "",
    "Address of a tf.data service, grpc://host:port, whose workers prepare the "
    "training batches. With several workers their order is first come.",
  )
  enum(
    "on_bad_image",
    "error",
    ("error", "skip"),
    "Stop at an image that cannot be decoded; or list it in bad_images.txt and "
    "train on the next one in its place, or evaluate without it.",
  )


def _define_augmentation(values: flags.FlagValues) -> None:
  flags.DEFINE_bool(
    "random_resized_crop",
    False,
    "Train on a random part of each encoded image: 8% to 100% of its area, "
    "width / height 3/4 to 4/3.",
    flag_values=values,
  )
  flags.DEFINE_bool(
    "flip",
    False,
    "Flip each training image from left to right in every other epoch.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "pad_crop",
    0,
    "Pad training images by this many black pixels and crop at random.",
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_enum(
    "auto_augment",
    "none",
    ("none", "rand_augment", "trivial_augment"),
    "Random operations on each training image: RandAugment's, or "
    "TrivialAugment's one.",
    flag_values=values,
  )
  flags.DEFINE_integer(
    "rand_augment_layers",
    2,
    "How many operations RandAugment applies.",
    lower_bound=0,
    flag_values=values,
  )
  number = functools.partial(
    flags.DEFINE_float, lower_bound=0.0, flag_values=values
  )
  number(
    "rand_augment_magnitude",
    9.0,
    "How strong RandAugment's operations are.",
    upper_bound=10.0,
  )
  number(
    "color_jitter",
    0.0,
    "Scale hue, saturation and brightness by 1 ± this at random; 0.4 in the "
    "paper.",
    upper_bound=1.0,
  )
  number(
    "pca_noise",
    0.0,
    "Standard deviation of noise along the principal axes of ImageNet's "
    "colours; 0.1 in the paper.",
    upper_bound=1.0,
  )
  number(
    "erasing_probability",
    0.0,
    "Probability of erasing a random rectangle of a training image.",
    upper_bound=1.0,
  )


def _define_model(values: flags.FlagValues) -> None:
  enum = functools.partial(flags.DEFINE_enum, flag_values=values)
  enum("model", "resnet20", MODELS, "The network.")
  enum(
    "model_variant",
    "d",
    MODEL_VARIANTS,
    "ResNet-B, C or D, where the network is an ImageNet ResNet.",
  )
  flags.DEFINE_bool(
    "zero_gamma",
    True,
    "Start the last BatchNorm of every residual branch at γ = 0.",
    flag_values=values,
  )
  flags.DEFINE_float(
    "stochastic_depth",
    0.0,
    "Probability of dropping the last residual block of an example in "
    "training, and less of those before it; 0 drops none.",
    flag_values=values,
  )
  flags.register_validator(
    "stochastic_depth",
    lambda probability: 0.0 <= probability < 1.0,
    "must be in [0, 1)",
    flag_values=values,
  )
  flags.DEFINE_string(
    "teacher",
    None,
    "Distill from this model: the workdir of a finished run, or a .keras file "
    "from images to logits.",
    flag_values=values,
  )


def _define_schedule(values: flags.FlagValues) -> None:
  number = functools.partial(
    flags.DEFINE_float, lower_bound=0.0, flag_values=values
  )
  number("epochs", 90.0, "Passes over the training data; a fraction will do.")
  number(
    "base_learning_rate",
    ScheduleConfig.base_learning_rate,
    "Peak learning rate for a batch of 256; scaled by global_batch_size / 256.",
  )
  number("warmup_epochs", 5.0, "Epochs of linear warmup.")
  number(
    "warmup_learning_rate",
    ScheduleConfig.warmup_learning_rate,
    "The learning rate that warmup starts from.",
  )
  number("hold_epochs", 0.0, "Epochs at the peak between warmup and decay.")
  flags.DEFINE_enum(
    "schedule",
    ScheduleConfig.schedule,
    config.SCHEDULES,
    "How the learning rate decays from its peak.",
    flag_values=values,
  )
  flags.DEFINE_list(
    "boundary_epochs",
    ["30", "60", "80"],
    "The epochs at which schedule step multiplies the rate by decay_factor.",
    flag_values=values,
  )
  number(
    "decay_factor",
    ScheduleConfig.decay_factor,
    "What schedule step multiplies by at each of boundary_epochs, and what "
    "schedule exponential has multiplied by at the end.",
  )
  number(
    "polynomial_power",
    ScheduleConfig.polynomial_power,
    "Exponent of polynomial decay.",
  )


def _define_optimizer(values: flags.FlagValues) -> None:
  number = functools.partial(flags.DEFINE_float, flag_values=values)
  switch = functools.partial(flags.DEFINE_bool, flag_values=values)
  flags.DEFINE_enum(
    "optimizer",
    OptimizerConfig.optimizer,
    config.OPTIMIZERS + config.ADDONS_OPTIMIZERS,
    "The update rule; tfa/... are TensorFlow Addons', on TensorFlow 2.15 only.",
    flag_values=values,
  )
  number(
    "momentum",
    OptimizerConfig.momentum,
    "Momentum of sgd, lars, muon and tfa/SGDW.",
  )
  switch(
    "nesterov",
    OptimizerConfig.nesterov,
    "Nesterov's momentum, for sgd, lars, muon and tfa/SGDW.",
  )
  number(
    "weight_decay",
    OptimizerConfig.weight_decay,
    "λ: coupled (g + λw) for sgd and lars, decoupled for all others.",
  )
  switch(
    "decay_kernels_only",
    OptimizerConfig.decay_kernels_only,
    "Leave biases and BatchNorm's γ and β undecayed.",
  )
  number(
    "clip_global_norm",
    OptimizerConfig.clip_global_norm,
    "Largest global norm of the gradient; 0 clips nothing.",
  )
  flags.DEFINE_integer(
    "accumulate_steps",
    OptimizerConfig.accumulate_steps,
    "Micro-batches that a step sums its gradient over.",
    flag_values=values,
  )
  switch(
    "parallel_micro_batches",
    OptimizerConfig.parallel_micro_batches,
    "Compute the micro-batches of accumulate_steps at once, each on its share "
    "of the CPU's cores, and not one after another.",
  )
  flags.DEFINE_enum(
    "precision",
    "auto",
    ("auto", *config.PRECISIONS),
    "What forward and backward compute in; auto measures, and says what it "
    "took.",
    flag_values=values,
  )
  flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ("auto", "true", "false"),
    "Let XLA compile the step (of several replicas forward and backward); "
    "auto measures, and says what it took.",
    flag_values=values,
  )
  flags.DEFINE_enum(
    "onednn",
    "auto",
    ("auto", "true", "false"),
    "Let TensorFlow use oneDNN on a CPU, whatever it would do by itself; auto "
    "measures, and says what it took.",
    flag_values=values,
  )
  flags.DEFINE_enum(
    "tensor_float_32",
    "auto",
    ("auto", "true", "false"),
    "Let a GPU round the factors of float32 products to TensorFloat-32; auto "
    "measures where precision is auto, and is false where it is not.",
    flag_values=values,
  )


def _define_regularization(values: flags.FlagValues) -> None:
  number = functools.partial(flags.DEFINE_float, flag_values=values)
  number(
    "label_smoothing",
    RegularizationConfig.label_smoothing,
    "ε of targets * (1 - ε) + ε / K.",
  )
  number(
    "mixup_alpha",
    RegularizationConfig.mixup_alpha,
    "α of mixup's Beta(α, α); 0 is off.",
  )
  number(
    "cutmix_alpha",
    RegularizationConfig.cutmix_alpha,
    "α of CutMix's Beta(α, α); 0 is off.",
  )
  number(
    "distill_temperature",
    RegularizationConfig.distill_temperature,
    "Temperature of distillation, where there is a teacher.",
  )
  number(
    "ema_decay",
    RegularizationConfig.ema_decay,
    "Decay of the average of the weights that evaluation uses; 0 is off.",
  )


def _define_loop(values: flags.FlagValues) -> None:
  whole = functools.partial(flags.DEFINE_integer, flag_values=values)
  whole("global_batch_size", 256, "Examples a step, over all replicas.")
  flags.DEFINE_string(
    "steps_per_loop",
    "auto",
    "Steps between two looks of the host; auto takes what fits in a second, as "
    "the loop itself measures.",
    flag_values=values,
  )
  whole(
    "log_every_steps",
    LoopConfig.log_every_steps,
    "Steps that a logged mean is taken over.",
  )
  flags.DEFINE_float(
    "eval_every_epochs",
    1.0,
    "Epochs between evaluations; 0 evaluates after the last step only.",
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_bool(
    "flip_tta",
    EvaluationConfig.flip_tta,
    "Evaluate by the mean prediction for each image and its mirror image; mode "
    "eval may do so for a run that did not.",
    flag_values=values,
  )
  whole(
    "checkpoint_every_steps",
    LoopConfig.checkpoint_every_steps,
    "Steps between checkpoints; 0 saves whenever an evaluation is due.",
  )
  whole(
    "keep_checkpoints",
    LoopConfig.keep_checkpoints,
    "How many of the latest checkpoints are kept; the best is kept besides.",
  )
  flags.DEFINE_list(
    "progressive_image_sizes",
    [],
    "Train on smaller images first: size:fraction of the run from which on, as "
    "in 128:0,160:0.4,224:0.8. Evaluation sees the full size.",
    flag_values=values,
  )
  whole(
    "seed",
    LoopConfig.seed,
    "Of weights, data order, augmentation, mixup, CutMix and stochastic depth.",
  )


def names(values: flags.FlagValues) -> list[str]:
  """Returns the names of the command's own flags."""
  return [flag.name for flag in values.flags_by_module_dict()[__name__]]


def as_dict(values: flags.FlagValues) -> dict[str, Any]:
  """Returns the command's own flags and their values."""
  return {name: values[name].value for name in sorted(names(values))}


def comparable(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the flags that a run may not change when it is continued."""
  return {name: saved[name] for name in saved if name not in FREE_FLAGS}


def adopt(saved: Mapping[str, Any], values: flags.FlagValues) -> None:
  """Gives every flag that the command line left out the value of a run."""
  for name in names(values):
    if name in saved and not values[name].present:
      values[name].value = saved[name]


def recipe_names() -> list[str]:
  """Returns the recipes that ship with the package."""
  return sorted(path.stem for path in RECIPES.glob("*.flags"))


def expand_recipe(argv: Sequence[str]) -> list[str]:
  """Puts the flagfile of `--recipe=NAME` right behind the flag.

  Args:
    argv: the command line.

  Returns:
    The command line that absl is to parse: what follows the recipe wins.

  Raises:
    ConfigError: there is no recipe of that name.
  """
  expanded: list[str] = []
  for argument in argv:
    expanded.append(argument)
    name, equals, value = argument.partition("=")
    if name not in ("--recipe", "-recipe"):
      continue
    if not equals:
      raise ConfigError("recipe must be given as --recipe=NAME")
    if value not in recipe_names():
      known = ", ".join(recipe_names())
      raise ConfigError(f"recipe must be one of {known}, got {value!r}")
    expanded.append(f"--flagfile={RECIPES / value}.flags")
  return expanded


def config_from_flags(
  values: flags.FlagValues,
  *,
  examples_per_epoch: int,
  precision: str,
  jit_compile: bool,
) -> TrainConfig:
  """Returns the config that the flags ask for; epochs become steps.

  Args:
    values: the parsed flags.
    examples_per_epoch: of the training data.
    precision: what --precision says, or what auto found.
    jit_compile: what --jit_compile says, or what auto found.

  Raises:
    ConfigError: a value is out of range, or two do not fit each other.
  """

  def steps(epochs: float) -> int:
    return round(epochs * examples_per_epoch / values.global_batch_size)

  def at_least_one(epochs: float) -> int:
    return max(1, steps(epochs)) if epochs else 0

  if values.global_batch_size < 1:
    raise ConfigError(
      f"global_batch_size must be an integer >= 1, got "
      f"{values.global_batch_size}"
    )
  if not values.epochs:
    raise ConfigError(f"epochs must be above 0, got {values.epochs}")
  before_decay = values.warmup_epochs + values.hold_epochs
  if before_decay >= values.epochs:
    raise ConfigError(
      f"warmup_epochs + hold_epochs must be below epochs ({values.epochs:g}), "
      f"got {before_decay:g}"
    )
  own = {name: values[name].value for name in names(values)}
  own["steps_per_loop"] = _auto_or_count(
    "steps_per_loop", values.steps_per_loop
  )
  total_steps = max(1, steps(values.epochs))
  own["progressive_image_sizes"] = tuple(
    (size, round(fraction * total_steps))
    for size, fraction in _sizes(values.progressive_image_sizes)
  )
  boundary_epochs = _numbers("boundary_epochs", values.boundary_epochs)
  return TrainConfig(
    schedule=ScheduleConfig(
      warmup_steps=steps(values.warmup_epochs),
      hold_steps=steps(values.hold_epochs),
      boundary_steps=tuple(map(steps, boundary_epochs)),
      **_fields(ScheduleConfig, own),
    ),
    optimizer=OptimizerConfig(**_fields(OptimizerConfig, own)),
    regularization=RegularizationConfig(**_fields(RegularizationConfig, own)),
    evaluation=EvaluationConfig(**_fields(EvaluationConfig, own)),
    precision=PrecisionConfig(precision=precision, jit_compile=jit_compile),
    loop=LoopConfig(
      total_steps=total_steps,
      examples_per_epoch=examples_per_epoch,
      eval_every_steps=at_least_one(values.eval_every_epochs),
      **_fields(LoopConfig, own),
    ),
  )


def _fields(section: Any, own: dict[str, Any]) -> dict[str, Any]:
  """Returns the flags that are fields of `section` by their own name."""
  fields = {field.name for field in dataclasses.fields(section)}
  return {name: value for name, value in own.items() if name in fields}


def _auto_or_count(name: str, text: str) -> int:
  """Returns the number that a flag says, 0 for auto."""
  if text == "auto":
    return 0
  if not text.isdecimal() or int(text) < 1:
    raise ConfigError(f"{name} must be auto or an integer >= 1, got {text!r}")
  return int(text)


def _sizes(texts: Sequence[str]) -> list[tuple[int, float]]:
  try:
    pairs = [text.split(":") for text in texts]
    return [(int(size), float(fraction)) for size, fraction in pairs]
  except ValueError:
    raise ConfigError(
      "progressive_image_sizes must be size:fraction with commas between them, "
      f"as in 128:0,160:0.4,224:0.8, got {','.join(texts)!r}"
    ) from None


def _numbers(name: str, texts: Sequence[str]) -> list[float]:
  try:
    return [float(text) for text in texts]
  except ValueError:
    raise ConfigError(
      f"{name} must be numbers with commas between them, got "
      f"{','.join(texts)!r}"
    ) from None
