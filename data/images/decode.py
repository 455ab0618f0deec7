# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From an encoded image to pixels of one size: crop, decode, resize, flip.

Reads JPEG, PNG, BMP, and the PPM and PGM that `--mode=convert` writes, as graph
operations; other formats through `pillow_reader`, if that is asked for. All are
recognised by content, not by name. Gray, palette and CMYK become gray or RGB as
asked, what is transparent is laid on white, and pictures are turned upright as
their EXIF orientation says. Only the crop of a JPEG, PPM or PGM is decoded. A
crop of at least twice the size asked for is first reduced by 2, 4 or 8, a JPEG
in its cosine transform and others by the mean of squares, so that the bilinear
sampling that follows uses every pixel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from data.images import formats, lossless, netpbm, orientation
from data.images.random_bits import (
  Purpose,
  between,
  random_bits,
  uniform,
)

CROP_ATTEMPTS = 10
_REDUCTIONS = (2, 4, 8)

# From [height, width] to [top, left, height, width], all int32.
Box = Callable[[tf.Tensor], tf.Tensor]
# Decodes what the graph's operations do not, as `pillow_reader.read`.
Others = Callable[[tf.Tensor, int, formats.Decoding], tf.Tensor]


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
  decoding: formats.Decoding = formats.DEFAULT,
  others: Others | None = None,
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
    decoding: how it becomes pixels.
    others: what decodes an image of another format; None refuses it.

  Returns:
    [image_size, image_size, channels] uint8.

  Reference: Szegedy et al. 2015 (arXiv 1409.4842), section 6; He et al. 2018,
    section 2.1.
  """

  def box(size: tf.Tensor) -> tf.Tensor:
    return random_box(size, draws)

  crop = _cropped(contents, box, image_size, channels, decoding, others)
  return _sampled_and_flipped(crop, image_size, flipped)


def central_crop(
  contents: tf.Tensor,
  *,
  image_size: int,
  channels: int,
  eval_resize: int = 0,
  flipped: tf.Tensor | None = None,
  decoding: formats.Decoding = formats.DEFAULT,
  others: Others | None = None,
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
    decoding: how it becomes pixels.
    others: what decodes an image of another format; None refuses it.

  Returns:
    [image_size, image_size, channels] uint8.

  Reference: He et al. 2018, section 2.1 (shorter side 256, central 224).
  """
  box = _central_box(image_size, eval_resize)
  crop = _cropped(contents, box, image_size, channels, decoding, others)
  return _sampled_and_flipped(crop, image_size, flipped)


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


def decode(
  contents: tf.Tensor,
  channels: int,
  *,
  decoding: formats.Decoding = formats.DEFAULT,
  others: Others | None = None,
) -> tf.Tensor:
  """Decodes the whole image.

  Args:
    contents: [] string, a JPEG, PNG, BMP, an image that `netpbm.encode` wrote,
      or one that `others` takes.
    channels: 1 or 3.
    decoding: how it becomes pixels.
    others: what decodes an image of another format; None refuses it.

  Returns:
    [height, width, channels] uint8.

  Raises:
    tf.errors.InvalidArgumentError: it is truncated, none of these, or declares
      more than formats.MOST_PIXELS.
  """

  def of_pixels() -> tf.Tensor:
    window = tf.pad(netpbm.shape(contents)[:2], [[2, 0]])
    return _with_channels(netpbm.decode_and_crop(contents, window), channels)

  def of_jpeg() -> tf.Tensor:
    shape = tf.io.extract_jpeg_shape(contents)
    with tf.control_dependencies([_few_pixels(shape[:2])]):
      return _of_jpeg(
        shape,
        channels,
        lambda channels: tf.io.decode_jpeg(
          contents, channels=channels, dct_method=decoding.dct_method
        ),
      )

  def of_files() -> tf.Tensor:
    turn, transparent = _look(contents, decoding.exif_orientation)

    def of_others() -> tf.Tensor:
      return _decode_other(contents, channels, transparent, decoding, others)

    image = tf.cond(tf.io.is_jpeg(contents), of_jpeg, of_others)
    return orientation.turned(image, turn)

  image = tf.cond(netpbm.is_netpbm(contents), of_pixels, of_files)
  return tf.ensure_shape(image, [None, None, channels])


def is_read_in_graph(contents: tf.Tensor) -> tf.Tensor:
  """Returns whether an image is decoded without `others`.

  Args:
    contents: [] string, the encoded image.

  Returns:
    [] bool.
  """
  return (
    tf.io.is_jpeg(contents)
    | netpbm.is_netpbm(contents)
    | lossless.is_png(contents)
    | lossless.is_plain_bmp(contents)
  )


def _look(
  contents: tf.Tensor, exif_orientation: str
) -> tuple[tf.Tensor, tf.Tensor]:
  """Looks at what stands before the pixels of a JPEG or PNG.

  Returns:
    The EXIF orientation, [] int32, 1 if it is to be ignored; and whether some
    colours may be transparent, [] bool.
  """
  opaque = tf.constant(False)
  exif, transparent = tf.cond(
    lossless.is_png(contents),
    lambda: orientation.png_chunks(contents),
    lambda: tf.cond(
      tf.io.is_jpeg(contents),
      lambda: (orientation.exif_of_jpeg(contents), opaque),
      lambda: (tf.constant(""), opaque),
    ),
  )
  if exif_orientation == formats.IGNORE:
    return tf.constant(1), transparent
  return orientation.of_exif(exif), transparent


def _apart(branch: Callable[[], tf.Tensor]) -> tf.Tensor:
  """Calls what few images need as a graph of its own.

  TensorFlow passes by each operation of a branch that is not taken, which takes
  time too; a graph of its own is one operation.
  """
  if tf.executing_eagerly():
    return branch()
  options = {"autograph": False, "experimental_attributes": {"_noinline": True}}
  return tf.function(branch, **options)()


def _of_jpeg(
  shape: tf.Tensor, channels: int, decode_to: Callable[[int], tf.Tensor]
) -> tf.Tensor:
  """Decodes a JPEG; one of four inks becomes gray by way of RGB."""
  if channels == 3:
    return decode_to(3)
  return tf.cond(
    tf.equal(shape[2], 4),
    lambda: _with_channels(decode_to(3), 1),
    lambda: decode_to(1),
  )


def _decode_other(
  contents: tf.Tensor,
  channels: int,
  transparent: tf.Tensor,
  decoding: formats.Decoding,
  others: Others | None,
) -> tf.Tensor:
  """Decodes a PNG, a BMP, as they are stored; or what `others` takes."""

  def refused() -> tf.Tensor:
    told = "only JPEG, PNG and BMP are read here: use --mode=convert first"
    never = tf.raw_ops.Assert(condition=False, data=[told], summarize=1)
    with tf.control_dependencies([] if never is None else [never]):
      return tf.zeros([1, 1, channels], tf.uint8)

  def of_others() -> tf.Tensor:
    return others(contents, channels, decoding) if others else refused()

  return tf.cond(
    lossless.is_png(contents),
    lambda: lossless.decode_png(contents, channels, transparent),
    lambda: tf.cond(
      lossless.is_plain_bmp(contents),
      lambda: lossless.decode_bmp(contents, channels),
      of_others,
    ),
  )


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


def _cropped(
  contents: tf.Tensor,
  box: Box,
  image_size: int,
  channels: int,
  decoding: formats.Decoding,
  others: Others | None,
) -> tf.Tensor:
  """Cuts the box out of the upright image, and reduces it."""

  def of_upright_jpeg() -> tf.Tensor:
    return _crop_of_jpeg(contents, box, image_size, channels, decoding)

  def of_pixels() -> tf.Tensor:
    window = box(netpbm.shape(contents)[:2])
    crop = _with_channels(netpbm.decode_and_crop(contents, window), channels)
    return _reduced(window, image_size, lambda ratio: _mean(crop, ratio))

  def of_files() -> tf.Tensor:
    turn, transparent = _look(contents, decoding.exif_orientation)

    def of_jpeg() -> tf.Tensor:
      return _crop_of_jpeg(contents, box, image_size, channels, decoding, turn)

    def of_others() -> tf.Tensor:
      image = _decode_other(contents, channels, transparent, decoding, others)
      size = tf.shape(image)[:2]
      window = box(orientation.oriented_size(size, turn))
      stored = orientation.stored_window(window, size, turn)
      crop = tf.slice(
        image, tf.pad(stored[:2], [[0, 1]]), tf.concat([stored[2:], [-1]], 0)
      )
      crop = orientation.turned(crop, turn)
      return _reduced(window, image_size, lambda ratio: _mean(crop, ratio))

    return tf.cond(tf.io.is_jpeg(contents), of_jpeg, lambda: _apart(of_others))

  # Most JPEGs are told by one look.
  is_upright_jpeg = (
    tf.io.is_jpeg
    if decoding.exif_orientation == formats.IGNORE
    else orientation.is_upright_jpeg
  )
  crop = tf.cond(
    is_upright_jpeg(contents),
    of_upright_jpeg,
    lambda: tf.cond(
      netpbm.is_netpbm(contents), of_pixels, lambda: _apart(of_files)
    ),
  )
  return tf.ensure_shape(crop, [None, None, channels])


def _crop_of_jpeg(
  contents: tf.Tensor,
  box: Box,
  image_size: int,
  channels: int,
  decoding: formats.Decoding,
  turn: tf.Tensor | None = None,
) -> tf.Tensor:
  """Cuts the box out of a JPEG; decodes no more than the box.

  Args:
    contents: [] string, the JPEG.
    box: of the upright image.
    image_size: decides how far the crop is reduced.
    channels: 1 or 3.
    decoding: how its cosine transform is undone.
    turn: the EXIF orientation; None is upright, in fewer operations.
  """
  shape = tf.io.extract_jpeg_shape(contents)
  size = _few_pixels(shape[:2])

  def part(window: tf.Tensor, ratio: int) -> tf.Tensor:
    return _of_jpeg(
      shape,
      channels,
      lambda channels: tf.io.decode_and_crop_jpeg(
        contents,
        window,
        channels=channels,
        ratio=ratio,
        dct_method=decoding.dct_method,
      ),
    )

  if turn is None:
    window = box(size)
    return _reduced(
      window, image_size, lambda ratio: part(window // ratio, ratio)
    )
  window = box(orientation.oriented_size(size, turn))
  ratios = (1, *_REDUCTIONS)
  number = tf.reduce_sum(tf.cast(_allowed(window, image_size), tf.int32))
  ratio = tf.gather(ratios, number)
  stored = orientation.stored_window(window // ratio, -(-size // ratio), turn)
  crop = tf.switch_case(
    number, [functools.partial(part, stored, ratio) for ratio in ratios]
  )
  return orientation.turned(crop, turn)


def _sampled_and_flipped(
  crop: tf.Tensor, image_size: int, flipped: tf.Tensor | None
) -> tf.Tensor:
  image = _sampled(crop, image_size)
  if flipped is None:
    return image
  return tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)


def _few_pixels(size: tf.Tensor) -> tf.Tensor:
  """Returns the height and width of an image; raises if they are too large."""
  pixels = tf.reduce_prod(tf.cast(size, tf.int64))
  # No tf.debugging.Assert, which a graph makes a branch of its own.
  allowed = tf.raw_ops.Assert(
    condition=pixels <= formats.MOST_PIXELS,
    data=[formats.TOO_LARGE],
    summarize=1,
  )
  with tf.control_dependencies([] if allowed is None else [allowed]):
    return tf.identity(size)


def _allowed(window: tf.Tensor, image_size: int) -> tf.Tensor:
  """Returns whether the window may be reduced, for each of _REDUCTIONS."""
  return tf.constant(_REDUCTIONS) * image_size <= tf.reduce_min(window[2:])


def _reduced(
  window: tf.Tensor, image_size: int, crop_at: Callable[[int], tf.Tensor]
) -> tf.Tensor:
  """Returns the crop, reduced as far as image_size allows."""
  allowed = _allowed(window, image_size)

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
