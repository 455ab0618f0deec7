# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The three ways to run a TensorFlow function, which have to agree."""

from __future__ import annotations

import tensorflow as tf

MODES = ("eager", "graph", "xla")


def compiled(function, mode):
  """Returns the function as one of MODES runs it; it gives NumPy arrays."""
  if mode == "eager":
    called = function
  else:
    called = tf.function(function, jit_compile=mode == "xla")

  def run_compiled(*arguments):
    arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
    return tf.nest.map_structure(lambda x: x.numpy(), called(*arguments))

  return run_compiled


def run(function, mode, *arguments):
  """Calls the function once, in one of MODES."""
  return compiled(function, mode)(*arguments)
