# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the library's door: what fits trains, all else is one line."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop import ConfigError, batches, evaluate, train_and_evaluate
from train_loop.models import heads
from train_loop.workdir import metrics_file

layers = tf.keras.layers
IMAGES, LABELS = tiny.arrays(64)


def network(*ends, shape=tiny.SHAPE):
  """Returns a linear network, with its last layers."""
  return tf.keras.Sequential(
    [tf.keras.Input(shape), layers.Flatten(), *(ends or [layers.Dense(4)])]
  )


def data(images=IMAGES, labels=LABELS, batch=32):
  """Returns pairs in batches, as Keras takes them."""
  dataset = tf.data.Dataset.from_tensor_slices((images, labels))
  return dataset.batch(batch) if batch else dataset


def refusal(tmp_path, *, model=None, train=None, test=None, **keys):
  """Returns the one line with which the loop refuses to begin."""
  teacher = keys.pop("teacher", None)
  config = tiny.config(**{"total_steps": 6, **keys})
  workdir = tmp_path / "run"
  with pytest.raises(ConfigError) as info:
    train_and_evaluate(
      network() if model is None else model,
      data() if train is None else train,
      test,
      config,
      workdir,
      teacher=teacher,
    )
  assert not workdir.exists(), "something was written"
  (line,) = str(info.value).splitlines()
  return line


class Subclassed(tf.keras.Model):
  """A model whose layers are known to Python alone."""

  def __init__(self):
    super().__init__()
    self.dense = layers.Dense(4)

  def call(self, inputs):
    return self.dense(tf.reshape(tf.cast(inputs, tf.float32), [-1, 64]))


def two_inputs():
  one, other = tf.keras.Input(tiny.SHAPE), tf.keras.Input(tiny.SHAPE)
  logits = layers.Dense(4)(layers.Flatten()(layers.Add()([one, other])))
  return tf.keras.Model([one, other], logits)


def dict_output():
  images = tf.keras.Input(tiny.SHAPE)
  return tf.keras.Model(images, {"logits": network()(images)})


def frozen():
  model = network()
  model.trainable = False
  return model


@pytest.mark.parametrize(
  ("model", "line"),
  [
    (
      lambda: network(layers.Dense(4, activation="softmax")),
      "model must end in logits, got softmax: give "
      "train_loop.models.heads.without_softmax(model)",
    ),
    (
      lambda: network(layers.Dense(4), layers.Activation("sigmoid")),
      "model must end in logits, got sigmoid: end it in a Dense layer without",
    ),
    (
      lambda: network(layers.Dense(1, activation="sigmoid")),
      "model must give a logit for each class, got 1: for two classes",
    ),
    (
      lambda: network(layers.Dense(4), layers.Reshape([2, 2])),
      "model must map images to logits [batch, num_classes], got output shape "
      "[batch, 2, 2]: end it in",
    ),
    (two_inputs, "model must have one input, the images, got 2"),
    (dict_output, "model must give logits, got a dict of logits: take one"),
    (Subclassed, "got a Subclassed that does not: wrap it: images = tf.keras"),
    (
      lambda: tf.keras.Sequential([layers.Flatten(), layers.Dense(4)]),
      "got a Sequential that does not: let it begin with tf.keras.Input",
    ),
    (lambda: abs, "model must be a tf.keras.Model, got builtin_function_or_"),
    (frozen, "model must have variables to train, got none: set trainable"),
    (
      lambda: network(shape=[28, 28, 1]),
      "image of train_dataset must be as model takes it, [batch, 28, 28, 1], "
      "got [batch, 8, 8, 1]: resize the images",
    ),
    (
      lambda: network(shape=[8, 8, 3]),
      "got [batch, 8, 8, 1]: give the images the model's channels",
    ),
    (
      lambda: network(shape=[1, 8, 8]),
      "[batch, 1, 8, 8], got [batch, 8, 8, 1]: build the model with channels l",
    ),
    (
      lambda: network(shape=[8, 8]),
      "model must take images [batch, height, width, channels], got input "
      "shape [batch, 8, 8]",
    ),
    (
      lambda: network(layers.Dense(4, dtype="float64")),
      "model must keep its variables in float32",
    ),
  ],
)
def test_a_model_that_does_not_fit_is_one_line(model, line, tmp_path):
  assert line in refusal(tmp_path, model=model())


def test_the_wrapped_and_the_stripped_model_train(tmp_path):
  images = tf.keras.Input(tiny.SHAPE)
  softmax = network(layers.Dense(4, activation="softmax"))
  for model in (
    tf.keras.Model(images, Subclassed()(images)),
    heads.without_softmax(softmax),
    network(layers.Dense(4), layers.Activation("log_softmax")),
  ):
    config = tiny.config(total_steps=5)
    workdir = tmp_path / str(id(model))
    train_and_evaluate(model, data(), None, config, workdir)


@pytest.mark.parametrize(
  ("precision", "dtype"),
  [
    ("float32", "mixed_bfloat16"),
    ("mixed_bfloat16", "float32"),
    ("mixed_bfloat16", "mixed_float16"),
  ],
)
def test_a_model_of_another_precision_is_one_line(precision, dtype, tmp_path):
  line = refusal(tmp_path, model=tiny.model(dtype=dtype), precision=precision)
  assert line.startswith("precision must be mixed_")
  assert line.endswith(
    f"got {precision!r}: build the layers with dtype={precision!r}"
  )


@pytest.mark.parametrize(
  ("teacher", "line"),
  [
    (
      lambda: network(layers.Dense(4, activation="softmax")),
      "teacher must end in logits, got softmax: give "
      "train_loop.models.heads.without_softmax(teacher)",
    ),
    (
      lambda: network(layers.Dense(5)),
      "teacher must have the model's 4 classes, got 5",
    ),
    (
      lambda: network(shape=[16, 16, 1]),
      "image of train_dataset must be as teacher takes it, [batch, 16, 16, 1]",
    ),
    (Subclassed, "teacher must know the shapes of its input and output"),
  ],
)
def test_a_teacher_that_does_not_fit_is_one_line(teacher, line, tmp_path):
  assert line in refusal(tmp_path, teacher=teacher())


@pytest.mark.parametrize(
  ("model_in_scope", "train_in_scope"), [(False, True), (True, False)]
)
def test_a_model_of_another_scope_is_one_line(
  model_in_scope, train_in_scope, tmp_path, strategy
):
  default = tf.distribute.get_strategy()
  with (strategy if model_in_scope else default).scope():
    model = network()
  with (strategy if train_in_scope else default).scope():
    line = refusal(tmp_path, model=model)
  assert line.startswith("model must be built under the scope of the strategy")


def column(dtype):
  return LABELS.astype(dtype)


@pytest.mark.parametrize(
  ("train", "line"),
  [
    (
      lambda: (IMAGES, LABELS),
      "train_dataset must be a tf.data.Dataset of batches, got tuple: "
      "tf.data.Dataset.from_tensor_slices((images, labels)).batch(",
    ),
    (lambda: data(batch=None), "got single examples: add .batch(batch_size)"),
    (
      lambda: data().take(0),
      "train_dataset must hold at least one example, got none",
    ),
    (
      lambda: data().filter(lambda image, label: False),
      "train_dataset must hold at least one example, got none",
    ),
    (
      lambda: data().map(lambda x, y: {"inputs": x, "target": y}),
      "got the keys inputs, target: use map()",
    ),
    (lambda: data().map(lambda x, y: x), "got TensorSpec: use map()"),
    (lambda: data().map(lambda x, y: (x, y, y)), "got a tuple of 3: use map"),
    (
      lambda: data(IMAGES[..., 0]),
      "got [batch, 8, 8]: image[..., tf.newaxis] gives gray images their",
    ),
    (lambda: data(IMAGES.reshape(64, -1)), "got [batch, 64]: reshape it"),
    (
      lambda: data(IMAGES.transpose(0, 3, 1, 2)),
      "got [batch, 1, 8, 8]: tf.transpose(image, [0, 2, 3, 1]) puts channels",
    ),
    (
      lambda: data(IMAGES.astype(str)),
      "image of train_dataset must be numbers, got string",
    ),
    (
      lambda: data(labels=column(np.float32)),
      "or one-hot [batch, 4], got float32 [batch]: tf.cast(label, tf.int32)",
    ),
    (
      lambda: data(labels=column(str)),
      "got string [batch]: tf.keras.layers.StringLookup(",
    ),
    (lambda: data(labels=column(bool)), "got bool [batch]: tf.cast(label"),
    (lambda: data(labels=np.eye(5)[LABELS]), "got float64 [batch, 5]: use map"),
    (
      lambda: lambda step: data().rebatch(16, drop_remainder=True),
      "train_dataset, a function, gives, got 32 for batches of 16",
    ),
    (
      lambda: lambda step: data(batch=16).repeat().rebatch(24),
      "that of the batches, got 32 for a batch of 24, in the batches of steps",
    ),
    (lambda: lambda step: iter(data()), "train_dataset(0) must be a tf.data"),
  ],
)
def test_data_that_do_not_fit_are_one_line(train, line, tmp_path):
  assert line in refusal(tmp_path, train=train())


@pytest.mark.parametrize(
  ("test", "line"),
  [
    (lambda: data().repeat(), "eval_dataset must end, got one that repeats"),
    (lambda: data().take(0), "eval_dataset must hold at least one example"),
    (lambda: data(batch=None), "eval_dataset must hold batches"),
    (lambda: IMAGES, "eval_dataset must be a tf.data.Dataset"),
    (lambda: data(IMAGES[:, :4]), "image of eval_dataset must be as model"),
    (lambda: data(labels=column(str)), "label of eval_dataset must be integer"),
  ],
)
def test_data_to_evaluate_that_do_not_fit_are_one_line(test, line, tmp_path):
  assert line in refusal(tmp_path, test=test())
  with pytest.raises(ConfigError) as info:
    evaluate(network(), test(), tiny.config(), tmp_path)
  assert line in str(info.value)


def wrong_at(place, label):
  labels = LABELS.astype(np.int64)
  labels[place] = label
  return labels


@pytest.mark.parametrize("label", [-1, 4, 300, 2**40])
def test_a_label_that_is_no_class_is_one_line_at_the_door(label, tmp_path):
  line = refusal(tmp_path, train=data(labels=wrong_at(5, label)))
  assert line == (
    f"label must be in [0, 4), got {label} at place 5 of a batch, in the "
    "batches of steps 0 to 0"
  )


def test_soft_labels_are_one_line(tmp_path):
  rows = np.full([64, 4], 0.25, np.float32)
  line = refusal(tmp_path, train=data(labels=rows))
  assert line.startswith(
    "label must be a class number or a one-hot row, got 0.25 0.25 0.25 0.25"
  )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_label_that_is_no_class_stops_the_run(
  jit_compile, replicas, tmp_path, strategy
):
  # The second batch has it, and no step is taken with it.
  train = data(labels=wrong_at(40, 7))
  one = tf.distribute.get_strategy()
  with (strategy if replicas == 2 else one).scope():
    model = network()
    config = tiny.config(jit_compile=jit_compile, total_steps=6)
    with pytest.raises(ConfigError, match="got 7 at place 8 of a batch, in th"):
      train_and_evaluate(model, train, None, config, tmp_path)
    config = tiny.config(total_steps=5, jit_compile=jit_compile)
    test = data(labels=wrong_at(0, 7))
    with pytest.raises(ConfigError, match="place 0 of a batch, in eval_data"):
      train_and_evaluate(model, data(), test, config, tmp_path / "other")


def test_a_function_whose_batches_end_is_one_line(tmp_path):
  with pytest.raises(ConfigError, match="a batch for every step, got one that"):
    train_and_evaluate(
      network(), lambda step: data(), None, tiny.config(), tmp_path
    )


@pytest.mark.parametrize(
  "labels",
  [
    LABELS[:, np.newaxis],
    *(
      LABELS.astype(kind)
      for kind in ("int8", "uint8", "int16", "uint16", "uint32", "int64")
    ),
    np.eye(4, dtype=np.float32)[LABELS],
    np.eye(4, dtype=np.int64)[LABELS],
  ],
  ids=lambda labels: f"{labels.dtype}{labels.shape}",
)
def test_labels_of_every_usual_form_are_the_same(labels):
  plain = batches.plain_batches(data(labels=labels), 4)
  assert plain.element_spec["label"].dtype == tf.int32
  found = np.concatenate([batch["label"] for batch in plain])
  np.testing.assert_array_equal(found, LABELS)


def test_one_column_of_as_many_labels_as_classes_is_no_one_hot_row():
  plain = batches.plain_batches(data(labels=LABELS[:, None], batch=4), 4)
  found = np.concatenate([batch["label"] for batch in plain])
  np.testing.assert_array_equal(found, LABELS)


def test_pairs_and_keys_that_no_step_uses_train_with_xla(tmp_path):
  """Both give the bits of plain batches."""
  weights = []
  forms = {
    "plain": tiny.dataset(64, 32),
    "pairs": data(),
    "more": tiny.dataset(64, 32).map(
      lambda batch: {**batch, "name": tf.as_string(batch["label"])}
    ),
  }
  config = tiny.config(total_steps=5, jit_compile=True)
  for name, train in forms.items():
    model = tiny.model()
    train_and_evaluate(model, train, data(), config, tmp_path / name)
    (record,) = metrics_file.read_metrics(tmp_path / name)[-1:]
    assert record["eval_examples"] == 64
    weights.append(tiny.values(model.variables))
  for others in weights[1:]:
    for one, other in zip(weights[0], others):
      np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_images_of_any_number_of_channels_train(channels, tmp_path):
  images = np.repeat(IMAGES, channels, axis=3)
  model = network(shape=[8, 8, channels])
  config = tiny.config(total_steps=5)
  train_and_evaluate(model, data(images), None, config, tmp_path)


def test_one_size_does_not_grow(tmp_path):
  line = refusal(tmp_path, progressive_image_sizes=((4, 0), (8, 3)))
  assert line.startswith("progressive_image_sizes must be left out for a model")
