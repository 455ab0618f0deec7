# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ways a run ends early, and the exit status of each.

This module imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from train_loop.fields import ConfigError

if TYPE_CHECKING:
  import tensorflow as tf

  from train_loop.config import TrainConfig

# Exit statuses of the command; 0 is a finished run.
BAD_INPUT = 2
DIVERGED = 3
HOST_LOST = 4

# Begins the text of an assertion in a graph that the input is at fault.
REFUSED = "refused: "


class Diverged(ArithmeticError):
  """The loss or its gradient stopped being finite, and no remedy is left.

  Attributes:
    step: whose gradient is not finite, 0-based.
    flight: the folder of the flight data, "" if this host wrote none.
  """

  def __init__(self, message: str, *, step: int, flight: str) -> None:
    super().__init__(message)
    self.step = step
    self.flight = flight


class Stopped(Exception):
  """The run was asked to stop, and has saved its state."""


class HostLost(RuntimeError):
  """Another host that trains this run stopped answering."""


class OutOfMemory(MemoryError):
  """A step or an evaluation needs more memory than there is."""


class InputFailed(RuntimeError):
  """TensorFlow met an error in the input, or in a step.

  Attributes:
    steps: range of the steps in the failed call; empty during evaluation.
  """

  def __init__(self, error: tf.errors.OpError, steps: range) -> None:
    super().__init__(str(error))
    self.steps = steps


def first_line(error: BaseException) -> str:
  """Returns the first line of an error's text, or the name of its type.

  TensorFlow begins its texts with "{{function_node ...}} " and ends them with
  " [Op:...]"; both are left out.
  """
  text = getattr(error, "strerror", None) or str(error)
  line, *_ = text.rpartition("}} ")[2].strip().splitlines() or [""]
  return line.partition(" [Op:")[0].strip() or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
  """Returns whether an error is Python's or TensorFlow's want of memory."""
  names = [kind.__name__ for kind in type(error).__mro__]
  return isinstance(error, MemoryError) or "ResourceExhaustedError" in names


def lower_what(config: TrainConfig | None = None) -> str:
  """Returns what needs less memory, with the values of now if they are known.

  >>> lower_what().split(", ")[:2]
  ['lower global_batch_size or image_size', 'raise accumulate_steps']
  """
  size = parts = half = ""
  if config is not None:
    size = f" ({config.loop.global_batch_size})"
    parts = f" ({config.optimizer.accumulate_steps})"
  if config is None or config.precision.precision == "float32":
    half = ", or take precision=mixed_bfloat16"
  return (
    f"lower global_batch_size{size} or image_size, raise "
    f"accumulate_steps{parts}{half}"
  )


@contextlib.contextmanager
def input_failures(
  steps: range, config: TrainConfig | None = None
) -> Iterator[None]:
  """Re-raises TensorFlow's errors of input and memory, with the steps that ran.

  Args:
    steps: of the call; empty during evaluation.
    config: the hyperparameters, if they are known.

  Raises:
    ConfigError: the input was refused, or ended.
    OutOfMemory: there is too little memory.
    InputFailed: any other error of the input.
  """
  import tensorflow as tf

  try:
    yield
  except tf.errors.OutOfRangeError as error:
    raise ConfigError(
      "train_dataset must hold a batch for every step, got one that ends "
      f"{_place(steps)}"
    ) from error
  except (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
  ) as error:
    refused = re.search(rf"{REFUSED}(.*)\]$", str(error), re.MULTILINE)
    if refused:
      raise ConfigError(f"{refused[1]}, {_place(steps)}") from error
    raise InputFailed(error, steps) from error
  except tf.errors.PermissionDeniedError as error:
    raise InputFailed(error, steps) from error
  except (tf.errors.FailedPreconditionError, tf.errors.UnknownError) as error:
    # A folder in a file's place, or a disk that does not answer; without a file
    # it may be another host that is gone.
    if "ReadFile" not in str(error):
      raise
    raise InputFailed(error, steps) from error
  except (MemoryError, tf.errors.ResourceExhaustedError) as error:
    place = f"in steps {steps.start} to {steps.stop - 1}"
    raise OutOfMemory(
      f"out of memory {place if steps else 'in an evaluation'} "
      f"({first_line(error)}): {lower_what(config)}"
    ) from error


def _place(steps: range) -> str:
  if not steps:
    return "in eval_dataset"
  return f"in the batches of steps {steps.start} to {steps.stop - 1}"
