# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what a run says that its time went into."""

from __future__ import annotations

import functools
import itertools
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import bottleneck, ceiling, evaluation, train_and_evaluate
from train_loop import run_steps as run_steps_lib
from train_loop.bottleneck import KINDS, Facts, Shares
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import checkpoints, metrics_file, run_card


def shares(ceiling=None, **parts):
  """Shares of a minute; computing has what is left."""
  left = 1.0 - sum(parts.values())
  return Shares(
    60.0,
    {**dict.fromkeys(KINDS, 0.0), **parts, "compute": left},
    images_per_second=1450.0,
    ceiling=ceiling,
  )


ENCODED = Facts(
  cache="none", cache_bytes=2**30, free_bytes=2**32, cpus=8, own_data=True
)


@pytest.mark.parametrize(
  ("parts", "facts", "begins", "ends"),
  [
    (
      {"input": 0.31},
      ENCODED,
      "input-bound: 31% of the time; ",
      "--cache=memory fits in 1.0 GiB and would remove it",
    ),
    (
      {"input": 0.31, "ceiling": 2100.0},
      {"free_bytes": 2**30},
      "input-bound: 31% of the time, 1,450 images/s of the 2,100 on a constant",
      "--cache=disk keeps decoded images, 1.0 GiB for all runs",
    ),
    ({"input": 0.5}, {"cache": "disk", "input_threads": 2}, "input-", "cores"),
    ({"input": 0.5}, {"random_crops": True}, "input-", "not the decoding"),
    (
      {"input": 0.5},
      {"random_crops": True, "cache": "memory"},
      "input-bound",
      "--data_service decodes on other machines",
    ),
    ({"input": 0.5}, {"cache": None}, "input-bound", "on other machines"),
    ({"input": 0.5}, Facts(), "input-bound", "num_parallel_calls"),
    (
      {"evaluation": 0.5, "input": 0.2},
      {"eval_every_steps": 50, "steps_per_epoch": 100.0},
      "evaluation-bound: 50% of the time (compute 30%, input 20%); ",
      "--eval_every_epochs=9.5 evaluates less often",
    ),
    (
      {"evaluation": 0.5},
      Facts(eval_every_steps=50),
      "evaluation-bound",
      "eval_every_steps=950 evaluates less often",
    ),
    ({"evaluation": 0.5}, Facts(), "evaluation-bound", "50% of the time"),
    (
      {"checkpoints": 0.9},
      {"checkpoint_every_steps": 10},
      "checkpoints-bound: 90%",
      "--checkpoint_every_steps=1710 saves less often",
    ),
    ({"summaries": 0.2}, {"log_every_steps": 1}, "summaries-bound", "often"),
    ({"tracing": 0.6}, {"jit_compile": True}, "tracing-bound", "nothing"),
    ({"tracing": 0.6}, {}, "tracing-bound", "a longer run pays less for it"),
    ({"host": 0.3}, {"steps_per_loop": 1}, "host-", "calls of a second each"),
    ({"host": 0.3}, {}, "host-bound", "--log_every_steps=900 makes the calls "),
    ({"input": 0.09}, {}, "compute-bound: 91% of the time", "to compute"),
    (
      {},
      {"measured": True, "gpu": True},
      "compute-bound: 100% of the time",
      "--global_batch_size=auto measures what the GPU is filled by",
    ),
    ({}, {"measured": True}, "compute-bound: 100% of the time", "of the time"),
  ],
)
def test_the_sentence_names_the_largest_share_and_a_flag(
  parts, facts, begins, ends
):
  if isinstance(facts, dict):
    facts = Facts(**{**vars(ENCODED), **facts})
  told = bottleneck.sentence(shares(**parts), facts)
  assert told.startswith(begins)
  assert told.removesuffix("longer").endswith(ends) or ends in told


def test_rarer_by_so_much_takes_the_share_aimed_at():
  part, times = 0.5, 19
  assert part / times / (1 - part + part / times) == pytest.approx(0.05)
  facts = Facts(eval_every_steps=1)
  assert f"={times} " in bottleneck.remedy(shares(evaluation=part), facts)


class Clock:
  """Seconds that a test sets."""

  def __init__(self):
    self.now = np.float64(0.0)

  def __call__(self):
    return self.now

  def passes(self, seconds):
    self.now += seconds


def watched(**facts):
  clock = Clock()
  watch = bottleneck.Stopwatch(
    global_batch_size=32, facts=Facts(**facts), clock=clock
  )
  return watch, clock


def call(watch, clock, seconds, waited, *, steps=10, **options):
  clock.passes(seconds)
  watch.called(steps, seconds, waited=waited, **{"traced": False, **options})


def test_the_shares_are_of_all_the_time_each_second_once():
  watch, clock = watched()
  call(watch, clock, 2.0, 1.9, traced=True, steps=1)
  call(watch, clock, 8.0, 1.0)
  with watch.spent_on("evaluation"):
    clock.passes(4.0)
    with watch.spent_on("checkpoints"):
      clock.passes(3.0)
  with watch.spent_on("summaries"):
    clock.passes(1.0)
  clock.passes(2.0)
  found = watch.shares()
  assert found.seconds == 20.0
  assert {k: v * 20.0 for k, v in found.parts.items()} == pytest.approx(
    {
      "compute": 7.0,
      "input": 1.0,
      "tracing": 2.0,
      "host": 2.0,
      "summaries": 1.0,
      "checkpoints": 3.0,
      "evaluation": 4.0,
    }
  )
  assert found.images_per_second == 10 * 32 / 8.0
  assert found.ceiling is None
  assert watch.input_share() == {"input_share": 0.125}
  assert watch.input_share() == {}


@pytest.mark.parametrize(
  ("gpu", "waited", "ceiling", "lost"),
  [
    (False, 1.0, 0.5, 5.0),  # The input takes cores from the step, too.
    (False, 6.0, 0.5, 6.0),
    (True, 9.9, 0.5, 5.0),  # It waits while the device still computes.
    (True, 9.9, 1.1, 0.0),
  ],
)
def test_the_ceiling_corrects_the_wait(gpu, waited, ceiling, lost):
  watch, clock = watched(gpu=gpu)
  call(watch, clock, 10.0, waited)
  assert watch.step_seconds() == 1.0
  watch.ceilings[None] = ceiling
  found = watch.shares()
  assert found.parts["input"] * 10.0 == pytest.approx(lost)
  assert found.ceiling == pytest.approx(32 / ceiling)
  call(watch, clock, 10.0, 0.0, image_size=16)
  assert watch.shares().ceiling is None  # Of this size none is known.


def test_a_holdup_is_said_once_and_not_at_once():
  watch, clock = watched()
  call(watch, clock, 20.0, 15.0)
  assert not watch.news()
  call(watch, clock, 20.0, 15.0)
  assert watch.news().startswith("input-bound: 75% of the time; cache()")
  assert not watch.news()
  with watch.spent_on("evaluation"):
    clock.passes(100.0)
  assert watch.news().startswith("evaluation-bound: 71%")


@pytest.fixture
def clock(monkeypatch):
  """A clock for the loop and its graph: only what is slow takes time by it.

  Each wait for a batch takes its `wait`.
  """
  clock = Clock()

  def read():
    clock.passes(1e-6)  # Two reads are never the same.
    return clock()

  def in_graph():
    clock.passes(clock.wait * next(ends))  # A wait begins, and it ends.
    return read()

  def timestamp():
    return tf.ensure_shape(tf.numpy_function(in_graph, [], tf.float64), [])

  clock.wait, ends = 0.0, itertools.cycle((0, 1))

  monkeypatch.setattr(time, "perf_counter", read)
  watch = functools.partial(bottleneck.Stopwatch, clock=read)
  monkeypatch.setattr(bottleneck, "Stopwatch", watch)
  monkeypatch.setattr(tf, "timestamp", timestamp)
  return clock


def takes_long(clock, value):
  """Returns a tensor a second later."""

  def later(value):
    clock.passes(1.0)
    return value

  result = tf.numpy_function(later, [value], value.dtype, stateful=True)
  return tf.ensure_shape(result, value.shape)


def slow_input(clock):
  """Returns batches that are prepared when they are asked for, not before."""
  batches = tiny.dataset().map(
    lambda b: {**b, "image": takes_long(clock, b["image"])}
  )
  options = tf.data.Options()
  options.experimental_optimization.inject_prefetch = False
  return batches.with_options(options)


def slow_step(clock):
  class Slow(tf.keras.layers.Layer):
    def call(self, images, training=False):
      return takes_long(clock, images) if training else images

  images = tf.keras.Input(tiny.SHAPE)
  return tf.keras.Model(images, tiny.model()(Slow()(images)))


@pytest.mark.parametrize(
  "holdup", ["input", "compute", "evaluation", "checkpoints"]
)
def test_a_run_says_what_holds_it_up(tmp_path, monkeypatch, clock, holdup):
  def slowly(function):
    def call(*arguments):
      clock.passes(10.0)
      return function(*arguments)

    return call

  model, judged = tiny.model(), None
  if holdup == "input":
    clock.wait = 1.0
  if holdup == "compute":
    model = slow_step(clock)
  if holdup == "evaluation":
    judged = tiny.dataset(32)
    make = evaluation.make_evaluate
    monkeypatch.setattr(
      evaluation, "make_evaluate", lambda *a: slowly(make(*a))
    )
  if holdup == "checkpoints":
    save = checkpoints.Checkpoints.save
    monkeypatch.setattr(checkpoints.Checkpoints, "save", slowly(save))
  often = 4 if holdup in ("evaluation", "checkpoints") else 0
  config = tiny.config(eval_every_steps=often)
  train_and_evaluate(model, tiny.dataset(), judged, config, tmp_path)
  told = run_card.read(tmp_path)["time"]
  del told["shares"]["tracing"]  # The steps of the first call are in it.
  assert told["shares"][holdup] > 0.9
  records = [r for r in metrics_file.read_metrics(tmp_path) if "loss" in r]
  waits = {round(record["input_share"]) for record in records}
  assert waits == {int(holdup == "input")}
  assert told["sentence"].startswith(f"{holdup}-bound: ")
  assert told["sentence"].count("-bound") == 1


def test_the_wait_for_batches_is_measured_in_the_graph(clock):
  config = tiny.config()
  state = TrainState(tiny.model(), config)
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config)
  )
  iterator = iter(slow_input(clock).repeat())
  waited = float(run_steps(iterator, tf.constant(16, tf.int64)))
  assert waited == pytest.approx(16.0, abs=1e-3)


def test_the_ceiling_is_measured_and_changes_no_bit():
  config = tiny.config(
    ema_decay=0.9, mixup_alpha=0.2, precision="mixed_float16"
  )
  state = TrainState(
    tiny.model(dtype="mixed_float16", drop_probability=0.3), config
  )
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config)
  )
  iterator = iter(tiny.dataset().repeat())
  run_steps(iterator, tf.constant(16, tf.int64))
  changes = ceiling._variables(state)
  before = tiny.values(changes)
  seconds = ceiling.step_seconds(
    state, run_steps, tiny.dataset().element_spec, 4
  )
  assert seconds > 0
  for old, new in zip(before, tiny.values(changes)):
    np.testing.assert_array_equal(old, new)
  kept = {id(v) for v in changes}
  model = {id(v) for v in (*state.parameters, *state.untrained)}
  assert model <= kept and id(state.step) in kept


def test_the_ceiling_waits_until_it_costs_next_to_nothing():
  config = tiny.config()
  state = TrainState(tiny.model(), config)
  watch, clock = watched()
  assert ceiling.steps_worth_it(watch, state, None) == 0
  call(watch, clock, 1.0, 0.0)  # 0.1 s a step: 3 steps, and one before them.
  assert ceiling.steps_worth_it(watch, state, None) == 0
  clock.passes(70.0)
  assert ceiling.steps_worth_it(watch, state, None) == 0
  clock.passes(30.0)
  assert ceiling.steps_worth_it(watch, state, None) == 3
  watch.ceilings[None] = 0.1
  assert ceiling.steps_worth_it(watch, state, None) == 0
