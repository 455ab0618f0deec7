# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the flags and of their way into the config."""

from __future__ import annotations

import dataclasses
import re

import pytest
from absl import flags

import data
from tests.project import ROOT
from train_loop import config as config_lib
from train_loop.command import flags as flags_lib
from train_loop.preflight import choose as preflight


def parse(*argv):
  """Returns flag values parsed from a command line, recipes expanded."""
  values = flags.FlagValues()
  flags_lib.define(data.DATASETS, values)
  # What absl defines for every program.
  flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
  values(flags_lib.expand_recipe(["train_loop", *argv]))
  return values


def config(*argv, examples_per_epoch=1000):
  """Returns the config of a command line."""
  return flags_lib.config_from_flags(
    parse(*argv),
    examples_per_epoch=examples_per_epoch,
    precision="float32",
    jit_compile=False,
  )


def test_epochs_become_steps():
  made = config(
    "--epochs=10",
    "--global_batch_size=100",
    "--warmup_epochs=0.5",
    "--hold_epochs=1.25",
    "--schedule=step",
    "--boundary_epochs=3,6.5",
    "--eval_every_epochs=2",
    "--progressive_image_sizes=14:0,28:0.75",
  )
  assert made.loop.total_steps == 100
  assert made.schedule.warmup_steps == 5
  assert made.schedule.hold_steps == 12
  assert made.schedule.boundary_steps == (30, 65)
  assert made.loop.eval_every_steps == 20
  assert made.loop.progressive_image_sizes == ((14, 0), (28, 75))
  assert [made.loop.image_size_at(s) for s in (0, 74, 75)] == [14, 14, 28]


def test_steps_per_loop_is_left_to_the_loop():
  assert config("--steps_per_loop=auto").loop.steps_per_loop == 0
  assert config() == config("--steps_per_loop=auto")


def test_an_epoch_may_be_shorter_than_a_step():
  made = config("--epochs=0.01", "--warmup_epochs=0", "--eval_every_epochs=0.1")
  assert made.loop.total_steps == 1
  assert made.loop.eval_every_steps == 1


def test_every_field_is_a_flag_of_its_name_and_arrives():
  values = parse()
  own = set(flags_lib.names(values))
  in_epochs = {
    "total_steps": "epochs",
    "warmup_steps": "warmup_epochs",
    "hold_steps": "hold_epochs",
    "boundary_steps": "boundary_epochs",
    "eval_every_steps": "eval_every_epochs",
  }
  for section in (
    config_lib.ScheduleConfig,
    config_lib.OptimizerConfig,
    config_lib.RegularizationConfig,
    config_lib.EvaluationConfig,
    config_lib.PrecisionConfig,
    config_lib.LoopConfig,
  ):
    for field in dataclasses.fields(section):
      name = in_epochs.get(field.name, field.name)
      assert name in own | {"examples_per_epoch"}
  changed = {
    "base_learning_rate": 0.3,
    "warmup_learning_rate": 0.01,
    "schedule": "linear",
    "decay_factor": 0.2,
    "polynomial_power": 3.0,
    "optimizer": "lars",
    "momentum": 0.8,
    "nesterov": False,
    "weight_decay": 1e-3,
    "decay_kernels_only": False,
    "clip_global_norm": 2.0,
    "accumulate_steps": 2,
    "parallel_micro_batches": True,
    "label_smoothing": 0.2,
    "mixup_alpha": 0.3,
    "distill_temperature": 5.0,
    "ema_decay": 0.99,
    "flip_tta": True,
    "global_batch_size": 64,
    "steps_per_loop": 7,
    "log_every_steps": 9,
    "checkpoint_every_steps": 11,
    "keep_checkpoints": 3,
    "seed": 13,
  }
  made = config(*(f"--{name}={value}" for name, value in changed.items()))
  arrived = {
    name: value
    for part in dataclasses.asdict(made).values()
    for name, value in part.items()
  }
  assert {name: arrived[name] for name in changed} == changed


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--epochs=0", "epochs must be above 0"),
    ("--global_batch_size=0", "global_batch_size must be an integer >= 1"),
    ("--boundary_epochs=3,x", "boundary_epochs must be numbers"),
    ("--progressive_image_sizes=14", "must be size:fraction"),
    ("--warmup_epochs=90", r"warmup_epochs .* below epochs \(90\), got 90"),
    ("--momentum=2", "momentum must be"),
    ("--steps_per_loop=0", "steps_per_loop must be auto or an integer >= 1"),
    ("--steps_per_loop=-1", "steps_per_loop must be auto or an integer >= 1"),
    ("--steps_per_loop=fast", "must be auto or an integer >= 1, got 'fast'"),
  ],
)
def test_bad_values_name_the_flag(argument, message):
  with pytest.raises(config_lib.ConfigError, match=message):
    config(argument)


@pytest.mark.parametrize(
  "argument",
  [
    "--epochs=-1",
    "--epochs=x",
    "--model=resnet19",
    "--model_variant=e",
    "--cache=tape",
    "--auto_augment=all",
    "--rand_augment_magnitude=11",
    "--mode=predict",
    "--precision=float16",
    "--jit_compile=maybe",
    "--onednn=maybe",
    "--tensor_float_32=1",
    "--erasing_probability=1.5",
    "--pad_crop=-1",
    "--stochastic_depth=1",
    "--stochastic_depth=-0.1",
    "--stochastic_depth=nan",
    "--no_such_flag=1",
  ],
)
def test_what_absl_can_tell_it_tells(argument):
  with pytest.raises(flags.Error):
    parse(argument)


def test_a_recipe_is_a_flagfile_and_flags_after_it_win():
  assert "fashion_mnist" in flags_lib.recipe_names()
  for name in flags_lib.recipe_names():
    values = parse(f"--recipe={name}", "--seed=41")
    assert values.recipe == name
    assert values.seed == 41
    flags_lib.config_from_flags(
      values, examples_per_epoch=60000, precision="float32", jit_compile=False
    )
  with pytest.raises(config_lib.ConfigError, match="recipe must be one of"):
    parse("--recipe=no_such_recipe")
  with pytest.raises(config_lib.ConfigError, match="--recipe=NAME"):
    parse("--recipe", "fashion_mnist")


def test_the_first_recipe_leaves_nothing_to_measure():
  values = parse("--recipe=fashion_mnist")
  asked = preflight.Asked(
    onednn=values.onednn,
    tensor_float_32=values.tensor_float_32,
    precision=values.precision,
    jit_compile=values.jit_compile,
  )
  assert asked.settled() is not None


def test_a_recipes_header_tells_command_hardware_and_result():
  for path in flags_lib.RECIPES.glob("*.flags"):
    header = path.read_text(encoding="utf-8")
    for word in ("train_loop --recipe=", "Hardware", "Result", "seed"):
      assert word in header, f"{path.name} lacks {word!r}"


def test_adopting_a_runs_flags_keeps_those_given():
  saved = flags_lib.as_dict(parse("--epochs=7", "--seed=5"))
  values = parse("--seed=6", "--workdir=elsewhere")
  flags_lib.adopt(saved, values)
  assert (values.epochs, values.seed) == (7.0, 6)
  assert values.workdir == "elsewhere"


def test_the_reference_in_readme_is_the_flags():
  values = parse()
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  rows = re.findall(r"^\| `--(\w+)` \| `([^`]*)` \|", text, re.MULTILINE)
  expected = []
  for name in flags_lib.names(values):
    default = values[name].default_as_str or ""
    expected.append((name, default.strip("'")))
  assert sorted(rows) == sorted(expected)
  others = ("cases", "json", "logdir", "rounds", "user")  # Of other programs.
  for name in re.findall(r"--(\w+)=", text):
    assert name in values or name in others, f"--{name}"
