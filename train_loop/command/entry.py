# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Defines and parses absl's flags, and runs the mode that they ask for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

from absl import app
from absl.flags import FLAGS

from data import DataError
from train_loop import failures
from train_loop.command import flags, terminal
from train_loop.failures import BAD_INPUT
from train_loop.fields import ConfigError

# The program in `modes/` of each mode.
PROGRAMS = {
  "train_and_eval": "train",
  "train": "train",
  "eval": "evaluate",
  "predict": "predict",
  "check_data": "check_data",
  "check_labels": "check_labels",
  "convert": "convert",
  "schedule": "schedule",
  "preview": "preview",
  "export": "export",
  "replay": "replay",
  "ablate": "ablate",
  "compare": "compare",
  "verify": "verify",
  "find_learning_rate": "find_learning_rate",
}


def run() -> None:
  """Runs the command; exits with its status."""
  terminal.log_sentences()
  flags.define(FLAGS)
  for name in flags.names():  # --help lists those of the command.
    FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])
  app.define_help_flags()
  app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses the command line, or exits with one line."""
  try:
    return flags.parse_into(FLAGS, list(argv))
  except ConfigError as error:
    terminal.say(error)
    sys.exit(BAD_INPUT)


def main(argv: Sequence[str]) -> int:
  """Runs the mode that the flags ask for; returns the exit status."""
  del argv
  program = importlib.import_module(f"train_loop.modes.{PROGRAMS[FLAGS.mode]}")
  return status_of(program.run, FLAGS)


def status_of(run: Callable[[flags.Values], int], values: flags.Values) -> int:
  """Runs a mode; an error of its user is one line and status 2."""
  try:
    return run(values)
  except (ConfigError, DataError, OSError, failures.OutOfMemory) as error:
    terminal.say(error)
  except Exception as error:
    if not failures.is_out_of_memory(error):
      raise
    terminal.say(
      f"out of memory ({failures.first_line(error)}): {failures.lower_what()}"
    )
  return BAD_INPUT
