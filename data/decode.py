# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From an encoded image to pixels of one size: crop, decode, resize.

JPEG, PNG, BMP and GIF (its first picture), told by the content and not by the
name; gray, palette, alpha and CMYK become gray or RGB as asked. Only the
crop of a JPEG is decoded. Where a crop is at least twice the size asked for, it
is first reduced by 2, 4 or 8, a JPEG in its cosine transform and others by the
mean of squares, so that bilinear sampling, which comes last, misses no pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from data.random_bits import Purpose, random_bits, uniform

CROP_ATTEMPTS = 10
_REDUCTIONS = (1, 2, 4, 8)

# From height and width to (top, left, height, width), all [] int32.
Box = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]


def crop_draws(keys: tf.Tensor) -> tf.Tensor:
  """The random numbers that `random_resized_crop` needs.

  Drawn for a whole batch at once: for one example at a time hashing would cost
  as much as decoding.

  Args:
    keys: [batch] uint64, from `augment.example_keys`.

  Returns:
    [batch, CROP_ATTEMPTS, 4] float32 in [0, 1): area, aspect, top, left.
  """
  attempts = tf.range(CROP_ATTEMPTS, dtype=tf.int64)[:, tf.newaxis]
  draws = tf.range(4, dtype=tf.int64)
  keys = keys[:, tf.newaxis, tf.newaxis]
  bits = random_bits(keys, Purpose.RESIZED_CROP, draws, attempts)
  return tf.cast(uniform(bits), tf.float32)


def random_resized_crop(
  contents: tf.Tensor,
  draws: tf.Tensor,
  *,
  image_size: int,
  channels: int,
  crop_area: tuple[float, float] = (0.08, 1.0),
  crop_aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
  """A random part of the image, resized to a square.

  area = uniform(crop_area) * height * width; log(width / height) is uniform
  between the logarithms of crop_aspect. The first of ten draws that fits is
  taken; where none does, the largest central square.

  Args:
    contents: [] string, the encoded image.
    draws: [CROP_ATTEMPTS, 4] float32, from `crop_draws`.
    image_size: height and width of the result.
    channels: 1 or 3.
    crop_area: part of the image's area, least and greatest.
    crop_aspect: width / height, least and greatest.

  Returns:
    [image_size, image_size, channels] uint8.

  Raises:
    ValueError: where a range is not one.

  Reference: Szegedy et al. 2015 (arXiv 1409.4842), section 6; He et al. 2018,
    section 2.1.
  """
  if not 0 < crop_area[0] <= crop_area[1] <= 1:
    raise ValueError(
      "crop_area must be (low, high) with 0 < low <= high <= 1,"
      f" got {crop_area}"
    )
  if not 0 < crop_aspect[0] <= crop_aspect[1]:
    raise ValueError(
      f"crop_aspect must be (low, high) with 0 < low <= high, got {crop_aspect}"
    )

  def box(height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return random_box(height, width, draws, crop_area, crop_aspect)

  return _crop_and_resize(contents, box, image_size, channels)


def central_crop(
  contents: tf.Tensor, *, image_size: int, channels: int, eval_resize: int = 0
) -> tf.Tensor:
  """The middle of the image, as evaluation sees it.

  Resizing the shorter side to `eval_resize` and cutting the central image_size
  out of that is, up to where pixels are sampled, cutting the central
  image_size / eval_resize of the shorter side and resizing that: less work.

  Args:
    contents: [] string, the encoded image.
    image_size: height and width of the result.
    channels: 1 or 3.
    eval_resize: what the shorter side is taken to be, at least image_size; 0 is
      image_size: the largest central square.

  Returns:
    [image_size, image_size, channels] uint8.

  Raises:
    ValueError: where eval_resize is too small.

  Reference: He et al. 2018, section 2.1 (shorter side 256, central 224).
  """
  if eval_resize and eval_resize < image_size:
    raise ValueError(
      f"eval_resize must be 0 or at least image_size ({image_size}),"
      f" got {eval_resize}"
    )
  part = image_size / (eval_resize or image_size)

  def box(height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, ...]:
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.maximum(tf.cast(tf.round(shorter * part), tf.int32), 1)
    return (height - side) // 2, (width - side) // 2, side, side

  return _crop_and_resize(contents, box, image_size, channels)


def decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
  """Decodes the whole image.

  Args:
    contents: [] string, a JPEG, PNG, BMP or GIF (of which the first picture).
    channels: 1 or 3.

  Returns:
    [height, width, channels] uint8.

  Raises:
    tf.errors.InvalidArgumentError: where it is truncated or something else.
  """
  # JPEG and PNG are converted while they are decoded; BMP and GIF are not.
  is_bmp = tf.equal(tf.strings.substr(contents, 0, 2), b"BM")
  is_gif = tf.equal(tf.strings.substr(contents, 0, 3), b"GIF")

  def as_it_is() -> tf.Tensor:
    image = tf.io.decode_image(contents, expand_animations=False)
    return _with_channels(image, channels)

  def converted() -> tf.Tensor:
    return tf.io.decode_image(
      contents, channels=channels, expand_animations=False
    )

  image = tf.cond(is_bmp | is_gif, as_it_is, converted)
  return tf.ensure_shape(image, [None, None, channels])


def stored_channels(contents: tf.Tensor) -> int:
  """Returns the channels of the image as it is stored; eager only.

  Args:
    contents: [] string, an image that `decode` takes.
  """
  if tf.io.is_jpeg(contents):
    return int(tf.io.extract_jpeg_shape(contents)[2])
  return tf.io.decode_image(contents, expand_animations=False).shape[-1]


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
  """Turns gray or RGB, with or without alpha, into gray or RGB."""
  colors = image[..., : tf.where(tf.shape(image)[-1] < 3, 1, 3)]
  rgb = tf.broadcast_to(colors, [*tf.unstack(tf.shape(image)[:2]), 3])
  if channels == 3:
    return rgb
  return tf.image.rgb_to_grayscale(tf.ensure_shape(rgb, [None, None, 3]))


def random_box(
  height: tf.Tensor,
  width: tf.Tensor,
  draws: tf.Tensor,
  crop_area: tuple[float, float],
  crop_aspect: tuple[float, float],
) -> tuple[tf.Tensor, ...]:
  area, aspect, top, left = tf.unstack(draws, axis=1)
  area = crop_area[0] + (crop_area[1] - crop_area[0]) * area
  area *= tf.cast(height * width, tf.float32)
  low, high = (tf.math.log(tf.constant(bound)) for bound in crop_aspect)
  aspect = tf.exp(low + (high - low) * aspect)
  widths = tf.cast(tf.round(tf.sqrt(area * aspect)), tf.int32)
  heights = tf.cast(tf.round(tf.sqrt(area / aspect)), tf.int32)
  fits = (heights <= height) & (widths <= width) & (heights > 0) & (widths > 0)
  first = tf.argmax(fits)
  side = tf.minimum(height, width)
  found = fits[first]
  box_height = tf.where(found, heights[first], side)
  box_width = tf.where(found, widths[first], side)

  def place(room: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    drawn = tf.cast(tf.cast(room + 1, tf.float32) * draw, tf.int32)
    return tf.where(found, tf.minimum(drawn, room), room // 2)

  return (
    place(height - box_height, top[first]),
    place(width - box_width, left[first]),
    box_height,
    box_width,
  )


def _crop_and_resize(
  contents: tf.Tensor, box: Box, image_size: int, channels: int
) -> tf.Tensor:
  """Cuts the box out, reduces it, and samples it bilinearly."""

  def of_jpeg() -> tf.Tensor:
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(contents))
    window = tf.stack(box(height, width))
    return _reduced(
      window,
      image_size,
      lambda ratio: tf.io.decode_and_crop_jpeg(
        contents, window // ratio, channels=channels, ratio=ratio
      ),
    )

  def of_others() -> tf.Tensor:
    image = decode(contents, channels)
    window = tf.stack(box(*tf.unstack(tf.shape(image)[:2])))
    top, left, height, width = tf.unstack(window)
    crop = image[top : top + height, left : left + width]
    return _reduced(window, image_size, lambda ratio: _mean(crop, ratio))

  crop = tf.cond(tf.io.is_jpeg(contents), of_jpeg, of_others)
  crop = tf.ensure_shape(crop, [None, None, channels])
  resized = tf.image.resize(crop, [image_size, image_size])
  return tf.cast(resized + 0.5, tf.uint8)


def _reduced(
  window: tf.Tensor, image_size: int, crop_at: Callable[[int], tf.Tensor]
) -> tf.Tensor:
  """Returns the crop at the strongest reduction that leaves image_size."""
  shorter = tf.minimum(window[2], window[3])
  allowed = tf.constant(_REDUCTIONS) * image_size <= shorter
  branch = tf.maximum(tf.reduce_sum(tf.cast(allowed, tf.int32)) - 1, 0)
  return tf.switch_case(
    branch, [lambda ratio=ratio: crop_at(ratio) for ratio in _REDUCTIONS]
  )


def _mean(crop: tf.Tensor, ratio: int) -> tf.Tensor:
  """The mean of each square of `ratio` by `ratio` pixels."""
  if ratio == 1:
    return crop
  pixels = tf.cast(crop, tf.float32)[tf.newaxis]
  means = tf.nn.avg_pool2d(pixels, ratio, ratio, "VALID")[0]
  return tf.cast(means + 0.5, tf.uint8)
