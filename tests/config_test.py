# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the hyperparameters' checks."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest

from tests import tiny
from train_loop import config as config_lib

NAN = float("nan")


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("schedule", "cosin"),
    ("base_learning_rate", 0.0),
    ("base_learning_rate", NAN),
    ("base_learning_rate", float("inf")),
    ("warmup_steps", -1),
    ("warmup_steps", 24),
    ("warmup_learning_rate", -0.1),
    ("hold_steps", -1),
    ("decay_factor", 0.0),
    ("decay_factor", 1.1),
    ("polynomial_power", 0.0),
    ("optimizer", "adam"),
    ("momentum", 1.0),
    ("momentum", -0.1),
    ("weight_decay", -1e-4),
    ("clip_global_norm", -1.0),
    ("accumulate_steps", 0),
    ("accumulate_steps", 5),
    ("label_smoothing", 1.0),
    ("label_smoothing", -0.1),
    ("mixup_alpha", -0.2),
    ("cutmix_alpha", NAN),
    ("distill_temperature", 0.0),
    ("ema_decay", 1.0),
    ("precision", "float16"),
    ("total_steps", 0),
    ("global_batch_size", 0),
    ("global_batch_size", 10**20),
    ("total_steps", 2**31),
    ("nesterov", 1),
    ("flip_tta", "yes"),
    ("seed", True),
    ("global_batch_size", 32.0),
    ("examples_per_epoch", 0),
    ("steps_per_loop", -1),
    ("log_every_steps", 0),
    ("eval_every_steps", -1),
    ("checkpoint_every_steps", -1),
    ("keep_checkpoints", 0),
    ("progressive_image_sizes", ((14, 1),)),
    ("progressive_image_sizes", ((14, 0), (28, 0))),
    ("progressive_image_sizes", ((0, 0),)),
    ("seed", -1),
    ("seed", 2**31),
  ],
)
def test_a_value_out_of_range_is_one_line_with_its_value(name, value):
  with pytest.raises(config_lib.ConfigError) as info:
    tiny.config(**{name: value})
  message = str(info.value)
  assert "\n" not in message
  assert "must be" in message
  assert str(value) in message


def test_mixup_and_cutmix_exclude_each_other():
  with pytest.raises(ValueError, match="cutmix_alpha must be 0 if mixup"):
    tiny.config(mixup_alpha=0.2, cutmix_alpha=1.0)


def test_an_old_spelling_is_answered_with_the_new_one():
  message = r"got 'tfa/LAMB': did you mean 'tfa:LAMB'\?"
  with pytest.raises(ValueError, match=message):
    tiny.config(optimizer="tfa/LAMB")


def test_one_micro_batch_cannot_be_several_at_once():
  with pytest.raises(ValueError, match="accumulate_steps must be above 1"):
    tiny.config(parallel_micro_batches=True)
  tiny.config(parallel_micro_batches=True, accumulate_steps=2)


def test_schedule_step_needs_boundaries():
  with pytest.raises(ValueError, match="boundary_steps"):
    tiny.config(schedule="step")
  for boundaries in ((3, 3), (0, 3)):
    with pytest.raises(ValueError, match="boundary_steps must be positive"):
      tiny.config(schedule="step", boundary_steps=boundaries)
  with pytest.raises(ValueError, match="boundary_steps must be after"):
    tiny.config(schedule="step", boundary_steps=(4, 9), warmup_steps=4)
  tiny.config(schedule="step", boundary_steps=(5, 9))


def test_boundaries_that_no_schedule_uses_are_not_checked():
  tiny.config(schedule="cosine", boundary_steps=(1, 2, 2))


def test_a_config_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    tiny.config().loop.seed = 1


def test_config_and_flags_need_no_tensorflow():
  code = (
    "import sys, train_loop, train_loop.command.flags;"
    "import train_loop.workdir.run_card;"
    "assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_by_their_own_names_are_those_of_the_concerns():
  config = config_lib.TrainConfig.of(
    total_steps=9, examples_per_epoch=64, momentum=0.5, mixup_alpha=0.2
  )
  assert config == config_lib.TrainConfig(
    loop=config_lib.LoopConfig(total_steps=9, examples_per_epoch=64),
    optimizer=config_lib.OptimizerConfig(momentum=0.5),
    regularization=config_lib.RegularizationConfig(mixup_alpha=0.2),
  )


@pytest.mark.parametrize(
  ("settings", "line"),
  [
    ({"mixup": 0.2}, "there is no setting mixup: did you mean mixup_alpha?"),
    ({}, "total_steps must be given"),
  ],
)
def test_settings_that_are_none_or_lack_are_refused(settings, line):
  with pytest.raises(config_lib.ConfigError, match=re.escape(line)):
    config_lib.TrainConfig.of(**settings)
