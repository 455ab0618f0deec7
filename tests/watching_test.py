# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what TensorBoard shows of the layers, of the trace, and HParams."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from tests import events, tiny
from train_loop import ConfigError, models, step, train_and_evaluate, watching
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import metrics_file


def norm(values):
  return np.sqrt(
    sum(np.square(value.astype(np.float64)).sum() for value in values)
  )


@pytest.mark.parametrize("clip", [0.0, 0.01])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_norms_are_numpys(clip, ema_decay):
  config = tiny.config(
    clip_global_norm=clip, ema_decay=ema_decay, momentum=0.0, optimizer="sgd"
  )
  state = TrainState(tiny.model(), config)
  watcher = watching.Watcher(state)

  def take_step():
    return step.train_step(
      state, tiny.batch(), config, schedule=make_schedule(config)
    )

  take_step()
  watcher.begin()
  before = tiny.values(state.parameters)
  taken = take_step()
  now = tiny.values(state.parameters)
  averages = tiny.values(state.averages)[: len(now)]
  scalars = watcher.end().scalars
  rate = float(taken["learning_rate"])
  assert [group.name for group in watching.groups(state)] == [
    "stem",
    "stage1",
    "head",
  ]
  for group in watching.groups(state):
    places = group.places
    update = norm([now[place] - before[place] for place in places])
    weight = norm([now[place] for place in places])
    expected = {
      "weight": weight,
      "update": update,
      "gradient": update / rate,  # Of plain SGD without decay.
      "update_to_weight": update / weight,
    }
    for name, value in expected.items():
      found = scalars[f"norms/{name}/{group.name}"]
      assert found == pytest.approx(value, rel=1e-2), (name, group.name)
  assert ("norms/ema_gap" in scalars) == bool(ema_decay)
  if ema_decay:
    gap = norm([a - b for a, b in zip(now, averages)]) / norm(now)
    assert scalars["norms/ema_gap"] == pytest.approx(gap, rel=1e-5)
  take_step()
  assert not bool(state.noted.wanted)


def test_a_step_that_is_skipped_has_no_gradient():
  config = tiny.config()
  state = TrainState(tiny.model(), config)
  watcher = watching.Watcher(state)
  watcher.begin()
  batch = tiny.batch()
  batch["image"] = tf.fill(batch["image"].shape, np.float32("nan"))
  step.train_step(state, batch, config, schedule=make_schedule(config))
  scalars = watcher.end().scalars
  assert not [name for name in scalars if "gradient" in name]
  assert scalars["norms/update/head"] == 0.0


@pytest.mark.parametrize(
  ("name", "shape", "expected"),
  [
    ("resnet20", (32, 32, 3), ["stem", "stage1", "stage2", "stage3", "head"]),
    (
      "keras:MobileNetV2",
      (32, 32, 3),
      ["stem", "stage1", "stage2", "stage3", "stage4", "head"],
    ),
  ],
)
def test_groups_are_stages_and_hold_each_parameter_once(name, shape, expected):
  model = models.build_model(
    name, input_shape=shape, num_classes=10, mean=(0.0,) * 3, std=(1.0,) * 3
  )
  state = TrainState(model, tiny.config())
  groups = watching.groups(state)
  assert [group.name for group in groups] == expected
  places = [place for group in groups for place in group.places]
  assert sorted(places) == list(range(len(state.parameters)))
  zeroed = [len(group.gammas) for group in groups]
  # Of the residual branches: their last BatchNorm alone.
  assert zeroed == ([0, 3, 3, 3, 0] if name == "resnet20" else zeroed)
  assert 0 < sum(zeroed) < len(state.parameters) / 3


def test_a_model_whose_graph_is_not_known_is_one_group():
  inner = tiny.model()

  class Own(tf.keras.Model):
    def __init__(self):
      super().__init__()
      self.inner = inner

    def call(self, images, training=False):
      return self.inner(images, training=training)

  state = TrainState(tiny.model(), tiny.config())
  state.model = Own()
  (group,) = watching.groups(state)
  assert (group.name, len(group.places)) == ("all", len(state.parameters))
  assert len(group.gammas) == 2


def test_watching_stops_for_a_while_if_it_takes_too_long():
  now = [0.0]
  state = TrainState(tiny.model(), tiny.config())
  watcher = watching.Watcher(state, clock=lambda: now[0])

  class Slow(type(state.noted)):
    def __init__(self):
      pass

    @property
    def wanted(self):
      now[0] += 1.0
      return tf.Variable(False)

  assert watcher.is_cheap()
  noted, state.noted = state.noted, Slow()
  state.noted.squares = noted.squares
  watcher.begin()
  now[0] = 99.0
  assert not watcher.is_cheap()
  now[0] = 101.0
  assert watcher.is_cheap()


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
  """A run of which steps are traced."""
  workdir = tmp_path_factory.mktemp("watched")
  config = tiny.config(
    profile_steps=(4, 6), ema_decay=0.9, log_every_steps=8, total_steps=16
  )
  train_and_evaluate(
    tiny.model(), tiny.dataset(), tiny.dataset(64), config, workdir
  )
  return workdir, config


def test_tensorboard_has_layers_layout_card_and_hparams(watched):
  workdir, _ = watched
  train = events.accumulator(workdir / "tensorboard/train")
  tags = set(train.Tags()["scalars"])
  assert {
    "norms/gradient/stem",
    "norms/update_to_weight/head",
    "norms/ema_gap",
    "internals/input_share",
    "internals/images_per_second",
  } <= tags
  board = plugin_event_multiplexer.EventMultiplexer()
  board.AddRunsFromDirectory(str(workdir / "tensorboard")).Reload()
  found = {
    plugin: board.PluginRunToTagToContent(plugin)
    for plugin in ("histograms", "text", "custom_scalars", "hparams")
  }
  assert set(found["histograms"]["train"]) == {"gamma/stage1"}
  assert {"run", "audit"} <= set(found["text"]["train"])
  (tag,) = found["custom_scalars"]["train"]
  (event, *_) = board.Tensors("train", tag)
  layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
  assert [category.title for category in layout.category] == [
    "Learning",
    "Layers, from stem to head",
    "Speed",
  ]
  begun = metadata.parse_session_start_info_plugin_data(
    found["hparams"]["."][metadata.SESSION_START_INFO_TAG]
  )
  assert begun.hparams["ema_decay"].number_value == pytest.approx(0.9)
  card = json.loads((workdir / "run_card.json").read_text())
  *_, last = board.Tensors("train", "run")
  shown = last.tensor_proto.string_val[0].decode()
  assert card["time"]["sentence"] in shown
  assert "| ema_decay | 0.9 |" in shown


def test_the_traced_steps_are_a_trace_of_xprof(watched):
  workdir, _ = watched
  (trace,) = (workdir / "tensorboard/train").glob(
    "plugins/profile/*/*.xplane.pb"
  )
  content = trace.read_bytes()
  assert content.count(b"step_num") and b"train" in content


def test_a_run_that_goes_on_after_the_traced_steps_says_so(watched, caplog):
  from train_loop import profiling

  workdir, _ = watched
  profile = profiling.Profile((4, 6), workdir, writes=True)
  profile.start(5)
  assert not caplog.text
  profile.start(6)
  assert "profile_steps=4,6 traces nothing: the run goes on from step 6" in (
    caplog.text
  )


@pytest.mark.parametrize("steps", [(4,), (6, 6), (-1, 3), (1, 2, 3)])
def test_steps_to_trace_that_are_none_are_refused(steps):
  with pytest.raises(ConfigError, match="profile_steps must be two steps"):
    tiny.config(profile_steps=steps)


def test_watching_changes_no_bit(watched, monkeypatch, tmp_path):
  workdir, _ = watched
  monkeypatch.setattr(watching, "Watcher", lambda state: None)
  model = tiny.model()
  train_and_evaluate(
    model,
    tiny.dataset(),
    tiny.dataset(64),
    tiny.config(ema_decay=0.9, log_every_steps=8, total_steps=16),
    tmp_path,
  )
  for one, other in zip(
    metrics_file.read_metrics(workdir), metrics_file.read_metrics(tmp_path)
  ):
    for name in metrics_file.TIME_FIELDS:
      one.pop(name, None), other.pop(name, None)
    assert one == other
