# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What must be set before a test imports TensorFlow, and the two replicas.

Two logical CPUs let a test make two replicas; operations that name no device
run on the first, as they would with one.
"""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
  tf.config.list_physical_devices("CPU")[0],
  [tf.config.LogicalDeviceConfiguration()] * 2,
)


# What a test compares with NumPy is float32 on a GPU, too.
tf.config.experimental.enable_tensor_float_32_execution(False)


def pytest_collection_finish() -> None:
  """Keeps the garbage collector off what lives as long as the tests do.

  Python would look through TensorFlow's modules and thousands of tests again
  and again, which takes 8% of the time of tests that build graphs.
  """
  gc.collect()
  gc.freeze()
  gc.set_threshold(50_000, 20, 20)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
  """Lets TensorFlow say that there is no GPU, if there is one."""
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])


@pytest.fixture(scope="session")
def strategy() -> tf.distribute.Strategy:
  """Two replicas, once for all tests.

  A process has room for one MirroredStrategy: a second would number its
  reduces from the start again, and be given what the first one cached.
  """
  return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
