# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe fashion_mnist, for all that train by it; needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, cast

import data
from benchmarks.cases import Case
from train_loop import config as config_lib
from train_loop.command import compose, flags

RECIPE = "fashion_mnist"


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What the command would train, and on what.

  Attributes:
    planned: the command's own plan.
    case: the network, for the data's own mean and deviation.
  """

  planned: compose.Plan
  case: Case

  @property
  def values(self) -> flags.Values:
    """The flags, as the recipe and what came after it set them."""
    return self.planned.values

  @functools.cached_property
  def config(self) -> config_lib.TrainConfig:
    """The hyperparameters, computed as the recipe says."""
    return self.planned.config_of(compose.choose(self.planned)[0])

  @property
  def train(self) -> data.Source:
    """The training data, which are arrays."""
    return cast(data.Source, self.planned.inputs.train)

  @property
  def test(self) -> data.Source:
    """The test data, likewise."""
    return cast(data.Source, self.planned.inputs.validation)

  @property
  def augmentation(self) -> data.Augmentation:
    """What is done to the training images."""
    return self.planned.inputs.augmentation

  @property
  def half_epochs(self) -> list[int]:
    """The steps of each half of an epoch, to the end of the run."""
    batch = self.config.loop.global_batch_size
    total = self.config.loop.total_steps
    epoch = self.train.num_examples / batch
    count = max(1, round(2 * total / epoch))
    ends = [round(total * n / count) for n in range(count + 1)]
    return [end - start for start, end in zip(ends, ends[1:])]


def load(*arguments: str) -> Recipe:
  """Returns the recipe, with flags after it.

  Args:
    arguments: flags of the command, such as "--seed=1".
  """
  planned = compose.plan(flags.parse(f"--recipe={RECIPE}", *arguments))
  network, loop = planned.network, planned.config.loop
  train = planned.inputs.train
  case = Case(
    network=network["model"],
    model_variant=network["model_variant"],
    image_shape=planned.inputs.image_shape,
    num_classes=network["num_classes"],
    batch_size=loop.global_batch_size,
    steps=train.num_examples // loop.global_batch_size,
    mean=network["mean"],
    std=network["std"],
  )
  return Recipe(planned, case)


def of(options: Any, *arguments: str) -> Recipe:
  """Returns the recipe with what a peer was told: seed, shifts, epochs, logs.

  Args:
    options: of the peer's command line.
    arguments: more flags of the command.
  """
  own = [f"--seed={options.seed}", f"--pad_crop={options.pad_crop}"]
  if options.epochs:
    own.append(f"--epochs={options.epochs}")
  if options.log_every_steps:
    own.append(f"--log_every_steps={options.log_every_steps}")
  return load(*own, *arguments)
