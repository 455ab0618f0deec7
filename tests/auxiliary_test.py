# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The auxiliary head of Inception-V3, and its term of the loss."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import compatibility, step
from train_loop.config import ConfigError
from train_loop.evaluation import make_evaluate
from train_loop.models.auxiliary import main_output, with_auxiliary_head
from train_loop.schedule import make_schedule
from train_loop.state import TrainState

WEIGHT = 0.4
CLASSES = 10


def two_headed(seed: int = 0) -> tf.keras.Model:
  """Returns the tiny network with a second head on its first features."""
  model = tiny.model(seed=seed)
  early = next(x for x in model.layers if isinstance(x, tf.keras.layers.ReLU))
  side = tf.keras.layers.GlobalAveragePooling2D()(early.output)
  side = tf.keras.layers.Dense(tiny.NUM_CLASSES, name="side")(side)
  return tf.keras.Model(model.inputs, [model.outputs[0], side])


@pytest.fixture(scope="module")
def inception():
  return tf.keras.applications.InceptionV3(
    weights=None,
    classes=CLASSES,
    input_shape=(299, 299, 3),
    classifier_activation=None,
  )


def test_the_head_is_as_large_as_in_the_paper_and_keeps_the_logits(inception):
  model = with_auxiliary_head(inception)
  logits, side = model.outputs
  assert tuple(logits.shape) == tuple(side.shape) == (None, CLASSES)
  # 17x17 -> 5x5 -> 1x1, as many weights as torchvision's InceptionAux has, but
  # for the γ that Keras' Inception leaves out.
  assert tuple(model.get_layer("auxiliary_pool").output.shape) == (
    None,
    5,
    5,
    768,
  )
  assert tuple(model.get_layer("auxiliary_relu").output.shape) == (
    None,
    1,
    1,
    768,
  )
  new = sum(int(np.prod(v.shape)) for v in model.trainable_variables) - sum(
    int(np.prod(v.shape)) for v in inception.trainable_variables
  )
  assert new == (
    768 * 128 + 128 + 128 * 768 * 25 + 768 + 768 * CLASSES + CLASSES
  )
  images = tf.random.stateless_uniform((1, 299, 299, 3), [1, 2])
  np.testing.assert_array_equal(main_output(model)(images), inception(images))


def test_small_images_have_windows_as_large_as_their_grid():
  model = tf.keras.applications.InceptionV3(
    weights=None, classes=CLASSES, input_shape=(75, 75, 3)
  )
  side = with_auxiliary_head(model).outputs[1]
  assert tuple(side.shape) == (None, CLASSES)


def test_another_network_is_refused():
  with pytest.raises(ValueError, match="auxiliary_weight needs keras:Incept"):
    with_auxiliary_head(tiny.model())


def test_the_step_adds_the_weighted_loss_of_the_head():
  config = tiny.config(
    auxiliary_weight=WEIGHT,
    schedule="constant",
    warmup_steps=0,
    base_learning_rate=0.8,  # times 32 / 256: 0.1
    momentum=0.0,
    nesterov=False,
    weight_decay=0.0,
    label_smoothing=0.1,
  )
  state = TrainState(two_headed(), config)
  batch = tiny.batch()
  metrics = step.train_step(
    state, batch, config, schedule=make_schedule(config)
  )

  reference = two_headed()
  loss_of = tf.keras.losses.CategoricalCrossentropy(
    from_logits=True, label_smoothing=0.1
  )
  targets = tf.one_hot(batch["label"], tiny.NUM_CLASSES)
  with tf.GradientTape() as tape:
    logits, side = reference(tf.cast(batch["image"], tf.float32), training=True)
    loss = loss_of(targets, logits) + WEIGHT * loss_of(targets, side)
  gradients = tape.gradient(loss, reference.trainable_variables)
  tf.keras.optimizers.SGD(0.1).apply_gradients(
    zip(gradients, reference.trainable_variables)
  )
  np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
  for ours, theirs in zip(
    tiny.values(state.model.variables), tiny.values(reference.variables)
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_evaluation_leaves_the_head_out():
  model = two_headed()
  config = tiny.config(auxiliary_weight=WEIGHT)
  plain = main_output(model)
  assert "side" not in [layer.name for layer in plain.layers]
  data = tiny.dataset()
  assert (
    make_evaluate(model, data, config)() == make_evaluate(plain, data, config)()
  )


def test_a_model_without_the_head_is_left_as_it_is():
  model = tiny.model()
  assert main_output(model) is model


@pytest.mark.parametrize(
  ("model", "weight"), [(two_headed, 0.0), (tiny.model, WEIGHT)]
)
def test_head_and_weight_come_together(model, weight):
  config = tiny.config(auxiliary_weight=weight)
  with pytest.raises(ConfigError, match="auxiliary_weight must be"):
    compatibility.require(model(), config, train_dataset=tiny.dataset())
