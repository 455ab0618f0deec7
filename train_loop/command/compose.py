# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From flags to data, network and config, in three parts.

`plan` is cheap, imports no TensorFlow and finds every bad flag and file;
`choose` lets `auto` measure; `build` imports TensorFlow and makes the network.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import logging

import data
from data import bad_images
from train_loop import machine
from train_loop.command import config_from_flags as config_lib
from train_loop.command import devices as devices_lib
from train_loop.command import teacher as teacher_lib
from train_loop.command import trained_model
from train_loop.command.flags import (
  AT_ONCE,
  BATCH_SIZE,
  MEASURED,
  MICRO_BATCHES,
  Values,
  group,
  is_auto,
)
from train_loop.command.settings import DeviceSettings, RunSettings
from train_loop.config import (
  LoopConfig,
  ModelConfig,
  TrainConfig,
  require_addons,
)
from train_loop.fields import ConfigError
from train_loop.models import names as model_names
from train_loop.models import pretrained
from train_loop.preflight import (
  batch_sizes,
  micro_batches,
  trial_cache,
  trials,
)
from train_loop.preflight import choose as preflight
from train_loop.workdir import run_card

if TYPE_CHECKING:
  import tensorflow as tf


# The data to train on, and to evaluate.
Sources = tuple[data.AnySource, data.AnySource]


@dataclasses.dataclass(frozen=True)
class Plan:
  """What the flags ask for, checked, and made without TensorFlow.

  Attributes:
    values: the flags' values.
    inputs: the data; each mode asks it for what it needs, for filling a cache
      takes time.
    model: the network's settings.
    config: the hyperparameters, in float32; `config_of` has those chosen.
    devices: where the run computes.
    source: of the weights that training starts from, or None.
    saved_network: that of the run which goes on, or None.
    measures: the flags whose numbers are yet to be measured.
  """

  values: Values
  inputs: data.Inputs
  model: ModelConfig
  config: TrainConfig
  devices: devices_lib.Devices
  source: pretrained.Source | None = None
  saved_network: dict[str, Any] | None = None
  measures: tuple[str, ...] = ()

  def config_of(self, chosen: trials.Choice) -> TrainConfig:
    """Returns the hyperparameters, computed as chosen."""
    return dataclasses.replace(self.config, precision=chosen.precision_config)

  def at_batch_size(self, size: int) -> Plan:
    """Returns the same plan with another batch size: other steps and rates."""
    self.values[BATCH_SIZE].value = size
    config = _config_for(self.values, self.inputs.train)
    inputs = dataclasses.replace(self.inputs, global_batch_size=size)
    return dataclasses.replace(self, config=config, inputs=inputs)

  def in_parts(self, count: int) -> Plan:
    """Returns the same plan with as many micro-batches at once."""
    self.values[MICRO_BATCHES].value = count
    self.values[AT_ONCE].value = count > 1
    machine.share_cores(count)
    config = _config_for(self.values, self.inputs.train)
    return dataclasses.replace(self, config=config)

  @property
  def images(self) -> dict[str, Any]:
    """The shape of the images, and what they show."""
    return {
      "image_shape": self.inputs.image_shape,
      "class_names": self.inputs.train.class_names,
    }

  @functools.cached_property
  def network(self) -> dict[str, Any]:
    """The arguments of `models.build_model`, but for its dtype."""
    if self.saved_network:
      return self.saved_network
    shape: tuple[int | None, ...] = self.inputs.image_shape
    if self.config.loop.progressive_image_sizes:
      shape = (None, None, shape[-1])
    mean, std = self.inputs.train.mean_std()
    place, _ = model_names.parts(self.model.model)
    ours_only = () if place else model_names.OURS_ONLY
    return {
      "model": self.model.model,
      "input_shape": shape,
      "num_classes": self.inputs.train.num_classes,
      "mean": mean,
      "std": std,
      **{name: getattr(self.model, name) for name in ours_only},
      **({"auxiliary_head": True} if self.has_auxiliary_head else {}),
      **({"freeze": self.model.freeze} if self.model.freeze else {}),
      **self._of_weights(),
    }

  @property
  def has_auxiliary_head(self) -> bool:
    """Whether the network has the auxiliary head of Inception-V3."""
    return self.config.regularization.auxiliary_weight > 0

  @property
  def zero_gamma(self) -> bool:
    """Whether γ starts at 0; weights that are loaded have their own."""
    return self.model.zero_gamma and not self.model.weights

  def _of_weights(self) -> dict[str, Any]:
    """Returns what the network must have been trained with."""
    if self.source is None:
      return {}
    return pretrained.network_for(
      self.source,
      model=self.model.model,
      model_variant=self.model.model_variant,
      channels=self.inputs.image_shape[-1],
    )


@dataclasses.dataclass
class Parts:
  """What the loop is given.

  Attributes:
    model: the network, freshly initialised.
    teacher: for distillation, or None.
    inputs: the data.
    config: the hyperparameters.
    strategy: in whose scope the loop must run.
    card: what the run card is to say of data, model and choice.
  """

  model: tf.keras.Model
  teacher: tf.keras.Model | None
  inputs: data.Inputs
  config: TrainConfig
  strategy: tf.distribute.Strategy
  card: dict[str, Any]


def plan(
  values: Values,
  *,
  network: dict[str, Any] | None = None,
  with_weights: bool = True,
  sources: Sources | None = None,
  class_names: Sequence[str] | None = None,
) -> Plan:
  """Checks all flags and finds all files, without TensorFlow.

  Args:
    values: the flags' values.
    network: that of the run which goes on, if there is one.
    with_weights: whether the network starts from those that --weights names; it
      has no use of them if a checkpoint is restored.
    sources: the data, if they are loaded already.
    class_names: of the run which goes on, whose order they keep; None is that
      of the run which gives the weights or is the teacher, if one does.

  Raises:
    ConfigError: a flag is out of range, or two do not fit each other.
    DataError: the data are missing, damaged or of the wrong kind.
  """
  model = group(ModelConfig, values)
  teacher_lib.require(model)
  source = None
  if model.weights and with_weights:
    source = pretrained.look(model.weights)
  require_addons(values.optimizer)
  devices = devices_lib.find(group(DeviceSettings, values))
  devices.hide_gpus()
  # Once for errors that need no data, which may take a while to load.
  config_lib.config_from_flags(values, examples_per_epoch=10**6)
  class_names = class_names or _known_classes(model, source)
  inputs = make_inputs(values, sources or load_sources(values, class_names))
  config = _config_for(values, inputs.train)
  _require_full_size_last(config, inputs.image_shape[0])
  _require_image_shapes(model.model, config, inputs.image_shape)
  _require_auxiliary_head(model.model, config)
  planned = Plan(
    values=values,
    inputs=inputs,
    model=model,
    config=config,
    devices=devices,
    source=source,
    saved_network=network,
  )
  planned._of_weights()  # Raises if they are of another network.
  return planned


def plan_of_run(
  values: Values, card: dict[str, Any], *, with_weights: bool
) -> Plan:
  """Plans a run that begins or goes on, of any batch size.

  Args:
    values: the flags' values, adopted; numbers that are yet to be measured are
      set to those of the first trials.
    card: that of the run which goes on, or of a branch's parent; or {}.
    with_weights: as of `plan`.

  Raises:
    ConfigError: as of `plan`.
    DataError: as of `plan`.
  """
  measures = tuple(name for name in MEASURED if is_auto(values, name))
  if MICRO_BATCHES in measures:
    values[MICRO_BATCHES].value = 1
    values[AT_ONCE].value = False
  if BATCH_SIZE in measures:
    values[BATCH_SIZE].value = batch_sizes.first(values.accumulate_steps)
  planned = plan(
    values,
    network=card.get("network"),
    class_names=run_card.class_names(card),
    with_weights=with_weights,
  )
  return dataclasses.replace(planned, measures=measures)


def _config_for(values: Values, train: data.AnySource) -> TrainConfig:
  """Returns the hyperparameters for the training data."""
  return config_lib.config_from_flags(
    values,
    examples_per_epoch=train.num_examples,
    class_counts=train.class_counts,
  )


def _require_full_size_last(config: TrainConfig, image_height: int) -> None:
  sizes = [size for size, _ in config.loop.progressive_image_sizes]
  if sizes and sizes[-1] != image_height:
    raise ConfigError(
      "progressive_image_sizes must end with the size of the images "
      f"({image_height}), which evaluation sees, got {sizes[-1]}"
    )


def _require_auxiliary_head(model: str, config: TrainConfig) -> None:
  """Raises if an auxiliary head is weighed, and the network has none."""
  weight = config.regularization.auxiliary_weight
  if weight and model != "keras:InceptionV3":
    raise ConfigError(
      "auxiliary_weight must be 0 unless the model is keras:InceptionV3, got "
      f"{weight:g} with {model}"
    )
  if weight and config.loop.progressive_image_sizes:
    raise ConfigError(
      "auxiliary_weight must be 0 with progressive_image_sizes, for the "
      f"auxiliary head needs one size of images, got {weight:g}"
    )


def _require_image_shapes(
  model: str, config: TrainConfig, image_shape: tuple[int, int, int]
) -> None:
  """Raises if the network takes no images of one of the run's sizes."""
  *_, channels = image_shape
  sizes = [size for size, _ in config.loop.progressive_image_sizes]
  for shape in [(size, size, channels) for size in sizes] or [image_shape]:
    model_names.require_image_shape(model, shape)
  if sizes:
    model_names.require_image_shape(model, (None, None, channels))


def _known_classes(
  model: ModelConfig, source: pretrained.Source | None
) -> Sequence[str] | None:
  """Returns the classes of the run that weights or teacher are of, if any."""
  if source is not None and source.class_names:
    return source.class_names
  if model.teacher and os.path.isdir(model.teacher):
    return run_card.class_names(run_card.read(model.teacher) or {})
  return None


def load_sources(
  values: Values, class_names: Sequence[str] | None = None
) -> Sources:
  """Loads the data that the flags name: to train on, and to evaluate.

  Args:
    values: the flags' values.
    class_names: see `data.load`.
  """
  return data.load(group(data.SourceOptions, values), class_names)


def make_inputs(values: Values, sources: Sources | None = None) -> data.Inputs:
  """Loads the data; raises a DataError if flags and data do not fit.

  Args:
    values: the flags' values.
    sources: the data, if they are loaded already.
  """
  augmentation = group(data.Augmentation, values)
  train, validation = sources or load_sources(values)
  run = group(RunSettings, values)
  skipped = ""
  if run.on_bad_image == "skip":
    skipped = bad_images.bad_images_file(run.workdir)
  return group(
    data.Inputs,
    values,
    train=train,
    validation=validation,
    # Mode check_data needs none.
    global_batch_size=values.global_batch_size or LoopConfig.global_batch_size,
    seed=values.seed,
    balanced=values.class_balance == "sampling",
    augmentation=augmentation,
    bad_images=skipped,
  )


def choose(
  planned: Plan, choice: dict[str, Any] | None = None
) -> tuple[trials.Choice, list[trials.Trial]]:
  """Returns what to compute in, as flags say or as measured, and the trials.

  Args:
    planned: the plan.
    choice: what `auto` took when the run was started first, or None.
  """
  machine.share_cores(planned.config.optimizer.parts_at_once)
  if choice:
    return trials.Choice(**choice), []
  job, workload = _job_and_workload(planned)
  asked = _asked(planned)
  if planned.devices.hosts > 1 and not asked.settled():
    asked = preflight.unmeasured(asked, gpu=bool(devices_lib.visible_gpus()))
  return preflight.choose(asked, job, workload)


def choose_numbers(
  planned: Plan, chosen: trials.Choice
) -> tuple[Plan, dict[str, list[trials.Trial]]]:
  """Returns the plan with what it measures, and the trials by what they are of.

  First into how many parts a batch is split, then how large it is.

  Args:
    planned: the plan.
    chosen: what to compute in.

  Raises:
    ConfigError: as of `_choose_batch_size`.
  """
  tried = {}
  planned, tried["micro_batches"] = _choose_micro_batches(planned, chosen)
  planned, tried["batch_sizes"] = _choose_batch_size(planned, chosen)
  return planned, tried


def _choose_micro_batches(
  planned: Plan, chosen: trials.Choice
) -> tuple[Plan, list[trials.Trial]]:
  """Returns the plan with its micro-batches, and the trials if measured."""
  if MICRO_BATCHES not in planned.measures:
    return planned, []
  if planned.devices.hosts * planned.devices.local_replicas > 1:
    logging.info("accumulate_steps: 1, for there are several replicas")
    return planned, []
  if devices_lib.visible_gpus():  # Its operations share it without our help.
    logging.info("accumulate_steps: 1, for there is a GPU")
    return planned, []
  job, workload = _job_and_workload(planned)
  count, tried = micro_batches.choose(
    job, chosen, workload, cpus=machine.usable_cpus() or 1
  )
  return planned.in_parts(count), tried


def _choose_batch_size(
  planned: Plan, chosen: trials.Choice
) -> tuple[Plan, list[trials.Trial]]:
  """Returns the plan with its batch size, and the trials if it was measured.

  Args:
    planned: the plan.
    chosen: what to compute in.

  Raises:
    ConfigError: there are several hosts, which would measure different ones.
  """
  if BATCH_SIZE not in planned.measures:
    return planned, []
  if planned.devices.hosts > 1:
    raise ConfigError(
      f"{BATCH_SIZE} must be a number on several hosts, got auto"
    )
  job, workload = _job_and_workload(planned)
  loop = planned.config.loop
  replicas = planned.devices.local_replicas
  candidates = batch_sizes.sizes(
    planned.config.optimizer.accumulate_steps,
    loop.examples_per_epoch // replicas,
  )
  size, tried = batch_sizes.choose(
    job,
    chosen,
    workload,
    candidates,
    copies=planned.devices.replicas_a_device,
  )
  return planned.at_batch_size(size * replicas), tried


def measured_step(
  planned: Plan, chosen: trials.Choice, tried: Sequence[trials.Trial]
) -> trials.Trial:
  """Returns the trial of a replica's share of the run's batch.

  Args:
    planned: the plan, with the batch size that the run has.
    chosen: what to compute in.
    tried: the trials by which way and size were chosen, if they were.

  Returns:
    The trial, with the memory of all replicas that share one.
  """
  inputs, config = _of_one_replica(planned)
  parts = config.optimizer.accumulate_steps
  for trial in tried:
    own_size = trial.batch_size in (0, inputs.global_batch_size)
    own_size &= trial.micro_batches in (0, parts)
    if trial.choice == chosen and own_size and not trial.failure:
      break
  else:
    job, workload = _job_and_workload(planned)
    trial = batch_sizes.measure_one(job, chosen, workload)
  if trial.batch_size:  # The search of a size has counted all of them.
    return trial
  copies = planned.devices.replicas_a_device
  return dataclasses.replace(trial, memory=copies * trial.memory)


def _job_and_workload(planned: Plan) -> tuple[trials.Job, dict[str, Any]]:
  """Returns what a trial trains, and what decides how long its steps take."""
  inputs, config = _of_one_replica(planned)
  job = trials.Job(
    functools.partial(
      make_model,
      planned.network,
      zero_gamma=planned.zero_gamma,
      seed=planned.config.loop.seed,
    ),
    inputs.first_batches,
    functools.partial(teacher_lib.load, planned.model, **planned.images),
    config,
  )
  shapes = {
    name: value
    for name, value in planned.network.items()
    if name not in ("mean", "std")
  }
  workload = preflight.workload_of(
    shapes,
    planned.inputs.image_shape,
    config,
    planned.model.teacher or None,
  )
  return job, workload


def _of_one_replica(planned: Plan) -> tuple[data.Inputs, TrainConfig]:
  """Returns data and hyperparameters with a replica's share of a batch."""
  replicas = planned.devices.hosts * planned.devices.local_replicas
  share = planned.inputs.global_batch_size // replicas
  if replicas == 1 or not share:
    return planned.inputs, planned.config
  loop = dataclasses.replace(planned.config.loop, global_batch_size=share)
  return (
    dataclasses.replace(planned.inputs, global_batch_size=share),
    dataclasses.replace(planned.config, loop=loop),
  )


def _asked(planned: Plan) -> preflight.Asked:
  """Returns what the flags say of what to compute in, as far as they can."""
  asked = group(preflight.Asked, planned.values)
  place, _ = model_names.parts(planned.network["model"])
  if not place:  # Our networks have nothing else than our BatchNorm.
    asked = dataclasses.replace(asked, fuse_batch_norm="false")
  if not planned.model.sync_batch_norm:
    return asked
  if asked.jit_compile == "true":
    raise ConfigError(
      "jit_compile must be auto or false with sync_batch_norm, got true: XLA "
      "compiles no sums over replicas"
    )
  if place and asked.fuse_batch_norm == "false":
    raise ConfigError(
      f"fuse_batch_norm must be auto or true with sync_batch_norm and "
      f"{planned.network['model']}, got false"
    )
  return dataclasses.replace(
    asked,
    jit_compile="false",
    fuse_batch_norm="true" if place else asked.fuse_batch_norm,
  )


def build(
  planned: Plan,
  chosen: trials.Choice,
  tried: list[trials.Trial],
  numbers_tried: Mapping[str, Sequence[trials.Trial]] | None = None,
) -> Parts:
  """Imports TensorFlow, set as chosen, and makes network and teacher.

  Args:
    planned: the plan.
    chosen: what to compute in.
    tried: the trials that it was taken from.
    numbers_tried: the trials that numbers were taken from, as of
      `choose_numbers`.
  """
  import_tensorflow(chosen)
  strategy = planned.devices.strategy()
  inputs, network = planned.inputs, planned.network
  with strategy.scope():
    model, fine_tuned = _network(planned, chosen)
    teacher = teacher_lib.load(planned.model, **planned.images)
  return Parts(
    model=model,
    teacher=teacher,
    inputs=inputs,
    config=planned.config_of(chosen),
    strategy=strategy,
    card={
      "choice": dataclasses.asdict(chosen),
      **_rows({"preflight": tried, **(numbers_tried or {})}),
      "network": network,
      **fine_tuned,
      "image_shape": inputs.image_shape,
      "data": _data_card(inputs),
      "teacher_sha256": teacher_lib.sha256(planned.model),
    },
  )


def _rows(tried: Mapping[str, Sequence[trials.Trial]]) -> dict[str, Any]:
  """Returns what the run card says of each kind of trials that there were."""
  return {
    name: list(map(trial_cache.as_row, of_kind))
    for name, of_kind in tried.items()
    if of_kind
  }


def _network(
  planned: Plan, chosen: trials.Choice
) -> tuple[tf.keras.Model, dict[str, Any]]:
  """Makes the network; returns also what the card says of its weights."""
  model = make_model(
    planned.network,
    chosen.precision,
    zero_gamma=planned.zero_gamma,
    seed=planned.config.loop.seed,
  )
  fine_tuned = _fine_tuned(planned, model)
  from train_loop.models import fusing

  model = fusing.with_our_layers(model, fuse_batch_norm=chosen.fuse_batch_norm)
  if planned.model.sync_batch_norm:
    fusing.synchronize_batch_norm(model)
  return model, fine_tuned


def _fine_tuned(planned: Plan, model: tf.keras.Model) -> dict[str, Any]:
  """Loads the weights, if any; returns what the run card says of them."""
  from train_loop.models import fine_tuning

  if planned.model.freeze:
    logging.info(
      "freeze: %d of %d variables are trained",
      len(model.trainable_variables),
      len(model.variables),
    )
  decay = planned.config.optimizer.layer_decay
  if decay < 1.0:
    blocks = max(fine_tuning.depths(model).values())
    logging.info(
      "layer_decay: %d blocks below the head, at %.3g to %.3g of its rate",
      blocks,
      decay**blocks,
      decay,
    )
  if planned.source is None:
    return {}
  from train_loop.models.weights import load_weights

  path, checkpoint = planned.source.path, planned.values.checkpoint
  loaded = load_weights(
    model,
    path,
    checkpoint=checkpoint,
    class_names=planned.inputs.train.class_names,
    allow_python=True,  # It is the model that is trained.
  )
  return {
    "weights": {
      "taken": len(loaded.taken),
      "changed": loaded.changed,
      "new": loaded.new,
    },
    "weights_sha256": trained_model.weights_sha256(path, checkpoint),
  }


def _data_card(inputs: data.Inputs) -> dict[str, Any]:
  """Returns what the run card says of the data."""
  train, validation = inputs.train, inputs.validation
  samples = {
    f"{part}_sample_sha256": source.sample_sha256()
    for part, source in (("train", train), ("test", validation))
    if isinstance(source, data.EncodedSource)
  }
  return {
    "name": train.name,
    "class_names": train.class_names,
    "train_examples": train.num_examples,
    "train_sha256": train.fingerprint(),
    "test_examples": validation.num_examples,
    "test_sha256": validation.fingerprint(),
    **samples,
  }


def as_evaluated(
  card: dict[str, Any], values: Values
) -> tuple[TrainConfig, trials.Choice]:
  """Returns a run's hyperparameters, and what it computed in; needs no data.

  Args:
    card: the run's.
    values: the run's flags, adopted.
  """
  choice = trials.Choice(**card["choice"])
  config = config_lib.config_from_flags(
    values,
    examples_per_epoch=card["settings"]["examples_per_epoch"],
    class_counts=lambda: card["settings"].get("class_counts", ()),
    precision=choice.precision_config,
  )
  machine.share_cores(config.optimizer.parts_at_once)
  return config, choice


def import_for_one_device(chosen: trials.Choice, values: Values) -> None:
  """Imports TensorFlow for a mode that computes on this host alone.

  Args:
    chosen: what to compute in.
    values: the flags' values; --device counts.

  Raises:
    ConfigError: there is no GPU, and one is asked for.
  """
  devices = devices_lib.Devices(group(DeviceSettings, values))
  devices.hide_gpus()
  import_tensorflow(chosen)
  devices.usable_gpus()


def import_tensorflow(chosen: trials.Choice) -> None:
  """Imports TensorFlow, set as chosen, and says so."""
  machine.import_tensorflow(onednn=chosen.onednn)
  import tensorflow as tf

  tf.config.experimental.enable_tensor_float_32_execution(
    chosen.tensor_float_32
  )
  logging.info("computing in %s", preflight.described(chosen))


def make_model(
  network: dict[str, Any], precision: str, *, zero_gamma: bool, seed: int
) -> tf.keras.Model:
  """Builds the network; the same seed gives the same weights."""
  import tensorflow as tf

  import tricks
  from train_loop import models

  tf.keras.utils.set_random_seed(seed)
  model = models.build_model(**network, dtype=precision)
  if zero_gamma:
    zeroed = tricks.zero_gamma(model)
    logging.info("zero γ in %d layers", len(zeroed))
  return model
