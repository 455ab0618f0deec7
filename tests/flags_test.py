# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the flags and of their way into the config."""

from __future__ import annotations

import dataclasses
import re

import pytest

from data import DataError
from tests.project import ROOT
from train_loop import config as config_lib
from train_loop.command import entry, flags, recipes, reference, settings
from train_loop.command.config_from_flags import config_from_flags
from train_loop.fields import check, setting
from train_loop.preflight import choose as preflight

parse = flags.parse


def config(*argv, examples_per_epoch=1000):
  """Returns the config of a command line."""
  return config_from_flags(parse(*argv), examples_per_epoch=examples_per_epoch)


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
  own = set(flags.names())
  in_epochs = {
    "total_steps": "epochs",
    "warmup_steps": "warmup_epochs",
    "hold_steps": "hold_epochs",
    "boundary_steps": "boundary_epochs",
    "decay_steps": "decay_epochs",
    "swa_steps": "swa_epochs",
    "swa_every_steps": "swa_every_epochs",
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
    "decay_shape": "cosine",
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
    ("--boundary_epochs=3,x --schedule=step", "boundary_epochs must be"),
    ("--boundary_epochs=1,nan", "boundary_epochs must be finite"),
    ("--boundary_epochs= --schedule=step", "boundary_epochs must be given"),
    ("--progressive_image_sizes=14", "must be size:fraction"),
    ("--progressive_image_sizes=8:nan", "must be size:fraction"),
    ("--progressive_image_sizes=8:inf", "must be size:fraction"),
    ("--progressive_image_sizes=8:1.5", "must be size:fraction"),
    ("--warmup_epochs=90", r"warmup_epochs .* below epochs \(90\), got 90"),
    ("--epochs=1 --warmup_epochs=0.9999", "shorter than epochs by a step"),
    ("--epochs=1e6 --global_batch_size=1", "epochs must be at most"),
    ("--schedule=step --global_batch_size=1000000", "boundary_epochs must be"),
  ],
)
def test_values_that_do_not_fit_name_the_flag(argument, message):
  with pytest.raises(config_lib.ConfigError, match=message) as info:
    config(*argument.split(), examples_per_epoch=3000)
  assert "_steps" not in str(info.value)  # Nobody typed such a field.


@pytest.mark.parametrize(
  "argument",
  [
    *(
      f"--{name}={value}"
      for name in (
        "epochs",
        "warmup_epochs",
        "hold_epochs",
        "eval_every_epochs",
        "base_learning_rate",
        "momentum",
        "label_smoothing",
        "stochastic_depth",
        "color_jitter",
        "erasing_probability",
        "rand_augment_magnitude",
        "validation_fraction",
      )
      for value in ("nan", "inf", "-1", "1e309", "x", "")
    ),
    "--epochs=0",
    "--epochs=1e18",
    "--global_batch_size=0",
    "--global_batch_size=99999999999999999999",
    "--steps_per_loop=0",
    "--steps_per_loop=-1",
    "--steps_per_loop=fast",
    "--momentum=2",
    "--input_threads=2147483648",
    "--input_threads=100000",
    "--image_size=99999999999",
    "--model=resnet19",
    "--model_variant=e",
    "--cache=tape",
    "--auto_augment=all",
    "--rand_augment_magnitude=11",
    "--mode=serve",
    "--precision=float16",
    "--jit_compile=maybe",
    "--onednn=maybe",
    "--tensor_float_32=1",
    "--pad_crop=-1",
    "--stochastic_depth=1",
    "--seed=1.5",
    "--nonesterov=1",
    "--nesterov=perhaps",
    "--no_such_flag=1",
  ],
)
def test_a_bad_value_is_one_line_that_names_its_flag(argument):
  name = argument.split("=")[0].removeprefix("--").removeprefix("nones")
  with pytest.raises((config_lib.ConfigError, DataError), match=name) as info:
    parse(argument)
  assert len(str(info.value).splitlines()) == 1


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--seed=x", r"seed must be an integer in \[0, \d+\], got 'x'"),
    ("--epochs=3: 4", r"epochs must be a finite number in .*, got '3: 4'"),
    ("--zero_gamma=maybe", "zero_gamma must be true or false, got 'maybe'"),
    ("--accumulate_steps=x", ".*must be auto or an integer >= 1, got 'x'"),
  ],
)
def test_a_value_of_another_kind_is_told_what_it_must_be(argument, message):
  with pytest.raises(config_lib.ConfigError, match=f"^{message}$"):
    parse(argument)


def test_small_data_with_few_steps_an_epoch_trains():
  made = config("--epochs=6", "--warmup_epochs=0", examples_per_epoch=8)
  assert made.loop.total_steps == 1
  assert made.schedule.boundary_steps == ()


@pytest.mark.parametrize(
  ("unknown", "meant"),
  [
    ("learning_rate", "base_learning_rate"),
    ("batch_size", "global_batch_size"),
    ("num_epochs", "epochs"),
    ("data", "data_dir"),
    ("modle", "model"),
    ("weight_decays", "weight_decay"),
  ],
)
def test_an_unknown_flag_names_the_one_that_was_meant(unknown, meant):
  with pytest.raises(config_lib.ConfigError, match=f"--{meant}"):
    parse(f"--{unknown}=1")


def test_the_old_spelling_of_an_addons_optimizer_names_the_new():
  with pytest.raises(config_lib.ConfigError, match="did you mean 'tfa:LAMB'"):
    parse("--optimizer=tfa/LAMB")


def test_a_flagfile_that_is_no_text_is_one_line(tmp_path):
  file = tmp_path / "binary.flags"
  file.write_bytes(bytes(range(256)))
  for path in (file, tmp_path, tmp_path / "missing"):
    with pytest.raises(config_lib.ConfigError, match=r"(?i)flag ?file") as info:
      parse(f"--flagfile={path}")
    assert len(str(info.value).splitlines()) == 1


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch):
  monkeypatch.setenv("HOME", "/home/somebody")
  paths = ("workdir", "data_dir", "labels", "teacher", "output_dir")
  values = parse(*(f"--{name}=~/x" for name in paths))
  for name in paths:
    assert values[name].value == "/home/somebody/x"


def test_a_new_setting_is_one_field(monkeypatch):
  """The flag, its check and its line of the reference are derived."""

  @dataclasses.dataclass(frozen=True)
  class Sharpness:
    sharpness: float = setting(0.5, low=0.0, high=1.0, help="How sharp.")

    def __post_init__(self):
      check(self)

  monkeypatch.setitem(flags.GROUPS, "New", Sharpness)
  assert flags.group(Sharpness, parse("--sharpness=0.7")).sharpness == 0.7
  assert "| `--sharpness` | `0.5` | How sharp. >= 0.0 and <= 1.0. |" in (
    reference.reference()
  )
  with pytest.raises(config_lib.ConfigError, match=r"sharpness .* got 1\.5"):
    parse("--sharpness=1.5")


def test_a_recipe_is_a_flagfile_and_flags_after_it_win():
  assert "fashion_mnist" in recipes.recipe_names()
  for name in recipes.recipe_names():
    values = parse(f"--recipe={name}", "--seed=41")
    assert values.recipe == name
    assert values.seed == 41
    config_from_flags(values, examples_per_epoch=60000)
  with pytest.raises(config_lib.ConfigError, match="recipe must be one of"):
    parse("--recipe=no_such_recipe")
  with pytest.raises(config_lib.ConfigError, match="--recipe=NAME"):
    parse("--recipe", "fashion_mnist")


def test_the_first_recipe_leaves_nothing_to_measure():
  values = parse("--recipe=fashion_mnist")
  asked = flags.group(preflight.Asked, values)
  # Of our networks nothing can be fused; the command knows it by their names.
  asked = dataclasses.replace(asked, fuse_batch_norm="false")
  assert asked.settled() is not None


def test_a_recipes_header_tells_command_hardware_and_result():
  for path in recipes.RECIPES.glob("*.flags"):
    header = path.read_text(encoding="utf-8")
    for word in ("train_loop --recipe=", "Hardware", "Result", "seed"):
      assert word in header, f"{path.name} lacks {word!r}"


def test_adopting_a_runs_flags_keeps_those_given():
  saved = flags.as_dict(parse("--epochs=7", "--seed=5"))
  values = parse("--seed=6", "--workdir=elsewhere")
  flags.adopt(saved, values)
  assert (values.epochs, values.seed) == (7.0, 6)
  assert values.workdir == "elsewhere"


def test_a_flag_that_an_older_build_did_not_have_was_at_its_default():
  saved = flags.as_dict(parse("--seed=3"))
  now = flags.comparable(saved)
  del saved["ema_decay"], saved["boundary_epochs"]
  assert flags.comparable(saved) == now


def test_a_saved_value_of_another_kind_is_one_line():
  for saved in ({"epochs": []}, {"epochs": "many"}, {"model": 3}):
    with pytest.raises(config_lib.ConfigError, match=r"run_card\.json's flag"):
      flags.adopt(saved, parse())


def test_the_reference_page_is_the_flags():
  page = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
  assert page == reference.reference(), (
    "write it: python -m train_loop.command.reference > docs/flags.md"
  )
  assert re.findall(r"^\| `--(\w+)`", page, re.MULTILINE) == flags.names()


def test_every_mode_has_a_program():
  assert set(entry.PROGRAMS) == set(settings.MODES)
