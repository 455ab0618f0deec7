# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shows what a run will be before it trains: a page, and the essentials here.

A few steps are timed in a process of its own, as `auto` does. Only the page is
written, so that the run may still start with any flags.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import tricks
from train_loop import pages
from train_loop.command import (
  branching,
  cautions,
  compose,
  flags,
  forecast,
  judging,
)
from train_loop.command import devices as devices_lib
from train_loop.command.settings import DeviceSettings
from train_loop.failures import InputFailed, input_failures
from train_loop.fields import ConfigError
from train_loop.models import names as model_names
from train_loop.modes import schedule, train
from train_loop.pages import charts
from train_loop.preflight import batch_sizes
from train_loop.preflight import choose as preflight
from train_loop.preflight.trials import Trial
from train_loop.schedule import make_schedule
from train_loop.workdir import run_card
from train_loop.workdir.writing import writing

if TYPE_CHECKING:
  from train_loop.audit import Row
  from train_loop.first_batch import FirstBatch

PAGE = "preview.html"
# Pictures of each kind, and the images whose mean and deviation are taken.
_PICTURES, _MEASURED = 16, 256
# Targets of an image that its caption names.
_NAMED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
  """A run, looked at.

  Attributes:
    planned: what the flags ask for.
    parts: what the loop would be given.
    trial: some steps of one replica; as of `compose.measured_step`.
    start_step: 0, or that of a branch.
    first: a replica's share of the first batch.
    evaluated: images as evaluation sees them, by their numbers.
    audit: a row for each variable.
    batch_norms: how many layers normalise by the batch.
    leaks: images of both parts.
    bad: images of the sample that cannot be decoded.
  """

  planned: compose.Plan
  parts: compose.Parts
  trial: Trial
  start_step: int
  first: FirstBatch
  evaluated: dict[int, np.ndarray]
  audit: list[Row]
  batch_norms: int
  leaks: cautions.Leaks
  bad: list[str]

  @property
  def replicas(self) -> int:
    """How many share a batch."""
    return self.planned.devices.local_replicas

  def forecast(self) -> forecast.Forecast | None:
    """Returns the time of the run; None if no step could be timed."""
    if self.trial.failure:
      return None
    return forecast.of_run(
      self.parts.config,
      self.trial.images_per_second,
      replicas=self.replicas,
      shared=not devices_lib.visible_gpus(),
      eval_examples=self.parts.inputs.validation.num_examples,
      image_height=self.parts.inputs.image_shape[0],
      start_step=self.start_step,
    )

  def warnings(self) -> list[str]:
    """Returns a sentence for each likely mistake."""
    config, model = self.parts.config, self.planned.model
    train_source = self.parts.inputs.train
    place, _ = model_names.parts(model.model)
    normalised = ""
    if not place:
      normalised = cautions.other_normalisation(
        self.planned.network, *_mean_and_deviation(self)
      )
    found = [
      cautions.long_warmup(config),
      cautions.decayed_vectors(self.audit, config),
      cautions.small_batch_norm(
        config,
        replicas=self.replicas,
        batch_norms=self.batch_norms,
        synchronized=model.sync_batch_norm,
      ),
      cautions.labels_outside(train_source.labels, train_source.num_classes),
      cautions.unusual_peak(config, fine_tuned=bool(model.weights)),
      cautions.imbalance(
        train_source.class_counts(), train_source.class_names, config
      ),
      normalised,
      cautions.leaks(self.leaks),
    ]
    if self.trial.failure:
      found.append(
        f"no step could be timed, since it {self.trial.failure}: a smaller "
        "--global_batch_size or --recompute=blocks takes less memory"
      )
    elif self.trial.memory > batch_sizes.MOST_MEMORY:
      found.append(
        f"a step takes {self.trial.memory:.0%} of the memory that is free, and "
        "evaluation and input need some: lower --global_batch_size, or give "
        "--recompute=blocks"
      )
    if self.bad:
      found.append(
        f"{len(self.bad)} sampled images cannot be decoded, such as "
        f"{self.bad[0]}: replace them, or give --on_bad_image=skip"
      )
    return [sentence for sentence in found if sentence]


def run(values: flags.Values) -> int:
  """Writes preview.html to workdir, and prints the essentials.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run in workdir, if there is one.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: a bad flag, or a folder that cannot be written.
    DataError: bad data.
  """
  flags.require_workdir(values)
  preview = look(values)
  folder = pathlib.Path(values.workdir)
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
  warnings = preview.warnings()
  lines = essentials(preview)
  _write(folder / PAGE, preview, lines, warnings)
  for name, text in lines:
    print(f"{name:14} {text}")
  for sentence in warnings:
    print(f"warning: {sentence}")
  print(f"{folder} has {PAGE}: {_count(len(warnings), 'warning')}")
  return 0


def look(values: flags.Values) -> Preview:
  """Makes what a run would be made of, and looks at it."""
  if devices_lib.find(flags.group(DeviceSettings, values)).hosts > 1:
    raise ConfigError(
      "distribution must be none or mirrored in mode preview, which runs on "
      f"one host, got {values.distribution} with several"
    )
  card = run_card.read(values.workdir) or {}
  start_step = card.get("parent", {}).get("step", 0)
  if card:
    train.adopt(values, card)
  elif values.init_from:
    branching.require(values)
    origin = branching.adopt(values)
    start_step, card = origin.step, origin.card
  planned = compose.plan_of_run(values, card, with_weights=not card)
  chosen, tried = compose.choose(planned, card.get("choice"))
  planned, numbers_tried = compose.choose_numbers(planned, chosen)
  trial = compose.measured_step(
    planned,
    chosen,
    [*numbers_tried["batch_sizes"], *numbers_tried["micro_batches"], *tried],
  )
  parts = compose.build(planned, chosen, tried, numbers_tried)
  from data.preparation import sample

  found = sample.look(parts.inputs.train, parts.inputs.validation)
  first_batch, audit_rows, batch_norms = _state(parts, start_step)
  validation = parts.inputs.validation
  return Preview(
    planned=planned,
    parts=parts,
    trial=trial,
    start_step=start_step,
    first=first_batch,
    evaluated=_pictures(parts, validation, values, _PICTURES),
    audit=audit_rows,
    batch_norms=batch_norms,
    leaks=cautions.Leaks(found.equal, found.alike, found.compared),
    bad=found.bad,
  )


def _state(
  parts: compose.Parts, start_step: int
) -> tuple[FirstBatch, list[Row], int]:
  """Returns the first batch, the audit, and how many BatchNorms are trained."""
  from train_loop import audit, batches, first_batch
  from train_loop.state import TrainState
  from tricks import keras_compat

  with parts.strategy.scope():
    state = TrainState(parts.model, parts.config)
    state.step.assign(start_step)
    uncached = dataclasses.replace(parts.inputs, cache="none")
    try:
      first = first_batch.of_one_replica(
        state,
        batches.train_batches(
          uncached.train_dataset(), parts.config, start_step, state.num_classes
        ),
        parts.config,
      )
    except InputFailed as error:
      raise parts.inputs.bad_image(error.steps) or error from error
    batch_norms = [
      layer
      for layer in keras_compat.flat_layers(parts.model)
      if keras_compat.is_batch_norm(layer) and layer.trainable
    ]
    return first, audit.rows(state), len(batch_norms)


def _pictures(
  parts: compose.Parts, source: Any, values: flags.Values, most: int
) -> dict[int, np.ndarray]:
  """Returns images of a source by their numbers, as evaluation sees them.

  They are evenly spread, and at most `most`.
  """
  count = source.num_examples
  numbers = np.linspace(0, count - 1, min(most, count)).astype(int)
  try:
    with input_failures(range(0), parts.config):
      return judging.pictures(source, values, numbers.tolist())
  except InputFailed as error:
    raise parts.inputs.bad_image(error.steps) or error from error


def _mean_and_deviation(preview: Preview) -> tuple[Any, Any]:
  """Returns those of training images that nothing augmented, by channel."""
  source = preview.parts.inputs.train
  images = _pictures(preview.parts, source, preview.planned.values, _MEASURED)
  pixels = np.stack([*images.values()]).astype(np.float64)
  return pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))


def essentials(preview: Preview) -> list[tuple[str, str]]:
  """Returns pairs of a name and what is to be known of it."""
  parts, planned = preview.parts, preview.planned
  config, inputs = parts.config, parts.inputs
  shape = " x ".join(map(str, inputs.image_shape))
  trained = sum(row.size for row in preview.audit if row.trained)
  decayed = sum(row.size for row in preview.audit if row.decays)
  lines = [
    (
      "data",
      f"{inputs.train.name}: {inputs.train.num_examples:,} images to train on, "
      f"{inputs.validation.num_examples:,} to evaluate, {shape}, "
      f"{inputs.train.num_classes} classes",
    ),
    (
      "network",
      f"{planned.network['model']}: {trained:,} numbers trained, of which "
      f"{decayed:,} decay; {config.optimizer.optimizer}, in "
      f"{preflight.described(preview.trial.choice)}",
    ),
    (
      "batch",
      f"{config.loop.global_batch_size} images"
      + (f" over {preview.replicas} replicas" if preview.replicas > 1 else ""),
    ),
    ("learning rate", _rates_in_words(config)),
  ]
  found = preview.forecast()
  if found is None:
    return lines
  memory = f"{preview.trial.memory:.0%}" if preview.trial.memory else "unknown"
  apart = preview.replicas > planned.devices.replicas_a_device
  per_replica = " a replica" if apart else ""
  end = datetime.datetime.now() + datetime.timedelta(seconds=found.seconds)
  in_words = forecast.in_words
  lines += [
    (
      "step",
      f"{1000 * found.step_seconds:.3g} ms, "
      f"{config.loop.global_batch_size / found.step_seconds:,.0f} images/s",
    ),
    ("memory", f"{memory} of what is free{per_replica}, at most"),
  ]
  told = (
    f"{in_words(found.seconds)}, as max_minutes says"
    if found.limited
    else f"{config.loop.total_steps - preview.start_step:,} steps in "
    f"{in_words(found.training_seconds)}, "
    f"{_count(found.evaluations, 'evaluation')} in about "
    f"{in_words(found.evaluation_seconds)}"
  )
  lines.append(
    ("run", f"{told}; started now it ends at {end:%Y-%m-%d %H:%M:%S}")
  )
  lines.append(("", forecast.LEFT_OUT))
  return lines


def _rates_in_words(config: Any) -> str:
  """Returns the phases with their steps, and the peak."""
  rates = tricks.learning_rates(make_schedule(config), config.loop.total_steps)
  told = ", ".join(
    f"{name} to step {end:,}"
    for name, (_, end) in schedule.phases(config).items()
  )
  return (
    f"{rates[0]:.3g} at first, {rates.max():.3g} at its peak, {rates[-1]:.3g} "
    f"at the end; {told}"
  )


def _write(
  path: pathlib.Path,
  preview: Preview,
  lines: Sequence[tuple[str, str]],
  warnings: Sequence[str],
) -> None:
  """Writes the page."""
  from train_loop import audit

  parts, config = preview.parts, preview.parts.config
  names = parts.inputs.train.class_names
  first = preview.first
  rates = tricks.learning_rates(make_schedule(config), config.loop.total_steps)
  validation = parts.inputs.validation
  pages.write(
    path,
    "preview.html",
    title=path.absolute().parent.name,
    lines=[line for line in lines if line[0]],
    left_out=dict(lines).get("", ""),
    warnings=warnings,
    schedule=schedule.picture(rates, config, preview.start_step),
    pairs=list(
      zip(
        _shown(first.images, first.targets, names),
        _shown(first.mixed_images, first.mixed_targets, names),
      )
    ),
    mixes=bool(
      config.regularization.mixup_alpha or config.regularization.cutmix_alpha
    ),
    start_step=preview.start_step,
    evaluated=[
      (image, ", ".join(validation.classes_of(number)))
      for number, image in preview.evaluated.items()
    ],
    counts=charts.class_counts(
      {
        "training": parts.inputs.train.class_counts(),
        "evaluation": validation.class_counts(),
      },
      names,
    ),
    audit=audit.as_text(preview.audit),
  )


def _shown(
  images: np.ndarray, targets: np.ndarray, names: Sequence[str]
) -> list[tuple[np.ndarray, str]]:
  """Returns pictures of the first images, each with its largest targets."""
  pixels = np.clip(np.rint(images[:_PICTURES]), 0, 255).astype(np.uint8)
  shown = []
  for image, row in zip(pixels, targets):
    largest = np.argsort(-row, kind="stable")[:_NAMED]
    base = row.min()
    text = ", ".join(
      f"{names[k]} {row[k]:.2f}" for k in largest if row[k] > base
    )
    shown.append((image, text or "all alike"))
  return shown


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}{'' if number == 1 else 's'}"
