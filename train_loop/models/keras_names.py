# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The classifiers of tf.keras.applications: what each family is fed.

A table, because names are checked before TensorFlow is imported. The tests
compare it with what TensorFlow offers, and with each `preprocess_input`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from train_loop.fields import ConfigError

# Of the pixels of ImageNet's training set, red, green, blue, as Keras has them.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """What becomes of pixels in 0..255: `pixels * scale + offset`, per channel.

  Attributes:
    description: for people.
    scale: of each channel, or of all.
    offset: of each channel, or of all.
    bgr: whether blue comes first; then scale and offset are in that order.
  """

  description: str
  scale: tuple[float, ...]
  offset: tuple[float, ...]
  bgr: bool = False


@dataclasses.dataclass(frozen=True)
class Family:
  """What the members of a family have in common.

  Attributes:
    members: their names in tf.keras.applications.
    preprocessing: what they were made for.
    smallest: the smallest height and width of an image.
    any_size: whether one network takes images of several sizes.
    always_inside: whether the preprocessing is a fixed part of the network.
    keras_2_only: whether Keras 3 left them out.
  """

  members: tuple[str, ...]
  preprocessing: Preprocessing
  smallest: int = 32
  any_size: bool = True
  always_inside: bool = False
  keras_2_only: bool = False


RAW = Preprocessing("0..255", (1.0,), (0.0,))
SYMMETRIC = Preprocessing("-1..1: x / 127.5 - 1", (1 / 127.5,), (-1.0,))
SYMMETRIC_128 = Preprocessing("-1..1: x / 128 - 1", (1 / 128,), (-1.0,))
UNIT = Preprocessing("0..1: x / 255", (1 / 255,), (0.0,))
STANDARD = Preprocessing(
  "mean 0, deviation 1: (x / 255 - mean) / deviation, of ImageNet",
  tuple(1 / (255 * d) for d in DEVIATION),
  tuple(-m / d for m, d in zip(MEAN, DEVIATION)),
)
CENTERED_BGR = Preprocessing(
  "BGR: x - mean, of ImageNet",
  (1.0,),
  (-103.939, -116.779, -123.68),
  bgr=True,
)
# By the names of the modes of Keras' `imagenet_utils.preprocess_input`, and two
# that it has no name for.
MODES: dict[str, Preprocessing] = {
  "none": RAW,
  "unit": UNIT,
  "tf": SYMMETRIC,
  "torch": STANDARD,
  "caffe": CENTERED_BGR,
}


def _numbered(name: str, *numbers: str) -> tuple[str, ...]:
  return tuple(f"{name}{number}" for number in numbers)


_REGNETS = tuple(
  f"{size:03}" for size in (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320)
)

FAMILIES: tuple[Family, ...] = (
  Family(
    _numbered("ConvNeXt", "Tiny", "Small", "Base", "Large", "XLarge"), STANDARD
  ),
  Family(_numbered("DenseNet", "121", "169", "201"), STANDARD),
  Family(_numbered("EfficientNetB", *"01234567"), STANDARD, always_inside=True),
  Family(_numbered("EfficientNetV2B", *"0123"), STANDARD),
  Family(_numbered("EfficientNetV2", *"SML"), SYMMETRIC_128),
  Family(("InceptionResNetV2",), SYMMETRIC, smallest=75),
  Family(("InceptionV3",), SYMMETRIC, smallest=75),
  Family(("MobileNet",), SYMMETRIC),
  Family(("MobileNetV2",), SYMMETRIC),
  Family(_numbered("MobileNetV3", "Small", "Large"), SYMMETRIC),
  Family(_numbered("NASNet", "Mobile", "Large"), SYMMETRIC),
  Family(
    (*_numbered("RegNetX", *_REGNETS), *_numbered("RegNetY", *_REGNETS)),
    UNIT,
    keras_2_only=True,
  ),
  Family(_numbered("ResNet", "50", "101", "152"), CENTERED_BGR),
  Family(
    _numbered("ResNetRS", "50", "101", "152", "200", "270", "350", "420"),
    STANDARD,
    keras_2_only=True,
  ),
  Family(_numbered("ResNet", "50V2", "101V2", "152V2"), SYMMETRIC),
  Family(("VGG16", "VGG19"), CENTERED_BGR, any_size=False),
  Family(("Xception",), SYMMETRIC, smallest=71),
)

FAMILY_OF: dict[str, Family] = {
  name: family for family in FAMILIES for name in family.members
}


def require_image_shape(name: str, input_shape: Sequence[int | None]) -> None:
  """Raises a ConfigError unless a network takes images of a shape.

  Args:
    name: One of `FAMILY_OF`.
    input_shape: (height, width, channels); height and width may be None.
  """
  family = FAMILY_OF[name]
  if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
    raise ConfigError(
      f"model keras:{name} takes images (height, width, channels) of 1 or 3 "
      f"channels, got {tuple(input_shape)}; our own models take any number"
    )
  sizes = input_shape[:-1]
  if None in sizes and not family.any_size:
    raise one_size_error(name)
  if any(size is not None and size < family.smallest for size in sizes):
    raise ConfigError(
      f"model keras:{name} takes images from {family.smallest} x "
      f"{family.smallest} pixels on, got {' x '.join(map(str, sizes))}: give a "
      "larger image_size, or take another model"
    )


def one_size_error(name: str) -> ConfigError:
  """Returns the error of a network that takes no images of several sizes."""
  return ConfigError(
    f"model keras:{name} takes images of one size only: leave out "
    "progressive_image_sizes, or take another model"
  )
