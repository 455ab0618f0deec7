# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains one of train_loop's networks on a data set of your own.

    python -m examples.own_dataset runs/own_dataset

Arrays become a source, which gives augmented batches for any step, so that a
run that was stopped goes on with the same bits. In files (image folders, CSV,
npz, TFRecord) no program is needed: docs/data.md.
"""

from __future__ import annotations

import sys

import numpy as np

import data
import train_loop
from data.sources.arrays import from_arrays


def make_source(examples: int, seed: int) -> data.Source:
  """Returns gray images: lines that fall, rise, lie or stand."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 60, [examples, 12, 12], dtype=np.uint8)
  labels = rng.integers(0, 4, examples)
  for image, label in zip(images, labels):
    line = np.zeros([12, 12], bool)
    line[rng.integers(2, 10)] = label >= 2
    line |= np.eye(12, k=int(rng.integers(-3, 4)), dtype=bool) & (label < 2)
    image[np.rot90(line, k=int(label))] += 120
  names = ("falling", "rising", "lying", "standing")
  return from_arrays(images, labels, class_names=names, name="lines")


def main(workdir: str) -> None:
  """Trains to the end, or goes on; prints the top-1 of the evaluation."""
  train, test = make_source(1024, seed=0), make_source(256, seed=1)
  inputs = data.Inputs(
    train,
    test,
    global_batch_size=64,
    augmentation=data.Augmentation(pad_crop=1, erasing_probability=0.25),
  )
  mean, std = train.mean_std()
  model = train_loop.build_model(
    "resnet8",
    input_shape=train.image_shape,
    num_classes=train.num_classes,
    mean=mean,
    std=std,
  )
  config = train_loop.TrainConfig.of(
    total_steps=64,
    examples_per_epoch=train.num_examples,
    global_batch_size=64,
    base_learning_rate=0.8,
    warmup_steps=8,
    ema_decay=0.9,
  )
  final = train_loop.train_and_evaluate(
    model,
    inputs.train_dataset(),
    inputs.eval_dataset(),
    config,
    workdir,
    card={"data": {"class_names": train.class_names}},
  )
  print(f"top-1 {final['eval_top1']:.3f}")


if __name__ == "__main__":
  main(sys.argv[1])
