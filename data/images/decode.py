# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From an encoded image to pixels of one size: crop, decode, resize, flip.

Reads JPEG, PNG, BMP, the first picture of a GIF, and the PPM and PGM that
`--mode=convert` writes; recognised by content, not by name. Gray, palette,
alpha and CMYK become gray or RGB as asked. Only the crop of a JPEG, PPM or PGM
is decoded. A crop of at least twice the size asked for is first reduced by 2, 4
or 8, a JPEG in its cosine transform and others by the mean of squares, so that
the bilinear sampling that follows uses every pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from data.images import netpbm
from data.images.random_bits import (
  Purpose,
  between,
  random_bits,
  uniform,
)

CROP_ATTEMPTS = 10
# An image that declares more is refused before it is decoded, as by Pillow.
# PNG, BMP and GIF are refused by TensorFlow, from 2^29 bytes on: 3 a pixel.
MOST_PIXELS = 2**29 // 3
_REDUCTIONS = (2, 4, 8)

# From [height, width] to [top, left, height, width], all int32.
Box = Callable[[tf.Tensor], tf.Tensor]


def crop_draws(
  keys: tf.Tensor,
  *,
  crop_area: tuple[float, float] = (0.08, 1.0),
  crop_aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
  """Returns the random numbers that `random_resized_crop` needs.

  area is uniform in crop_area, log(aspect) uniform between the logarithms of
  crop_aspect. They are drawn for a whole batch at once, since drawing for one
  example at a time would take as long as decoding.

  Args:
    keys: [batch] uint64, from `augment.example_keys`.
    crop_area: the smallest and the largest part of the image's area.
    crop_aspect: the smallest and the largest width / height.

  Returns:
    [batch, CROP_ATTEMPTS, 4] float32: sqrt(area / aspect) and
    sqrt(area * aspect), the crop's height and width if the image's area is 1;
    and its place, top and left, in [0, 1).
  """
  attempts = tf.range(CROP_ATTEMPTS, dtype=tf.int64)[:, tf.newaxis]
  draws = tf.range(4, dtype=tf.int64)
  keys = keys[:, tf.newaxis, tf.newaxis]
  bits = random_bits(keys, Purpose.RESIZED_CROP, draws, attempts)
  area, aspect, top, left = tf.unstack(bits, axis=2)
  area = between(crop_area, area)
  low, high = (math.log(bound) for bound in crop_aspect)
  aspect = tf.exp(between((low, high), aspect))
  sides = tf.sqrt(area / aspect), tf.sqrt(area * aspect)
  return tf.cast(
    tf.stack([*sides, uniform(top), uniform(left)], axis=2), tf.float32
  )


def random_resized_crop(
  contents: tf.Tensor,
  draws: tf.Tensor,
  *,
  image_size: int,
  channels: int,
  flipped: tf.Tensor | None = None,
) -> tf.Tensor:
  """Cuts a random part out of the image, and resizes it to a square.

  The first of ten draws of area and aspect that fits is taken; if none does,
  the largest central square.

  Args:
    contents: [] string, the encoded image.
    draws: [CROP_ATTEMPTS, 4] float32, from `crop_draws`.
    image_size: height and width of the result.
    channels: 1 or 3.
    flipped: [] bool, whether to flip it from left to right; None does not.

  Returns:
    [image_size, image_size, channels] uint8.

  Reference: Szegedy et al. 2015 (arXiv 1409.4842), section 6; He et al. 2018,
    section 2.1.
  """

  def box(size: tf.Tensor) -> tf.Tensor:
    return random_box(size, draws)

  return _crop_and_resize(contents, box, image_size, channels, flipped)


def central_crop(
  contents: tf.Tensor,
  *,
  image_size: int,
  channels: int,
  eval_resize: int = 0,
  flipped: tf.Tensor | None = None,
) -> tf.Tensor:
  """Cuts the middle out of the image, as evaluation sees it.

  Cuts the central image_size / eval_resize of the shorter side and resizes it
  to image_size. Resizing the shorter side to `eval_resize` and then cutting the
  central image_size gives the same, but for the exact places at which pixels
  are sampled, and is more work.

  Args:
    contents: [] string, the encoded image.
    image_size: height and width of the result.
    channels: 1 or 3.
    eval_resize: as above, at least image_size; 0 is image_size, which gives
      the largest central square.
    flipped: [] bool, whether to flip it from left to right; None does not.

  Returns:
    [image_size, image_size, channels] uint8.

  Reference: He et al. 2018, section 2.1 (shorter side 256, central 224).
  """
  box = _central_box(image_size, eval_resize)
  return _crop_and_resize(contents, box, image_size, channels, flipped)


def central_crop_of_pixels(
  images: tf.Tensor, *, image_size: int, eval_resize: int = 0
) -> tf.Tensor:
  """Cuts the middle out of decoded images, by `central_crop`'s operations.

  Gives what `central_crop` gives for the encoded images, to the bit; but a JPEG
  of at least twice the size, which that reduces in its cosine transform.

  Args:
    images: [batch, height, width, channels] uint8, of any size.
    image_size: height and width of the result.
    eval_resize: as of `central_crop`.

  Returns:
    [batch, image_size, image_size, channels] uint8.
  """
  window = _central_box(image_size, eval_resize)(tf.shape(images)[1:3])
  crop = tf.slice(
    images,
    tf.concat([[0], window[:2], [0]], 0),
    tf.concat([[-1], window[2:], [-1]], 0),
  )
  reduced = _reduced(window, image_size, lambda ratio: _means(crop, ratio))
  shape = [images.shape[0], None, None, images.shape[-1]]
  return _sampled(tf.ensure_shape(reduced, shape), image_size)


def _central_box(image_size: int, eval_resize: int) -> Box:
  """Returns the box that evaluation cuts out."""
  part = image_size / (eval_resize or image_size)

  def box(size: tf.Tensor) -> tf.Tensor:
    shorter = tf.cast(tf.reduce_min(size), tf.float32)
    side = tf.maximum(tf.cast(tf.round(shorter * part), tf.int32), 1)
    return tf.concat([(size - side) // 2, [side, side]], 0)

  return box


def decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
  """Decodes the whole image.

  Args:
    contents: [] string, a JPEG, PNG, BMP, GIF (its first picture is taken), or
      an image that `netpbm.encode` wrote.
    channels: 1 or 3.

  Returns:
    [height, width, channels] uint8.

  Raises:
    tf.errors.InvalidArgumentError: it is truncated, none of these, or declares
      more than MOST_PIXELS.
  """

  def of_pixels() -> tf.Tensor:
    window = tf.pad(netpbm.shape(contents)[:2], [[2, 0]])
    return _with_channels(netpbm.decode_and_crop(contents, window), channels)

  def of_file() -> tf.Tensor:
    size = tf.cond(
      tf.io.is_jpeg(contents),
      lambda: tf.io.extract_jpeg_shape(contents)[:2],
      lambda: tf.constant([1, 1]),
    )
    with tf.control_dependencies([_few_pixels(size)]):
      return _decode_file(tf.identity(contents), channels)

  return tf.cond(netpbm.is_netpbm(contents), of_pixels, of_file)


def _decode_file(contents: tf.Tensor, channels: int) -> tf.Tensor:
  """Decodes the formats that TensorFlow knows: JPEG, PNG, BMP and GIF."""
  # TensorFlow converts JPEG and PNG to the channels asked for, BMP and GIF not.
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
  """Returns the number of channels that the image is stored with; eager only.

  Args:
    contents: [] string, an image that `decode` takes.
  """
  if tf.io.is_jpeg(contents):
    return int(tf.io.extract_jpeg_shape(contents)[2])
  if netpbm.is_netpbm(contents):
    return int(netpbm.shape(contents)[2])
  return tf.io.decode_image(contents, expand_animations=False).shape[-1]


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
  """Converts gray or RGB, with or without alpha, to gray or RGB."""
  height, width, stored = tf.unstack(tf.shape(image))

  def converted() -> tf.Tensor:
    colors = image[..., : tf.where(stored < 3, 1, 3)]
    rgb = tf.broadcast_to(colors, [height, width, 3])
    if channels == 3:
      return rgb
    return tf.image.rgb_to_grayscale(tf.ensure_shape(rgb, [None, None, 3]))

  image = tf.cond(tf.equal(stored, channels), lambda: image, converted)
  return tf.ensure_shape(image, [None, None, channels])


def random_box(size: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
  """Returns the box that `random_resized_crop` cuts out.

  It uses few operations, since it runs for one image at a time.

  Args:
    size: [height, width] of the image, int32.
    draws: [CROP_ATTEMPTS, 4] float32, from `crop_draws`.

  Returns:
    [top, left, height, width] int32.
  """
  parts, places = tf.split(draws, 2, axis=1)
  area = tf.cast(tf.reduce_prod(size), tf.float32)
  sides = tf.cast(tf.round(parts * tf.sqrt(area)), tf.int32)
  fits = tf.reduce_all((sides > 0) & (sides <= size), axis=1)
  first = tf.argmax(fits)
  found = tf.reduce_any(fits)
  sides = tf.where(found, tf.gather(sides, first), tf.reduce_min(size))
  last = size - sides
  drawn = tf.cast(last + 1, tf.float32) * tf.gather(places, first)
  drawn = tf.minimum(tf.cast(drawn, tf.int32), last)
  return tf.concat([tf.where(found, drawn, last // 2), sides], 0)


def _crop_and_resize(
  contents: tf.Tensor,
  box: Box,
  image_size: int,
  channels: int,
  flipped: tf.Tensor | None,
) -> tf.Tensor:
  """Cuts the box out, reduces it, samples it bilinearly, and flips it."""

  def of_jpeg() -> tf.Tensor:
    window = box(_few_pixels(tf.io.extract_jpeg_shape(contents)[:2]))
    return _reduced(
      window,
      image_size,
      lambda ratio: tf.io.decode_and_crop_jpeg(
        contents, window // ratio, channels=channels, ratio=ratio
      ),
    )

  def of_pixels() -> tf.Tensor:
    window = box(netpbm.shape(contents)[:2])
    crop = _with_channels(netpbm.decode_and_crop(contents, window), channels)
    return _reduced(window, image_size, lambda ratio: _mean(crop, ratio))

  def of_others() -> tf.Tensor:
    image = _decode_file(contents, channels)
    window = box(tf.shape(image)[:2])
    crop = tf.slice(
      image, tf.pad(window[:2], [[0, 1]]), tf.concat([window[2:], [-1]], 0)
    )
    return _reduced(window, image_size, lambda ratio: _mean(crop, ratio))

  crop = tf.cond(
    tf.io.is_jpeg(contents),
    of_jpeg,
    lambda: tf.cond(netpbm.is_netpbm(contents), of_pixels, of_others),
  )
  crop = tf.ensure_shape(crop, [None, None, channels])
  image = _sampled(crop, image_size)
  if flipped is None:
    return image
  return tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)


def _few_pixels(size: tf.Tensor) -> tf.Tensor:
  """Returns the height and width of an image; raises if they are too large."""
  pixels = tf.reduce_prod(tf.cast(size, tf.int64))
  # No tf.debugging.Assert, which a graph makes a branch of its own.
  allowed = tf.raw_ops.Assert(
    condition=pixels <= MOST_PIXELS,
    data=[f"the image declares more than {MOST_PIXELS} pixels"],
    summarize=1,
  )
  with tf.control_dependencies([] if allowed is None else [allowed]):
    return tf.identity(size)


def _reduced(
  window: tf.Tensor, image_size: int, crop_at: Callable[[int], tf.Tensor]
) -> tf.Tensor:
  """Returns the crop, reduced as far as image_size allows."""
  allowed = tf.constant(_REDUCTIONS) * image_size <= tf.reduce_min(window[2:])

  def strongest() -> tf.Tensor:
    return tf.switch_case(
      tf.reduce_sum(tf.cast(allowed, tf.int32)) - 1,
      [lambda ratio=ratio: crop_at(ratio) for ratio in _REDUCTIONS],
    )

  # Most crops are not reduced, and a switch of many branches costs more.
  return tf.cond(allowed[0], strongest, lambda: crop_at(1))


def _mean(crop: tf.Tensor, ratio: int) -> tf.Tensor:
  """Returns the mean of each square of `ratio` by `ratio` pixels."""
  return _means(crop[tf.newaxis], ratio)[0]


def _means(crops: tf.Tensor, ratio: int) -> tf.Tensor:
  """As `_mean`, of a batch."""
  if ratio == 1:
    return crops
  pixels = tf.cast(crops, tf.float32)
  means = tf.nn.avg_pool2d(pixels, ratio, ratio, "VALID")
  return tf.cast(means + 0.5, tf.uint8)


def _sampled(crop: tf.Tensor, image_size: int) -> tf.Tensor:
  """Samples one crop or a batch of them bilinearly."""
  # From float32 a CPU samples the same bits in two thirds of the time.
  pixels = tf.cast(crop, tf.float32)
  resized = tf.image.resize(pixels, [image_size, image_size])
  return tf.cast(resized + 0.5, tf.uint8)
