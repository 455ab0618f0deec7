# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of --mode=preview: what it shows is what the run will do."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import types

import numpy as np
import pytest
import tensorflow as tf

from data.preparation import sample
from data.sources import source as sources
from tests import pictures, tiny
from train_loop import batches, first_batch, step
from train_loop import state as state_lib
from train_loop.command import (
  cautions,
  compose,
  devices,
  flags,
  forecast,
  judging,
)
from train_loop.command.settings import DeviceSettings
from train_loop.modes import preview
from train_loop.preflight import batch_sizes, trial_cache, trials

pytestmark = pytest.mark.any_keras


@dataclasses.dataclass
class Row:
  name: str
  shape: tuple[int, ...]
  decays: bool


def leaks(*pairs):
  return cautions.Leaks(pairs, (), "10 of 10")


NETWORK = {"mean": (120.0,), "std": (60.0,)}
BATCH_NORM = {"replicas": 1, "batch_norms": 3, "synchronized": False}
# A caution, what it warns of, a part of the sentence, and what is all right.
CAUTIONS = {
  "warmup": (
    lambda c: cautions.long_warmup(c),
    [tiny.config(warmup_steps=20)],
    "20 of 24 steps.*--warmup_epochs",
    [tiny.config()],
  ),
  "decay": (
    cautions.decayed_vectors,
    [[Row("w", (3, 3), True), Row("b", (3,), True)], tiny.config()],
    "1 vectors to 0, such as b: --decay_kernels_only",
    [[Row("w", (3, 3), True), Row("b", (3,), False)], tiny.config()],
  ),
  "no decay": (
    cautions.decayed_vectors,
    [[Row("b", (3,), True)], tiny.config()],
    "weight_decay=0.0001",
    [[Row("b", (3,), True)], tiny.config(weight_decay=0.0)],
  ),
  "batch norm": (
    lambda c, n: cautions.small_batch_norm(
      c, **{**BATCH_NORM, "batch_norms": n}
    ),
    [tiny.config(accumulate_steps=4), 3],
    "from 8 images .*--global_batch_size=64 or fewer --accumulate_steps",
    [tiny.config(accumulate_steps=4), 0],
  ),
  "replicas": (
    lambda s: cautions.small_batch_norm(
      tiny.config(), **{**BATCH_NORM, "replicas": 4, "synchronized": s}
    ),
    [False],
    "from 8 images .*--sync_batch_norm",
    [True],
  ),
  "high peak": (
    cautions.unusual_peak,
    [tiny.config(optimizer="adamw", base_learning_rate=0.4)],
    "rate is 0.05 .*--base_learning_rate=0.08",
    [tiny.config(optimizer="adamw", base_learning_rate=8e-3)],
  ),
  "low peak": (
    cautions.unusual_peak,
    [tiny.config(base_learning_rate=1e-3)],
    "sgd is usually trained with 0.005 to 4",
    [tiny.config(base_learning_rate=0.1)],
  ),
  "imbalance": (
    lambda counts, c: cautions.imbalance(counts, "abc", c),
    [[500, 40, 60], tiny.config()],
    "a has 500 training images and b 40, 12 times .*--class_balance",
    [[500, 51, 60], tiny.config()],
  ),
  "balanced": (
    lambda counts, c: cautions.imbalance(counts, "abc", c),
    [[500, 40, 60], tiny.config()],
    "--class_balance",
    [
      [500, 40, 60],
      tiny.config(class_balance="weights", class_counts=(500, 40, 60)),
    ],
  ),
  "missing class": (
    lambda counts: cautions.imbalance(counts, "abc", tiny.config()),
    [[5, 0, 6]],
    "class b has no training image",
    [[5, 1, 6]],
  ),
  "mean": (
    lambda m, s: cautions.other_normalisation(NETWORK, m, s),
    [(33.0,), (60.0,)],
    "mean 120 and deviation 60, and theirs are 33 and 60",
    [(110.0,), (60.0,)],
  ),
  "deviation": (
    lambda m, s: cautions.other_normalisation(NETWORK, m, s),
    [(120.0,), (20.0,)],
    "theirs are 120 and 20",
    [(120.0,), (50.0,)],
  ),
  "leaks": (
    cautions.leaks,
    [leaks(("a.png", "b.png"))],
    "1 equal pairs of 10 of 10, such as a.png and b.png.*check_data",
    [leaks()],
  ),
  "labels": (
    cautions.labels_outside,
    [np.array([0, 3, 1]), 3],
    "1 labels are outside 0 to 2, such as 3",
    [np.array([0, 2, 1]), 3],
  ),
}


@pytest.mark.parametrize("name", CAUTIONS)
def test_a_caution_warns_of_a_mistake_and_not_of_its_opposite(name):
  caution, wrong, sentence, right = CAUTIONS[name]
  assert re.search(sentence, caution(*wrong))
  assert caution(*right) == ""


def source(seed, count=60, size=32):
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8)
  images = tf.image.resize(coarse, (size, size)).numpy().astype(np.uint8)
  return sources.Source(
    images, np.arange(count, dtype=np.int32) % 4, tuple("abcd"), "noise"
  )


def test_a_sample_finds_images_of_both_parts_and_only_those():
  train, validation = source(0), source(1)
  clean = sample.look(train, validation)
  assert not clean.equal and not clean.alike and not clean.bad
  images = validation.images.copy()
  images[3] = train.images[7]
  images[5] = np.clip(train.images[9] * 0.9 + 9, 0, 255)  # Brighter.
  found = sample.look(train, dataclasses.replace(validation, images=images))
  assert found.equal == [(train.place(7), validation.place(3))]
  assert found.alike == [(train.place(9), validation.place(5))]


def test_pictures_keep_their_numbers_if_one_is_skipped(tmp_path):
  pictures.write_folder(tmp_path / "data")
  values = flags.parse(
    "--dataset=image_folder",
    f"--data_dir={tmp_path / 'data'}",
    f"--workdir={tmp_path / 'run'}",
    *("--image_size=16", "--on_bad_image=skip"),
  )
  _, source = compose.load_sources(values)
  whole = judging.pictures(source, values, [0, 2, 3])
  assert list(whole) == [0, 2, 3]
  pathlib.Path(source.place_of(2)).write_bytes(b"no picture")
  found = judging.pictures(source, values, [0, 2, 3])
  assert list(found) == [0, 3]
  np.testing.assert_array_equal(found[3], whole[3])


def test_a_forecast_adds_up():
  config = tiny.config(eval_every_steps=8)  # 24 steps of 32 images.
  found = forecast.of_run(
    config,
    64.0,
    replicas=1,
    shared=True,
    eval_examples=96,
    image_height=8,
  )
  assert found.step_seconds == 0.5 and found.training_seconds == 12.0
  assert found.evaluations == 3
  assert found.evaluation_seconds == pytest.approx(3 * 96 / 64 / 3)
  assert found.seconds == pytest.approx(13.5)
  apart = forecast.of_run(
    config, 64.0, replicas=2, shared=False, eval_examples=0, image_height=8
  )
  assert (apart.step_seconds, apart.seconds) == (0.25, 6.0)
  small = tiny.config(progressive_image_sizes=((4, 0), (8, 12)))
  grown = forecast.of_run(
    small, 64.0, replicas=1, shared=True, eval_examples=0, image_height=8
  )
  assert grown.training_seconds == 12 * 0.5 / 4 + 12 * 0.5
  limited = forecast.of_run(
    tiny.config(max_minutes=2.0),
    64.0,
    replicas=1,
    shared=True,
    eval_examples=96,
    image_height=8,
  )
  assert limited.seconds == 120.0
  assert forecast.in_words(7500.0) == "2 h 05 min"


def test_the_first_batch_is_what_step_0_trains_on():
  config = tiny.config(mixup_alpha=0.4, label_smoothing=0.1)
  state = state_lib.TrainState(tiny.model(), config)
  stream = batches.train_batches(tiny.dataset(), config, 0, tiny.NUM_CLASSES)
  found = first_batch.of_one_replica(state, stream, config)
  batch = next(iter(stream))
  images, targets = step.mixed_batch(batch, tf.constant(0, tf.int64), 4, config)
  np.testing.assert_array_equal(found.mixed_images, images)
  np.testing.assert_array_equal(found.mixed_targets, targets)
  np.testing.assert_array_equal(found.images, batch["image"])
  assert (found.targets.argmax(axis=1) == batch["label"].numpy()).all()


def test_a_step_is_measured_once_and_trials_of_auto_are_taken(
  monkeypatch, tmp_path
):
  monkeypatch.setattr(trial_cache, "folder", lambda: tmp_path)
  choice = trials.Choice(True, False, "float32", False)
  started = []

  class Process:
    def __init__(self, job, *, onednn):
      started.append(onednn)

    def __enter__(self):
      return self

    def __exit__(self, *exception):
      pass

    def run(self, choice, *, timeout):
      return trials.Trial(choice, 64.0, 1.0, memory=0.25)

  found = [
    batch_sizes.measure_one(None, choice, {"batch": size}, start=Process)
    for size in (8, 8, 9)
  ]
  assert started == [True, True]
  assert found == [trials.Trial(choice, 64.0, 1.0, memory=0.25)] * 3


@pytest.mark.parametrize("gpus, memory", [(0, 0.5), (2, 0.25)])
def test_the_memory_of_a_step_is_that_of_all_replicas_which_share_one(
  gpus, memory, monkeypatch
):
  choice = trials.Choice(True, False, "float32", False)
  alone = trials.Trial(choice, 64.0, 1.0, memory=0.25)
  searched = dataclasses.replace(alone, memory=memory, batch_size=8)
  settings = DeviceSettings(
    distribution="mirrored", logical_devices=1 if gpus else 2
  )
  monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
  planned = types.SimpleNamespace(devices=devices.Devices(settings))
  share = types.SimpleNamespace(global_batch_size=8)
  config = tiny.config(accumulate_steps=2)
  monkeypatch.setattr(compose, "_of_one_replica", lambda _: (share, config))
  monkeypatch.setattr(compose, "_job_and_workload", lambda planned: (0, 0))
  monkeypatch.setattr(batch_sizes, "measure_one", lambda *arguments: alone)
  whole = dataclasses.replace(alone, memory=0.9, micro_batches=1)
  halves = dataclasses.replace(alone, micro_batches=2)
  for tried in ([], [alone], [searched, alone], [whole, halves]):
    found = compose.measured_step(planned, choice, tried)
    assert found.memory == memory


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_preview_shows_the_run_and_binds_nothing(
  replicas, strategy, monkeypatch, tmp_path, capsys
):
  np.savez(
    tmp_path / "images.npz",
    train_images=source(0, 64, 8).images,
    train_labels=source(0, 64, 8).labels,
    test_images=source(0, 64, 8).images[:16],
    test_labels=source(0, 64, 8).labels[:16],
  )
  workdir = tmp_path / "run"
  values = flags.parse(
    "--mode=preview",
    "--dataset=npz",
    f"--data_dir={tmp_path / 'images.npz'}",
    f"--workdir={workdir}",
    "--model=resnet8",
    "--global_batch_size=16",
    "--nodecay_kernels_only",
    "--epochs=6",
    "--mixup_alpha=0.3",
    *("--precision=float32", "--jit_compile=false", "--onednn=true"),
  )

  def measured_step(planned, chosen, tried):
    return trials.Trial(chosen, 32.0, 1.0, memory=0.5)

  monkeypatch.setattr(compose, "measured_step", measured_step)
  if replicas == 2:
    one = compose.devices_lib.Devices
    monkeypatch.setattr(one, "strategy", lambda self: strategy)
    monkeypatch.setattr(one, "local_replicas", 2)
  assert preview.run(values) == 0
  assert [path.name for path in workdir.iterdir()] == [preview.PAGE]
  told = capsys.readouterr().out
  assert "24 steps" in told and "16 equal pairs" in told
  assert "weight_decay=0.0001 pulls" in told
  assert ("from 8 images" in told) == (replicas == 2)
  page = (workdir / preview.PAGE).read_text(encoding="utf-8")
  assert page.count("data:image/png") >= 2 * 16 // replicas + 16 + 2
  assert "http" not in page
  for line in re.findall(r"warning: (.{20})", told):
    assert line in page
  assert "zero γ" in page
