# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The devices and hosts that the flags and the environment ask for.

`Devices` is made without TensorFlow; its methods import it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import logging

from train_loop import machine
from train_loop.command import signals
from train_loop.command.settings import DeviceSettings
from train_loop.fields import ConfigError

if TYPE_CHECKING:
  import tensorflow as tf

# Slurm sets it in the processes that srun starts, and in no batch script.
_SLURM_TASKS = "SLURM_STEP_NUM_TASKS"
_FIRST_PORT, _PORTS = 20000, 10000


@dataclasses.dataclass(frozen=True)
class Devices:
  """Where a run computes.

  Attributes:
    settings: what the flags say.
    hosts: how many processes train together.
    index: which of them this is, 0-based; the first writes the files.
  """

  settings: DeviceSettings
  hosts: int = 1
  index: int = 0

  @property
  def shard(self) -> tuple[int, int]:
    """Which share of the data this host reads: index and count."""
    return self.index, self.hosts

  @property
  def is_chief(self) -> bool:
    """Whether this host writes the files."""
    return self.index == 0

  def hide_gpus(self) -> None:
    """Lets neither TensorFlow nor the trials of auto see what is not used.

    Call it before TensorFlow is imported.
    """
    if self.settings.device == "cpu":
      os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

  @functools.cached_property
  def local_replicas(self) -> int:
    """How many replicas this host has; asks for GPUs without TensorFlow."""
    if self.settings.distribution == "none":
      return 1
    return max(1, visible_gpus()) * self.settings.logical_devices

  @property
  def replicas_a_device(self) -> int:
    """How many replicas share one memory: without GPUs all, the host's."""
    return 1 if visible_gpus() else self.local_replicas

  def strategy(self) -> tf.distribute.Strategy:
    """Returns the strategy that trains; imports TensorFlow.

    Call it before TensorFlow computes for the first time.

    Raises:
      ConfigError: there is no GPU if one is asked for, or the devices cannot
        be split, or the other hosts cannot be reached.
    """
    import tensorflow as tf

    gpus = self.usable_gpus()
    parts = self.settings.logical_devices
    if self.hosts > 1 and parts > 1 and not gpus:
      raise ConfigError(
        "logical_devices must be 1 on several hosts without a GPU, each of "
        f"which has one replica, got {parts}"
      )
    self._split(gpus or tf.config.list_physical_devices("CPU"))
    if self.hosts > 1 or self.settings.distribution == "multi_worker":
      return _multi_worker(len(gpus) * parts)
    # A program may have split the CPU for a purpose of its own.
    count = max(1, len(gpus)) * parts
    if self.settings.distribution == "none" or count == 1:
      return tf.distribute.get_strategy()
    kind = "GPU" if gpus else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    logging.info("training on %d devices: %s", len(names), ", ".join(names))
    return tf.distribute.MirroredStrategy(names)

  def usable_gpus(self) -> list[Any]:
    """Returns TensorFlow's GPUs, only the first if the rest shall not train.

    Raises:
      ConfigError: there is none, and one is asked for.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and self.settings.device != "cpu":
      self._require_no_gpu()
    if self.settings.distribution == "none":
      gpus = gpus[:1]
      tf.config.set_visible_devices(gpus, "GPU")
    return gpus

  def _require_no_gpu(self) -> None:
    """Says so if the driver has a GPU that TensorFlow does not see."""
    asked = self.settings.device == "gpu"
    if visible_gpus():
      found = "; ".join(machine.nvidia_gpus())
      problem = (
        f"the driver has a GPU ({found}) that TensorFlow "
        f"{machine.versions()['tensorflow']} cannot use: pip install "
        "'train_loop[cuda]', or give --device=cpu"
      )
      if asked:
        raise ConfigError(f"device must be cpu, got gpu: {problem}")
      logging.warning("%s", problem)
    elif asked:
      raise ConfigError(
        "device must be auto or cpu, got gpu, for there is no NVIDIA GPU that "
        "nvidia-smi lists and CUDA_VISIBLE_DEVICES shows"
      )

  def _split(self, physical: list[Any]) -> None:
    """Splits each device into logical ones, if that is asked for."""
    import tensorflow as tf

    parts = self.settings.logical_devices
    if parts == 1:
      return
    limit = None
    for device in physical:
      if device.device_type == "GPU":
        limit = _memory_mib() // parts
      configuration = tf.config.LogicalDeviceConfiguration(memory_limit=limit)
      try:
        tf.config.set_logical_device_configuration(
          device, [configuration] * parts
        )
      except RuntimeError as error:
        raise ConfigError(
          f"logical_devices must be 1 in a program that has used TensorFlow "
          f"before, got {parts}"
        ) from error


def find(
  settings: DeviceSettings, environment: Mapping[str, str] | None = None
) -> Devices:
  """Returns where a run computes; imports no TensorFlow.

  Args:
    settings: what the flags say.
    environment: where TF_CONFIG or Slurm's variables name other hosts; None is
      that of this program.

  Raises:
    ConfigError: the variables cannot be read, or there are none and several
      hosts are asked for.
  """
  environment = os.environ if environment is None else environment
  asked = settings.distribution
  if asked in ("none", "mirrored"):
    return Devices(settings)
  index, hosts = _place(environment)
  if asked == "multi_worker" and not hosts:
    raise ConfigError(
      "distribution must be auto, none or mirrored, got multi_worker, for "
      "neither TF_CONFIG nor a step of Slurm's srun names the hosts"
    )
  return Devices(settings, hosts=max(1, hosts), index=index)


def visible_gpus() -> int:
  """Returns how many NVIDIA GPUs this program may use; no TensorFlow."""
  shown = os.environ.get("CUDA_VISIBLE_DEVICES")
  if shown is None:
    return len(machine.nvidia_gpus())
  listed = [name.strip() for name in shown.split(",")]
  if "-1" in listed:  # CUDA shows those before the first name that is none.
    listed = listed[: listed.index("-1")]
  return min(len(list(filter(None, listed))), len(machine.nvidia_gpus()))


def _place(environment: Mapping[str, str]) -> tuple[int, int]:
  """Returns this host's index and the number of hosts; 0 if none is named."""
  if environment.get("TF_CONFIG"):
    return _place_in_tf_config(environment["TF_CONFIG"])
  if _SLURM_TASKS not in environment:
    return 0, 0
  try:
    return (
      int(environment["SLURM_PROCID"]),
      int(environment[_SLURM_TASKS]),
    )
  except (KeyError, ValueError) as error:
    raise ConfigError(
      "Slurm's variables must hold SLURM_PROCID and SLURM_STEP_NUM_TASKS, "
      f"whole numbers both, got an error: {error}"
    ) from error


def _place_in_tf_config(text: str) -> tuple[int, int]:
  """Returns this host's index and the number of hosts in TF_CONFIG."""
  example = (
    """{"cluster": {"worker": ["a:1234", "b:1234"]}, "task": {"type": """
    """"worker", "index": 0}}"""
  )
  try:
    config = json.loads(text)
    cluster, task = config["cluster"], config["task"]
    chiefs, workers = len(cluster.get("chief", [])), len(cluster["worker"])
    number = int(task["index"])
    if task["type"] not in ("chief", "worker") or set(cluster) - {
      "chief",
      "worker",
    }:
      raise ValueError("the tasks must be worker, and chief if there is one")
    if not 0 <= number < len(cluster[task["type"]]):
      raise ValueError(f"the cluster has no {task['type']} {number}")
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ConfigError(
      f"TF_CONFIG must be like {example}, got {text!r} "
      f"({type(error).__name__}: {error})"
    ) from error
  first = 0 if task["type"] == "chief" else chiefs
  return first + number, chiefs + workers


def _multi_worker(gpus: int) -> tf.distribute.Strategy:
  """Returns the strategy of several hosts, once all have come.

  Args:
    gpus: how many GPUs this host has, parts of them counted.
  """
  import tensorflow as tf

  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  if not os.environ.get("TF_CONFIG"):
    resolver = _slurm_resolver(os.environ, gpus)
  logging.info(
    "waiting for all hosts: %s",
    ", ".join(itertools.chain(*resolver.cluster_spec().as_dict().values())),
  )
  with signals.by_default():
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def _slurm_resolver(
  environment: Mapping[str, str], gpus: int
) -> tf.distribute.cluster_resolver.ClusterResolver:
  """Returns the hosts of a step of srun, in the order of its tasks.

  TensorFlow's SlurmClusterResolver raises on nodes without a GPU, and orders
  nodes by their names as text, n10 before n2, which Slurm does not.
  """
  import tensorflow as tf
  from tensorflow.python.distribute.cluster_resolver import (
    slurm_cluster_resolver as slurm,
  )

  try:
    nodes = slurm.expand_hostlist(environment["SLURM_STEP_NODELIST"])
    tasks = slurm.expand_tasks_per_node(
      environment["SLURM_STEP_TASKS_PER_NODE"]
    )
  except (KeyError, ValueError) as error:
    raise ConfigError(
      "Slurm's variables must hold SLURM_STEP_NODELIST and "
      f"SLURM_STEP_TASKS_PER_NODE, as srun sets them, got an error: {error}"
    ) from error
  # Another job may run on the same node.
  port = _FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % _PORTS
  addresses = [
    f"{node}:{port + task}"
    for node, count in zip(nodes, tasks)
    for task in range(count)
  ]
  return tf.distribute.cluster_resolver.SimpleClusterResolver(
    tf.train.ClusterSpec({"worker": addresses}),
    task_type="worker",
    task_id=_place(environment)[0],
    num_accelerators={"GPU": gpus},
    rpc_layer="grpc",
  )


def _memory_mib() -> int:
  """Returns the memory of the smallest GPU, in MiB."""
  *_, memory = zip(*(line.split(",") for line in machine.nvidia_gpus()))
  # TensorFlow leaves some of it to CUDA.
  return int(0.9 * min(int(text.split()[0]) for text in memory))
