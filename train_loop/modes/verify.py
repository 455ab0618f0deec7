# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks that this installation computes on this machine what it says.

The tricks against NumPy; eager, graph and XLA against each other; one replica
against two; the precisions against each other; a run against itself. Nothing is
written, but for a temporary folder. It takes a minute or two.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from absl import logging

import data
from train_loop import machine
from train_loop.command import devices as devices_lib
from train_loop.command import flags
from train_loop.command.settings import DeviceSettings
from train_loop.failures import first_line

if TYPE_CHECKING:
  import tensorflow as tf

  from train_loop.verifying.formulas import Check

DIFFERS = 1


def run(values: flags.Values) -> int:
  """Checks, and prints a line for each check.

  Args:
    values: the flags' values, of which those of devices count.

  Returns:
    The exit status: 0 if all agree, else 1.

  Raises:
    ConfigError: there is no GPU, and one is asked for.
    DataError: scikit-learn, which has the digits, is missing.
  """
  start = time.monotonic()
  settings = flags.group(DeviceSettings, values)
  devices = devices_lib.Devices(settings)
  devices.hide_gpus()
  machine.import_tensorflow(onednn=True)
  strategy = _two_replicas(devices)
  failed = report(_checks(strategy))
  seconds = time.monotonic() - start
  if failed:
    print(f"{failed} DIFFER, in {seconds:.0f} s")
    return DIFFERS
  print(f"all agree, in {seconds:.0f} s")
  return 0


def _two_replicas(devices: devices_lib.Devices) -> tf.distribute.Strategy:
  """Returns a strategy of two GPUs, or of two parts of the one device."""
  import tensorflow as tf

  gpus = devices.usable_gpus()
  kind = "GPU" if gpus else "CPU"
  details = machine.describe()
  shown = ", ".join(details["device"]["gpus"]) or details["device"]["cpu"]
  print(f"TensorFlow {tf.__version__} on {shown}", flush=True)
  tf.config.experimental.enable_tensor_float_32_execution(False)
  if len(gpus) < 2:
    split = dataclasses.replace(
      devices.settings, logical_devices=2, distribution="none"
    )
    devices_lib.Devices(split).strategy()
  names = [device.name for device in tf.config.list_logical_devices(kind)]
  return tf.distribute.MirroredStrategy(names[:2])


def _checks(strategy: tf.distribute.Strategy) -> Iterator[Iterable[Check]]:
  """Yields the checks, in groups of which each may fail by itself."""
  import tensorflow as tf

  from train_loop.verifying import formulas, runs

  train, _ = data.load(data.SourceOptions("digits"))
  assert isinstance(train, data.Source)
  digits = runs.Digits(train.images, train.labels)
  yield formulas.against_numpy()
  yield formulas.modes_agree()
  yield runs.decay_is_of_kernels()
  yield runs.steps_agree(digits)
  yield runs.replicas_agree(digits, strategy)
  # On a GPU some sums are taken in the order in which their terms come.
  exactly = not tf.config.list_physical_devices("GPU")
  yield runs.runs_repeat(digits, exactly=exactly)
  yield runs.precisions_agree(digits)


def report(groups: Iterable[Iterable[Check]]) -> int:
  """Prints a line for each check; returns how many differ.

  Args:
    groups: of checks. An error ends its group, and is a difference.
  """
  failed = 0
  for group in groups:
    try:
      for check in group:
        failed += not check.agrees
        print(line(check), flush=True)
    except Exception as error:
      failed += 1
      logging.debug("a check failed", exc_info=True)
      print(f"DIFFERS  {type(error).__name__}: {first_line(error)}", flush=True)
  return failed


def line(check: Check) -> str:
  """Returns a check as a line."""
  verdict = "ok" if check.agrees else "DIFFERS"
  if check.note:
    return f"{'-':7}  {check.name}: {check.note}"
  told = f"{check.difference:.1e} of {check.bound:g}"
  return f"{verdict:7}  {check.name:55} {told}"
