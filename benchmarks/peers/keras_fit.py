# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`model.fit`, as Keras' own guides show it.

    python -m benchmarks.peers.keras_fit --task=step --case=resnet20

Tasks:
- `step`: the training step on a constant batch
- `epoch`: an epoch of the recipe, augmented by Keras' layers
- `accuracy`: seconds to a test accuracy, with the recipe's network and data
- `first_step`: the first step, with the recipe's network and data
- `input`: the input of small images alone
- `jpeg`: the input of JPEG files alone

With --tuned, many steps run per call (steps_per_execution), and --jit_compile
turns XLA on or off; without it, Keras decides.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import tensorflow as tf

from benchmarks import jpegs, machine_peak
from benchmarks import recipe as recipe_lib
from benchmarks.cases import Case
from benchmarks.peers import child, keras_networks, reading

# As in Keras' own examples of convolutional networks.
EXAMPLES_BATCH_SIZE = 128


def compiled(
  options: argparse.Namespace,
  case: Case,
  optimizer: Any,
  *,
  steps_per_execution: int,
) -> tf.keras.Model:
  """Builds and compiles the case's network."""
  model = keras_networks.network(tf.keras, case)
  settings: dict[str, Any] = {}
  if options.tuned:
    settings["steps_per_execution"] = steps_per_execution
    settings["jit_compile"] = options.jit_compile == "true"
  model.compile(
    optimizer=optimizer,
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    **settings,
  )
  return model


def step(options: argparse.Namespace) -> child.Measure:
  """Times `model.fit` on a constant batch."""
  tf.keras.mixed_precision.set_global_policy(options.precision)
  case = child.case_of(options)
  model = compiled(options, case, _sgd(), steps_per_execution=case.steps)
  # With one constant batch there is nothing to tune, and closing an iterator
  # waits up to ten seconds for the autotune thread.
  untuned = tf.data.Options()
  untuned.autotune.enabled = False
  batches = tf.data.Dataset.from_tensors(case.batch()).repeat()
  batches = batches.with_options(untuned)

  def run(steps: int) -> None:
    model.fit(batches, steps_per_epoch=steps, verbose=0)

  return child.keras_step_rate(
    run,
    model,
    case=case,
    peak=lambda: machine_peak.tensorflow_peak(options.precision),
    seconds=options.seconds,
  )


def _sgd() -> Any:
  return tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)


def augmentation(recipe: recipe_lib.Recipe) -> tf.keras.Model:
  """Returns the recipe's augmentation as Keras' preprocessing layers."""
  layers = []
  if recipe.values.flip:
    layers.append(tf.keras.layers.RandomFlip("horizontal"))
  pixels = recipe.values.pad_crop
  if pixels:
    height, width, _ = recipe.case.image_shape
    layers.append(
      tf.keras.layers.RandomTranslation(
        pixels / height,
        pixels / width,
        fill_mode="constant",
        interpolation="nearest",
      )
    )
  probability = recipe.values.erasing_probability
  if probability:
    layers.append(
      tf.keras.layers.RandomErasing(probability, (0.02, 0.4), fill_value=0)
    )
  return tf.keras.Sequential(layers)


def augmented(recipe: recipe_lib.Recipe) -> tf.data.Dataset:
  """Returns an epoch of whole batches, shuffled and augmented."""
  augment = augmentation(recipe)
  return shuffled(recipe).map(
    lambda images, labels: (augment(images, training=True), labels),
    num_parallel_calls=tf.data.AUTOTUNE,
  )


def shuffled(recipe: recipe_lib.Recipe) -> tf.data.Dataset:
  """Returns an epoch of whole batches, in another order each time."""
  source = recipe.train
  dataset = tf.data.Dataset.from_tensor_slices((source.images, source.labels))
  dataset = dataset.shuffle(source.num_examples, seed=recipe.values.seed)
  return dataset.batch(recipe.case.batch_size, drop_remainder=True)


def epoch(options: argparse.Namespace) -> child.Measure:
  """Times an epoch of the recipe's data, without logging or saving.

  Measured between Keras' own callbacks, so that closing the iterator, which may
  wait for the autotune thread, does not count.
  """
  recipe = recipe_lib.of(options)
  steps = options.steps or recipe.case.steps
  model = compiled(options, recipe.case, _sgd(), steps_per_execution=20)
  batches = augmented(recipe).prefetch(tf.data.AUTOTUNE)
  model.fit(batches.take(20), verbose=0)

  def measure() -> dict[str, Any]:
    stopwatch = _Stopwatch()
    model.fit(batches.take(steps), verbose=0, callbacks=[stopwatch])
    return child.epoch_rate(
      steps * recipe.case.batch_size, stopwatch.epoch_seconds
    )

  return measure


class _Stopwatch(tf.keras.callbacks.Callback):
  """Times an epoch."""

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Starts the clock."""
    self._start = time.perf_counter()

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Stops the clock."""
    self.epoch_seconds = time.perf_counter() - self._start


def accuracy(options: argparse.Namespace) -> child.Measure:
  """Trains as Keras' examples do: Adam at 0.001, no augmentation."""
  recipe = recipe_lib.of(options, f"--global_batch_size={EXAMPLES_BATCH_SIZE}")
  test = (recipe.test.images, recipe.test.labels)

  def measure() -> dict[str, Any]:
    tf.keras.utils.set_random_seed(options.seed)
    adam = tf.keras.optimizers.Adam(1e-3)
    model = compiled(options, recipe.case, adam, steps_per_execution=20)
    race = child.Race(options.target)
    half_epoch = recipe.half_epochs[0]
    model.fit(
      shuffled(recipe).repeat().prefetch(tf.data.AUTOTUNE),
      steps_per_epoch=half_epoch,
      epochs=len(recipe.half_epochs),
      validation_data=test,
      validation_batch_size=recipe.case.batch_size,
      callbacks=[_Clock(race, steps=half_epoch)],
      verbose=0,
    )
    return race.record()

  return measure


class _Clock(tf.keras.callbacks.Callback):
  """Reports the progress of `model.fit` to a race."""

  def __init__(self, race: child.Race, *, steps: int) -> None:
    super().__init__()
    self._race = race
    self._steps = steps
    self._start = 0.0

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Starts the clock."""
    self._start = time.perf_counter()

  def on_test_begin(self, logs: Any = None) -> None:
    """Stops the clock for the evaluation."""
    self._race.trained(self._steps, time.perf_counter() - self._start)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Records the accuracy."""
    self._race.evaluated(float(logs["val_accuracy"]))
    self.model.stop_training = self._race.won


def first_step(options: argparse.Namespace) -> child.Measure:
  """Takes the first step of a run on the recipe's network and data."""

  def measure() -> dict[str, Any]:
    recipe = recipe_lib.of(options)
    model = compiled(options, recipe.case, _sgd(), steps_per_execution=1)
    model.fit(augmented(recipe), steps_per_epoch=1, verbose=0)
    return {}

  return measure


def input_alone(options: argparse.Namespace) -> child.Measure:
  """Times the input of augmented small images, without training."""
  recipe = recipe_lib.of(options)
  batches = augmented(recipe).repeat().prefetch(tf.data.AUTOTUNE)
  return child.input_rate(
    reading.reader(batches),
    batch_size=recipe.case.batch_size,
    seconds=options.seconds,
  )


def jpeg(options: argparse.Namespace) -> child.Measure:
  """Times `image_dataset_from_directory`, with random crops and flips."""
  augment = tf.keras.Sequential(
    [
      tf.keras.layers.RandomCrop(jpegs.IMAGE_SIZE, jpegs.IMAGE_SIZE),
      tf.keras.layers.RandomFlip("horizontal"),
    ]
  )
  # As in Keras' guides: read images a little larger than the crop.
  larger = (jpegs.IMAGE_SIZE * 8 // 7, jpegs.IMAGE_SIZE * 8 // 7)
  batches = tf.keras.utils.image_dataset_from_directory(
    options.folder,
    image_size=larger,
    batch_size=jpegs.BATCH_SIZE,
    seed=options.seed,
    verbose=False,
  ).map(
    lambda images, labels: (augment(images, training=True), labels),
    num_parallel_calls=tf.data.AUTOTUNE,
  )
  return child.input_rate(
    reading.reader(batches.repeat().prefetch(tf.data.AUTOTUNE)),
    batch_size=jpegs.BATCH_SIZE,
    seconds=options.seconds,
  )


if __name__ == "__main__":
  child.main(
    __doc__,
    {
      "step": step,
      "epoch": epoch,
      "accuracy": accuracy,
      "first_step": first_step,
      "input": input_alone,
      "jpeg": jpeg,
    },
  )
