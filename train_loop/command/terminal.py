# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a person reads: the run's own lines, a bar, the last words."""

from __future__ import annotations

import logging as python_logging
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

import tqdm
from absl import logging


class _Sentences(python_logging.Formatter):
  """A line is its message; a warning says so, and has no file and number."""

  def format(self, record: python_logging.LogRecord) -> str:
    """Returns the record's line."""
    message = record.getMessage()
    if record.levelno >= python_logging.WARNING:
      return f"{record.levelname.lower()}: {message}"
    return message


def log_sentences() -> None:
  """Logs from INFO on, as sentences, and leaves TensorFlow's lines out."""
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().setFormatter(_Sentences())
  # TensorFlow logs through absl too: its notes on saving are not the run's.
  logging.get_absl_logger().addFilter(
    lambda record: "tensorflow" not in pathlib.Path(record.pathname).parts
  )


def say(message: object) -> None:
  """Prints an error or another last word as one line."""
  line = " ".join(str(message).split())
  print(f"train_loop: {line}", file=sys.stderr)


def progress(items: Iterable[Any], part: str, count: int) -> Iterable[Any]:
  """Shows how far a mode is, if the error stream is a terminal."""
  return tqdm.tqdm(items, desc=part, total=count, unit="img", disable=None)


def summary(final: dict[str, Any]) -> str:
  """Returns the last line of a finished run."""
  early = final.get("ended_early")
  return _results(final) + (f"; ended early: {early}" if early else "")


def _results(final: dict[str, Any]) -> str:
  if "eval_mean_average_precision" in final:
    precision = _figure(final["eval_mean_average_precision"], ".2%")
    return (
      f"mean average precision {precision}, "
      f"F1 {_figure(final['eval_f1_macro'], '.2%')} (macro), "
      f"loss {_figure(final['eval_loss'], '.4f')} "
      f"on {final['eval_examples']} examples"
    )
  if "eval_top1" not in final:
    return (
      f"training loss {_figure(final['loss'], '.4f')}, "
      f"top-1 {_figure(final['top1'], '.2%')}"
    )
  top5 = ""
  if "eval_top5" in final:
    top5 = f"top-5 {_figure(final['eval_top5'], '.2%')}, "
  return (
    f"top-1 {_figure(final['eval_top1'], '.2%')}, {top5}"
    f"loss {_figure(final['eval_loss'], '.4f')} "
    f"on {final['eval_examples']} examples"
  )


def _figure(value: float | None, form: str) -> str:
  """Returns a figure as text; null stands for one that is not finite."""
  return "not finite" if value is None else format(value, form)
