# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Asks a written file, in a process without this package, what we answer.

The answers that count are those of the file itself: a writer may give a file
that opens, and answers noise.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from train_loop.exporting import reader
from train_loop.fields import ConfigError

# What a file of floats must keep.
LARGEST_DIFFERENCE = 1e-4
# Two classes of so equal probabilities may change places by rounding alone.
TIE = 1e-6


@dataclasses.dataclass(frozen=True)
class Question:
  """A batch, and what the network answers.

  Attributes:
    signature: the name of a SavedModel's signature; of no meaning to others.
    batch: [batch, height, width, channels] uint8, or encoded images.
    probabilities: [batch, num_classes] float32, of the network.
    labels: [batch] integers, or None if they are not known.
  """

  signature: str
  batch: np.ndarray | Sequence[bytes]
  probabilities: np.ndarray
  labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How a file's answers differ from the network's.

  Attributes:
    images: the number of images.
    top1_differences: of them, how many have another likeliest class, without
      ties.
    ties: how many have another one whose probability is the same but for
      `TIE`.
    largest_difference: of all probabilities; NaN if one is no number.
    top1: the part of the images that the network names right; None without
      labels.
    top1_of_file: likewise of the file.
  """

  images: int
  top1_differences: int
  ties: int
  largest_difference: float
  top1: float | None = None
  top1_of_file: float | None = None

  @property
  def holds(self) -> bool:
    """Whether the file answers as the network, as far as floats can."""
    return (
      not self.top1_differences
      and self.largest_difference <= LARGEST_DIFFERENCE
    )

  def __str__(self) -> str:
    """The agreement as one line."""
    text = (
      f"top-1 differences {self.top1_differences} of {self.images} images, "
      f"largest probability difference {self.largest_difference:.2g}"
    )
    if self.ties:
      text += f"; {self.ties} ties within {TIE:g} not counted"
    if self.top1 is not None and self.top1_of_file is not None:
      loss = 100 * (self.top1 - self.top1_of_file)
      text += (
        f"; top-1 {self.top1_of_file:.2%}, the network's {self.top1:.2%}: "
        f"{loss + 0.0:.2f} points lost"
      )
    return text


def agreement(
  probabilities: np.ndarray,
  found: np.ndarray,
  labels: np.ndarray | None = None,
) -> Agreement:
  """Compares a file's answers with the network's.

  Args:
    probabilities: [images, num_classes], of the network.
    found: likewise of the file.
    labels: [images], or None if they are not known.

  Returns:
    How they differ.
  """
  if probabilities.shape != found.shape:
    raise ConfigError(
      f"the file gives {list(found.shape)} probabilities, and the network "
      f"{list(probabilities.shape)}"
    )
  rows = np.arange(len(probabilities))
  ours, theirs = probabilities.argmax(axis=1), found.argmax(axis=1)
  differ = ours != theirs
  lead = probabilities[rows, ours] - probabilities[rows, theirs]
  ties = differ & (lead <= TIE)
  return Agreement(
    images=len(probabilities),
    top1_differences=int(np.sum(differ & ~ties)),
    ties=int(np.sum(ties)),
    largest_difference=float(np.max(np.abs(probabilities - found))),
    top1=None if labels is None else float(np.mean(ours == labels)),
    top1_of_file=None if labels is None else float(np.mean(theirs == labels)),
  )


def check(
  export_format: str,
  path: pathlib.Path,
  questions: Sequence[Question],
  class_names: Sequence[str],
) -> tuple[dict[str, Agreement], str]:
  """Asks a file, in a process without this package.

  Args:
    export_format: one of `formats.FORMATS`.
    path: the file or folder.
    questions: what is asked.
    class_names: what the file must hold.

  Returns:
    The agreement of each signature, and the name of the runtime.

  Raises:
    ConfigError: the file cannot be read, or holds other names of classes.
  """
  answers, told = _answers(export_format, path, questions)
  if [" ".join(name.split()) for name in told["class_names"]] != [
    " ".join(name.split()) for name in class_names
  ]:
    raise ConfigError(
      f"{path.name} names the classes {told['class_names']}, and the run "
      f"{list(class_names)}"
    )
  found: dict[str, Agreement] = {}
  for signature in {question.signature: None for question in questions}:
    own = [
      (question, answer)
      for question, answer in zip(questions, answers)
      if question.signature == signature
    ]
    labels = [question.labels for question, _ in own]
    found[signature] = agreement(
      np.concatenate([question.probabilities for question, _ in own]),
      np.concatenate([answer for _, answer in own]),
      None
      if any(label is None for label in labels)
      else np.concatenate([label for label in labels if label is not None]),
    )
  return found, told["runtime"]


def _answers(
  export_format: str, path: pathlib.Path, questions: Sequence[Question]
) -> tuple[list[np.ndarray], dict[str, Any]]:
  """Returns the file's answer to each question, and what it tells of itself."""
  keys = [f"{q.signature}.{index}" for index, q in enumerate(questions)]
  with tempfile.TemporaryDirectory() as folder:
    asked, answered = (os.path.join(folder, n) for n in ("q.npz", "a.npz"))
    arrays: dict[str, Any] = {}
    for key, question in zip(keys, questions):
      if isinstance(question.batch, np.ndarray):
        arrays[key] = question.batch
      else:
        joined = b"".join(question.batch)
        arrays[key] = np.frombuffer(joined, np.uint8)
        ends = np.cumsum([len(image) for image in question.batch])
        arrays[key + reader.ENDS] = ends
    np.savez(asked, **arrays)
    done = subprocess.run(
      [
        *(sys.executable, "-I", reader.__file__),
        *(export_format, os.fspath(path), asked, answered),
      ],
      cwd=folder,
      # The GPU's memory is this process'; and who checks wants no TensorFloat.
      env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
      capture_output=True,
      text=True,
      errors="replace",
    )
    if done.returncode:
      *_, reason = done.stderr.strip().splitlines() or [""]
      raise ConfigError(
        f"{path.name} cannot be read without this package, status "
        f"{done.returncode}: {reason[:300]}"
      )
    with np.load(answered) as found:
      told = json.loads(str(found["told"]))
      return [found[key] for key in keys], told
