# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Encoded images kept in memory or on disk, so that later epochs are faster.

If every epoch takes the same part of an image, the pixels of that part are
kept; if it takes a random part, the encoded bytes. Either way no bit of any
batch changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import platformdirs
import psutil
import tensorflow as tf
from absl import logging

from data import reading
from data.errors import DataError
from data.images import netpbm
from data.sources import record_writer, tfrecord
from data.sources.encoded import AnySource, Contents, EncodedSource, Records
from data.sources.source import Source

# The part of the free memory that `auto` leaves to everything else.
_SPARE = 0.5
_BATCH = 256
_PART = "train"
_BYTES = "bytes"


def cached(
  source: AnySource,
  cache: str,
  *,
  image_size: int,
  random_crops: bool = False,
  eval_resize: int = 0,
  replace: bool,
  on_bad_image: reading.OnBadImage | None = None,
) -> AnySource:
  """Keeps a source's images in memory or on disk.

  Args:
    source: the examples; arrays are in memory already, and stay as they are.
    cache: one of `names.CACHES`: "memory"; "disk", a folder in the user's cache
      that later runs use again; "none"; or "auto", memory if half of the free
      memory is enough, and none if it is not.
    image_size: see `pipeline.train_dataset`.
    random_crops: whether each epoch takes another part of an image.
    eval_resize: see `pipeline.eval_dataset`.
    replace: whether a bad image is replaced, as in training; if not, it is left
      out, as in evaluation.
    on_bad_image: see `pipeline.train_dataset`.

  Returns:
    A source that gives the same batches.

  Raises:
    DataError: the cache's folder cannot be written, or no image can be decoded.
    tf.errors.OpError: an image cannot be decoded, and on_bad_image is None.
  """
  if isinstance(source, Source) or cache == "none":
    return source
  need = bytes_needed(source, image_size=image_size, random_crops=random_crops)
  free = psutil.virtual_memory().available
  cache = settled(cache, need, free)
  logging.info(
    "cache: %s, for %d %s images of %s: %.2f GB, %.2f GB of memory are free",
    *(cache, source.num_examples, "encoded" if random_crops else "decoded"),
    *(source.name, need / 1e9, free / 1e9),
  )
  if cache == "none":
    return source
  if cache == "disk" and source.multi_label:
    raise DataError(
      "cache must be auto, memory or none with task=multi_label, got disk"
    )
  what = _BYTES
  examples = _encoded(source)
  if not random_crops:
    what = f"{image_size} {eval_resize} {replace} {on_bad_image is not None}"
    what += f" {source.decoding.exif_orientation} {source.decoding.jpeg_dct}"
    crops = reading.central_crops(
      source,
      image_size=image_size,
      eval_resize=eval_resize,
      replace=replace,
      on_bad_image=on_bad_image,
    )
    if cache == "memory":
      return _pixels_in_memory(source, crops)
    examples = (
      (netpbm.encode(crop["image"].numpy()), int(crop["label"]))
      for crop in crops
    )
  elif cache == "memory":
    contents = np.array([contents for contents, _ in examples], object)
    held = Contents(contents, source.examples)
    return dataclasses.replace(source, examples=held)
  return _on_disk(source, examples, what)


def bytes_needed(
  source: EncodedSource, *, image_size: int, random_crops: bool
) -> int:
  """Returns the bytes of the images as a cache keeps them; see `cached`."""
  if random_crops:
    return source.num_bytes
  return source.num_examples * image_size**2 * source.channels


def settled(cache: str, need: int, free: int) -> str:
  """Returns what a choice of `names.CACHES` comes to, which is not auto.

  Args:
    cache: the choice.
    need: as of `bytes_needed`.
    free: bytes of memory.
  """
  if cache != "auto":
    return cache
  return "memory" if need <= free * (1 - _SPARE) else "none"


def _encoded(source: EncodedSource) -> Iterator[tuple[bytes, int]]:
  """Yields the encoded images and their labels, which disk keeps."""
  indices = tf.data.Dataset.range(source.num_examples)
  contents = reading.mapped(indices, reading.make_read(source.examples))
  return zip(contents.as_numpy_iterator(), source.labels)


def _pixels_in_memory(source: EncodedSource, crops: tf.data.Dataset) -> Source:
  """Decodes all images into arrays.

  Raises:
    DataError: no image can be decoded.
  """
  batches = list(crops.batch(_BATCH).as_numpy_iterator())
  if not batches:
    raise DataError(f"no image of {source.name} can be decoded")
  return Source(
    images=np.concatenate([batch["image"] for batch in batches]),
    labels=np.concatenate([batch["label"] for batch in batches]),
    class_names=source.class_names,
    name=source.name,
  )


def _on_disk(
  source: EncodedSource, examples: Iterator[tuple[bytes, int]], what: str
) -> EncodedSource:
  """Writes the examples into the user's cache, if they are not there yet."""
  key = hashlib.sha256(
    f"3 {source.fingerprint()} {source.place_and_time} {what}".encode()
  ).hexdigest()
  folder = platformdirs.user_cache_dir(f"train_loop/images/{key[:32]}")
  if not os.path.isdir(folder):
    logging.info("writing %s, once", folder)
    try:
      os.makedirs(os.path.dirname(folder), exist_ok=True)
      with tempfile.TemporaryDirectory(
        prefix=".partial-", dir=os.path.dirname(folder)
      ) as scratch:
        partial = os.path.join(scratch, "images")
        os.mkdir(partial)
        record_writer.write_part(partial, _PART, examples, source.class_names)
        os.rename(partial, folder)
    except OSError as error:
      if not os.path.isdir(folder):  # If it is there, another run was faster.
        raise DataError(
          f"{folder} cannot be written: {error.strerror}; choose another folder"
          " with XDG_CACHE_HOME, or --cache=none"
        ) from error
  shards = tfrecord.find_shards(folder, _PART)
  index = tfrecord.read_index(folder, _PART, shards)
  # Only encoded bytes can be bad, and need to name their origin.
  origin = source.examples if what == _BYTES else None
  return dataclasses.replace(
    source,
    examples=Records(tuple(shards), index.shard, index.offset, origin=origin),
    labels=index.label.astype(np.int32, copy=False),
  )
