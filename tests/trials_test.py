# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the processes that `auto` tries its candidates in."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from train_loop.config import ConfigError
from train_loop.models import fusing
from train_loop.models.batch_norm import BatchNorm
from train_loop.models.fusing import with_our_layers
from train_loop.preflight import choose as preflight
from train_loop.preflight import trials
from train_loop.preflight.trials import Choice, Device, Job, TrialProcess

pytestmark = pytest.mark.any_keras

PLAIN = Choice(
  onednn=False, tensor_float_32=False, precision="float32", jit_compile=False
)
BFLOAT16 = dataclasses.replace(PLAIN, precision="mixed_bfloat16")
FLOAT16 = dataclasses.replace(PLAIN, precision="mixed_float16")


def make_model(precision):
  return tiny.model(dtype=precision)


def make_no_teacher():
  return None


def make_model_or_fail(precision):
  """Fails in one way a precision; float32 tells oneDNN's variable, and works.

  What it checks is in the trial's process, where this is called.
  """
  if precision == "mixed_bfloat16":
    raise MemoryError("no room\nand a second line")
  if precision == "mixed_float16":
    os._exit(9)
  assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
  return make_model(precision)


def make_model_late(precision):
  time.sleep(600)


def job(make_model=make_model):
  return Job(make_model, tiny.dataset, make_no_teacher, tiny.config())


def test_auto_measures_in_processes_of_its_own(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  asked = preflight.Asked(
    precision="float32", jit_compile="false", fuse_batch_norm="false"
  )
  before = tf.random.get_global_generator().state.numpy()
  choice, tried = preflight.choose(asked, job(), {"test": "tiny"})
  choices = preflight.candidates(asked, trials.find_device())
  assert [trial.choice for trial in tried] == choices
  assert [trial.failure for trial in tried] == [""] * len(tried)
  for trial in tried:
    assert trial.loss == pytest.approx(tried[0].loss, rel=1e-3)
    assert trial.images_per_second > 0
  assert choice in choices
  assert (tf.random.get_global_generator().state.numpy() == before).all()

  def start(*_, **__):
    raise AssertionError("a process was started")

  again = preflight.choose(asked, job(), {"test": "tiny"}, start=start)
  assert again == (choice, tried)


def test_a_trial_that_fails_or_dies_is_told_and_the_next_one_runs():
  with TrialProcess(job(make_model_or_fail), onednn=False) as process:
    failed = process.run(BFLOAT16, timeout=60)
    assert failed.failure == "MemoryError: no room"
    died = process.run(FLOAT16, timeout=60)
    assert died.failure == "its process ended with exit code 9"
    worked = process.run(PLAIN, timeout=60)
    assert worked.failure == ""
    assert worked.images_per_second > 0
  assert (failed.loss, died.loss) == (None, None)


def test_a_trial_may_not_take_for_ever():
  with TrialProcess(job(make_model_late), onednn=False) as process:
    assert "lack of time" in process.run(PLAIN, timeout=0).failure
    assert process.run(PLAIN, timeout=0.1).failure == "no result within 0 s"


class Unreadable:
  """Comes out of its pickle as an error."""

  def __reduce__(self):
    return os._exit, (7,)


def test_a_process_that_does_not_start_is_one_line():
  broken = dataclasses.replace(job(), make_teacher=Unreadable())
  with pytest.raises(ConfigError, match="exit code 7; set precision"):
    TrialProcess(broken, onednn=False)


def make_keras_model(precision):
  """A network with Keras' own BatchNormalization."""
  layers = tf.keras.layers
  x = tf.keras.Input(tiny.SHAPE)
  y = layers.BatchNormalization(dtype=precision)(layers.Conv2D(4, 3)(x))
  y = layers.Dense(tiny.NUM_CLASSES)(layers.GlobalAveragePooling2D()(y))
  return tf.keras.Model(x, y)


def test_batch_norm_is_fused_if_chosen(monkeypatch):
  models = []

  def exchange(model, **options):
    models.append(with_our_layers(model, **options))
    return models[-1]

  monkeypatch.setattr(fusing, "with_our_layers", exchange)
  for chosen in (False, True):
    choice = dataclasses.replace(PLAIN, fuse_batch_norm=chosen)
    trial = trials.run_trial(job(make_keras_model), choice)
    assert (trial.failure, trial.choice) == ("", choice)
  for model, kind in zip(
    models, (tf.keras.layers.BatchNormalization, BatchNorm)
  ):
    (norm,) = [x for x in model.layers if type(x) is kind]
    assert np.any(np.array(tf.convert_to_tensor(norm.moving_mean)))  # Trained.


def test_an_overflow_at_every_step_is_a_failure():
  config = tiny.config(base_learning_rate=1e38, warmup_steps=0)
  trial = trials.run_trial(dataclasses.replace(job(), config=config), PLAIN)
  assert trial.failure == "no step had a finite gradient"


@pytest.mark.parametrize(
  ("details", "capability"),
  [
    ([{"compute_capability": (9, 0)}, {"compute_capability": (7, 5)}], (7, 5)),
    ([{"device_name": "one that tells nothing"}], (0, 0)),
  ],
)
def test_the_least_gpu_decides(details, capability, monkeypatch):
  monkeypatch.setattr(
    tf.config, "list_physical_devices", lambda kind: list(range(len(details)))
  )
  monkeypatch.setattr(
    tf.config.experimental, "get_device_details", lambda gpu: details[gpu]
  )
  device = trials.find_device()
  assert (device.gpu, device.compute_capability) == (True, capability)


def test_without_a_gpu_none_is_found():
  device = trials.find_device()
  assert device == Device(
    x86=device.x86, native_bfloat16=device.native_bfloat16
  )


def test_choosing_needs_no_tensorflow():
  code = (
    "import sys, train_loop.preflight.choose, train_loop.machine as m;"
    "assert m.fingerprint()['versions']['tensorflow'];"
    "assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_that_another_thread_takes_is_answered_after():
  reached = False
  # Pytest may have been started where the signal is ignored: by nohup, say.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  end = threading.Event()
  other = threading.Thread(target=end.wait)
  other.start()
  try:
    with pytest.raises(KeyboardInterrupt), trials.ctrl_c_answered_after():
      mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(0.2)
      reached = True
  finally:
    end.set()
    other.join()
    signal.signal(signal.SIGINT, before)
  assert reached
  assert signal.SIGINT in mask  # What a process started there inherits.
  assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
