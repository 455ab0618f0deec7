# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The networks, image shapes and batch sizes to measure, by name."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
  """A network and the batch that it is trained on.

  Attributes:
    network: a name that `train_loop.models` takes, or "dense": one small layer.
    model_variant: the ResNet variant of He et al. 2018.
    image_shape: (height, width, channels).
    num_classes: the number of logits.
    batch_size: images per step.
    steps: a first guess at the number of steps to time at once.
    mean: the mean pixel of each channel, which the network subtracts.
    std: the standard deviation of each channel, which it divides by.
  """

  network: str
  model_variant: str
  image_shape: tuple[int, int, int]
  num_classes: int
  batch_size: int
  steps: int
  mean: tuple[float, ...] = (127.5, 127.5, 127.5)
  std: tuple[float, ...] = (64.0, 64.0, 64.0)

  def batch(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns one batch: images uint8 [batch, h, w, c], labels int32 [batch].

    The pixels are noise: the cost of a step does not depend on them.
    """
    rng = np.random.default_rng(0)
    shape = (self.batch_size, *self.image_shape)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = rng.integers(0, self.num_classes, self.batch_size, dtype=np.int32)
    return images, labels


CASES: dict[str, Case] = {
  **{
    f"resnet{depth}": Case(
      network=f"resnet{depth}",
      model_variant="b",
      image_shape=(32, 32, 3),
      num_classes=10,
      batch_size=128,
      steps=4,
    )
    for depth in (20, 32, 44, 56, 110)
  },
  "resnet50": Case(
    network="resnet50",
    model_variant="b",
    image_shape=(128, 128, 3),
    num_classes=1000,
    batch_size=16,
    steps=2,
  ),
  # The paper's network, on a GPU that it fills.
  "resnet50_d": Case(
    network="resnet50",
    model_variant="d",
    image_shape=(224, 224, 3),
    num_classes=1000,
    batch_size=256,
    steps=2,
  ),
  # Those that the paper names besides ResNet-50, as Keras builds them.
  **{
    name: Case(
      network=network,
      model_variant="b",
      image_shape=(128, 128, 3),
      num_classes=1000,
      batch_size=16,
      steps=2,
    )
    for name, network in (
      ("mobilenet", "keras:MobileNet"),
      ("inception_v3", "keras:InceptionV3"),
    )
  },
  # The network of the recipe of that name.
  "fashion_mnist": Case(
    network="resnet8",
    model_variant="d",
    image_shape=(28, 28, 1),
    num_classes=10,
    batch_size=256,
    steps=8,
    mean=(127.5,),
    std=(64.0,),
  ),
  # Almost no arithmetic, so that the time is a step's fixed cost.
  "dense": Case(
    network="dense",
    model_variant="b",
    image_shape=(2, 2, 1),
    num_classes=2,
    batch_size=2,
    steps=1000,
    mean=(127.5,),
    std=(64.0,),
  ),
}
