# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run ran on, for its card."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import tensorflow as tf


def describe() -> dict[str, Any]:
  """Returns the versions and devices at hand, as JSON holds them."""
  gpus = tf.config.list_physical_devices("GPU")
  details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
  packages = ("tensorflow", "keras", "numpy", "tensorboard")
  return {
    "versions": {
      "python": platform.python_version(),
      **{name: metadata.version(name) for name in packages},
    },
    "device": {
      "cpu": platform.processor() or platform.machine(),
      "cpu_count": os.cpu_count(),
      "gpus": [gpu.get("device_name", "unknown") for gpu in details],
      "replicas": tf.distribute.get_strategy().num_replicas_in_sync,
      "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    },
  }
