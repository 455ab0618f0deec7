# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Takes the step again that stopped the run in workdir, layer by layer.

The run left the state before the step and said which batch it was: its flight
data. Names the first layer whose output is not finite or, if all are, the first
whose gradient is not, from the loss back. Of the run nothing changes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tabulate
from absl import logging

import data
from train_loop.command import compose, flags, trained_model
from train_loop.failures import InputFailed, input_failures
from train_loop.fields import ConfigError
from train_loop.modes import train
from train_loop.workdir import flight_recorder

if TYPE_CHECKING:
  from train_loop.probing import Probed, Seen
  from train_loop.step import Batch

# How many tensors before the one at fault, and examples, are shown.
_BEFORE, _EXAMPLES = 5, 3


def run(values: flags.Values) -> int:
  """Replays the step that the flight data in workdir describe.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: workdir holds no flight data, or not the run's state.
    DataError: the data are not those of the run.
  """
  flags.require_workdir(values)
  workdir = values.workdir
  flight = flight_recorder.read(workdir)
  card = trained_model.require_card(workdir)
  train.adopt(values, card)
  values["cache"].value = "none"  # For one batch.
  # Replicas are computed one after another.
  values["distribution"].value, values["logical_devices"].value = "none", 1
  planned = compose.plan_of_run(values, card, with_weights=False)
  chosen, _ = compose.choose(planned, card["choice"])
  parts = compose.build(planned, chosen, [])
  train.require_same_data(workdir, card, parts.card)
  place = flight["step"] + flight["order_offset"]
  probed = _probe(planned, parts, flight)
  for line in _answer(probed, flight, parts.inputs, place):
    print(line)
  _add_gradients(workdir, flight, parts.model, probed)
  return 0


def _probe(
  planned: compose.Plan, parts: compose.Parts, flight: dict[str, Any]
) -> Probed:
  """Restores the state and takes the step."""
  from train_loop import probing
  from train_loop.state import TrainState
  from train_loop.workdir import checkpoints

  state = TrainState(parts.model, parts.config)
  workdir = planned.values.workdir
  saver = checkpoints.Checkpoints(state, workdir, keep=1, writes=False)
  flight_recorder.restore(saver, workdir)
  return probing.probe(
    state,
    _batch(parts, flight["step"] + flight["order_offset"], state.num_classes),
    parts.config,
    teacher=parts.teacher,
    image_size=flight["image_size"],
    replicas=flight["replicas"],
    synchronized=planned.model.sync_batch_norm,
  )


def _batch(parts: compose.Parts, place: int, num_classes: int) -> Batch:
  """Reads one batch of the run."""
  from train_loop import batches

  try:
    with input_failures(range(place, place + 1)):
      dataset = batches.train_batches(
        parts.inputs.train_dataset(), parts.config, place, num_classes
      )
      return next(iter(dataset))
  except InputFailed as error:
    raise parts.inputs.bad_image(error.steps) or error from error


def _answer(
  probed: Probed, flight: dict[str, Any], inputs: data.Inputs, place: int
) -> list[str]:
  """Returns the lines that say what was found."""
  fault = probed.fault
  seen, way = probed.forward, "forward"
  if fault is not None and fault not in seen:
    seen, way = probed.backward, "backward, all outputs are finite"
  end = len(seen) if fault is None else seen.index(fault) + 1
  first = max(0, end - _BEFORE - 1)
  rows = [
    (f"{one.what} of {one.layer}", *_figures(one)) for one in seen[first:end]
  ]
  header = (way, "least", "largest", "not finite")
  lines = [f"step {flight['step']} again; {_weights(flight)}", ""]
  lines += tabulate.tabulate(rows, header, disable_numparse=True).splitlines()
  lines += ["", _verdict(probed)]
  if fault is not None and fault.examples:
    lines.append(_named(fault.examples, inputs, place))
  return lines


def _figures(seen: Seen) -> tuple[str, str, str]:
  ends = ["" if x is None else f"{x:.4g}" for x in (seen.least, seen.largest)]
  return ends[0], ends[1], f"{seen.not_finite} of {seen.size}"


def _weights(flight: dict[str, Any]) -> str:
  """Returns what the flight data say of the variables before the step."""
  variables = flight["variables"]
  count = sum(variable["not_finite"] > 0 for variable in variables)
  if count:
    return f"{count} of {len(variables)} variables were not finite before it"

  def largest(variable: dict[str, Any]) -> float:
    return max(abs(variable["min"] or 0.0), abs(variable["max"] or 0.0))

  most = max(variables, key=largest)
  return (
    f"all {len(variables)} variables were finite before it, the largest number "
    f"{largest(most):.4g} in {most['name']}"
  )


def _verdict(probed: Probed) -> str:
  """Returns the sentence that names the layer."""
  fault = probed.fault
  if fault is not None:
    return f"the first that is not finite: {fault.what} of {fault.layer}" + (
      f", whose {', '.join(fault.damaged)} is not" if fault.damaged else ""
    )
  if math.isfinite(probed.norm):
    return (
      "all is finite here: what the step computes depends on the device, or on "
      "random numbers that cannot be drawn again"
    )
  return (
    "all outputs and gradients are finite, but the norm of all gradients, the "
    "root of a sum of squares, is above the range of float32"
  )


def _named(examples: tuple[int, ...], inputs: data.Inputs, place: int) -> str:
  """Returns the line that names the examples of a batch."""
  indices = inputs.examples_of(place)
  named = [inputs.train.place(indices[n]) for n in examples[:_EXAMPLES]]
  rest = len(examples) - len(named)
  return (
    f"in {len(examples)} of the batch's {len(indices)} examples: "
    + "; ".join(named)
    + (f"; and {rest} more" if rest else "")
  )


def _add_gradients(
  workdir: str, flight: dict[str, Any], model: Any, probed: Probed
) -> None:
  """Adds each parameter's gradient to the flight data."""
  names = flight_recorder.names(model.trainable_variables)
  gradients = {
    name: flight_recorder.described(gradient)
    for name, gradient in zip(names, probed.gradients)
  }
  variables = [
    {**variable, "gradient": gradients.get(variable["name"])}
    for variable in flight.get("variables", [])
  ]
  try:
    flight_recorder.add(workdir, variables=variables)
  except ConfigError as error:  # The answer is there.
    logging.warning("%s", error)
