# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what a run says and leaves if memory is too small for it.

TensorFlow's error is raised by a stand-in: nothing fills the machine.
"""

from __future__ import annotations

import pytest
import tensorflow as tf

from tests import tiny
from train_loop import failures, train_and_evaluate
from train_loop import run_steps as run_steps_lib
from train_loop.command import entry

ERROR = tf.errors.ResourceExhaustedError(
  None,
  None,
  "{{function_node __inference_run_steps}} OOM when allocating tensor with "
  "shape[32,8,8,8] and type float on GPU:0 [Op:run_steps]\nHint: more lines",
)
CONFIG = {"steps_per_loop": 4, "checkpoint_every_steps": 8, "total_steps": 16}


def fail_at(monkeypatch, failing):
  """Lets one call of run_steps fail, of those counted from 0."""
  make = run_steps_lib.make_run_steps
  calls = iter(range(100))

  def make_failing(*args, **kwargs):
    run_steps = make(*args, **kwargs)

    def run_or_fail(*args):
      if next(calls) == failing:
        raise ERROR
      return run_steps(*args)

    return run_or_fail

  monkeypatch.setattr(run_steps_lib, "make_run_steps", make_failing)


def train(workdir, **changes):
  config = tiny.config(**{**CONFIG, **changes})
  model, data = tiny.model(), tiny.dataset()
  return train_and_evaluate(model, data, None, config, workdir)


def test_a_run_keeps_its_checkpoint_and_goes_on(tmp_path, monkeypatch):
  with monkeypatch.context() as context:
    fail_at(context, 4)
    with pytest.raises(failures.OutOfMemory) as info:
      train(tmp_path)
  assert str(info.value) == (
    "out of memory in steps 8 to 10 (OOM when allocating tensor with "
    "shape[32,8,8,8] and type float on GPU:0): lower global_batch_size (32) or "
    "image_size, raise accumulate_steps (1), or take precision=mixed_bfloat16, "
    "in another workdir; with more memory the same command goes on from step 8"
  )
  assert train(tmp_path)["step"] == 16


def test_before_the_first_checkpoint_the_workdir_is_free(tmp_path, monkeypatch):
  with monkeypatch.context() as context:
    fail_at(context, 0)
    with pytest.raises(failures.OutOfMemory, match=r"\(1\), or take"):
      train(tmp_path, on_nonfinite="rollback")
  assert not (tmp_path / "run_card.json").exists()
  assert train(tmp_path, global_batch_size=16, accumulate_steps=2)["step"] == 16


@pytest.mark.parametrize(
  "error",
  [ERROR, MemoryError("Unable to allocate 3 TiB"), failures.OutOfMemory("x")],
  ids=lambda error: type(error).__name__,
)
def test_the_command_says_so_in_one_line(error, capsys):
  def run(values):
    raise error

  assert entry.status_of(run, None) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert "out of memory" in line or line.endswith(": x")
  assert "Hint" not in line


def test_an_evaluation_says_so_too():
  with (
    pytest.raises(failures.OutOfMemory, match="memory in an evaluation"),
    failures.input_failures(range(0)),
  ):
    raise ERROR
