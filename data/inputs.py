# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run's input: its sources, and how they become batches.

Importing this module imports no TensorFlow. An `Inputs` can be pickled, so that
the processes of `auto` measure on the run's own data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Callable

from data.augmentation import Augmentation
from data.bad_images import BadImages
from data.errors import DataError
from data.fields import check, setting
from data.names import CACHES
from data.sources.encoded import AnySource, EncodedSource

if TYPE_CHECKING:
  import tensorflow as tf

  from data import order
  from data.images import decode

# Batches after a failed step that may have been in preparation.
_PREPARED_AHEAD = 64
# A larger height or width is a slip of the keyboard.
_MAX_SIZE = 8192


@dataclasses.dataclass(frozen=True)
class Inputs:
  """A run's sources and settings, from which its batches are made.

  Attributes:
    train: the training source.
    validation: the source to evaluate.
    global_batch_size: examples per step, over all replicas.
    seed: of order and augmentation.
    balanced: whether each class comes equally often in training.
    image_size: height and width that encoded images get; 0 for arrays.
    eval_resize: see `pipeline.eval_dataset`.
    augmentation: what is done to the training images.
    cache: see `cache.cached`.
    input_threads: threads that prepare batches; 0 is one per core.
    data_service: the address of a tf.data service, or "".
    bad_images: the file that lists images that cannot be decoded, and are
      skipped; "" if such an image is an error.

  Raises:
    DataError: a setting is out of range, or does not fit the sources.
  """

  train: AnySource
  validation: AnySource
  global_batch_size: int
  seed: int = 0
  balanced: bool = False
  image_size: int = setting(
    0,
    "The height and width that encoded images are brought to; 0 for arrays, "
    "which keep their own.",
    low=0,
    high=_MAX_SIZE,
  )
  eval_resize: int = setting(
    0,
    "The length that the shorter side of an encoded image is brought to before "
    "evaluation cuts the central image_size out of it; 0 means image_size. 256 "
    "in the paper, with an image_size of 224.",
    low=0,
    high=_MAX_SIZE,
  )
  augmentation: Augmentation = Augmentation()
  cache: str = setting(
    "auto",
    "Where encoded images are kept so that later epochs read them faster, as "
    "pixels if every epoch uses the same part of them. auto is memory if half "
    "of the free memory is enough, and none if it is not.",
    choices=CACHES,
  )
  input_threads: int = setting(
    0,
    "The number of threads that prepare batches; 0 means one per core.",
    low=0,
    high=1024,
  )
  data_service: str = setting(
    "",
    "The address of a tf.data service, as grpc://host:port, whose workers "
    "prepare the training batches. Several workers give them in no fixed "
    "order.",
  )
  bad_images: str = ""

  def __post_init__(self) -> None:
    check(self)
    if self.train.num_classes < 2:
      raise DataError(
        f"{self.train.name} must have at least two classes to tell apart, got"
        f" only {self.train.class_names[0]}"
      )
    for source in (self.train, self.validation):
      source.require_sizes(
        image_size=self.image_size,
        random_resized_crop=self.augmentation.random_resized_crop,
        eval_resize=self.eval_resize,
      )
    self.augmentation.require_fits(self.image_shape)
    if self.cache == "disk" and None not in self.train.image_shape:
      raise DataError(
        f"cache must not be disk for {self.train.name}, which is in memory"
      )
    if self.data_service and (self.bad_images or self.cache == "memory"):
      raise DataError(
        "data_service must be left out with on_bad_image=skip and with"
        " cache=memory: its workers have neither the list nor the memory of"
        " this process"
      )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of a batch's images."""
    height, width, channels = self.train.image_shape
    return height or self.image_size, width or self.image_size, channels

  def first_batches(self) -> tf.data.Dataset:
    """Returns the training stream from its start, without a cache."""
    return self._train_dataset(self.train)

  def train_dataset(
    self, shard: tuple[int, int] = (0, 1)
  ) -> Callable[[int], tf.data.Dataset]:
    """Returns the function from a step to the training stream after it.

    It keeps the last stream that it made: a run looks at that of step 0 before
    it starts, and making one takes a second.

    Args:
      shard: index and count of the hosts, each of which reads its share.

    Raises:
      DataError: an image cannot be decoded, the cache cannot be written, or the
        tf.data service does not answer.
    """
    if self.data_service:
      from data import service

      service.require_answer(self.data_service)
    random_crops = self.augmentation.random_resized_crop
    source = self._cached(
      self.train,
      self._cache_of_training,
      random_crops=random_crops,
      replace=True,
    )

    @functools.lru_cache(maxsize=1)
    def stream(step: int) -> tf.data.Dataset:
      return self._train_dataset(
        source,
        start_step=step,
        data_service=self.data_service,
        shard=_shard(shard),
      )

    return stream

  def caching(self, free: int) -> tuple[str, int] | None:
    """Returns where the training images are kept, and the bytes they take.

    Args:
      free: bytes of memory.

    Returns:
      One of `names.CACHES` without auto, and the bytes that keeping them takes
      or would take; None of arrays, which are in memory.
    """
    from data import cache as cache_lib

    if not isinstance(self.train, EncodedSource):
      return None
    need = cache_lib.bytes_needed(
      self.train,
      image_size=self.image_size,
      random_crops=self.augmentation.random_resized_crop,
    )
    return cache_lib.settled(self._cache_of_training, need, free), need

  @property
  def _cache_of_training(self) -> str:
    # The workers of a service have not the memory of this process.
    return "none" if self.data_service and self.cache == "auto" else self.cache

  def watched(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """Returns the context in which to train.

    It gives a function to call after each call of a training loop. In it
    training ends with a DataError if the tf.data service stops giving batches.
    """
    if not self.data_service:
      return contextlib.nullcontext(lambda: None)
    from data import service

    return service.watched(self.data_service)

  def eval_dataset(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
    """Returns the data to evaluate, in order.

    Args:
      shard: index and count of the hosts, each of which reads its share.

    Raises:
      DataError: an image cannot be decoded, or the cache cannot be written.
    """
    source = self._cached(
      self.validation, self.cache, eval_resize=self.eval_resize, replace=False
    )
    return self._eval_dataset(source, shard=_shard(shard))

  def examples_of(self, step: int) -> list[int]:
    """Returns the indices of a step's training examples, over all hosts."""
    from data import order, pipeline

    examples_of = pipeline.order_of_source(
      self.train, seed=self.seed, balanced=self.balanced
    )
    _, indices = examples_of(
      order.batch_positions(step, self.global_batch_size)
    )
    return indices.numpy().tolist()

  def bad_image(self, steps: range) -> DataError | None:
    """Returns an error that names an image that cannot be decoded, or None.

    Args:
      steps: the steps whose batches, or those soon after, may hold it; if
        empty, the evaluation images may.
    """
    if not steps:
      return self._first_bad(self.validation, self._eval_dataset)
    count = len(steps) + _PREPARED_AHEAD

    def train_dataset(source: AnySource, **options: Any) -> tf.data.Dataset:
      options["start_step"] = steps.start
      return self._train_dataset(source, **options).take(count)

    return self._first_bad(self.train, train_dataset)

  def _cached(self, source: AnySource, cache: str, **options: Any) -> AnySource:
    import tensorflow as tf

    from data import cache as cache_lib
    from data import reading

    try:
      return cache_lib.cached(
        source,
        cache,
        image_size=self.image_size,
        on_bad_image=self._note(source),
        **options,
      )
    except tf.errors.OpError as error:
      bad = self._first_bad(source, self._eval_dataset)
      raise bad or DataError(
        f"{source.name} cannot be read: {reading.reason(error)}"
      ) from error

  def _first_bad(
    self, source: AnySource, dataset_of: Callable[..., tf.data.Dataset]
  ) -> DataError | None:
    """Returns an error that names the first undecodable image, or None."""
    import tensorflow as tf

    from data import reading

    found: list[int] = []
    # The search may meet the error that it is made for.
    with contextlib.suppress(tf.errors.OpError):
      for _ in dataset_of(source, on_bad_image=found.append):
        if found:
          break
    if not found:
      return None
    place = source.place(found[0])
    assert isinstance(source, EncodedSource)  # Arrays are never bad.
    why = reading.why_bad(source, found[0], self._others)
    if self.bad_images:
      return DataError(
        f"too many images in a row cannot be decoded, such as {place}: replace"
        f" those that {self.bad_images} lists"
      )
    return DataError(
      f"image {place} cannot be decoded ({why}): replace it, or go on without"
      " it with --on_bad_image=skip; --mode=check_data finds all such images"
    )

  @property
  def _others(self) -> decode.Others | None:
    """What decodes images that graphs do not, as of `decode.central_crop`."""
    from data.images import pillow_reader

    # The workers of a service do not have this process' functions.
    return None if self.data_service else pillow_reader.read_for_training

  def _note(self, source: AnySource) -> Callable[[int], None] | None:
    if not self.bad_images:
      return None
    return functools.partial(BadImages(self.bad_images).note, source)

  def _train_dataset(
    self, source: AnySource, **options: Any
  ) -> tf.data.Dataset:
    from data import pipeline

    options.setdefault("on_bad_image", self._note(source))
    return pipeline.train_dataset(
      source,
      global_batch_size=self.global_batch_size,
      seed=self.seed,
      balanced=self.balanced,
      image_size=self.image_size,
      augmentation=self.augmentation,
      input_threads=self.input_threads,
      others=self._others,
      **options,
    )

  def _eval_dataset(self, source: AnySource, **options: Any) -> tf.data.Dataset:
    from data import pipeline

    options.setdefault("on_bad_image", self._note(source))
    return pipeline.eval_dataset(
      source,
      batch_size=self.global_batch_size,
      image_size=self.image_size,
      eval_resize=self.eval_resize,
      input_threads=self.input_threads,
      **options,
    )


def _shard(shard: tuple[int, int]) -> order.Shard:
  from data import order

  return order.Shard(*shard)
