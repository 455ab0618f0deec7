# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The real loop in a time that is made up: nothing is trained, nobody waits."""

from __future__ import annotations

import dataclasses
import itertools
import types

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import (
  ConfigError,
  Stopped,
  bottleneck,
  budget,
  loop,
  profiling,
  train_and_evaluate,
)
from train_loop import run_steps as run_steps_lib
from train_loop.distribution import Hosts
from train_loop.schedule import make_schedule
from train_loop.workdir import metrics_file, run_card
from train_loop.workdir.reporter import Bystander

pytestmark = pytest.mark.any_keras


@dataclasses.dataclass
class World:
  """A machine on which everything takes a known time.

  Attributes:
    step_seconds: of a step, by the second at which it starts.
    tracing, evaluation, saving: seconds that each takes.
    by_size: what larger images multiply a step's time by.
  """

  step_seconds: object = staticmethod(lambda now: 0.02)
  tracing: float = 5.0
  evaluation: float = 2.0
  saving: float = 0.3
  by_size: dict = dataclasses.field(default_factory=dict)
  now: float = 100.0

  def start(self, monkeypatch, config, state=None, top1=lambda step: 0.5):
    """Makes one start of a run; returns its state, which a next one may get."""
    self.rates, self.evaluated, self.saved, self.sizes = [], [], [], {}
    if state is None:
      state = types.SimpleNamespace(
        step=tf.Variable(0, dtype=tf.int64),
        timetable=budget.Timetable() if config.loop.max_minutes else None,
        evaluations_since_best=tf.Variable(0, dtype=tf.int64),
        best=tf.Variable(-1.0),
        window=types.SimpleNamespace(read=dict, reset=lambda: None),
        loss_scale=None,
        diverged=tf.Variable(False),
      )
    if not config.loop.patience:
      state.evaluations_since_best = None
    self.state, self.config, self.top1 = state, config, top1
    self.traced_evaluation = False
    clock = types.SimpleNamespace(perf_counter=lambda: self.now)
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(run_steps_lib, "make_run_steps", self._make_run_steps)
    return state

  def run(self, should_stop=lambda: False):
    """Runs the loop; returns the length of the run."""
    saver = types.SimpleNamespace(save=self._save, save_best=self._save)
    run = loop.Run(
      state=self.state,
      config=self.config,
      hosts=Hosts(),
      teacher=None,
      evaluate=self._evaluate,
      eval_batches=40,
      batches_from=lambda step: [],
      saver=saver,
      guard=types.SimpleNamespace(order_offset=0, went_back=lambda _: False),
      reporter=Bystander(),
      should_stop=should_stop,
      watch=bottleneck.Stopwatch(global_batch_size=32, clock=lambda: 0.0),
      watcher=None,
      profile=profiling.Profile((), "", writes=False),
    )
    return run.finish(evaluation_is_left=False)

  def _make_run_steps(self, state, config, *, schedule, teacher, image_size):
    del teacher
    traced = []

    def run_steps(iterator, num_steps):
      del iterator
      if not traced:
        self.now += self.tracing
        traced.append(True)
      first = state.step.numpy()
      steps = tf.range(first, first + num_steps)
      self.rates += schedule(steps).numpy().tolist()
      self.sizes.setdefault(image_size, []).append(int(first))
      for _ in range(int(num_steps)):
        factor = self.by_size.get(image_size, 1.0)
        self.now += self.step_seconds(self.now) * factor
      state.step.assign_add(num_steps)
      return tf.constant(0.0)

    return run_steps

  def _evaluate(self, count=-1, should_stop=None):
    del should_stop
    if not self.traced_evaluation:
      self.now += self.tracing
      self.traced_evaluation = True
    self.now += self.evaluation * (1.0 if count == -1 else count / 40)
    step = int(self.state.step.numpy())
    if count == -1:
      self.evaluated.append(step)
    return {"eval_top1": self.top1(step)}

  def _save(self):
    self.now += self.saving
    self.saved.append(
      float(self.state.timetable.elapsed) if self.state.timetable else 0.0
    )


def config_of(**changes):
  settings = {
    "total_steps": 1000,
    "warmup_steps": 100,
    "base_learning_rate": 8.0,  # A peak of 1.
    "eval_every_steps": 0,
    "log_every_steps": 50,
  }
  return tiny.config(**{**settings, **changes})


WORLDS = {
  "steady": World(),
  "twice as slow later": World(lambda now: 0.02 if now < 130 else 0.04),
  "with pauses": World(lambda now: 0.02 if now % 10 < 9 else 0.1),
  "slow steps": World(lambda now: 0.9, tracing=9.0),
  "slow to evaluate": World(evaluation=9.0),
}


@pytest.mark.parametrize(
  ("name", "planned"),
  [*((name, 1000) for name in WORLDS), ("steady", 20), ("steady", 10**6)],
)
def test_time_and_schedule_end_together(name, planned, monkeypatch):
  world = dataclasses.replace(WORLDS[name])
  config = config_of(
    total_steps=planned, warmup_steps=planned // 10, max_minutes=1.5
  )
  world.start(monkeypatch, config)
  length = world.run()
  assert world.now - 100.0 == pytest.approx(90.0, rel=0.02)
  assert length.for_card()["budget"]["reached"] == 1.0
  assert length.for_card()["budget"]["minutes"] == pytest.approx(1.5, rel=0.02)
  assert world.evaluated == [length.total_steps]
  rates = world.rates
  assert len(rates) == length.total_steps == int(world.state.step)
  assert max(rates) == pytest.approx(1.0, abs=0.01)
  assert np.all(np.diff(rates[int(np.argmax(rates)) :]) <= 1e-6)
  assert rates[-1] < 0.01


@pytest.mark.parametrize("every", [7, 400])
def test_evaluations_before_the_last_are_part_of_the_time(every, monkeypatch):
  world = World(evaluation=1.0)
  config = config_of(max_minutes=1.0, eval_every_steps=every)
  world.start(monkeypatch, config)
  length = world.run()
  assert world.now - 100.0 == pytest.approx(60.0, rel=0.02)
  assert world.evaluated[-1] == length.total_steps
  assert length.for_card()["budget"]["reached"] == 1.0


def test_the_time_between_a_stop_and_the_next_start_does_not_count(monkeypatch):
  world = World()
  config = config_of(max_minutes=1.0, eval_every_steps=300)
  state = world.start(monkeypatch, config)
  with pytest.raises(Stopped):
    world.run(should_stop=lambda: world.now > 125.0)
  used, rates = world.now - 100.0, world.rates
  # The time up to the beginning of the save is in what was saved.
  assert world.saved[-1] == pytest.approx(used - world.saving)
  world.now += 10_000.0
  begun = world.now
  world.start(monkeypatch, config, state)
  length = world.run()
  assert world.now - begun + used == pytest.approx(60.0, rel=0.02)
  assert length.for_card()["budget"]["reached"] == 1.0
  # The schedule goes on from where it was.
  assert world.rates[0] == pytest.approx(rates[-1], abs=0.01)
  # Finished, it stays so.
  world.start(monkeypatch, config, state)
  ended = int(state.step)
  assert world.run().total_steps == ended == int(state.step)


def test_sizes_of_images_follow_the_schedule(monkeypatch):
  world = World(by_size={4: 1.0, 6: 2.25, 8: 4.0}, tracing=1.0)
  sizes = ((4, 0), (6, 400), (8, 800))
  config = config_of(max_minutes=2.0, progressive_image_sizes=sizes)
  world.start(monkeypatch, config)
  length = world.run()
  assert world.now - 100.0 == pytest.approx(120.0, rel=0.02)
  assert list(world.sizes) == [4, 6, 8]
  shares = [world.sizes[size][0] / length.total_steps for size in (6, 8)]
  # Later strides are other than earlier ones: the pace was a guess.
  assert shares == pytest.approx([0.4, 0.8], abs=0.05)


def test_a_start_that_takes_what_is_left_still_ends_the_schedule(
  monkeypatch, caplog
):
  world = World()
  config = config_of(max_minutes=1.0)
  state = world.start(monkeypatch, config)
  with pytest.raises(Stopped):
    world.run(should_stop=lambda: world.now > 125.0)
  world.tracing = 50.0
  world.start(monkeypatch, config, state)
  with caplog.at_level("WARNING", "absl"):
    length = world.run()
  assert "% of the schedule; 30 steps end it" in caplog.text
  assert len(world.rates) == 31 and world.rates[-1] < 0.01
  assert length.for_card()["budget"]["reached"] == 1.0


def test_a_time_that_is_too_short_ends_at_once_and_says_how_far_it_came(
  monkeypatch, caplog
):
  world = World(tracing=30.0)
  world.start(monkeypatch, config_of(max_minutes=0.5))
  with caplog.at_level("WARNING", "absl"):
    length = world.run()
  assert length.total_steps == len(world.evaluated) == 1
  assert "the time is used up at 0.1% of the schedule" in caplog.text


def test_a_step_back_gives_no_time_back(monkeypatch):
  world = World()
  config = config_of(max_minutes=1.0)
  state = world.start(monkeypatch, config)
  length = budget.Budget(config, state, clock=lambda: world.now)
  world.now += 20.0
  length.called(500, 500, traced=False)
  state.timetable.elapsed.assign(3.0)  # As a rollback restores it.
  length.go_back(100)
  assert float(state.timetable.elapsed) == pytest.approx(20.0)
  assert length.total_steps == pytest.approx(1100, abs=20)


def test_without_a_budget_the_steps_are_those_planned(monkeypatch):
  world = World()
  config = config_of()
  world.start(monkeypatch, config)
  length = world.run()
  assert length.total_steps == 1000
  assert length.for_card() == {}
  planned = make_schedule(config)(tf.range(1000, dtype=tf.int64))
  np.testing.assert_array_equal(np.float32(world.rates), planned)


def test_positions_between_steps_have_rates_between_theirs():
  for schedule in ("cosine", "linear", "polynomial", "exponential"):
    rate = make_schedule(config_of(schedule=schedule, hold_steps=50))
    steps = np.arange(0.0, 999.5, 0.5)
    rates = rate(steps)
    np.testing.assert_array_equal(rates[::2], rate(np.arange(1000)))
    between = rates[1::2]
    assert np.all(between <= np.maximum(rates[:-2:2], rates[2::2]))
    assert np.all(between >= np.minimum(rates[:-2:2], rates[2::2]))
    np.testing.assert_array_equal(
      rates, rate(tf.constant(steps, tf.float64)).numpy()
    )


def test_patience_ends_the_run_and_is_saved(monkeypatch):
  world = World()
  results = {100: 0.5, 200: 0.4, 300: 0.6, 400: 0.6, 500: 0.1}
  config = config_of(
    eval_every_steps=100, patience=3, schedule="constant", warmup_steps=0
  )
  state = world.start(monkeypatch, config, top1=lambda s: results.get(s, 0.6))
  with pytest.raises(Stopped):
    world.run(should_stop=lambda: int(state.step) >= 450)
  assert int(state.evaluations_since_best) == 1
  world.start(monkeypatch, config, state, top1=lambda s: results.get(s, 0.6))
  length = world.run()
  assert world.evaluated == [500, 600] and int(state.step) == 600
  assert length.ending() == {"ended_early": "no better result in 3 evaluations"}
  # A start after that trains nothing.
  world.start(monkeypatch, config, state)
  assert world.run().total_steps == 600 and not world.rates


def test_a_run_out_of_patience_is_finished_and_says_why(tmp_path, caplog):
  config = tiny.config(patience=1, base_learning_rate=1e-9, eval_every_steps=2)
  with caplog.at_level("WARNING", "absl"):
    final = train_and_evaluate(
      tiny.model(), tiny.dataset(), tiny.dataset(), config, tmp_path
    )
  assert "patience=1 may end the run before schedule cosine" in caplog.text
  assert final["ended_early"] == "no better result in 1 evaluation"
  assert final["step"] < 24
  # The last step is logged, though none of its kind was due.
  logged = [
    r["step"] for r in metrics_file.read_metrics(tmp_path) if "loss" in r
  ]
  assert logged[-1] == final["step"]
  card = run_card.read(tmp_path)
  assert card["finished"] and card["final"] == final
  again = train_and_evaluate(
    tiny.model(), tiny.dataset(), tiny.dataset(), config, tmp_path
  )
  assert again == final


@pytest.mark.parametrize("changes", [{}, {"eval_every_steps": 0}])
def test_patience_needs_evaluations(changes, tmp_path):
  evaluated = tiny.dataset() if changes else None
  config = tiny.config(patience=2, **changes)
  with pytest.raises(ConfigError, match=r"^patience must be 0 without eval"):
    train_and_evaluate(
      tiny.model(), tiny.dataset(), evaluated, config, tmp_path / "run"
    )
  assert not (tmp_path / "run").exists()


def test_a_budget_is_saved_with_the_run(tmp_path, monkeypatch):
  ticks = iter(range(10**6))
  clock = types.SimpleNamespace(perf_counter=lambda: 0.2 * next(ticks))
  monkeypatch.setattr(loop, "time", clock)
  config = tiny.config(max_minutes=0.5, ema_decay=0.9, eval_every_steps=0)
  model = tiny.model()
  stops = iter([False] * 5 + [True] + [False] * 10**6)
  arguments = (tiny.dataset(), tiny.dataset(), config, tmp_path)
  with pytest.raises(Stopped):
    train_and_evaluate(model, *arguments, should_stop=lambda: next(stops))
  final = train_and_evaluate(model, *arguments)
  card = run_card.read(tmp_path)["budget"]
  assert card["steps"] == final["step"] != card["planned_steps"] == 24
  assert card["reached"] >= 1.0 - budget._REST
  assert card["minutes"] == pytest.approx(0.5, rel=0.1)
  assert final["learning_rate"] < 0.05


def test_all_hosts_ask_one_another_equally_often(monkeypatch, tmp_path):
  asked = {True: [], False: []}
  for is_chief, calls in asked.items():
    hosts = Hosts()
    hosts.is_chief = is_chief
    for name in ("any", "of_chief"):
      monkeypatch.setattr(
        hosts,
        name,
        lambda value, name=name, calls=calls: calls.append(name) or value,
      )
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda ticks=ticks: next(ticks))
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop.distribution, "Hosts", lambda hosts=hosts: hosts)
    train_and_evaluate(
      tiny.model(),
      tiny.dataset(),
      tiny.dataset(100, seed=1),
      tiny.config(max_minutes=2.0, steps_per_loop=3),
      tmp_path / str(is_chief),
    )
  assert asked[True] == asked[False] != []
