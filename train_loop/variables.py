# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several variables at once."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from tricks.keras_compat import unconverted


@unconverted
def assign_all(
  variables: Iterable[tf.Variable], values: Iterable[tf.Tensor]
) -> None:
  """Assigns each of `values` to its variable."""
  for variable, value in zip(variables, values):
    variable.assign(value)
