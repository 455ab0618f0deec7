# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of weights and logits by class, and of the order with equal classes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils import class_weight

import data
from data import order, pipeline
from data.sources import source as sources
from tests import modes, tiny
from train_loop import state as state_lib
from train_loop import step as step_lib
from train_loop.command import compose, flags
from train_loop.config import ConfigError
from train_loop.workdir import run_card
from tricks import adjust_logits, class_weights

COUNTS = [600, 60, 6, 1]


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1.0 - 1e-9])
def test_weights_are_the_formula(beta):
  effective = [(1 - beta**n) / (1 - beta) for n in COUNTS]
  expected = np.array([1 / number for number in effective])
  expected *= sum(COUNTS) / (expected @ COUNTS)
  found = class_weights(COUNTS, beta=beta)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert found.dtype == np.float32


def test_weights_at_one_are_scikit_learns():
  labels = np.repeat(np.arange(4), COUNTS)
  expected = class_weight.compute_class_weight(
    "balanced", classes=np.arange(4), y=labels
  )
  np.testing.assert_allclose(
    class_weights(COUNTS, beta=1.0), expected, rtol=1e-6
  )


def test_a_class_without_examples_weighs_nothing():
  for beta in (0.0, 0.5, 1.0):
    assert class_weights([3, 0, 3], beta=beta).tolist() == [1, 0, 1]


@pytest.mark.parametrize("mode", modes.MODES)
@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_adjusted_logits_are_the_formula(mode, tau):
  logits = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)
  found = modes.run(lambda z: adjust_logits(z, COUNTS, tau=tau), mode, logits)
  priors = [tau * math.log(n / sum(COUNTS)) for n in COUNTS]
  np.testing.assert_allclose(found, logits + np.array(priors), rtol=1e-5)


def test_adjusting_by_nothing_is_the_identity():
  logits = tf.ones([2, 4])
  assert adjust_logits(logits, COUNTS, tau=0.0) is logits


@pytest.mark.parametrize(
  "call, text",
  [
    (lambda: class_weights(COUNTS, beta=1.1), r"beta must be in \[0, 1\]"),
    (lambda: class_weights([], beta=0.5), "class_counts must be numbers"),
    (lambda: class_weights([-1, 2], beta=0.5), "class_counts must be numbers"),
    (lambda: class_weights([0, 0], beta=0.5), "class_counts must not all be 0"),
    (lambda: adjust_logits(tf.ones([1, 4]), COUNTS, tau=-1.0), "tau must be"),
    (lambda: adjust_logits(tf.ones([1, 4]), COUNTS, tau=math.nan), "tau must"),
  ],
)
def test_a_value_out_of_range_is_named(call, text):
  with pytest.raises(ValueError, match=text):
    call()


def balanced(labels, count, *, start=0, seed=0):
  positions = start + tf.range(count, dtype=tf.int64)
  passes, indices = order.balanced_order(np.array(labels), seed=seed)(positions)
  assert passes.dtype == indices.dtype == tf.int64
  return passes.numpy(), indices.numpy()


# 2000 examples of class 0 are a block of their own; class 2 has none.
LABELS = np.random.default_rng(0).permutation(
  np.repeat([0, 1, 3], [2000, 40, 1])
)


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_each_class_comes_equally_often(seed):
  _, indices = balanced(LABELS, 1026 * 40, seed=seed)
  classes = LABELS[indices]
  # A block is 342 turns of 3 classes.
  for block in classes.reshape(40, 1026):
    assert np.bincount(block).tolist() == [342, 342, 0, 342]
  # 13,680 turns: 6 whole passes over class 0 and a part of the next, and 13
  # blocks of 26 passes over class 1.
  counts = np.bincount(indices, minlength=len(LABELS))
  assert set(counts[LABELS == 0]) == {6, 7}
  assert 338 <= min(counts[LABELS == 1]) <= max(counts[LABELS == 1]) <= 364
  assert set(counts[LABELS == 3]) == {13_680}


def test_a_pass_has_each_example_once():
  passes, indices = balanced(LABELS, 30_000)
  pairs = np.stack([passes, indices], axis=1)
  assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_a_place_has_its_example_wherever_the_stream_starts():
  whole = balanced(LABELS, 3000)
  for start in (1, 999, 2500):
    part = balanced(LABELS, 500, start=start)
    for found, expected in zip(part, whole):
      np.testing.assert_array_equal(found, expected[start : start + 500])


def test_classes_and_examples_are_shuffled():
  _, indices = balanced(LABELS, 6000)
  _, others = balanced(LABELS, 6000, seed=1)
  classes = LABELS[indices]
  # Two independent draws of three classes agree in a third of the places.
  assert 0.3 < np.mean(classes == LABELS[others]) < 0.37
  assert 0.3 < np.mean(classes[1:] == classes[:-1]) < 0.37
  of_first = indices[classes == 0]
  assert abs(np.corrcoef(of_first, np.arange(len(of_first)))[0, 1]) < 0.1


@pytest.mark.parametrize("mix", ["mixup_alpha", "cutmix_alpha"])
@pytest.mark.parametrize("balance", ["weights", "logit_adjustment"])
def test_the_step_weighs_classes_beside_all_other_tricks(balance, mix):
  config = tiny.config(
    class_balance=balance,
    class_balance_beta=0.99,
    class_counts=tuple(COUNTS),
    label_smoothing=0.1,
    distill_temperature=3.0,
    **{mix: 0.2},
  )
  state, teacher = (
    state_lib.TrainState(tiny.model(), config),
    tiny.model(seed=2),
  )
  images, targets = step_lib.mixed_batch(
    tiny.batch(), tf.constant(0), 4, config
  )
  gradients, metrics = step_lib.loss_gradients(
    state, (images, images), targets, config, teacher
  )
  with tf.GradientTape() as tape:
    logits = state.model(images, training=True)
    if balance == "weights":
      log_p = tf.nn.log_softmax(logits)
      weighted = targets * class_weights(COUNTS, beta=0.99)
      losses = -tf.reduce_sum(weighted * log_p, axis=1)
    else:
      priors = np.log(np.array(COUNTS, np.float32) / sum(COUNTS))
      losses = tf.keras.losses.categorical_crossentropy(
        targets, logits + priors, from_logits=True
      )
    soft = tf.nn.softmax(teacher(images, training=False) / 3.0)
    losses += 9.0 * tf.keras.losses.categorical_crossentropy(
      soft, logits / 3.0, from_logits=True
    )
    loss = tf.reduce_mean(losses)
  expected = tape.gradient(loss, state.parameters)
  np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
  for found, other in zip(gradients, expected):
    np.testing.assert_allclose(found, other, rtol=1e-4, atol=1e-5)


def test_smoothed_targets_leave_all_other_adjusted_logits_alike():
  config = tiny.config(
    class_balance="logit_adjustment",
    logit_adjustment_tau=0.7,
    class_counts=tuple(COUNTS),
    label_smoothing=0.3,
  )
  batch = tiny.batch()
  _, targets = step_lib.mixed_batch(batch, tf.constant(0), 4, config)
  np.testing.assert_allclose(tf.reduce_sum(targets, axis=1), 1.0, rtol=1e-5)
  # The logits whose adjusted softmax is the target.
  logits = np.log(targets) - 0.7 * np.log(np.array(COUNTS) / sum(COUNTS))
  for row, label in zip(logits, batch["label"].numpy()):
    others = np.delete(row, label)
    np.testing.assert_allclose(others, others[0], rtol=1e-4)
    assert row[label] > others[0]


def test_a_balance_must_fit_the_task():
  with pytest.raises(ConfigError, match="class_balance must be none with task"):
    tiny.config(task="multi_label", class_balance="sampling")


# -- From the flag to the step --


def test_a_balanced_stream_goes_on_as_it_would_have():
  source = sources.Source(
    np.arange(64, dtype=np.uint8).reshape(8, 2, 4, 1).repeat(5, axis=0),
    np.array([0] * 33 + [1] * 7, np.int32),
    ("common", "rare"),
    "pixels",
  )

  def stream(start):
    dataset = pipeline.train_dataset(
      source,
      global_batch_size=6,
      seed=3,
      start_step=start,
      balanced=True,
      augmentation=data.Augmentation(pad_crop=1, flip=True),
    )
    return list(dataset.take(400 - start).as_numpy_iterator())

  whole = stream(0)
  for found, expected in zip(stream(150), whole[150:]):
    for name in ("image", "label"):
      np.testing.assert_array_equal(found[name], expected[name])
  labels = np.concatenate([batch["label"] for batch in whole])
  assert abs(np.mean(labels == 1) - 0.5) < 0.01


@pytest.mark.parametrize(
  "balance", ["none", "weights", "sampling", "logit_adjustment"]
)
def test_the_flag_reaches_step_and_order(balance):
  values = flags.parse(
    "--dataset=digits", "--recipe=digits", f"--class_balance={balance}"
  )
  planned = compose.plan(values)
  counts = planned.inputs.train.class_counts()
  needed = balance in ("weights", "logit_adjustment")
  assert planned.config.loss.class_counts == (tuple(counts) if needed else ())
  assert planned.inputs.balanced == (balance == "sampling")
  # An evaluation has the counts of the run's card.
  settings = run_card.comparable_settings(planned.config)
  card = {
    "settings": json.loads(json.dumps(settings)),
    "choice": {
      "onednn": True,
      "tensor_float_32": False,
      "precision": "float32",
      "jit_compile": False,
    },
  }
  config, _ = compose.as_evaluated(card, values)
  assert config.loss == planned.config.loss
