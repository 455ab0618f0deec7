# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings that only the command has: of the run, and in epochs."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
from collections.abc import Sequence

from train_loop.config import CHECKPOINTS
from train_loop.exporting.formats import FORMATS, QUANTIZATIONS
from train_loop.fields import ConfigError, check, refused, setting

MODES = (
  "train_and_eval",
  "train",
  "eval",
  "predict",
  "check_data",
  "check_labels",
  "convert",
  "schedule",
  "preview",
  "export",
  "replay",
  "ablate",
  "compare",
  "verify",
  "find_learning_rate",
)
LADDER_ORDERS = ("cumulative", "leave_one_out")
DISTRIBUTIONS = ("auto", "none", "mirrored", "multi_worker")
# More epochs than anybody trains, and few enough to count their steps.
MAX_EPOCHS = 1e6


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """What the command does, and in which folder."""

  workdir: str = setting(
    "",
    path=True,
    help="The run's folder. The same command, run again, continues the run in "
    "it; --workdir alone continues it with its own flags.",
  )
  recipe: str = setting(
    "",
    help="A flagfile that ships with the package, by its name; flags after it "
    "win.",
  )
  mode: str = setting(
    "train_and_eval",
    choices=MODES,
    help="train_and_eval; train, without evaluation; eval: evaluate the run in "
    "workdir, and write its report; predict: answer the images of inputs with "
    "the classes of that run; check_data: decode all images and report, in "
    "workdir too; check_labels: list the labels of the run in workdir that "
    "look wrong to a network which did not learn them; convert: write the data "
    "as TFRecord files to output_dir; schedule: write the learning rate of "
    "each step to workdir as a table and a picture, without training; preview: "
    "what the run will be, as a page in workdir: schedule, images and their "
    "targets, time, memory, warnings; export: write the run's network to "
    "output_dir for programs that do not have train_loop; replay: take the "
    "step again at which the run in workdir stopped, since its gradient was "
    "not finite, and name the layer; ablate: train a ladder of runs, each with "
    "one trick more, and say what each trick is worth; compare: how the runs "
    "differ that are named, by flags, curves, results and mistakes; verify: "
    "check, in a minute or two, that this installation computes on this "
    "machine what it says, by NumPy's figures and in several ways; "
    "find_learning_rate: train some steps at rising rates, and suggest one.",
  )
  allow_changes: bool = setting(
    False,
    help="Go on with the run in workdir with other flags than it was begun "
    "with, from the next step on, as far as that can be: the schedule, the "
    "update, the loss, augmentation. The run card says which, and at what "
    "step. See experiments.md.",
  )
  init_from: str = setting(
    "",
    path=True,
    help="Branch off: a new run goes on from a checkpoint of this run's "
    "workdir, or workdir@STEP, with its flags unless others are given: with "
    "weights, momentum, averages, step and order of the data. (--weights takes "
    "the weights alone, to a run from step 0.) See schedules.md.",
  )
  checkpoint: str = setting(
    "latest",
    choices=CHECKPOINTS,
    help="Which checkpoint of the run in workdir is evaluated, answers or is "
    "exported: the latest, or that of the best evaluation; and of the run that "
    "weights or init_from names. Training goes on from the latest.",
  )
  output_dir: str = setting(
    "",
    path=True,
    help="The new folder that mode convert writes; and the new file or folder "
    "that mode export writes.",
  )
  export_format: str = setting(
    "saved_model",
    choices=tuple(FORMATS),
    help="What mode export writes: a SavedModel, or a file for Keras, "
    "onnxruntime or LiteRT (TensorFlow Lite).",
  )
  quantize: str = setting(
    "none",
    choices=QUANTIZATIONS,
    help="In what mode export writes numbers for LiteRT: float32; float16 "
    "weights; or int8, with ranges from the training images.",
  )
  convert_resize: int = setting(
    0,
    low=0,
    high=2**16,
    help="The shorter side to which mode convert reduces larger images; 0 "
    "copies them as they are.",
  )
  profile_steps: tuple[str, ...] = setting(
    (),
    help="Trace these steps for TensorBoard's page Profile, which the package "
    "xprof adds: from the first up to the second, as in 100,110. See "
    "watching.md.",
  )
  folds: int = setting(
    0,
    low=0,
    high=100,
    help="Mode check_labels judges the evaluation images; and with 2 folds or "
    "more the training images, those of each fold by a network that is trained "
    "on the others, as the run was.",
  )
  on_bad_image: str = setting(
    "error",
    choices=("error", "skip"),
    help="Stop at an image that cannot be decoded; or list it in "
    "bad_images.txt and train on the next one in its place, or evaluate "
    "without it.",
  )

  def __post_init__(self) -> None:
    check(self)
    if self.folds == 1:
      raise refused("folds", self.folds, "0, or at least 2")
    _ = self.profiled  # Raises if one cannot be read.
    _require_folder_name("workdir", self.workdir)
    if self.mode != "export":  # Which writes files too, all of them new.
      _require_folder_name("output_dir", self.output_dir)

  @property
  def profiled(self) -> tuple[int, ...]:
    """The steps that are traced, as numbers."""
    try:
      steps = tuple(map(int, self.profile_steps))
    except ValueError:
      raise refused(
        "profile_steps",
        _joined(self.profile_steps),
        "two steps, as in 100,110",
      ) from None
    return steps


@dataclasses.dataclass(frozen=True)
class PredictSettings:
  """What mode predict answers, and how."""

  inputs: tuple[str, ...] = setting(
    (),
    help="What mode predict answers: image files, folders of them, and - for "
    "standard input, which holds a path in each line, or one image. They may "
    "be given behind the flags instead: train_loop --mode=predict "
    "--workdir=DIR cat.jpg photos",
  )
  format: str = setting(
    "table",
    choices=("table", "jsonl", "csv"),
    help="How mode predict answers: a table to read, a JSON object in each "
    "line, or CSV. Images that cannot be decoded are named in the log and, by "
    "jsonl and csv, in a field error; the exit status is then 2.",
  )
  top: int = setting(
    5,
    low=1,
    high=2**31 - 1,
    help="The number of classes that mode predict gives of each image, the "
    "likeliest first; all, if there are fewer.",
  )

  def __post_init__(self) -> None:
    check(self)


@dataclasses.dataclass(frozen=True)
class SweepSettings:
  """At which rates mode find_learning_rate trains. See schedules.md."""

  sweep_from: float = setting(
    1e-6,
    low=0.0,
    open_low=True,
    help="The rate of the first step of mode find_learning_rate.",
  )
  sweep_to: float = setting(
    10.0,
    low=0.0,
    open_low=True,
    help="The rate of its last step, unless the loss blows up before.",
  )
  sweep_steps: int = setting(
    140,
    low=20,
    high=10_000,
    help="How many steps it takes; 140 are twenty for each factor of ten.",
  )

  def __post_init__(self) -> None:
    check(self)
    if self.sweep_from >= self.sweep_to:
      raise ConfigError(
        "sweep_from must be below sweep_to, got "
        f"{self.sweep_from:g} and {self.sweep_to:g}"
      )


@dataclasses.dataclass(frozen=True)
class LadderSettings:
  """What mode ablate compares. See experiments.md."""

  ladder: str = setting(
    "efficient",
    help="What mode ablate adds to the other flags, rung by rung: efficient, "
    "refinements or model_tweaks, the ladders of He et al. 2018; or flags with "
    "their values, each a rung, as in label_smoothing=0.1,mixup_alpha=0.2, and "
    "several in one rung with + between them.",
  )
  ladder_order: str = setting(
    LADDER_ORDERS[0],
    choices=LADDER_ORDERS,
    help="cumulative: each rung keeps what the rungs before it added; "
    "leave_one_out: all of them, and then all but one.",
  )
  seeds: tuple[str, ...] = setting(
    ("0", "1", "2"),
    help="The seeds with which mode ablate trains each rung.",
  )

  def __post_init__(self) -> None:
    check(self)
    _ = self.numbers  # Raises if one cannot be read.

  @property
  def numbers(self) -> tuple[int, ...]:
    """The seeds, as numbers."""
    try:
      seeds = tuple(map(int, self.seeds))
      if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError
    except ValueError:
      raise ConfigError(
        "seeds must be different whole numbers >= 0 with commas between them, "
        f"got {_joined(self.seeds)!r}"
      ) from None
    return seeds


@dataclasses.dataclass(frozen=True)
class CompareSettings:
  """What mode compare compares. See experiments.md."""

  runs: tuple[str, ...] = setting(
    (),
    help="The workdirs of the runs that mode compare compares, two or more. "
    "They may be given behind the flags instead: train_loop --mode=compare "
    "runs/a runs/b",
  )

  def __post_init__(self) -> None:
    check(self)


def _require_folder_name(name: str, path: str) -> None:
  """Raises unless a path is a folder, or could become one."""
  try:
    path.encode()
    found = os.stat(path)
  except FileNotFoundError:
    return
  except ValueError:  # A name that is no UTF-8, which TensorFlow cannot write.
    raise refused(name, path, "a folder's name in UTF-8") from None
  except OSError as error:
    raise ConfigError(
      f"{name} must be the name of a folder, got {path!r}: {error.strerror}"
    ) from error
  if not stat.S_ISDIR(found.st_mode):
    raise refused(name, path, "a folder, and not a file")


@dataclasses.dataclass(frozen=True)
class DeviceSettings:
  """The devices and hosts that train, by TensorFlow's tf.distribute."""

  distribution: str = setting(
    "auto",
    choices=DISTRIBUTIONS,
    help="How training is spread: none, over one device; mirrored, over all "
    "GPUs of this host, or the parts that logical_devices makes; multi_worker, "
    "over the hosts that TF_CONFIG or Slurm's variables name, too. auto takes "
    "what there is. See distribution.md.",
  )
  device: str = setting(
    "auto",
    choices=("auto", "gpu", "cpu"),
    help="What computes: gpu, or it is an error; cpu; or auto, a GPU if "
    "TensorFlow has one.",
  )
  logical_devices: int = setting(
    1,
    low=1,
    high=64,
    help="Split the CPU, or each GPU, into so many devices of TensorFlow's, to "
    "try how a run on several devices behaves.",
  )
  preemption_signal: str = setting(
    "none",
    choices=("none", "USR1", "USR2", "HUP"),
    help="A signal that is answered as SIGTERM is: all hosts save the same "
    "step and exit with status 143. Schedulers send one before they end a job.",
  )

  def __post_init__(self) -> None:
    check(self)


@dataclasses.dataclass(frozen=True)
class EpochSettings:
  """What the flags count in epochs; the config counts it in steps."""

  epochs: float = setting(
    90.0,
    low=0.0,
    open_low=True,
    high=MAX_EPOCHS,
    help="Passes over the training data; it may be a fraction.",
  )
  warmup_epochs: float = setting(
    5.0, low=0.0, high=MAX_EPOCHS, help="Epochs of linear warmup."
  )
  hold_epochs: float = setting(
    0.0,
    low=0.0,
    high=MAX_EPOCHS,
    help="Epochs at the peak between warmup and decay.",
  )
  decay_epochs: float = setting(
    0.0,
    low=0.0,
    high=MAX_EPOCHS,
    help="Epochs of the decay at the end of schedule warmup_stable_decay; 0 is "
    "a fifth of epochs. See schedules.md.",
  )
  cool_down_epochs: float = setting(
    0.0,
    low=0.0,
    high=MAX_EPOCHS,
    help="With init_from: decay from the branch's first step to its end, after "
    "so many epochs; sets schedule, epochs and decay_epochs.",
  )
  swa_epochs: float = setting(
    0.0,
    low=0.0,
    high=MAX_EPOCHS,
    help="Stochastic weight averaging (SWA, Izmailov et al. 2018): evaluation "
    "uses the equal average of the weights after each of the last so many "
    "epochs, with BatchNorm statistics of its own; 0 is off. Not with "
    "ema_decay. See schedules.md.",
  )
  swa_every_epochs: float = setting(
    1.0,
    low=0.0,
    open_low=True,
    high=MAX_EPOCHS,
    help="Epochs between two weights that SWA averages.",
  )
  boundary_epochs: tuple[str, ...] = setting(
    ("30", "60", "80"),
    help="The epochs at which schedule step multiplies the rate by "
    "decay_factor; other schedules ignore them.",
  )
  eval_every_epochs: float = setting(
    1.0,
    low=0.0,
    high=MAX_EPOCHS,
    help="Epochs between evaluations; 0 evaluates after the last step only.",
  )
  progressive_image_sizes: tuple[str, ...] = setting(
    (),
    help="Train on smaller images first: size:fraction of the run from which "
    "on, as in 128:0,160:0.4,224:0.8. The last size is that of the images, "
    "which evaluation sees.",
  )

  def __post_init__(self) -> None:
    check(self)
    before_decay = self.warmup_epochs + self.hold_epochs
    if before_decay >= self.epochs:
      raise ConfigError(
        f"warmup_epochs + hold_epochs must be below epochs ({self.epochs:g}), "
        f"got {before_decay:g}"
      )
    _ = self.boundaries, self.sizes  # Raises if one cannot be read.

  @property
  def boundaries(self) -> list[float]:
    """The boundary epochs, as numbers."""
    try:
      return [_finite(text) for text in self.boundary_epochs]
    except ValueError:
      raise ConfigError(
        "boundary_epochs must be finite numbers >= 0 with commas between them, "
        f"got {_joined(self.boundary_epochs)!r}"
      ) from None

  @property
  def sizes(self) -> list[tuple[int, float]]:
    """Pairs of a height and the fraction of the run from which on it counts."""
    try:
      pairs = [text.split(":") for text in self.progressive_image_sizes]
      sizes = [(int(size), _finite(fraction)) for size, fraction in pairs]
      if any(fraction >= 1 for _, fraction in sizes):
        raise ValueError
    except ValueError:
      raise ConfigError(
        "progressive_image_sizes must be size:fraction with commas between "
        "them, fractions in [0, 1), as in 128:0,160:0.4,224:0.8, got "
        f"{_joined(self.progressive_image_sizes)!r}"
      ) from None
    return sizes


def _finite(text: str) -> float:
  number = float(text)
  if not 0.0 <= number < math.inf:
    raise ValueError
  return number


def _joined(texts: Sequence[str]) -> str:
  return ",".join(texts)
