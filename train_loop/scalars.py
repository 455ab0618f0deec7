# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers that TensorFlow forgets again."""

from __future__ import annotations

import numpy as np


def scalar(value: float) -> np.ndarray:
  """Returns a number that changes over a run in the form to give TensorFlow.

  Of each Python number that it makes an eager tensor of, TensorFlow keeps the
  tensor to the end of the process, 600 to 800 bytes: of each new value of
  `variable.assign(seconds)` and of `tf.constant(step)`. So it does with
  NumPy's float64, which is a Python float, but with no array.

  Args:
    value: an integer or a float.

  Returns:
    An array of shape [], int64 or float64.
  """
  return np.array(value)
