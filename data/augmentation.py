# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is done to training images, as one value.

Importing this module imports no TensorFlow, so that a command can check the
settings before it starts anything slow.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from data.errors import DataError
from data.fields import check, setting
from data.names import AUTO_AUGMENTS

if TYPE_CHECKING:
  import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What is done to training images; the default leaves them as they are.

  In this order: a random resized crop while the image is decoded, padding and
  a random crop, the flip, RandAugment or TrivialAugment, colour jitter and
  noise, and random erasing. Each example's own key decides all that is random.

  Raises:
    DataError: names the setting, its value and what it must be.

  >>> Augmentation(flip=True, pad_crop=4).pad_crop
  4
  >>> Augmentation(pad_crop=-1)
  Traceback (most recent call last):
  ...
  data.errors.DataError: pad_crop must be an integer >= 0, got -1
  """

  random_resized_crop: bool = setting(
    False,
    "Train on a random part of each encoded image: 8% to 100% of its area, "
    "with an aspect ratio from 3/4 to 4/3.",
  )
  flip: bool = setting(
    False, "Flip each training image from left to right in every other epoch."
  )
  pad_crop: int = setting(
    0,
    "Pad each side of a training image with this many black pixels, then crop "
    "the original size at a random place.",
    low=0,
  )
  auto_augment: str = setting(
    "none",
    "Apply random operations to each training image: several of one strength "
    "(rand_augment), or a single one of random strength (trivial_augment).",
    choices=AUTO_AUGMENTS,
  )
  rand_augment_layers: int = setting(
    2,
    "The number of operations that RandAugment applies to an image.",
    low=0,
    high=100,
  )
  rand_augment_magnitude: float = setting(
    9.0,
    "The strength of RandAugment's operations, on the paper's scale.",
    low=0.0,
    high=10.0,
  )
  color_jitter: float = setting(
    0.0,
    "Multiply the hue angle, saturation and brightness of each training image "
    "by random factors within 1 ± this; 0.4 in the paper.",
    low=0.0,
    high=1.0,
  )
  pca_noise: float = setting(
    0.0,
    "The standard deviation of the noise that is added to a training image "
    "along the principal axes of ImageNet's colours; 0.1 in the paper.",
    low=0.0,
    high=1.0,
  )
  erasing_probability: float = setting(
    0.0,
    "The probability that a random rectangle of a training image is erased.",
    low=0.0,
    high=1.0,
  )
  erasing_area: tuple[float, float] = setting(
    (0.02, 0.4),
    "The smallest and the largest part of the image that is erased.",
    flag=False,
  )
  erasing_aspect: tuple[float, float] = setting(
    (0.3, 3.3),
    "The smallest and the largest height / width of the erased rectangle.",
    flag=False,
  )
  erasing_fill: tuple[int, ...] = setting(
    (0,),
    "The value that erased pixels get, 0 to 255: one, or one per channel.",
    flag=False,
  )

  def __post_init__(self) -> None:
    check(self)
    _check_bounds("erasing_area", self.erasing_area, most=1.0)
    _check_bounds("erasing_aspect", self.erasing_aspect)
    if not all(0 <= value <= 255 for value in self.erasing_fill):
      raise DataError(
        f"erasing_fill must be values in 0..255, got {self.erasing_fill}"
      )

  def require_fits(self, image_shape: tuple[int, int, int]) -> None:
    """Checks the settings that depend on the images.

    Args:
      image_shape: height, width and channels of the training images.

    Raises:
      DataError: a setting does not fit these images.
    """
    height, width, channels = image_shape
    side = min(height, width)
    if self.pad_crop > side:
      raise DataError(
        f"pad_crop must be at most {side} for images of {height} by {width},"
        f" got {self.pad_crop}"
      )
    of_colors = {
      "auto_augment": self.auto_augment != "none",
      "color_jitter": self.color_jitter,
      "pca_noise": self.pca_noise,
    }
    if channels not in (1, 3) and any(of_colors.values()):
      names = " and ".join(name for name, is_on in of_colors.items() if is_on)
      raise DataError(
        f"{names} must be left out for images of {channels} channels: gray or"
        " RGB is needed"
      )
    if self.pca_noise and channels == 1:
      raise DataError(
        f"pca_noise must be 0 for gray images, got {self.pca_noise}"
      )
    if len(self.erasing_fill) not in (1, channels):
      raise DataError(
        f"erasing_fill must be one value or {channels}, got {self.erasing_fill}"
      )

  def draws(
    self, seed: int, epochs: tf.Tensor, indices: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Draws what must be known before an image is decoded.

    Args:
      seed: the run's seed, in [0, 2^63).
      epochs: [batch] int64.
      indices: [batch] int64, the examples' places in their source.

    Returns:
      {"key": [batch] uint64}; "flipped", [batch] bool, if `flip` is on; and
      "crop", [batch, attempts, 4] float32, if `random_resized_crop` is on.
    """
    from data.images import augment, decode

    drawn = {"key": augment.example_keys(seed, epochs, indices)}
    if self.flip:
      drawn["flipped"] = augment.alternating_flips(seed, epochs, indices)
    if self.random_resized_crop:
      drawn["crop"] = decode.crop_draws(drawn["key"])
    return drawn

  def apply(
    self, images: tf.Tensor, keys: tf.Tensor, flipped: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Augments a batch of decoded images.

    Args:
      images: [batch, height, width, channels] uint8.
      keys: [batch] uint64, from `draws`.
      flipped: [batch] bool, the images to flip; None if that is already done.

    Returns:
      The images, shape and dtype unchanged.
    """
    from data.images import augment, auto_augment, color

    images = augment.crop_and_flip(
      images, keys, pad_crop=self.pad_crop, flipped=flipped
    )
    if self.auto_augment == "rand_augment":
      images = auto_augment.rand_augment(
        images,
        keys,
        num_layers=self.rand_augment_layers,
        magnitude=self.rand_augment_magnitude,
      )
    elif self.auto_augment == "trivial_augment":
      images = auto_augment.trivial_augment_wide(images, keys)
    images = color.augment_color(
      images, keys, color_jitter=self.color_jitter, pca_noise=self.pca_noise
    )
    return augment.random_erasing(
      images,
      keys,
      erasing_probability=self.erasing_probability,
      erasing_area=self.erasing_area,
      erasing_aspect=self.erasing_aspect,
      erasing_fill=self.erasing_fill,
    )


def _check_bounds(
  name: str, bounds: tuple[float, float], *, most: float = math.inf
) -> None:
  low, high = bounds
  if not (0 < low <= high <= most and math.isfinite(high)):
    raise DataError(
      f"{name} must be (low, high) with 0 < low <= high"
      f"{' <= 1' if most == 1 else ''}, got {bounds}"
    )
