# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a network has for the tricks to act on, found before anything trains.

The network is built in a process of its own, so that this one imports no
TensorFlow, and holds no memory of a GPU, while it waits for others.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
from typing import Any

from train_loop import machine

# What a network lacks on which the trick of a flag has no effect.
MISSING = {
  "zero_gamma": "has no residual branch that ends in a BatchNorm",
  "decay_kernels_only": "has no variables but kernels",
}


def of(network: dict[str, Any]) -> dict[str, int]:
  """Returns on how many variables each trick of `MISSING` acts.

  Args:
    network: the arguments of `models.build_model`, but for its dtype.

  Raises:
    ConfigError: the network cannot be built.
  """
  with concurrent.futures.ProcessPoolExecutor(
    1, mp_context=multiprocessing.get_context("spawn")
  ) as pool:
    return pool.submit(_count, network).result()


def _count(network: dict[str, Any]) -> dict[str, int]:
  os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
  machine.import_tensorflow(onednn=True)  # Without its notices.
  import tricks
  from train_loop import models

  model = models.build_model(**network, dtype="float32")
  return {
    "zero_gamma": len(tricks.zero_gamma(model)),
    "decay_kernels_only": tricks.kernel_mask(model).count(False),
  }
