# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the loop as a library: what it learns, reports and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tests import events, tiny
from train_loop import Diverged, Stopped, evaluation, train_and_evaluate
from train_loop import run_steps as run_steps_lib
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import metrics_file


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run with all that is logged: returns config, workdir and result."""
  workdir = tmp_path_factory.mktemp("run")
  config = tiny.config(total_steps=32, log_every_steps=5, weight_decay=1e-3)
  final = train_and_evaluate(
    tiny.model(), tiny.dataset(), tiny.dataset(90, 50), config, workdir
  )
  return config, workdir, final


def numpy_rate(step):
  """The rate of the run's schedule, written down from the paper."""
  peak, warmup, total = 1.6 * 32 / 256, 4, 32
  if step < warmup:
    return peak * (step + 1) / warmup
  return peak / 2 * (1 + np.cos(np.pi * (step - warmup) / (total - warmup)))


def test_the_loss_halves_and_the_classes_are_learnt(run):
  _, workdir, final = run
  losses = [
    r["loss"] for r in metrics_file.read_metrics(workdir) if "loss" in r
  ]
  assert losses[-1] < losses[0] / 2
  assert final["eval_top1"] > 0.9


def test_what_is_logged_and_when(run):
  _, workdir, final = run
  records = metrics_file.read_metrics(workdir)
  assert [r["step"] for r in records if "loss" in r] == [
    *range(5, 32, 5),
    32,
  ]
  assert [r["step"] for r in records if "eval_loss" in r] == [8, 16, 24, 32]
  assert {"epoch", "top1", "gradient_norm", "images_per_second"} <= set(
    records[0]
  )
  assert all(r["epoch"] == r["step"] * 32 / 256 for r in records)
  assert final == metrics_file.last_records(workdir)
  assert final["eval_examples"] == 90


def test_the_rate_logged_is_the_numpy_schedules(run):
  _, workdir, _ = run
  logged = events.scalars(workdir / "tensorboard/train", "curves/learning_rate")
  assert len(logged) == 7
  for step, rate in logged:
    # The rate of the last of the steps: 0-based, one less than those taken.
    assert rate == pytest.approx(numpy_rate(step - 1), rel=1e-6, abs=1e-9)


def test_tensorboard_holds_train_eval_and_a_picture(run):
  _, workdir, _ = run
  train = events.accumulator(workdir / "tensorboard/train")
  tags = train.Tags()["scalars"]
  curves = {"curves/loss", "curves/top1", "curves/learning_rate"}
  assert {*curves, "internals/gradient_norm", "internals/epoch"} <= set(tags)
  assert train.Tags()["images"] == ["examples/augmented"]
  tags = events.accumulator(workdir / "tensorboard/eval").Tags()
  curves = {"curves/loss", "curves/top1", "curves/balanced_accuracy"}
  assert curves <= set(tags["scalars"])


def test_the_run_card_tells_the_run(run):
  _, workdir, final = run
  card = json.loads((workdir / "run_card.json").read_text())
  assert card["finished"] is True
  assert card["final"] == final
  assert card["settings"]["weight_decay"] == 1e-3
  assert card["versions"]["tensorflow"] == tf.__version__
  assert card["parameter_count"] == tiny.model().count_params()


def test_latest_and_best_checkpoints_are_kept(run):
  _, workdir, _ = run
  kept = sorted(p.name for p in (workdir / "checkpoints").glob("*.index"))
  assert kept == ["ckpt-24.index", "ckpt-32.index"]
  evaluations = [
    r for r in metrics_file.read_metrics(workdir) if "eval_top1" in r
  ]
  best = max(evaluations, key=lambda r: r["eval_top1"])
  (index,) = (workdir / "checkpoints/best").glob("*.index")
  assert index.name == f"ckpt-{best['step']}.index"


@pytest.mark.parametrize("examples", [1, 31, 32, 33, 100])
def test_evaluation_counts_every_example_once(examples):
  model = tiny.model()
  config = tiny.config()
  dataset = tiny.dataset(examples, 24, seed=4)
  results = evaluation.make_evaluate(model, dataset, config)()
  images, labels = tiny.arrays(examples, seed=4)
  logits = model(images.astype(np.float32), training=False).numpy()
  assert results["eval_examples"] == examples
  assert results["eval_top1"] == pytest.approx(
    (logits.argmax(1) == labels).mean(), abs=1e-9
  )
  shifted = logits - logits.max(1, keepdims=True)
  log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
  assert results["eval_loss"] == pytest.approx(
    -log_p[np.arange(examples), labels].mean(), rel=1e-5
  )


def test_evaluating_nothing_is_refused():
  empty = tiny.dataset(32).take(0)
  with pytest.raises(ValueError, match="at least one example"):
    evaluation.make_evaluate(tiny.model(), empty, tiny.config())()


def test_a_whole_run_is_one_trace_and_a_second_names_what_changed():
  config = tiny.config()
  state = TrainState(tiny.model(), config)
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config)
  )
  iterator = iter(tiny.dataset().repeat())
  for count in (1, 2, 5):
    run_steps(iterator, tf.constant(count))
  assert run_steps.experimental_get_tracing_count() == 1
  assert int(state.step) == 8
  other = iter(tiny.dataset(64, 16))
  with pytest.raises(TypeError, match=r"run_steps was traced again.*\(16,"):
    run_steps(other, tf.constant(1))
  with pytest.raises(
    TypeError, match=r"num_steps was .*int32.* and is .*int64"
  ):
    run_steps(iterator, tf.constant(1, tf.int64))


def any_size_model(*layers):
  """Returns a network for images of any size, `layers` before all others."""
  tf.keras.utils.set_random_seed(0)
  x = images = tf.keras.Input([None, None, 1])
  for layer in (
    *layers,
    tf.keras.layers.Rescaling(1 / 255),
    tf.keras.layers.Conv2D(4, 3, padding="same"),
    tf.keras.layers.GlobalAveragePooling2D(),
    tf.keras.layers.Dense(4),
  ):
    x = layer(x)
  return tf.keras.Model(images, x)


@pytest.mark.parametrize("image_size", [None, 6])
def test_xla_compiles_the_whole_step_of_one_device(image_size):
  weights = {}
  for jit_compile in (False, True):
    config = tiny.config(jit_compile=jit_compile, mixup_alpha=0.2)
    state = TrainState(any_size_model(), config)
    run_steps = run_steps_lib.make_run_steps(
      state, config, schedule=make_schedule(config), image_size=image_size
    )
    iterator = iter(tiny.dataset().repeat())
    run_steps(iterator, tf.constant(3))
    graph = run_steps.get_concrete_function(iterator, tf.constant(3)).graph
    compiled = [
      function.signature.name
      for function in graph.as_graph_def().library.function
      if function.attr["_XlaMustCompile"].b
    ]
    assert any("replica_step" in name for name in compiled) == jit_compile
    assert int(state.window.steps) == int(state.step) == 3
    weights[jit_compile] = tiny.values(state.model.variables)
  for one, other in zip(weights[False], weights[True]):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_how_many_steps_a_call_takes_changes_no_bit(tmp_path):
  finals = []
  for steps_per_loop in (1, 7, 0):
    config = tiny.config(
      steps_per_loop=steps_per_loop, mixup_alpha=0.2, ema_decay=0.9
    )
    model = tiny.model()
    train_and_evaluate(
      model, tiny.dataset(), None, config, tmp_path / str(steps_per_loop)
    )
    finals.append(tiny.values(model.variables))
  for others in finals[1:]:
    for one, other in zip(finals[0], others):
      np.testing.assert_array_equal(one, other)


def test_batches_of_any_size_become_full_ones(tmp_path):
  # Batches of 24 and a last one of 16 are one stream of batches of 32.
  sizes = set()

  def note(batch):
    sizes.add(batch["label"].shape[0])
    return batch

  config = tiny.config(total_steps=12, log_every_steps=12)
  train_and_evaluate(
    tiny.model(), tiny.dataset(256, 24).map(note), None, config, tmp_path
  )
  assert sizes == {None}
  (record,) = metrics_file.read_metrics(tmp_path)
  assert np.isfinite(record["loss"])


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_diverging_run_stops_at_the_call_that_diverged(precision, tmp_path):
  config = tiny.config(
    base_learning_rate=1e30,
    warmup_steps=0,
    schedule="constant",
    precision=precision,
    total_steps=240,
    steps_per_loop=2,
    log_every_steps=120,
    eval_every_steps=60,
  )
  with pytest.raises(Diverged, match="lower base_learning_rate") as info:
    train_and_evaluate(
      tiny.model(dtype=precision),
      tiny.dataset(),
      tiny.dataset(),
      config,
      tmp_path,
    )
  assert f"the gradient of step {info.value.step} is" in str(info.value)
  # float16 halves its loss scale from 2^15 to 1 first.
  assert info.value.step == {"float32": 1, "mixed_float16": 16}[precision]
  assert metrics_file.read_metrics(tmp_path) == []


def test_an_overflow_that_a_smaller_scale_mends_is_no_divergence():
  config = tiny.config(precision="mixed_float16")
  state = TrainState(tiny.model(dtype="mixed_float16"), config)
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config)
  )
  state.loss_scale.value.assign(2.0**40)
  run_steps(iter(tiny.dataset().repeat()), tf.constant(3, tf.int64))
  assert state.window.read()["skipped_steps"] == 3
  assert state.lost.goes_on()


@pytest.mark.parametrize(
  ("precision", "dtype"),
  [("float32", "mixed_float16"), ("mixed_float16", "float32")],
)
def test_a_model_of_another_precision_is_refused(precision, dtype, tmp_path):
  config = tiny.config(precision=precision)
  with pytest.raises(ValueError, match="precision must be mixed_float16 if"):
    train_and_evaluate(
      tiny.model(dtype=dtype), tiny.dataset(), None, config, tmp_path
    )


def test_a_model_without_logits_is_refused(tmp_path):
  images = tf.keras.Input(tiny.SHAPE)
  model = tf.keras.Model(images, tf.keras.layers.Conv2D(4, 3)(images))
  with pytest.raises(ValueError, match=r"logits \[batch, num_classes\]"):
    train_and_evaluate(model, tiny.dataset(), None, tiny.config(), tmp_path)


def test_a_teacher_is_distilled(tmp_path):
  teacher = tiny.model(seed=3)
  losses = {}
  for name, its in (("alone", None), ("taught", teacher)):
    config = tiny.config(total_steps=2, warmup_steps=0, log_every_steps=2)
    final = train_and_evaluate(
      tiny.model(), tiny.dataset(), None, config, tmp_path / name, teacher=its
    )
    losses[name] = final["loss"]
  assert losses["taught"] > losses["alone"]


def test_images_grow_with_one_trace_a_size_and_resume_in_any(tmp_path):
  heights = []

  class Note(tf.keras.layers.Layer):
    def call(self, inputs):
      heights.append(inputs.shape[1])
      return inputs

  model = any_size_model(Note())
  heights.clear()
  config = tiny.config(progressive_image_sizes=((4, 0), (6, 7), (8, 13)))
  start = tiny.values(model.variables)
  train_and_evaluate(model, tiny.dataset(), None, config, tmp_path / "whole")
  assert heights == [4, 6, 8]
  whole = tiny.values(model.variables)
  for variable, value in zip(model.variables, start):
    variable.assign(value)
  calls = iter(range(100))
  with pytest.raises(Stopped):
    train_and_evaluate(
      model,
      tiny.dataset(),
      None,
      config,
      tmp_path / "parts",
      should_stop=lambda: next(calls) == 3,
    )
  train_and_evaluate(model, tiny.dataset(), None, config, tmp_path / "parts")
  for one, other in zip(whole, tiny.values(model.variables)):
    np.testing.assert_array_equal(one, other)


class Table(tf.keras.layers.Layer):
  """Has a matrix that is no kernel."""

  def build(self, input_shape):
    self.w = self.add_weight(name="w", shape=(input_shape[-1], 4))

  def call(self, inputs):
    return tf.matmul(inputs, self.w)


@pytest.mark.parametrize(
  ("changes", "listed"), [({}, True), ({"decay_kernels_only": False}, False)]
)
def test_matrices_that_do_not_decay_are_listed(
  changes, listed, tmp_path, caplog
):
  images = tf.keras.Input(tiny.SHAPE)
  flat = tf.keras.layers.Flatten()(images)
  model = tf.keras.Model(images, Table()(flat))
  config = tiny.config(total_steps=1, warmup_steps=0, **changes)
  with caplog.at_level("INFO", "absl"):
    train_and_evaluate(model, tiny.dataset(), None, config, tmp_path)
  told = [m for m in caplog.messages if "not decayed: " in m]
  assert len(told) == listed
  assert all("/w" in line or "w:0" in line for line in told)
