# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether model, data, teacher and config fit each other.

`require` finds out before the first step, from shapes and dtypes alone. What
only the data themselves can tell (a label that is no class) is found when their
batch is read: `batches.plain_batches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from train_loop import batches, distribution
from train_loop.config import ConfigError, TrainConfig
from train_loop.models import auxiliary, exact_bias, heads
from tricks import keras_compat

_WRAP = (
  "wrap it: images = tf.keras.Input([height, width, channels]); "
  "tf.keras.Model(images, model(images))"
)
_FORMS = (
  "must hold batches {'image': [batch, height, width, channels], 'label': "
  "[batch]} or pairs of these"
)


def require(
  model: tf.keras.Model,
  config: TrainConfig,
  *,
  train_dataset: batches.TrainData | None = None,
  eval_dataset: batches.EvalData | None = None,
  teacher: tf.keras.Model | None = None,
) -> None:
  """Raises unless all that a run is given fits together.

  Args:
    model: from images to logits.
    config: the hyperparameters.
    train_dataset: as `train_and_evaluate` takes it; None if the model is only
      evaluated.
    eval_dataset: as `train_and_evaluate` takes it.
    teacher: for distillation.

  Raises:
    ConfigError: one line: what does not fit, and the remedy.
  """
  classes = num_classes(model)
  _require_logits("model", auxiliary.main_output(model))
  if train_dataset is not None:
    _require_parts(config)
    _require_trainable(model)
    _require_precision(model, config)
    _warn_of_biases(model)
    _require_auxiliary_head(model, config.regularization.auxiliary_weight)
    dataset = _train_dataset(train_dataset, config)
    _require_data("train_dataset", dataset, model, classes, config)
    _require_any_size(model, config)
    if teacher is not None:
      _require_teacher(teacher, classes, dataset)
  if eval_dataset is not None:
    given: Any = eval_dataset() if callable(eval_dataset) else eval_dataset
    _require_dataset("eval_dataset", given)
    if given.cardinality() == tf.data.INFINITE_CARDINALITY:
      raise ConfigError(
        "eval_dataset must end, got one that repeats forever: leave out "
        "repeat(), or add take(batches)"
      )
    _require_data("eval_dataset", given, model, classes, config)


def num_classes(model: tf.keras.Model, name: str = "model") -> int:
  """Returns the width of a model's logits.

  Args:
    model: a functional model; of several outputs the first counts.
    name: the model's, for messages.

  Raises:
    ConfigError: it is no model from images to logits.
  """
  if not isinstance(model, tf.keras.Model):
    raise ConfigError(
      f"{name} must be a tf.keras.Model, got {type(model).__name__}"
    )
  if not keras_compat.is_functional(model):
    remedy = _WRAP
    if isinstance(model, tf.keras.Sequential):
      remedy = "let it begin with tf.keras.Input([height, width, channels])"
    raise ConfigError(
      f"{name} must know the shapes of its input and output, got a "
      f"{type(model).__name__} that does not: {remedy}"
    )
  if len(model.inputs) != 1:
    raise ConfigError(
      f"{name} must have one input, the images, got {len(model.inputs)}: "
      "compute others from the images in the model"
    )
  output = getattr(model, "output", None)  # None of a Sequential of Keras 3.
  if isinstance(output, dict):
    raise ConfigError(
      f"{name} must give logits, got a dict of {_listed(output)}: take one, "
      "tf.keras.Model(model.inputs, model.output[NAME])"
    )
  shape = tuple(model.outputs[0].shape)
  if len(shape) != 2 or shape[1] is None:
    raise ConfigError(
      f"{name} must map images to logits [batch, num_classes], got output "
      f"shape {_shown(shape)}: end it in GlobalAveragePooling2D() or "
      "Flatten(), and Dense(num_classes)"
    )
  if shape[1] < 2:
    raise ConfigError(
      f"{name} must give a logit for each class, got 1: for two classes end it "
      "in Dense(2), for labels 0 and 1"
    )
  return int(shape[1])


def _require_logits(name: str, model: tf.keras.Model) -> None:
  """Raises if a model ends in an activation; log-softmax changes no loss."""
  activation = heads.closing_activation(model)
  if activation in (None, "log_softmax"):
    return
  remedy = "end it in a Dense layer without activation"
  if activation == "softmax":
    remedy = f"give train_loop.models.heads.without_softmax({name})"
  raise ConfigError(f"{name} must end in logits, got {activation}: {remedy}")


def _require_parts(config: TrainConfig) -> None:
  """Raises unless every replica gets an equal share of a batch."""
  replicas = tf.distribute.get_strategy().num_replicas_in_sync
  parts = replicas * config.optimizer.accumulate_steps
  if config.loop.global_batch_size % parts:
    raise ConfigError(
      f"global_batch_size must be a multiple of replicas * accumulate_steps "
      f"({parts}), got {config.loop.global_batch_size}"
    )


def _require_trainable(model: tf.keras.Model) -> None:
  """Raises unless there are variables to train, made for these replicas."""
  if not model.trainable_variables:
    raise ConfigError(
      "model must have variables to train, got none: set trainable=True on the "
      "model or some of its layers"
    )
  strategy = tf.distribute.get_strategy()
  for variable in keras_compat.tf_variables(model.variables):
    if not strategy.extended.variable_created_in_scope(variable):
      raise ConfigError(
        "model must be built under the scope of the strategy that trains it, "
        f"got one built elsewhere: with strategy.scope(), of this "
        f"{type(strategy).__name__}, build the model and train it"
      )


def _require_precision(model: tf.keras.Model, config: TrainConfig) -> None:
  """Raises unless the model computes in the precision of the config."""
  layers = keras_compat.flat_layers(model)
  dtypes = {
    layer.compute_dtype
    for layer in layers
    if not isinstance(layer, tf.keras.Model)
  }
  precision = config.precision.precision
  for half in ("float16", "bfloat16"):
    if (precision == f"mixed_{half}") != (half in dtypes):
      raise ConfigError(
        f"precision must be mixed_{half} if the model's layers compute in "
        f"{half}, and only then (they compute in {_listed(dtypes)}), got "
        f"{precision!r}: build the layers with dtype={precision!r}"
      )
  stored = {tf.as_dtype(v.dtype).name for v in model.trainable_variables}
  if stored != {"float32"}:
    raise ConfigError(
      "model must keep its variables in float32, whatever it computes in, got "
      f"{_listed(stored)}: build the layers with dtype={precision!r}"
    )


def _warn_of_biases(model: tf.keras.Model) -> None:
  """Warns of layers whose bias gets a wrong gradient on this machine."""
  layers = keras_compat.flat_layers(model)
  names = [layer.name for layer in layers if exact_bias.is_inexact(layer)]
  if names:
    logging.warning(
      "in half precision on a CPU TensorFlow's gradient of a bias over more "
      "than 256 positions is wrong (docs/numbers_going_wrong.md), here in %s: "
      "train in float32, or what train_loop.models.fusing.with_our_layers "
      "makes of the model",
      _listed(names),
    )


def _require_auxiliary_head(model: tf.keras.Model, weight: float) -> None:
  """Raises unless there is an auxiliary head exactly if it is weighed."""
  others = len(model.outputs) - 1
  if bool(others) != bool(weight):
    raise ConfigError(
      "auxiliary_weight must be above 0 if the model has outputs besides its "
      f"logits, and only then (it has {others}), got {weight:g}"
    )


def _require_teacher(
  teacher: tf.keras.Model, classes: int, dataset: tf.data.Dataset
) -> None:
  """Raises unless the teacher takes these images and knows these classes."""
  known = num_classes(teacher, "teacher")
  _require_logits("teacher", teacher)
  if known != classes:
    raise ConfigError(
      f"teacher must have the model's {classes} classes, got {known}: train it "
      "on the same classes in the same order"
    )
  image, _ = batches.image_and_label(dataset.element_spec) or (None, None)
  _require_images("teacher", teacher, "train_dataset", image)


def _train_dataset(
  dataset: batches.TrainData, config: TrainConfig
) -> tf.data.Dataset:
  """Returns a dataset whose form is that of the training batches."""
  if isinstance(dataset, tf.data.Dataset) or not callable(dataset):
    _require_dataset("train_dataset", dataset)
    return dataset
  made = dataset(0)
  _require_dataset("train_dataset(0)", made)
  found = batches.image_and_label(made.element_spec)
  size = _shape(found[1])[:1] if found else None
  batch_size = config.loop.global_batch_size
  hosts = distribution.host().count
  if size and size[0] not in (None, batch_size // hosts):
    raise ConfigError(
      "global_batch_size must be that of the batches that train_dataset, a "
      f"function, gives, got {batch_size} for batches of {size[0]}"
      + (f" on each of {hosts} hosts" if hosts > 1 else "")
    )
  return made


def _require_dataset(name: str, dataset: Any) -> None:
  if not isinstance(dataset, tf.data.Dataset):
    raise ConfigError(
      f"{name} must be a tf.data.Dataset of batches, got "
      f"{type(dataset).__name__}: tf.data.Dataset.from_tensor_slices("
      "(images, labels)).batch(batch_size) makes one of arrays"
    )
  if dataset.cardinality() == 0:
    raise ConfigError(
      f"{name} must hold at least one example, got none: if it is batched with "
      "drop_remainder, its examples are fewer than a batch"
    )


def _require_data(
  name: str,
  dataset: tf.data.Dataset,
  model: tf.keras.Model,
  classes: int,
  config: TrainConfig,
) -> None:
  """Raises unless a dataset's batches are images of the model, and labels."""
  spec = dataset.element_spec
  found = batches.image_and_label(spec)
  if found is None:
    given = type(spec).__name__
    if isinstance(spec, (dict, tuple)):
      given = f"a {given} of {len(spec)}"
    if isinstance(spec, dict):
      given = f"the keys {_listed(spec)}"
    raise ConfigError(f"{name} {_FORMS}, got {given}: use map()")
  for key, value in zip(("image", "label"), found):
    if not isinstance(value, tf.TensorSpec) or value.shape.rank is None:
      raise ConfigError(
        f"{name} {_FORMS}, got for {key} {type(value).__name__} of unknown "
        "form: use map() to make it a dense tensor of known rank"
      )
  image, label = found
  if label.shape.rank == 0:
    raise ConfigError(
      f"{name} {_FORMS}, got single examples: add .batch(batch_size)"
    )
  _require_labels(name, label, classes, config.loss.multi_label)
  _require_images("model", model, name, image)
  if not image.shape[:1].is_compatible_with(label.shape[:1]):
    raise ConfigError(
      f"{name} must hold a label for each image, got {image.shape[0]} images "
      f"and {label.shape[0]} labels in a batch"
    )


def _require_labels(
  name: str, label: tf.TensorSpec, classes: int, multi_label: bool
) -> None:
  shape, dtype = _shape(label), label.dtype
  if multi_label:
    numeric = dtype.is_integer or dtype.is_floating or dtype.is_bool
    if shape[1:] != (classes,) or not numeric:
      raise ConfigError(
        f"label of {name} must be [batch, {classes}] of 0 and 1 with task="
        f"multi_label, got {dtype.name} {_shown(shape)}: tf.reduce_max("
        f"tf.one_hot(numbers, {classes}), axis=0) makes a row of class numbers"
      )
    return
  numbers = shape[1:] in ((), (1,)) and dtype.is_integer
  one_hot = shape[1:] == (classes,) and (dtype.is_integer or dtype.is_floating)
  if not numbers and not one_hot:
    remedy = "use map() to make it one of these"
    if dtype == tf.string:
      remedy = "tf.keras.layers.StringLookup(num_oov_indices=0) numbers strings"
    elif shape[1:] in ((), (1,)):
      remedy = "tf.cast(label, tf.int32) makes numbers of it"
    raise ConfigError(
      f"label of {name} must be integers [batch], or one-hot [batch, "
      f"{classes}], got {dtype.name} {_shown(shape)}: {remedy}"
    )


def _require_images(
  model_name: str, model: tf.keras.Model, name: str, image: tf.TensorSpec
) -> None:
  """Raises unless a model takes a dataset's images."""
  shape, taken = _shape(image), tuple(model.inputs[0].shape)
  if len(taken) != 4:
    raise ConfigError(
      f"{model_name} must take images [batch, height, width, channels], got "
      f"input shape {_shown(taken)}: let it begin with tf.keras.Input([height, "
      "width, channels]) and tf.keras.layers.Reshape"
    )
  if not (image.dtype.is_floating or image.dtype.is_integer):
    raise ConfigError(
      f"image of {name} must be numbers, got {image.dtype.name}: decode it, as "
      "with tf.io.decode_image"
    )
  if len(shape) != 4:
    remedy = "reshape it"
    if len(shape) == 3:
      remedy = "image[..., tf.newaxis] gives gray images their channel"
    raise ConfigError(
      f"image of {name} must be [batch, height, width, channels], got "
      f"{_shown(shape)}: {remedy}"
    )
  if _fit(shape[1:], taken[1:]):
    return
  remedy = "resize the images, or build the model for them"
  if _fit((shape[2], shape[3], shape[1]), taken[1:]):
    remedy = "tf.transpose(image, [0, 2, 3, 1]) puts channels last"
  elif _fit((shape[3], shape[1], shape[2]), taken[1:]):
    remedy = "build the model with channels last"
  elif _fit(shape[1:3], taken[1:3]):
    remedy = "give the images the model's channels, or build it for theirs"
  raise ConfigError(
    f"image of {name} must be as {model_name} takes it, {_shown(taken)}, got "
    f"{_shown(shape)}: {remedy}"
  )


def _require_any_size(model: tf.keras.Model, config: TrainConfig) -> None:
  """Raises unless the model takes each of progressive_image_sizes."""
  height = model.inputs[0].shape[1]
  sizes = {size for size, _ in config.loop.progressive_image_sizes}
  if height is not None and sizes - {height}:
    raise ConfigError(
      "progressive_image_sizes must be left out for a model of one image size "
      f"({height}), got {_listed(sizes)}: build it with input_shape "
      "[None, None, channels]"
    )


def _fit(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
  return tf.TensorShape(one).is_compatible_with(other)


def _shape(spec: tf.TensorSpec) -> tuple[int | None, ...]:
  return tuple(spec.shape)


def _shown(shape: Sequence[int | None]) -> str:
  """Returns a shape as the documents write it."""
  sizes = ["?" if size is None else str(size) for size in shape]
  return f"[{', '.join(['batch', *sizes[1:]])}]"


def _listed(values: Any) -> str:
  return ", ".join(map(str, sorted(values)))
