# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notices a tf.data service that gives nothing, for which TensorFlow waits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Callable

import grpc
import tensorflow as tf
from tensorflow.python.eager import cancellation

from data.errors import DataError

# Within so many seconds a service must answer.
ANSWER_SECONDS = 10.0
# So long a training step may wait until the service is asked.
SILENT_SECONDS = 60.0

_service = tf.data.experimental.service


def require_answer(address: str) -> None:
  """Raises unless a service gives data in `ANSWER_SECONDS`.

  Args:
    address: of its dispatcher, as grpc://host:port.

  Raises:
    DataError: it does not, or the address has another form.
  """
  kind, _, target = address.partition("://")
  if kind != "grpc" or not target:
    raise DataError(
      f"data_service must be given as grpc://host:port, got {address!r}"
    )
  problem = _problem(address)
  if problem:
    raise DataError(
      f"data_service must be the address of a tf.data service, got "
      f"{address!r}, {problem}"
    )


@contextlib.contextmanager
def watched(address: str) -> Iterator[Callable[[], None]]:
  """Ends the training inside it if a service stops giving data.

  Args:
    address: of the service's dispatcher.

  Yields:
    A function to call after each call of a training loop: between two of them
    the service is asked, each `SILENT_SECONDS`, whether it still gives data.

  Raises:
    DataError: it does not.
  """
  manager = cancellation.CancellationManager()
  beaten, ended = threading.Event(), threading.Event()
  problems = []

  def watch() -> None:
    while not ended.wait(SILENT_SECONDS):
      if not beaten.is_set():
        problem = _problem(address)
        if problem and not beaten.is_set():
          problems.append(problem)
          manager.start_cancel()
          return
      beaten.clear()

  watcher = threading.Thread(target=watch, daemon=True)
  watcher.start()
  try:
    with cancellation.CancellationManagerContext(manager):
      yield beaten.set
  except Exception as error:
    if problems:
      raise DataError(
        f"data_service {address} stopped giving batches ({problems[0]}), and "
        "what was trained since the last checkpoint is lost: start the service "
        "again, and give the same command again"
      ) from error
    raise
  finally:
    ended.set()


def _problem(address: str) -> str:
  """Returns what is wrong with a service, "" if it gives data."""
  within = f"within {ANSWER_SECONDS:g} s"
  with grpc.insecure_channel(address.partition("://")[2]) as channel:
    try:
      grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
    except grpc.FutureTimeoutError:
      return f"which does not answer {within}"
  return "" if _gives_data(address) else f"of which no worker answers {within}"


def _gives_data(address: str) -> bool:
  """Returns whether the workers of a dispatcher that answers give data."""
  everywhere = _service.ShardingPolicy.OFF
  dataset = tf.data.Dataset.range(1).apply(
    _service.distribute(everywhere, address)
  )
  manager = cancellation.CancellationManager()
  timer = threading.Timer(ANSWER_SECONDS, manager.start_cancel)
  timer.start()
  try:
    with cancellation.CancellationManagerContext(manager):
      tf.function(lambda: next(iter(dataset)))()
  except tf.errors.OpError:
    return False
  finally:
    timer.cancel()
  return True
