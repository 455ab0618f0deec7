# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trained run answers the files of its evaluation data.

    python -m benchmarks.peers.answers --task=predict --folder=FOLDER

Task `predict`: as mode predict does. Task `evaluate`: as mode eval does without
a cache. FOLDER holds the files in `files`, and a run on them in `run`.
"""

from __future__ import annotations

import argparse
import pathlib

from benchmarks import jpegs
from benchmarks.peers import child
from train_loop.command import compose, flags, trained_model

_IMAGES = len(jpegs.CLASSES) * jpegs.FILES_PER_CLASS


def measured(options: argparse.Namespace) -> child.Measure:
  """Times passes over the evaluation data."""
  folder = pathlib.Path(options.folder)
  values = flags.parse(
    "--mode=eval", f"--workdir={folder / 'run'}", "--cache=none"
  )
  card = trained_model.require_card(values.workdir)
  trained_model.adopt_flags(card, values)
  config, choice = compose.as_evaluated(card, values)
  compose.import_tensorflow(choice)
  trained = trained_model.load(values.workdir, dtype=choice.precision)

  # These import TensorFlow, which is set by now.
  from train_loop import evaluation
  from train_loop.modes import predict

  def answer(passes: int) -> None:
    images = predict.find([str(folder / "files" / "val")], "") * passes
    for _ in predict.answer(trained, images, config, top=1):
      pass

  evaluate = evaluation.make_evaluate(
    trained.model, compose.make_inputs(values).eval_dataset(), config
  )

  def evaluate_often(passes: int) -> None:
    for _ in range(passes):
      evaluate()

  run = answer if options.task == "predict" else evaluate_often
  run(1)
  timed = child.Timed(run, steps=1, seconds=options.seconds)

  def measure() -> dict[str, float]:
    return child.epoch_rate(_IMAGES, timed())

  return measure


if __name__ == "__main__":
  child.main(__doc__, {"predict": measured, "evaluate": measured})
