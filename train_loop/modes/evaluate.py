# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates the run in workdir and changes nothing in it."""

from __future__ import annotations

from train_loop.command import compose, flags, terminal, trained_model
from train_loop.failures import InputFailed


def run(values: flags.Values) -> int:
  """Evaluates the run in workdir with its own flags.

  Args:
    values: the flags' values; those that the command line left out become
      those of the run.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: workdir holds no run, or a flag differs from the run's.
    DataError: bad data.
  """
  flags.require_workdir(values)
  workdir = values.workdir
  card = trained_model.require_card(workdir)
  trained_model.adopt_flags(card, values)
  parts = compose.compose(values, card["choice"], network=card["network"])

  from train_loop import evaluation

  try:
    results = evaluation.evaluate(
      parts.model,
      parts.inputs.eval_dataset(),
      parts.config,
      workdir,
      checkpoint=values.checkpoint,
    )
  except InputFailed as error:
    raise parts.inputs.bad_image(error.steps) or error from error
  print(f"{workdir}: {terminal.summary(results)}")
  return 0
