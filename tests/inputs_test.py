# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the pipelines of encoded images: order, resumption, bad images."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from data import (
  Augmentation,
  DataError,
  Inputs,
  bad_images,
  cache,
  pipeline,
  reading,
)
from data import service as service_lib
from data.preparation import convert
from data.sources import image_folder, tfrecord
from data.sources.encoded import Contents, Files, Records
from data.sources.source import Source
from tests import pictures
from tests.compare import assert_same
from train_loop.failures import InputFailed, input_failures

pytestmark = pytest.mark.any_keras

PLAIN = Augmentation()
CROPPED = Augmentation(random_resized_crop=True)
AUGMENTED = Augmentation(random_resized_crop=True, flip=True, color_jitter=0.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("folder")
  return pictures.write_folder(root, counts=(("train", 7), ("val", 3)))


@pytest.fixture(scope="module")
def records(folder, tmp_path_factory):
  output = str(tmp_path_factory.mktemp("records") / "out")
  counts = convert.convert(
    *image_folder.load(str(folder)), output, shard_bytes=5000
  )
  assert counts == {"train": 21, "validation": 9}
  assert len(tfrecord.find_shards(output, "train")) > 1
  return output


@pytest.fixture(scope="module")
def sources(folder, records):
  return {
    "image_folder": image_folder.load(str(folder))[0],
    "tfrecord": tfrecord.load(records)[0],
  }


@pytest.fixture(params=["image_folder", "tfrecord"])
def source(request, sources):
  return sources[request.param]


@pytest.fixture(scope="module")
def stream(sources):
  """The first batches of a source, made once for all tests that compare."""

  @functools.cache
  def batches_of(name, augmentation):
    return batches(sources[name], 21, augmentation=augmentation)

  def stream_of(source, augmentation=PLAIN):
    files = isinstance(source.examples, Files)
    return batches_of("image_folder" if files else "tfrecord", augmentation)

  return stream_of


def batches(source, count, **options):
  options = {
    "global_batch_size": 4,
    "seed": 1,
    "image_size": 16,
    **options,
  }
  dataset = pipeline.train_dataset(source, **options).take(count)
  return [(b["image"].numpy(), b["label"].numpy()) for b in dataset]


@pytest.mark.parametrize(
  ("name", "augmentation"), [("image_folder", PLAIN), ("tfrecord", AUGMENTED)]
)
def test_a_resumed_stream_is_the_uninterrupted_one(
  name, augmentation, sources, stream
):
  source = sources[name]
  # From within the second epoch into the third.
  resumed = batches(source, 6, start_step=6, augmentation=augmentation)
  assert_same(resumed, stream(source, augmentation)[6:12])


def test_each_example_comes_once_an_epoch(source, stream):
  all_images = np.concatenate([images for images, _ in stream(source)])
  for epoch in range(4):
    images = all_images[21 * epoch :][:21]
    assert len({image.tobytes() for image in images}) == 21


def test_image_and_label_stay_together(sources):
  source = sources["image_folder"]
  # The label is the channel that shines, counted from blue.
  augmentation = dataclasses.replace(AUGMENTED, color_jitter=0.0)
  for images, labels in batches(source, 6, augmentation=augmentation):
    means = images[:, 4:, 4:].mean(axis=(1, 2))
    np.testing.assert_array_equal(2 - means.argmax(axis=1), labels)


def test_records_give_the_batches_of_the_files(folder, records, stream):
  files, files_validation = image_folder.load(str(folder))
  source, validation = tfrecord.load(records)
  assert source.class_names == files.class_names
  assert_same(stream(source, AUGMENTED), stream(files, AUGMENTED))
  options = {"batch_size": 4, "image_size": 16, "eval_resize": 20}
  for batch, other in zip(
    pipeline.eval_dataset(validation, **options),
    pipeline.eval_dataset(files_validation, **options),
  ):
    for name in ("image", "label"):
      np.testing.assert_array_equal(batch[name], other[name])


def test_evaluation_is_every_example_once_in_order(sources):
  source = sources["image_folder"]
  dataset = pipeline.eval_dataset(source, batch_size=4, image_size=16)
  found = [batch["label"].numpy() for batch in dataset]
  assert [len(labels) for labels in found] == [4, 4, 4, 4, 4, 1]
  np.testing.assert_array_equal(np.concatenate(found), source.labels)


def test_shapes_are_static_and_images_uint8(sources):
  source = sources["image_folder"]
  for options in ({}, {"on_bad_image": print}):
    dataset = pipeline.train_dataset(
      source,
      global_batch_size=4,
      seed=1,
      image_size=16,
      augmentation=AUGMENTED,
      **options,
    )
    assert dataset.element_spec == {
      "image": tf.TensorSpec([4, 16, 16, 3], tf.uint8),
      "label": tf.TensorSpec([4], tf.int32),
    }


@pytest.mark.parametrize(
  ("where", "augmentation", "name"),
  [
    ("memory", PLAIN, "tfrecord"),
    ("memory", AUGMENTED, "image_folder"),
    ("disk", PLAIN, "image_folder"),
    ("disk", AUGMENTED, "tfrecord"),
  ],
  ids=["memory-plain", "memory-augmented", "disk-plain", "disk-augmented"],
)
def test_a_cache_changes_no_bit(
  where, augmentation, name, sources, tmp_path, monkeypatch, stream
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  source = sources[name]
  random_crops = augmentation.random_resized_crop

  def keep():
    return cache.cached(
      source, where, image_size=16, random_crops=random_crops, replace=True
    )

  def written():
    files = tmp_path.rglob("train-*")
    return {path: path.stat().st_mtime_ns for path in files}

  kept = keep()
  options = {"augmentation": augmentation}
  if where == "disk":  # Again from what the first has written.
    assert isinstance(kept.examples, Records)
    files = written()
    kept = keep()
    assert written() == files != {}
    assert isinstance(kept.examples, Records)
  elif random_crops:
    assert isinstance(kept.examples, Contents)
  else:
    assert isinstance(kept, Source)
    options["image_size"] = 0
  assert bool(written()) == (where == "disk")
  expected = stream(source, augmentation)[:8]
  assert_same(batches(kept, 8, **options), expected)


def test_a_disk_cache_that_another_run_wrote_first_is_taken(
  sources, tmp_path, monkeypatch, stream
):
  source = sources["image_folder"]
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  rename = os.rename

  def late(partial, folder):
    if os.path.isdir(partial):
      shutil.copytree(partial, folder)
    rename(partial, folder)

  monkeypatch.setattr(cache.os, "rename", late)
  kept = cache.cached(source, "disk", image_size=16, replace=True)
  assert_same(batches(kept, 3), stream(source)[:3])


def test_auto_keeps_in_memory_what_fits(sources):
  source = sources["image_folder"]
  for random_crops, kind in ((False, Source), (True, Contents)):
    kept = cache.cached(
      source, "auto", image_size=16, random_crops=random_crops, replace=True
    )
    assert isinstance(kept if kind is Source else kept.examples, kind)


def test_auto_keeps_nothing_where_memory_is_short(sources, monkeypatch):
  source = sources["image_folder"]

  @dataclasses.dataclass
  class Memory:
    available: int = 100

  monkeypatch.setattr(cache.psutil, "virtual_memory", Memory)
  kept = cache.cached(source, "auto", image_size=16, replace=True)
  assert kept is source


def test_a_data_service_that_does_not_answer_is_one_line(folder, monkeypatch):
  monkeypatch.setattr(service_lib, "ANSWER_SECONDS", 0.1)
  train, validation = image_folder.load(str(folder))
  made = Inputs(
    train=train,
    validation=validation,
    global_batch_size=4,
    seed=1,
    image_size=16,
  )
  lonely = tf.data.experimental.service.DispatchServer()
  for address, words in (
    ("grpc://127.0.0.1:1", "does not answer within 0.1 s"),
    ("127.0.0.1:1", "must be given as grpc://host:port"),
    (lonely.target, "of which no worker answers within 0.1 s"),
  ):
    silent = dataclasses.replace(made, data_service=address)
    with pytest.raises(DataError, match=f"^data_service .*{words}"):
      silent.train_dataset()


def test_the_data_service_gives_the_same_batches_until_it_dies(
  folder, stream, monkeypatch
):
  source, _ = image_folder.load(str(folder))
  service = tf.data.experimental.service
  dispatcher = service.DispatchServer()
  address = dispatcher.target.split("://")[1]
  worker = service.WorkerServer(
    service.WorkerConfig(dispatcher_address=address)
  )
  service_lib.require_answer(dispatcher.target)
  options = {"augmentation": AUGMENTED}
  served = batches(source, 6, data_service=dispatcher.target, **options)
  assert_same(served, stream(source, AUGMENTED)[:6])

  endless = pipeline.train_dataset(
    source,
    global_batch_size=4,
    seed=1,
    image_size=16,
    data_service=dispatcher.target,
  )
  iterator = iter(endless)
  take = tf.function(lambda: next(iterator))
  take()
  monkeypatch.setattr(service_lib, "ANSWER_SECONDS", 0.5)
  monkeypatch.setattr(service_lib, "SILENT_SECONDS", 0.1)
  del worker
  with (
    pytest.raises(DataError, match=r"^data_service .* stopped giving"),
    service_lib.watched(dispatcher.target),
  ):
    while True:
      take()


@pytest.fixture
def few_at_once(monkeypatch):
  """Two images are decoded at a time, not four a core.

  Each that is decoded with replacements prepares a graph of its own first.
  """
  monkeypatch.setattr(reading, "_EXAMPLES_PER_THREAD", 2)
  monkeypatch.setattr(reading, "_CORES", 1)


def damaged_folder(root) -> tuple[pathlib.Path, list[str]]:
  """A folder with two bad images to train on and one to evaluate."""
  pictures.write_folder(root, counts=(("train", 5), ("val", 3)))
  bad = [
    *sorted(root.glob("train/green/*"))[:2],
    sorted(root.glob("val/red/*"))[1],
  ]
  bad[0].write_bytes(bad[0].read_bytes()[:300])
  bad[1].write_text("<html>not found</html>")
  bad[2].write_bytes(bad[2].read_bytes()[:300])
  return root, list(map(str, bad))


def make_inputs(root, **options) -> Inputs:
  options = {"global_batch_size": 5, "image_size": 16, **options}
  train, validation = image_folder.load(str(root))
  return Inputs(train=train, validation=validation, **options)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("where", ["none", "memory"])
def test_a_bad_image_is_named(tmp_path, where):
  root, bad = damaged_folder(tmp_path / "data")
  inputs = make_inputs(root, cache=where)
  if where == "memory":
    with pytest.raises(DataError, match=r"\(class green\) cannot be decoded"):
      inputs.train_dataset()
    with pytest.raises(DataError, match=f"image {bad[2]}"):
      inputs.eval_dataset()
    return
  with pytest.raises(tf.errors.InvalidArgumentError):
    list(inputs.train_dataset()(0).take(5))
  named = str(inputs.bad_image(range(2, 3)))
  assert any(path in named for path in bad[:2])
  assert "--on_bad_image=skip" in named
  assert bad[2] in str(inputs.bad_image(range(0)))


@pytest.mark.usefixtures("few_at_once")
def test_a_file_that_cannot_be_read_is_named_or_left_out(tmp_path):
  root = pictures.write_folder(tmp_path / "data")
  inputs = make_inputs(root, cache="none")
  gone = pathlib.Path(inputs.validation.examples.path(4))
  gone.unlink()
  gone.mkdir()  # A file without permission would stop no administrator.
  with pytest.raises(InputFailed), input_failures(range(0)):
    list(inputs.eval_dataset())
  assert str(gone) in str(inputs.bad_image(range(0)))
  listed = tmp_path / "bad_images.txt"
  skipping = dataclasses.replace(inputs, bad_images=str(listed))
  images = [batch["image"] for batch in skipping.eval_dataset()]
  assert sum(map(len, images)) == inputs.validation.num_examples - 1
  assert str(gone) in listed.read_text()


@pytest.mark.parametrize("error", ["FailedPrecondition", "Unknown"])
def test_an_error_of_no_file_is_none_of_the_input(error):
  kind = getattr(tf.errors, f"{error}Error")
  raised = [kind, tf.errors.PermissionDeniedError]
  errors = [kind(None, None, "a host is gone"), raised[1](None, None, "a.jpg")]
  for expected, each in zip((kind, InputFailed), errors):
    with pytest.raises(expected), input_failures(range(0)):
      raise each


def test_other_images_of_the_same_names_and_sizes_are_told(
  tmp_path, monkeypatch
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  sources = []
  for number in range(2):
    root = pictures.write_folder(tmp_path / str(number), ending=".bmp")
    for path in root.rglob("*.bmp") if number else ():
      content = bytearray(path.read_bytes())
      content[100:] = content[:99:-1]
      path.write_bytes(content)
    sources.append(image_folder.load(str(root))[0])
  first, second = sources
  assert first.fingerprint() == second.fingerprint()
  assert first.sample_sha256() != second.sample_sha256()
  kept = [
    cache.cached(s, "disk", image_size=16, random_crops=True, replace=True)
    for s in sources
  ]
  first, second = (reading.make_read(k.examples)(tf.constant(0)) for k in kept)
  assert first.numpy() != second.numpy()


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize(
  ("where", "augmentation"),
  [  # A cache holds pixels if nothing is random, and files if something is.
    ("none", CROPPED),
    ("memory", PLAIN),
    ("memory", CROPPED),
    ("disk", PLAIN),
    ("disk", CROPPED),
  ],
  ids=["none", "memory-plain", "memory", "disk-plain", "disk"],
)
def test_bad_images_are_listed_and_replaced(
  tmp_path, monkeypatch, where, augmentation
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  root, bad = damaged_folder(tmp_path / "data")
  listed = tmp_path / "run" / "bad_images.txt"
  options = {
    "cache": where,
    "bad_images": str(listed),
    "augmentation": augmentation,
  }
  inputs = make_inputs(root, **options)
  found = list(inputs.train_dataset()(0).take(6))
  labels = np.concatenate([batch["label"] for batch in found])
  # Two epochs: the third green image and the two after it, and nothing of red
  # or blue, stands for the two bad ones.
  assert np.bincount(labels).tolist() == [10, 10, 10]
  evaluated = [batch["label"].numpy() for batch in inputs.eval_dataset()]
  assert np.bincount(np.concatenate(evaluated)).tolist() == [3, 3, 2]
  lines = listed.read_text().splitlines()
  assert sorted(line.split(" (class ")[0] for line in lines) == sorted(bad)
  # From memory a run that goes on starts as this one did, and the pixels on
  # disk are those that this one was given.
  if where == "memory" or augmentation == PLAIN:
    return
  # A run that goes on lists nothing twice, and sees the same.
  again = make_inputs(root, **options)
  resumed = list(again.train_dataset()(3).take(3))
  for batch, other in zip(resumed, found[3:]):
    np.testing.assert_array_equal(batch["image"], other["image"])
  assert listed.read_text().splitlines() == lines


@pytest.mark.usefixtures("few_at_once")
def test_too_many_bad_images_in_a_row_are_an_error(tmp_path):
  root = pictures.write_folder(tmp_path, counts=(("train", 1), ("val", 1)))
  for path in root.glob("train/*/*"):
    path.write_text("no image")
  source, _ = image_folder.load(str(root))
  with pytest.raises(tf.errors.InvalidArgumentError, match="8 images of"):
    batches(source, 1, on_bad_image=lambda index: None)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("cache_kind", ["none", "memory"])
def test_too_many_bad_images_in_a_row_are_told_in_one_line(
  tmp_path, cache_kind
):
  root = pictures.write_folder(tmp_path, counts=(("train", 1), ("val", 1)))
  for path in root.glob("train/*/*"):
    path.write_text("no image")
  listed = str(tmp_path / "bad_images.txt")
  inputs = make_inputs(root, cache=cache_kind, bad_images=listed)
  message = f"too many images in a row .*: replace those that {listed} lists$"
  if cache_kind == "memory":
    with pytest.raises(DataError, match=message):
      inputs.train_dataset()
  else:
    assert re.match(message, str(inputs.bad_image(range(2))))


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("cache_kind", ["memory", "disk"])
def test_nothing_to_evaluate_is_told_in_one_line(
  tmp_path, monkeypatch, cache_kind
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  root = pictures.write_folder(tmp_path, counts=(("train", 1), ("val", 1)))
  for path in root.glob("val/*/*"):
    path.write_text("no image")
  listed = str(tmp_path / "bad_images.txt")
  inputs = make_inputs(root, cache=cache_kind, bad_images=listed)
  with pytest.raises(DataError, match=r"^no image of .* can be decoded$"):
    inputs.eval_dataset()


@pytest.mark.usefixtures("few_at_once")
def test_an_input_that_cannot_be_read_is_told_in_one_line(folder, monkeypatch):
  def broken(*arguments, **options):
    raise tf.errors.UnavailableError(None, None, "{{node x}} no\nanswer [Op:y]")

  monkeypatch.setattr(cache, "cached", broken)
  with pytest.raises(
    DataError, match=r"^image_folder cannot be read: no answer$"
  ):
    make_inputs(folder).train_dataset()


def test_a_place_is_noted_once(folder, tmp_path):
  source, _ = image_folder.load(str(folder))
  path = bad_images.bad_images_file(str(tmp_path))
  notes = bad_images.BadImages(path)
  for index in (3, 3, 5):
    notes.note(source, index)
  assert len(notes) == len(bad_images.BadImages(path)) == 2


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"image_size": 0}, "image_size must be given for image_folder"),
    ({"eval_resize": 8}, "eval_resize must be 0 or at least image_size"),
    ({"cache": "tape"}, "cache must be one of auto, memory, disk, none"),
    (
      {"data_service": "grpc://x", "bad_images": "y"},
      "data_service must be left out",
    ),
  ],
)
def test_options_that_do_not_fit_are_named(folder, options, message):
  with pytest.raises(DataError, match=message):
    make_inputs(folder, **options)


@pytest.mark.parametrize(
  "options",
  [
    {"image_size": 8},
    {"augmentation": CROPPED},
    {"cache": "disk"},
  ],
)
def test_arrays_take_no_options_of_encoded_images(options):
  source = Source(
    np.zeros([4, 8, 8, 1], np.uint8), np.zeros(4, np.int32), ("a",), "arrays"
  )
  with pytest.raises(DataError, match="arrays"):
    Inputs(train=source, validation=source, global_batch_size=2, **options)


def test_gray_images_and_files(folder):
  train, _ = image_folder.load(str(folder), channels=1)
  assert isinstance(train.examples, Files)
  (images, _), *_ = batches(train, 1)
  assert images.shape == (4, 16, 16, 1)
  mean, std = train.mean_std()
  assert len(mean) == len(std) == 1
  with pytest.raises(DataError, match="image_channels must be 1"):
    image_folder.load(str(folder), channels=2)
  with pytest.raises(DataError, match="pca_noise must be 0 for gray"):
    Inputs(
      train=train,
      validation=train,
      global_batch_size=2,
      image_size=16,
      augmentation=Augmentation(pca_noise=0.1),
    )


def test_inputs_pickle(folder):
  import pickle

  inputs = make_inputs(folder, augmentation=AUGMENTED)
  copy = pickle.loads(pickle.dumps(inputs))
  batch, other = (next(iter(i.first_batches())) for i in (inputs, copy))
  np.testing.assert_array_equal(batch["image"], other["image"])


def test_one_class_is_one_line():
  source = Source(
    np.zeros([2, 4, 4, 1], np.uint8), np.zeros(2, np.int32), ("cat",), "pets"
  )
  with pytest.raises(DataError, match="pets must have at least two classes"):
    Inputs(source, source, global_batch_size=2)
