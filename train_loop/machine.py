# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The machine and its software; this module imports no TensorFlow itself."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import psutil
from absl import logging

from train_loop import __version__

CGROUP = pathlib.Path("/sys/fs/cgroup")
# The limit of a container, what it has in use, and of which kinds that is: of
# control groups 2 and 1.
_CGROUP_FILES = (
  ("memory.max", "memory.current", "memory.stat"),
  (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
  ),
)
CPU_INFO = pathlib.Path("/proc/cpuinfo")
# Environment variables that change TensorFlow's speed.
VARIABLES = (
  "CUDA_VISIBLE_DEVICES",
  "NVIDIA_TF32_OVERRIDE",
  "OMP_NUM_THREADS",
  "TF_NUM_INTEROP_THREADS",
  "TF_NUM_INTRAOP_THREADS",
  "TF_XLA_FLAGS",
  "XLA_FLAGS",
)


def import_tensorflow(*, onednn: bool) -> None:
  """Imports TensorFlow with oneDNN on or off, which can be set only then.

  Args:
    onednn: whether it uses oneDNN; if it was imported before it keeps what it
      has, and a warning says so.
  """
  wanted = "1" if onednn else "0"
  if "tensorflow" not in sys.modules:
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = wanted
  elif os.environ.get("TF_ENABLE_ONEDNN_OPTS", wanted) != wanted:
    logging.warning(
      "this process imported TensorFlow with oneDNN %s, and keeps it so",
      "off" if onednn else "on",
    )
  quiet = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
  if quiet:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
  # Keras 3 would import it, for its plots: a tenth of a run's start.
  with _hidden("matplotlib"), stderr_of_success(hidden=quiet):
    import tensorflow as tf

  tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def stderr_of_success(
  *, hidden: bool = True, show_errors: bool = True
) -> Iterator[None]:
  """Hides what C++ code writes to the error stream, unless Python raises.

  TensorFlow writes notices when it is imported, whatever its log level is; so
  do its converters.
  """
  if not hidden:
    yield
    return
  sys.stderr.flush()
  stderr = os.dup(2)
  with tempfile.TemporaryFile() as written:
    os.dup2(written.fileno(), 2)
    try:
      yield
    except Exception:
      if show_errors:
        written.seek(0)
        os.write(stderr, written.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
  """Makes imports of a module fail, unless it is imported already."""
  modules: dict[str, Any] = sys.modules
  if module in modules:
    yield
    return
  modules[module] = None  # `import` raises ModuleNotFoundError.
  try:
    yield
  finally:
    del modules[module]


def share_cores(parts: int) -> None:
  """Limits each operation to its share of the cores.

  Call it before TensorFlow computes for the first time. A limit that is set in
  the environment already is kept.

  Args:
    parts: the number of operations that are computed in parallel; with 1 an
      operation may use all cores.
  """
  if parts > 1:
    threads = max(1, (usable_cpus() or 1) // parts)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))


def describe() -> dict[str, Any]:
  """Returns the versions and devices in use, for the run card."""
  import tensorflow as tf

  gpus = tf.config.list_physical_devices("GPU")
  details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
  tensor_float_32 = tf.config.experimental.tensor_float_32_execution_enabled()
  return {
    "versions": versions(),
    "device": {
      "cpu": cpu_name(),
      "cpu_count": os.cpu_count(),
      "gpus": [gpu.get("device_name", "unknown") for gpu in details],
      "replicas": tf.distribute.get_strategy().num_replicas_in_sync,
      "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
      "tensor_float_32": tensor_float_32,
    },
  }


def fingerprint() -> dict[str, Any]:
  """Returns all that decides what is fast here; imports no TensorFlow."""
  drivers = {
    str(package.metadata["Name"]): package.version
    for package in metadata.distributions()
    if str(package.metadata["Name"])
    .lower()
    .startswith(("nvidia", "tensorflow"))
  }
  return {
    "versions": {**drivers, **versions()},
    "cpu": cpu_name(),
    # Virtual machines give several generations of processors the same name.
    "cpu_features": sorted(_cpu_features()),
    "cpu_count": usable_cpus(),
    "gpus": nvidia_gpus(),
    "environment": {
      name: os.environ[name] for name in VARIABLES if name in os.environ
    },
  }


def versions() -> dict[str, str]:
  """Returns the versions of Python, train_loop and the main packages."""
  packages = ("tensorflow", "keras", "numpy", "tensorboard")
  return {
    "train_loop": __version__,
    "python": platform.python_version(),
    **{name: _version(name) for name in packages},
  }


def _version(package: str) -> str:
  """Returns a package's version, "unknown" if it is not installed."""
  # A pre-release of TensorFlow brings its Keras as keras-nightly.
  for name in (package, f"{package}-nightly"):
    with contextlib.suppress(metadata.PackageNotFoundError):
      return metadata.version(name)
  return "unknown"


def cpu_name() -> str:
  """Returns the name of the processor."""
  return _cpu_info("model name") or platform.processor() or platform.machine()


def cpu_has(*features: str) -> bool:
  """Returns whether the processor has any of these features, by Linux names."""
  return bool(_cpu_features().intersection(features))


def is_x86() -> bool:
  """Returns whether the processor is of the x86-64 architecture."""
  return platform.machine().lower() in ("x86_64", "amd64")


def usable_cpus() -> int | None:
  """Returns the number of processors that this process may use."""
  if hasattr(os, "sched_getaffinity"):  # If the system can restrict it.
    return len(os.sched_getaffinity(0))
  return os.cpu_count()


def available_memory() -> int:
  """Returns the bytes that this process may still take, of the host's memory.

  A container's limit, which the system's own figures leave out, counts too.
  """
  free = [psutil.virtual_memory().available]
  for limit, used, statistics in _CGROUP_FILES:
    with contextlib.suppress(OSError, ValueError):  # No such limit.
      cached = re.search(
        r"^(?:total_)?inactive_file (\d+)$",
        (CGROUP / statistics).read_text(encoding="utf-8"),
        re.MULTILINE,
      )
      taken = int((CGROUP / used).read_text(encoding="utf-8"))
      taken -= int(cached[1]) if cached else 0
      free.append(int((CGROUP / limit).read_text(encoding="utf-8")) - taken)
  return max(1, min(free))


def peak_memory() -> int:
  """Returns the most bytes of the host's memory that this process has had."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == "darwin" else 1024 * peak


def address_space_used() -> float:
  """Returns the part of its limit (ulimit -v) that this process has had."""
  limit, _ = resource.getrlimit(resource.RLIMIT_AS)
  if limit == resource.RLIM_INFINITY:
    return 0.0
  return psutil.Process().memory_info().vms / limit


def nvidia_memory() -> list[int]:
  """Returns the bytes of each NVIDIA GPU's memory."""
  found = [re.search(r"(\d+) MiB$", gpu) for gpu in nvidia_gpus()]
  return [2**20 * int(each[1]) for each in found if each]


def nvidia_gpus() -> list[str]:
  """Returns name, driver version and memory of each NVIDIA GPU."""
  query = "--query-gpu=name,driver_version,memory.total"
  try:
    asked = subprocess.run(
      ["nvidia-smi", query, "--format=csv,noheader"],
      capture_output=True,
      text=True,
      timeout=20,
    )
  except (OSError, subprocess.TimeoutExpired):
    return []
  return asked.stdout.splitlines() if asked.returncode == 0 else []


def _cpu_features() -> set[str]:
  """Returns the features of the processor, by Linux names."""
  return set((_cpu_info("flags") or _cpu_info("Features")).split())


def _cpu_info(name: str) -> str:
  """Returns a field of the first processor's description, or ""."""
  try:
    text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
  except OSError:  # Only Linux has it.
    return ""
  found = re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)
  return found[1] if found else ""
