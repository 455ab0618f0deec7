# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe fashion_mnist, for all that train by it; needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

import data
from benchmarks.cases import Case
from data.sources import fashion_mnist
from train_loop import config as config_lib
from train_loop.command import flags as flags_lib

RECIPE = "fashion_mnist"


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What the command would train, and on what.

  Attributes:
    values: the flags, as the recipe and what came after it set them.
    config: what the loop is given.
    case: the network, for the data's own mean and deviation.
    train: the training data.
    test: the test data.
  """

  values: flags.FlagValues
  config: config_lib.TrainConfig
  case: Case
  train: data.Source
  test: data.Source

  @property
  def augmentation(self) -> data.Augmentation:
    """What is done to the training images."""
    values: Any = self.values
    names = data.flag_names(data.Augmentation)
    return data.Augmentation(**{name: values[name].value for name in names})

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
  values = flags.FlagValues()
  flags_lib.define(data.DATASETS, values)
  # What absl defines for every program.
  flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
  command = ["train_loop", f"--recipe={RECIPE}", *arguments]
  values(flags_lib.expand_recipe(command))
  train, test = fashion_mnist.load(values.data_dir)
  config = flags_lib.config_from_flags(
    values,
    examples_per_epoch=train.num_examples,
    precision=values.precision,
    jit_compile=values.jit_compile == "true",
  )
  mean, std = train.mean_std()
  case = Case(
    network=values.model,
    model_variant=values.model_variant,
    image_shape=train.image_shape,
    num_classes=train.num_classes,
    batch_size=values.global_batch_size,
    steps=train.num_examples // values.global_batch_size,
    mean=mean,
    std=std,
  )
  return Recipe(values, config, case, train, test)


def of(options: Any, *arguments: str) -> Recipe:
  """Returns the recipe with the seed, the shifts and the epochs of a peer.

  Args:
    options: of the peer's command line.
    arguments: more flags of the command.
  """
  own = [f"--seed={options.seed}", f"--pad_crop={options.pad_crop}"]
  if options.epochs:
    own.append(f"--epochs={options.epochs}")
  return load(*own, *arguments)
