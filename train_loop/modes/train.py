# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a run, or goes on with the one in workdir."""

from __future__ import annotations

import contextlib
import pathlib
import shlex
import signal
import sys
from typing import Any

from absl import logging

import data
from train_loop import bottleneck, machine
from train_loop.command import (
  branching,
  compose,
  flags,
  reporting,
  resume,
  signals,
  terminal,
  trained_model,
  trust,
)
from train_loop.command import devices as devices_lib
from train_loop.command.settings import DeviceSettings
from train_loop.config import CHECKPOINTS
from train_loop.failures import (
  DIVERGED,
  HOST_LOST,
  Diverged,
  HostLost,
  InputFailed,
  Stopped,
)
from train_loop.fields import ConfigError, refused
from train_loop.models import names as model_names
from train_loop.workdir import (
  branches,
  changes,
  checkpoint_files,
  lock,
  run_card,
)

# Below this number of examples the defaults, which are ImageNet's, do badly.
_SMALL_DATA = 50_000


def run(values: flags.Values) -> int:
  """Trains the run in workdir to its end.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run, if there is one.

  Returns:
    The exit status: 0 finished, 3 diverged, 4 another host is gone, 128 + the
    signal that stopped it.

  Raises:
    ConfigError: a bad flag, or another run's workdir.
    DataError: bad data.
  """
  flags.require_workdir(values)
  workdir = values.workdir
  if values.preemption_signal != "none":
    signals.answer_as_sigterm(values.preemption_signal)
  if values.checkpoint != CHECKPOINTS[0] and not (
    values.weights or values.init_from
  ):
    raise refused(
      "checkpoint",
      values.checkpoint,
      "latest in training without weights or init_from",
    )
  card, found = _saved_card(values)
  if changes.is_over(card, found.changed):
    summary = terminal.summary(card["final"])
    print(f"{workdir} was finished before: {summary}")
    return 0
  devices = devices_lib.find(flags.group(DeviceSettings, values))
  # Several hosts have to meet before they can agree that it is refused.
  with lock.held(workdir) if devices.hosts == 1 else contextlib.nullcontext():
    return _plan_and_train(values)


def _saved_card(
  values: flags.Values,
) -> tuple[dict[str, Any], resume.Difference]:
  """Returns the card in workdir, whose flags it takes over; or refuses it.

  Also returns the flags that are others now.
  """
  card = run_card.read(values.workdir) or {}
  if not card:
    branching.require(values)
    return {}, resume.Difference()
  found = adopt(values, card)
  branching.require_own(values, card)
  return card, found


def _plan_and_train(values: flags.Values) -> int:
  """Does what `run` does, once workdir is this process'."""
  workdir = values.workdir
  card, found = _saved_card(values)  # Before the lock it may have changed.
  found.say(values)
  begun = bool(
    checkpoint_files.steps(pathlib.Path(workdir, checkpoint_files.DIRECTORY))
  )
  origin = None
  if values.init_from and not begun:
    origin = branching.adopt(values, card)
  model_card = card or (origin.card if origin else {})
  planned = compose.plan_of_run(
    values,
    model_card,
    # A run that has a checkpoint need not start from other weights again.
    with_weights=not (begun or origin),
  )
  if not model_card and not values.recipe:
    _suggest_recipe(planned.inputs.train.num_examples)
  chosen, tried = compose.choose(planned, model_card.get("choice"))
  planned, numbers_tried = compose.choose_numbers(planned, chosen)
  parts = compose.build(planned, chosen, tried, numbers_tried)
  changed = list(found.changed)
  if origin:
    _require_data_of(origin, parts)
  if card:
    changed += require_same_data(
      workdir, card, parts.card, allow=values.allow_changes
    )
    _require_same_weights(values, card, parts.card)
  parts.card["changed"] = changes.as_values(changed)
  init_from = origin.name if origin else ""
  return train(values, parts, planned.devices.shard, init_from=init_from)


def _require_data_of(origin: branches.Origin, parts: compose.Parts) -> None:
  """Raises unless a branch has its parent's data, and at least a step."""
  branches.require_steps_left(origin, parts.config.loop.total_steps)
  try:
    require_same_data(origin.workdir, origin.card, parts.card, allow=True)
  except ConfigError as error:
    raise ConfigError(f"init_from: {error}") from None


def adopt(values: flags.Values, card: dict[str, Any]) -> resume.Difference:
  """Takes over the flags of the run in workdir; returns which are others.

  Raises:
    ConfigError: one may not change, or not without allow_changes.
  """
  if "flags" not in card:
    raise ConfigError(
      f"workdir must be new or hold a run of this command, got "
      f"{values.workdir!r}, a run of a program of its own"
    )
  named = (card["flags"].get("model"), card.get("network", {}).get("model"))
  for model in named:
    allow = trust.allows(values, model)
    model_names.require_allowed(model, values.workdir, allow)
  flags.adopt(card["flags"], values)
  found = resume.difference(card["flags"], values)
  try:
    changes.require(values.workdir, found.changed, allow=values.allow_changes)
  except ConfigError:
    found.say(values)
    raise
  return found


def require_same_data(
  workdir: str,
  card: dict[str, Any],
  now: dict[str, Any],
  *,
  allow: bool = False,
) -> list[changes.Change]:
  """Raises unless data and teacher are those that the run was started with.

  With allow the teacher may be another: it is returned as a change.
  """
  then = card.get("data", {})
  # Cards of older builds have no hash of a sample of the files.
  known = {
    name: value
    for name, value in now["data"].items()
    if name in then or not name.endswith("_sample_sha256")
  }
  run_card.require_same(workdir, then, known)
  if "teacher_sha256" not in card:  # Cards of older builds have the path alone.
    return []
  then, teacher = (
    {"teacher_sha256": each["teacher_sha256"]} for each in (card, now)
  )
  changed = changes.find(then, teacher)
  changes.require(workdir, changed, allow=allow)
  return changed


def _require_same_weights(
  values: flags.Values, card: dict[str, Any], now: dict[str, Any]
) -> None:
  """Raises unless the weights are those that the run started from.

  A run that has a checkpoint needs them no more: they may be gone. Only if
  others are named they are compared.
  """
  names = ("weights_sha256",)
  found = now.get(names[0])
  if found is None and values.weights != card["flags"].get("weights", ""):
    found = trained_model.weights_sha256(values.weights, values.checkpoint)
  if found is not None:
    run_card.require_same(
      values.workdir,
      {name: card.get(name, "") for name in names},
      dict.fromkeys(names, found),
    )


def _suggest_recipe(num_examples: int) -> None:
  if num_examples < _SMALL_DATA:
    logging.info(
      "the defaults are for ImageNet; with %d training images try "
      "--recipe=small_images",
      num_examples,
    )


def train(
  values: flags.Values,
  parts: compose.Parts,
  shard: tuple[int, int],
  *,
  init_from: str = "",
) -> int:
  """Runs the loop on this host's share, in a workdir that is locked.

  Args:
    values: the flags' values.
    parts: what is trained, and on what.
    shard: index and count of the hosts.
    init_from: the parent of a branch that begins, as
      `loop.train_and_evaluate` takes it.

  Returns:
    The exit status, as of `run`.

  Raises:
    ConfigError: another run's workdir.
    DataError: bad data.
  """
  from train_loop import loop

  facts = _facts(values, parts)
  train_dataset = parts.inputs.train_dataset(shard)
  eval_dataset = None
  if values.mode != "train":
    of_this_host = parts.inputs.eval_dataset(shard)
    eval_dataset = of_this_host if shard[1] == 1 else lambda: of_this_host
  stop = signals.StopRequest()

  def should_stop() -> bool:
    beat()
    return stop()

  try:
    with stop, parts.inputs.watched() as beat, parts.strategy.scope():
      final = loop.train_and_evaluate(
        parts.model,
        train_dataset,
        eval_dataset,
        parts.config,
        values.workdir,
        teacher=parts.teacher,
        card={
          "command": shlex.join(sys.argv),
          "flags": flags.as_dict(values),
          **parts.card,
        },
        should_stop=should_stop,
        locked=shard[1] == 1,
        facts=facts,
        allow_changes=values.allow_changes,
        init_from=init_from,
      )
  except Diverged as error:
    terminal.say(f"{error}{_replay(values, parts, error)}")
    return DIVERGED
  except HostLost as error:
    terminal.say(error)
    return HOST_LOST
  except InputFailed as error:
    raise parts.inputs.bad_image(error.steps) or error from error
  except Stopped as error:
    terminal.say(error)
    # Of several hosts another one may have been asked to.
    return 128 + (stop.signum or signal.SIGTERM)
  # Of several hosts none could read all images while the others wait.
  if eval_dataset is not None and shard[1] == 1:
    _write_report(values, parts, final)
  print(f"{values.workdir} is finished: {terminal.summary(final)}")
  return 0


def _facts(values: flags.Values, parts: compose.Parts) -> bottleneck.Facts:
  """Returns what may be changed if something holds the run up."""
  free = machine.available_memory()
  cache, cache_bytes = parts.inputs.caching(free) or (None, None)
  return bottleneck.Facts(
    cache=cache,
    cache_bytes=cache_bytes,
    free_bytes=free,
    random_crops=parts.inputs.augmentation.random_resized_crop,
    input_threads=parts.inputs.input_threads,
    cpus=machine.usable_cpus(),
    own_data=True,
    measured="auto" in (values.precision, values.jit_compile),
    gpu=bool(machine.describe()["device"]["gpus"]),
    measures_batch_size="batch_sizes" in parts.card,
  )


def _write_report(
  values: flags.Values, parts: compose.Parts, final: dict[str, Any]
) -> None:
  """Writes the report of the last evaluation; the run is finished without."""
  from train_loop.models import auxiliary
  from train_loop.workdir import checkpoints

  workdir = pathlib.Path(values.workdir)
  folder = workdir / reporting.FOLDER
  try:
    with parts.strategy.scope():
      checkpoints.restore_model(parts.model, workdir)  # The averages, if any.
      found = reporting.evaluate(
        auxiliary.main_output(parts.model),
        parts.inputs.validation,
        values,
        parts.config,
        final.get("eval_thresholds"),
      )
    found.write(folder)
    found.show(workdir, step=final["step"])
    logging.info("%s shows mistakes and each class", folder / reporting.PAGE)
  except (ConfigError, data.DataError) as error:
    logging.warning("no report is written: %s", error)


def _replay(values: flags.Values, parts: compose.Parts, error: Diverged) -> str:
  """Adds the batch to the flight data; returns how to find the layer."""
  from train_loop.workdir import flight_recorder

  if not error.flight:
    return ""
  flight = flight_recorder.read(values.workdir)
  place = flight["step"] + flight["order_offset"]
  flight_recorder.add(values.workdir, examples=parts.inputs.examples_of(place))
  words = ["train_loop", "--mode=replay", f"--workdir={values.workdir}"]
  place, _ = model_names.parts(values.model)
  if place == model_names.PYTHON:  # It is not run because a card names it.
    words.append(f"--model={values.model}")
  return f"; to see in which layer: {shlex.join(words)}"
