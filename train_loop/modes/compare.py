# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares runs: flags, curves, results, and whose mistakes they make."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

import data
from train_loop import machine, pages
from train_loop.command import comparison, compose, flags, reporting
from train_loop.fields import ConfigError
from train_loop.pages import charts
from train_loop.workdir import run_card
from train_loop.workdir.writing import writing

PAGE = "compare.html"
# Images that one run gets right and another wrong, of each kind.
_SHOWN = 12
# Classes of which the page says who gets more right.
_CLASSES = 10


def run(values: flags.Values) -> int:
  """Prints how runs differ, and writes a page to workdir.

  Args:
    values: the flags' values; without workdir the page is written to the
      current folder.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: there are fewer than two runs, or one cannot be read.
  """
  folders = list(dict.fromkeys(values.runs))
  if len(folders) < 2:
    raise ConfigError(
      "runs must be two or more workdirs: train_loop --mode=compare runs/a "
      f"runs/b, got {' '.join(folders) or 'none'}"
    )
  runs = comparison.read(folders)
  pairs = [comparison.pair(runs[0], other) for other in runs[1:]]
  print(comparison.as_text(runs, pairs))
  folder = pathlib.Path(values.workdir or ".")
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
  pages.write(
    folder / PAGE,
    "compare.html",
    names=[run.name for run in runs],
    differences=comparison.differences(runs),
    results=comparison.results(runs),
    curves=charts.curves(runs),
    pair_heads=comparison.PAIR_HEADS,
    pairs=_shown(runs[0], pairs),
    missing=[each for each in pairs if isinstance(each, str)],
  )
  print(f"\n{folder / PAGE} has the curves and the mistakes")
  return 0


def _shown(
  first: comparison.Run, pairs: Sequence[comparison.Pair | str]
) -> list[dict[str, Any]]:
  """Returns what the page shows of each pair."""
  known = [each for each in pairs if isinstance(each, comparison.Pair)]
  if not known:
    return []
  source, values, reason = _images(first)
  shown = []
  for each in known:
    kinds = []
    for right, wrong, found, row in (
      (each.first, each.second, each.only_first, 1),
      (each.second, each.first, each.only_second, 0),
    ):
      examples: list[reporting.Example] = []
      if source is not None and wrong.predictions is not None:
        evaluated = reporting.Evaluated(
          source,
          values,
          wrong.predictions.index,
          wrong.predictions.logits,
          None,
          {},
        )
        places = each.places[row][found[:_SHOWN]]
        examples = evaluated.examples(places.tolist())
      kinds.append((right.name, wrong.name, len(found), examples))
    shown.append(
      {
        "row": each.row(),
        "kinds": kinds,
        "classes": _by_class(each),
        "reason": reason,
      }
    )
  return shown


def _by_class(pair: comparison.Pair) -> list[tuple[str, int, int]]:
  """Returns the classes in which two runs differ most, and by how many."""
  assert pair.first.predictions is not None
  labels = pair.first.predictions.label[pair.places[0]]
  count = pair.first.predictions.logits.shape[1]
  names = run_card.class_names(dict(pair.first.card))
  one, other = (
    np.bincount(labels[found], minlength=count)
    for found in (pair.only_first, pair.only_second)
  )
  order = np.argsort(-np.abs(one - other), kind="stable")[:_CLASSES]
  return [
    (names[k] if names else str(k), int(one[k]), int(other[k]))
    for k in order
    if one[k] or other[k]
  ]


def _images(
  run: comparison.Run,
) -> tuple[data.AnySource | None, flags.Values, str]:
  """Returns the images that a run was evaluated on, if they can be loaded.

  Returns:
    The images, or None; the run's flags; and why there are no images.
  """
  values = flags.parse()
  flags.adopt(run.card["flags"], values)
  try:
    names = run_card.class_names(dict(run.card))
    _, source = compose.load_sources(values, names)
    if source.fingerprint() != run.card["data"]["test_sha256"]:
      raise data.DataError("they have changed since the run")
  except (ConfigError, data.DataError, OSError) as error:
    reason = f"No pictures: the images cannot be loaded ({error})."
    logging.warning("%s", reason)
    return None, values, reason
  machine.import_tensorflow(onednn=True)  # It decodes images.
  return source, values, ""
