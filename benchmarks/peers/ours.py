# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""train_loop itself, as its users call it.

    python -m benchmarks.peers.ours --task=step --case=resnet20

Tasks: `step`, the training step on a constant batch, and `profile`, the time of
its operations; by the recipe, `epoch`, an epoch through `train_and_evaluate`,
`ceiling`, its step on a constant batch, and `accuracy`, the way to a test
accuracy; `input`, small images alone; `jpeg` and `records`, encoded images
alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from benchmarks import jpegs, machine_peak, operations
from benchmarks import recipe as recipe_lib
from benchmarks.cases import Case
from benchmarks.peers import child, reading
from data import Augmentation, Decoding, pipeline
from data.sources import image_folder, tfrecord
from data.sources.encoded import EncodedSource
from train_loop import config as config_lib
from train_loop import evaluation, loop, machine, models
from train_loop import run_steps as run_steps_lib
from train_loop.command import compose
from train_loop.models import fusing, names, small_resnet
from train_loop.schedule import make_schedule
from train_loop.state import TrainState


def network(case: Case, *, dtype: str = "float32") -> tf.keras.Model:
  """Builds the case's network from `train_loop.models`."""
  arguments: dict[str, Any] = {
    "model_variant": case.model_variant,
    "input_shape": case.image_shape,
    "num_classes": case.num_classes,
    "mean": case.mean,
    "std": case.std,
    "dtype": dtype,
  }
  if case.network == "dense":
    return _dense(case)
  if case.network in names.MODELS or ":" in case.network:
    return models.build_model(case.network, **arguments)
  depth = int(case.network[len("resnet") :])
  return small_resnet.small_resnet(depth, **arguments)


def _dense(case: Case) -> tf.keras.Model:
  pixels = tf.keras.Input(case.image_shape)
  features = tf.keras.layers.Flatten()(pixels)
  return tf.keras.Model(
    pixels, tf.keras.layers.Dense(case.num_classes)(features)
  )


def constant_batches(case: Case) -> tf.data.Dataset:
  """One batch, again and again: an input that costs nothing."""
  images, labels = case.batch()
  return tf.data.Dataset.from_tensors(
    {"image": images, "label": labels}
  ).repeat()


def step(options: argparse.Namespace) -> child.Measure:
  """Times `run_steps_lib.make_run_steps` on a constant batch."""
  case = child.case_of(options)
  model, run = _constant_steps(case, options)
  return child.keras_step_rate(
    run,
    model,
    case=case,
    peak=lambda: machine_peak.tensorflow_peak(
      options.precision, parts=options.at_once
    ),
    seconds=options.seconds,
  )


def profile(options: argparse.Namespace) -> child.Measure:
  """Times the operations of the same steps."""
  case = child.case_of(options)
  _, run = _constant_steps(case, options)
  run(case.steps)
  return lambda: {
    "steps": case.steps,
    "operations": operations.profiled(lambda: run(case.steps)),
  }


def _constant_steps(
  case: Case, options: argparse.Namespace
) -> tuple[tf.keras.Model, Callable[[int], None]]:
  """Returns the network, and what trains it some steps on a constant batch."""
  machine.share_cores(options.at_once)
  config = config_lib.TrainConfig(
    loop=config_lib.LoopConfig(
      total_steps=10**9,
      global_batch_size=case.batch_size,
      examples_per_epoch=case.batch_size,
    ),
    schedule=config_lib.ScheduleConfig(schedule="constant"),
    optimizer=config_lib.OptimizerConfig(
      weight_decay=0.0,
      accumulate_steps=options.at_once,
      parallel_micro_batches=options.at_once > 1,
    ),
    precision=config_lib.PrecisionConfig(
      precision=options.precision,
      jit_compile=options.jit_compile == "true",
      recompute=options.recompute,
    ),
  )
  model = fusing.with_our_layers(
    network(case, dtype=options.precision),
    fuse_batch_norm=options.fuse_batch_norm == "true",
  )
  state = TrainState(model, config)
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config)
  )
  iterator = iter(
    tf.distribute.get_strategy().experimental_distribute_dataset(
      constant_batches(case)
    )
  )

  def run(steps: int) -> None:
    run_steps(iterator, tf.constant(steps, tf.int64))
    state.step.numpy()  # Waits for the device.

  return state.model, run


def _build(recipe: recipe_lib.Recipe) -> compose.Parts:
  """Builds what the command would train."""
  return compose.build(recipe.planned, *compose.choose(recipe.planned))


def _train_dataset(
  recipe: recipe_lib.Recipe, start_step: int = 0
) -> tf.data.Dataset:
  """Returns the recipe's training stream as the command does."""
  return recipe.planned.inputs.train_dataset()(start_step)


def _short(
  config: config_lib.TrainConfig, *, total_steps: int
) -> config_lib.TrainConfig:
  """Returns the config of a short run, at the images' full size."""
  return dataclasses.replace(
    config,
    schedule=dataclasses.replace(config.schedule, warmup_steps=0),
    loop=dataclasses.replace(
      config.loop,
      total_steps=total_steps,
      checkpoint_every_steps=max(1, total_steps // 2),
      progressive_image_sizes=(),
    ),
  )


def epoch(options: argparse.Namespace) -> child.Measure:
  """Times an epoch of the recipe, logged and saved, after its first step."""
  recipe = recipe_lib.of(options)
  steps = options.steps or recipe.case.steps
  config = _short(recipe.config, total_steps=1 + steps)

  def measure() -> dict[str, Any]:
    looks: list[float] = []

    def should_stop() -> bool:
      # Asked between calls of the graph, the first of which takes one step.
      looks.append(time.perf_counter())
      return False

    with tempfile.TemporaryDirectory() as workdir:
      loop.train_and_evaluate(
        _build(recipe).model,
        lambda step: _train_dataset(recipe, step),
        None,
        config,
        workdir,
        should_stop=should_stop,
      )
      seconds = time.perf_counter() - looks[0]
    return child.epoch_rate(steps * recipe.case.batch_size, seconds)

  return measure


def ceiling(options: argparse.Namespace) -> child.Measure:
  """Times as many steps of the recipe on one batch, and nothing else."""
  recipe = recipe_lib.of(options)
  steps = options.steps or recipe.case.steps
  config = _short(recipe.config, total_steps=10**9)
  state = TrainState(_build(recipe).model, config)
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config)
  )
  batches = _train_dataset(recipe).take(1).cache().repeat()
  strategy = tf.distribute.get_strategy()
  iterator = iter(strategy.experimental_distribute_dataset(batches))
  run_steps(iterator, tf.constant(1, tf.int64))

  def measure() -> dict[str, Any]:
    start = time.perf_counter()
    run_steps(iterator, tf.constant(steps, tf.int64))
    state.step.numpy()
    seconds = time.perf_counter() - start
    return child.epoch_rate(steps * recipe.case.batch_size, seconds)

  return measure


def accuracy(options: argparse.Namespace) -> child.Measure:
  """Trains by the recipe until the target is reached, or to its end."""
  recipe = recipe_lib.of(options)
  sizes = recipe.config.loop

  def measure() -> dict[str, Any]:
    state = TrainState(_build(recipe).model, recipe.config)
    steps_of_size = functools.lru_cache(maxsize=None)(
      lambda size: run_steps_lib.make_run_steps(
        state,
        recipe.config,
        schedule=make_schedule(recipe.config),
        image_size=size,
      )
    )
    strategy = tf.distribute.get_strategy()
    iterator = iter(
      strategy.experimental_distribute_dataset(_train_dataset(recipe))
    )
    evaluate = evaluation.with_averages(
      state,
      evaluation.make_evaluate(
        state.model,
        recipe.planned.inputs.eval_dataset(),
        recipe.config,
      ),
    )

    def train(steps: int) -> None:
      now = int(state.step.numpy())
      end = now + steps
      grows = [at for _, at in sizes.progressive_image_sizes if now < at < end]
      for stop in (*grows, end):
        run_steps = steps_of_size(sizes.image_size_at(now))
        run_steps(iterator, tf.constant(stop - now, tf.int64))
        now = int(state.step.numpy())

    race = child.Race(options.target)
    race.run(train, lambda: evaluate()["eval_top1"], recipe.half_epochs)
    return race.record()

  return measure


def input_alone(options: argparse.Namespace) -> child.Measure:
  """Times the recipe's training stream with nothing behind it."""
  recipe = recipe_lib.of(options)
  return child.input_rate(
    reading.reader(_train_dataset(recipe)),
    batch_size=recipe.case.batch_size,
    seconds=options.seconds,
  )


def jpeg(options: argparse.Namespace) -> child.Measure:
  """Times JPEG files, cropped at random, resized to 224 and flipped."""
  source, _ = image_folder.load(options.folder, validation_fraction=0.1)
  decoding = Decoding(options.exif_orientation, options.jpeg_dct)
  source = dataclasses.replace(source, decoding=decoding)
  return _encoded_rate(source, options.seconds)


def records(options: argparse.Namespace) -> child.Measure:
  """Times the same, from TFRecord files."""
  source, _ = tfrecord.load(options.folder)
  return _encoded_rate(source, options.seconds)


def _encoded_rate(source: EncodedSource, seconds: float) -> child.Measure:
  """Times our training stream of encoded images."""
  stream = pipeline.train_dataset(
    source,
    global_batch_size=jpegs.BATCH_SIZE,
    seed=0,
    image_size=jpegs.IMAGE_SIZE,
    augmentation=Augmentation(random_resized_crop=True, flip=True),
  )
  return child.input_rate(
    reading.reader(stream), batch_size=jpegs.BATCH_SIZE, seconds=seconds
  )


if __name__ == "__main__":
  child.main(
    __doc__,
    {
      "step": step,
      "profile": profile,
      "epoch": epoch,
      "ceiling": ceiling,
      "accuracy": accuracy,
      "input": input_alone,
      "jpeg": jpeg,
      "records": records,
    },
  )
