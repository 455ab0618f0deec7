# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What networks compute in and on: Keras' global dtype policy, and a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def global_policy(dtype: str | None) -> Iterator[None]:
  """Sets Keras' global dtype policy, and restores it.

  Args:
    dtype: Keras dtype policy, such as "mixed_bfloat16"; None changes nothing.
  """
  before = tf.keras.mixed_precision.global_policy()
  if dtype is not None:
    tf.keras.mixed_precision.set_global_policy(dtype)
  try:
    yield
  finally:
    tf.keras.mixed_precision.set_global_policy(before)


def on_cpu() -> bool:
  """Returns whether networks are computed on a CPU, for there is no GPU."""
  return not tf.config.list_physical_devices("GPU")
