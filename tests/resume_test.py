# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests that a run that was stopped ends as one that was not, bit for bit."""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import kill_loop
from data.preparation import convert
from data.sources import image_folder
from tests import disk, forked, pictures, tiny, tiny_run
from train_loop import Stopped, evaluation, train_and_evaluate
from train_loop.config import ConfigError
from train_loop.failures import InputFailed
from train_loop.workdir import lock, metrics_file, run_card


def is_killed(workdir, **options):
  """Runs `tests.tiny_run` in a process; returns whether it killed itself."""
  flags = [f"--{name}={value}" for name, value in options.items()]
  done = forked.run("tests.tiny_run", workdir, *flags)
  assert done.returncode in (0, -signal.SIGKILL), done.stderr
  return done.returncode != 0


def records(workdir):
  """Returns what a run logged, without the times."""
  return [
    {k: v for k, v in record.items() if k not in metrics_file.TIME_FIELDS}
    for record in metrics_file.read_metrics(workdir)
  ]


def tensors(workdir):
  """Returns every tensor of a run's last checkpoint."""
  reader = tf.train.load_checkpoint(
    tf.train.latest_checkpoint(str(workdir / "checkpoints"))
  )
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    # Counts the saves of a process, not of a run; TensorFlow's own.
    if not name.startswith(("save_counter", "_CHECKPOINTABLE"))
  }


def require_equal(one, other):
  assert records(one) == records(other)
  ours, theirs = tensors(one), tensors(other)
  assert ours.keys() == theirs.keys()
  for name, value in ours.items():
    np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("uninterrupted")
  tiny_run.train(workdir)
  return workdir


def test_the_same_seed_twice_gives_the_same_bits(uninterrupted, tmp_path):
  assert not is_killed(tmp_path)
  require_equal(uninterrupted, tmp_path)
  assert records(tmp_path)[-1]["eval_top1"] > 0.9, records(tmp_path)[-3:]


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
  uninterrupted, tmp_path
):
  life = kill_loop.Life(240, start_seconds=2.0, record_seconds=0.1)
  counts = kill_loop.kill_over_and_over(
    lambda workdir: forked.Running("tests.tiny_run", workdir),
    tmp_path,
    life,
    kills=3,
    seed=random.randrange(1000),
  )
  assert sum(counts.values()) > 1, "the run ended before it was killed twice"
  assert kill_loop.differences(uninterrupted, tmp_path) == []
  require_equal(uninterrupted, tmp_path)
  assert not (tmp_path / "run.lock").exists()


def kill_and_go_on(workdir, *, most_kills=3, **options):
  """Kills a run some times, then lets it end."""
  moments = random.Random()
  kills = 0
  while kills < most_kills and is_killed(
    workdir, seconds=moments.uniform(0.0, 0.8), **options
  ):
    kills += 1
  tiny_run.train(workdir, **options)
  assert kills, "the run ended before it was killed once"


@pytest.fixture(scope="module")
def on_files(tmp_path_factory):
  """Files, records of them, and a run on either: both give the same bits."""
  top = tmp_path_factory.mktemp("on_files")
  files = pictures.write_folder(
    top / "image_folder", counts=(("train", 30), ("val", 9))
  )
  convert.convert(
    *image_folder.load(str(files)), str(top / "tfrecord"), shard_bytes=20_000
  )
  tiny_run.train(top / "whole", dataset="image_folder", data_dir=files)
  return top


def test_so_does_a_run_on_records_and_gives_the_bits_of_the_files(
  on_files, tmp_path
):
  kill_and_go_on(
    tmp_path, most_kills=1, dataset="tfrecord", data_dir=on_files / "tfrecord"
  )
  require_equal(on_files / "whole", tmp_path)


@pytest.mark.parametrize(
  ("settings", "network"),
  [
    ({"ema_decay": 0.9, "mixup_alpha": 0.2}, {}),
    # resume_grid_test, which is eager, computes micro-batches in turn.
    (
      {
        "optimizer": "muon",
        "accumulate_steps": 2,
        "parallel_micro_batches": True,
        "precision": "mixed_bfloat16",
      },
      {"dtype": "mixed_bfloat16", "drop_probability": 0.3},
    ),
  ],
)
def test_stopping_saves_and_going_on_gives_the_same_bits(
  settings, network, tmp_path
):
  config = tiny.config(steps_per_loop=1, **settings)
  data = tiny.dataset(256), tiny.dataset(100, seed=1)
  train_and_evaluate(tiny.model(**network), *data, config, tmp_path / "whole")
  # Asked after 7 steps, then after each of the 4 batches of an evaluation.
  calls = iter(range(100))
  with pytest.raises(Stopped, match="step 8 of 24"):
    train_and_evaluate(
      tiny.model(**network),
      *data,
      config,
      tmp_path / "parts",
      should_stop=lambda: next(calls) == 8,
    )
  assert not metrics_file.last_records(tmp_path / "parts").get("eval_top1")
  card = json.loads((tmp_path / "parts" / "run_card.json").read_text())
  assert not card["finished"]
  # Other initial weights: all that counts comes from the checkpoint.
  model = tiny.model(seed=5, **network)
  train_and_evaluate(model, *data, config, tmp_path / "parts")
  require_equal(tmp_path / "whole", tmp_path / "parts")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
  """A whole run that averages its weights; and its settings and data."""
  workdir = tmp_path_factory.mktemp("averaged")
  config = tiny.config(ema_decay=0.9)
  data = tiny.dataset(256), tiny.dataset(100, seed=1)
  return workdir, train_and_evaluate(tiny.model(), *data, config, workdir)


@pytest.mark.parametrize(
  ("size", "name"),
  [(400, "run_card"), (2000, "tensorboard"), (12_000, "checkpoints")],
)
def test_after_a_full_disk_the_same_bits(size, name, averaged, tmp_path):
  config = tiny.config(ema_decay=0.9)
  data = tiny.dataset(256), tiny.dataset(100, seed=1)
  message = rf"{tmp_path}/parts/{name}.* cannot be written \(.*\): mend that"
  with (
    disk.files_of_at_most(size),
    pytest.raises(ConfigError, match=message) as raised,
  ):
    train_and_evaluate(tiny.model(), *data, config, tmp_path / "parts")
  assert "\n" not in str(raised.value)
  train_and_evaluate(tiny.model(), *data, config, tmp_path / "parts")
  require_equal(averaged[0], tmp_path / "parts")


def test_a_workdir_is_of_one_run_and_a_finished_run_left_as_it_is(tmp_path):
  config = tiny.config(total_steps=6)
  data = tiny.dataset(), tiny.dataset(64)
  first = train_and_evaluate(tiny.model(), *data, config, tmp_path)
  key = run_card.read(tmp_path)["run_key"]
  # As a run was stopped, and its workdir is used.
  run_card.write(tmp_path, {**run_card.read(tmp_path), "finished": False})
  with lock.held(tmp_path):
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()} "):
      train_and_evaluate(tiny.model(), *data, config, tmp_path)
    again = train_and_evaluate(
      tiny.model(), *data, config, tmp_path, locked=True
    )
  assert again == first and run_card.read(tmp_path)["run_key"] == key != ""
  files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
  again = train_and_evaluate(tiny.model(), *data, config, tmp_path)
  assert again == first
  assert files == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


def test_other_settings_in_the_same_workdir_are_refused(tmp_path):
  data = tiny.dataset(), tiny.dataset(64)
  train_and_evaluate(tiny.model(), *data, tiny.config(total_steps=6), tmp_path)
  with pytest.raises(ValueError, match="total_steps=6, not 7: give the same"):
    train_and_evaluate(
      tiny.model(), *data, tiny.config(total_steps=7), tmp_path
    )


def test_another_network_in_the_same_workdir_is_refused(tmp_path):
  config = tiny.config(total_steps=6, log_every_steps=2)
  data = tiny.dataset(), None
  calls = iter([False, False, True])
  with pytest.raises(Stopped):
    train_and_evaluate(
      tiny.model(), *data, config, tmp_path, should_stop=lambda: next(calls)
    )
  images = tf.keras.Input(tiny.SHAPE)
  flat = tf.keras.layers.Flatten()(images)
  other = tf.keras.Model(images, tf.keras.layers.Dense(4)(flat))
  with pytest.raises(ValueError, match="is of another network"):
    train_and_evaluate(other, *data, config, tmp_path)


def damage(path):
  """Cuts a checkpoint's data short."""
  (data,) = path.parent.glob(f"{path.name}.data-*")
  data.write_bytes(data.read_bytes()[:100])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
  config = tiny.config(checkpoint_every_steps=5, steps_per_loop=3)
  data = tiny.dataset(), tiny.dataset(100, seed=1)
  train_and_evaluate(tiny.model(), *data, config, tmp_path / "whole")
  calls = iter(range(100))
  parts = tmp_path / "parts"
  with pytest.raises(Stopped, match="stopped at step 11 of 24"):
    train_and_evaluate(
      tiny.model(),
      *data,
      config,
      parts,
      # An evaluation at step 8 asks 4 times.
      should_stop=lambda: next(calls) == 9,
    )
  latest = tf.train.latest_checkpoint(str(parts / "checkpoints"))
  damage(pathlib.Path(latest))
  train_and_evaluate(tiny.model(seed=4), *data, config, parts)
  require_equal(tmp_path / "whole", parts)


def test_where_every_checkpoint_is_damaged_the_folder_is_named(tmp_path):
  config = tiny.config(steps_per_loop=4)
  data = tiny.dataset(), None
  calls = iter([False, True])
  with pytest.raises(Stopped):
    train_and_evaluate(
      tiny.model(), *data, config, tmp_path, should_stop=lambda: next(calls)
    )
  for index in (tmp_path / "checkpoints").glob("*.index"):
    damage(index.with_suffix(""))
  with pytest.raises(ValueError, match="checkpoints can be read: remove"):
    train_and_evaluate(tiny.model(), *data, config, tmp_path)


def test_evaluate_takes_the_averages_and_changes_nothing(averaged, tmp_path):
  config = tiny.config(ema_decay=0.9)
  eval_dataset = tiny.dataset(100, seed=1)
  workdir, final = averaged
  files = {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
  results = evaluation.evaluate(
    tiny.model(seed=9), eval_dataset, config, workdir
  )
  assert results == {name: final[name] for name in results}
  assert files == {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
  with pytest.raises(ValueError, match="must hold a checkpoint"):
    evaluation.evaluate(
      tiny.model(), eval_dataset, config, tmp_path / "nowhere"
    )


def test_a_finished_run_gives_its_weights_to_the_model(tmp_path):
  config = tiny.config(total_steps=6, ema_decay=0.9)
  data = tiny.dataset(), tiny.dataset(64)
  trained, other = tiny.model(), tiny.model(seed=7)
  train_and_evaluate(trained, *data, config, tmp_path)
  train_and_evaluate(other, *data, config, tmp_path)
  for one, two in zip(trained.variables, other.variables):
    np.testing.assert_array_equal(one, two)


def failing_dataset():
  """Returns a dataset whose first batch is a TensorFlow error."""

  def fail(batch):
    tf.debugging.assert_less(batch["label"], -1)
    return batch

  return tiny.dataset().map(fail)


@pytest.mark.parametrize("refused", ["model", "image", "precision"])
def test_what_could_not_start_leaves_the_workdir_free(refused, tmp_path):
  model, dataset, changes = tiny.model(), tiny.dataset(), {"seed": 5}
  if refused == "model":
    images = tf.keras.Input(tiny.SHAPE)
    model = tf.keras.Model(images, tf.keras.layers.Conv2D(4, 3)(images))
  elif refused == "image":
    dataset = failing_dataset()
  else:
    changes["precision"] = "mixed_float16"
  workdir = tmp_path / "run"
  with pytest.raises((ConfigError, InputFailed)):
    train_and_evaluate(model, dataset, None, tiny.config(**changes), workdir)
  assert not workdir.exists()
  config = tiny.config(total_steps=2, warmup_steps=0)
  train_and_evaluate(tiny.model(), tiny.dataset(), None, config, workdir)


def test_damaged_metrics_do_not_stop_a_run(tmp_path):
  config = tiny.config(steps_per_loop=1)
  data = tiny.dataset(), None
  train_and_evaluate(tiny.model(), *data, config, tmp_path / "whole")
  parts = tmp_path / "parts"
  calls = iter(range(100))
  with pytest.raises(Stopped):
    train_and_evaluate(
      tiny.model(), *data, config, parts, should_stop=lambda: next(calls) == 9
    )
  with (parts / "metrics.jsonl").open("ab") as file:
    file.write(b"\n\0\0\0\n")
  (parts / "checkpoints/checkpoint").unlink()
  train_and_evaluate(tiny.model(seed=5), *data, config, parts)
  require_equal(tmp_path / "whole", parts)


def test_a_workdir_that_is_no_folder_is_named(tmp_path):
  file = tmp_path / "file"
  file.write_text("")
  for workdir in (file, file / "run", tmp_path / "\udc80", tmp_path / "x\0"):
    with pytest.raises(ConfigError, match=r"^workdir must be a folder"):
      train_and_evaluate(
        tiny.model(), tiny.dataset(), None, tiny.config(), workdir
      )


def test_a_card_of_the_callers_is_checked_before_it_is_written(tmp_path):
  config = tiny.config(total_steps=2, warmup_steps=0)
  with pytest.raises(ConfigError, match="card is refused: its field data must"):
    train_and_evaluate(
      tiny.model(), tiny.dataset(), None, config, tmp_path, card={"data": "x"}
    )
