# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Describes this machine and its peak: the most FLOP/s that it can do.

    python -m benchmarks.machine_peak

On a CPU the peak is measured as the rate of a 2048 x 2048 x 2048 float32
product, in the process whose training step is compared with it. On a GPU it is
read from a table, because one product says little about tensor cores. A GPU
that is not in the table is measured like a CPU.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Callable

from train_loop import machine

SIZE = 2048
MATMUL_FLOPS = 2 * SIZE**3

# Dense peaks in TFLOP/s, from the makers' data sheets: of float32 products as
# TensorFlow runs them (as TensorFloat-32 if the GPU has tensor cores), and of
# half precision with float32 sums. The longest name that is part of the
# device's name counts.
GPU_TFLOPS: dict[str, tuple[float, float]] = {
  "V100": (15.7, 125.0),
  "T4": (8.1, 65.0),
  "A100": (156.0, 312.0),
  "A10": (62.5, 125.0),
  "L4": (60.0, 121.0),
  "L40S": (183.0, 362.0),
  "RTX 3090": (35.6, 71.0),
  "RTX 4090": (82.6, 165.2),
  "H100": (494.7, 989.4),
  "H100 PCIe": (378.0, 756.0),
  "H200": (494.7, 989.4),
  "B200": (1125.0, 2250.0),
}


def gpu_peak_flops(
  device_details: Mapping[str, Any], precision: str
) -> float | None:
  """Returns a GPU's peak in FLOP/s, or None if the table does not list it.

  Args:
    device_details: as `tf.config.experimental.get_device_details` gives them.
    precision: "float32", "mixed_float16" or "mixed_bfloat16". bfloat16 runs on
      tensor cores from compute capability 8.0 on, float16 from 7.0 on.
  """
  words = device_details.get("device_name", "").replace("-", " ").split()
  known = [name for name in GPU_TFLOPS if _contains(words, name.split())]
  if not known:
    return None
  float32, half = GPU_TFLOPS[max(known, key=len)]
  capability = tuple(device_details.get("compute_capability", (0, 0)))
  needed = {"mixed_float16": (7, 0), "mixed_bfloat16": (8, 0)}.get(precision)
  on_tensor_cores = needed is not None and capability >= needed
  return 1e12 * (half if on_tensor_cores else float32)


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
  """Returns whether `words` holds all of `part` in a row: A10 is not A100."""
  starts = range(len(words) - len(part) + 1)
  return any(words[i : i + len(part)] == list(part) for i in starts)


def best_rate(product: Callable[[], Any], *, repeats: int = 6) -> float:
  """Returns the FLOP/s of the fastest of several calls.

  Args:
    product: computes a product of `SIZE` and waits for it.
    repeats: the number of calls, after a first one that is not timed.
  """
  product()
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    product()
    seconds.append(time.perf_counter() - start)
  return MATMUL_FLOPS / min(seconds)


def tensorflow_peak(precision: str = "float32", *, parts: int = 1) -> float:
  """Returns the peak, in FLOP/s, of the device that TensorFlow uses.

  Args:
    precision: as in `gpu_peak_flops`.
    parts: computes the product in this many parts in parallel; as many as the
      training step, if each part has its own cores.
  """
  import tensorflow as tf

  gpus = tf.config.list_physical_devices("GPU")
  if gpus:
    details = tf.config.experimental.get_device_details(gpus[0])
    known = gpu_peak_flops(details, precision)
    if known is not None:
      return known
  left = tf.random.normal([SIZE, SIZE])
  right = tf.random.normal([SIZE, SIZE])

  @tf.function
  def one_element_of_each() -> tf.Tensor:
    rows = tf.split(left, parts)
    return tf.stack([tf.matmul(part, right)[0, 0] for part in rows])

  # Reading the result waits for the device.
  return best_rate(lambda: one_element_of_each().numpy())


def torch_peak(precision: str = "float32") -> float:
  """Returns the peak, in FLOP/s, of the device that PyTorch uses."""
  import torch

  device = "cuda" if torch.cuda.is_available() else "cpu"
  if device == "cuda":
    details = {
      "device_name": torch.cuda.get_device_name(),
      "compute_capability": torch.cuda.get_device_capability(),
    }
    known = gpu_peak_flops(details, precision)
    if known is not None:
      return known
  left, right = torch.randn(2, SIZE, SIZE, device=device)
  return best_rate(lambda: (left @ right)[0, 0].item())


def tensorflow_gpu_bytes() -> int | None:
  """Returns the most that TensorFlow has allocated on the GPU, if any."""
  import tensorflow as tf

  if not tf.config.list_logical_devices("GPU"):
    return None
  return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def torch_gpu_bytes() -> int | None:
  """Returns the most that PyTorch has allocated on the GPU, if any."""
  import torch

  if not torch.cuda.is_available():
    return None
  return int(torch.cuda.max_memory_allocated())


def describe() -> dict[str, Any]:
  """Describes the machine and the installed packages, ready for JSON.

  It lists devices through TensorFlow, so call it in a separate process.
  """
  import tensorflow as tf

  details = [
    tf.config.experimental.get_device_details(gpu)
    for gpu in tf.config.list_physical_devices("GPU")
  ]
  described: dict[str, Any] = {
    "cpu": machine.cpu_name(),
    "cores": os.cpu_count(),
    "memory_gib": _memory_gib(),
    "gpus": [{key: str(gpu[key]) for key in sorted(gpu)} for gpu in details],
    "system": platform.platform(),
    "python": platform.python_version(),
    "versions": versions(),
    "tf_enable_onednn_opts": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
    "peak_flops": tensorflow_peak(),
  }
  name = machine_name(details)
  peak = described["peak_flops"] / 1e9
  summary = f"{name}; TensorFlow {tf.__version__}; peak {peak:.0f} GFLOP/s"
  return {**described, "name": name, "summary": f"{summary} in float32"}


def machine_name(gpus: Sequence[Mapping[str, Any]]) -> str:
  """Returns the processor, its cores and instructions, and the GPUs."""
  words = [machine.cpu_name(), f"{os.cpu_count()} cores"]
  # oneDNN's kernels are written for one or the other.
  for name, feature in (("AVX-512", "avx512f"), ("AVX2", "avx2")):
    if machine.cpu_has(feature):
      words.append(name)
      break
  return ", ".join(words + [gpu.get("device_name", "a GPU") for gpu in gpus])


def _memory_gib() -> float | None:
  if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
    return None
  total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  return round(total / 2**30, 1)


def versions() -> dict[str, str | None]:
  """Returns the versions of what is compared; None if not installed."""
  found: dict[str, str | None] = {}
  for name in (
    "tensorflow",
    "keras",
    "tf-keras",
    "tf-models-official",
    "torch",
    "numpy",
    "Pillow",
  ):
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      found[name] = None
  return found


if __name__ == "__main__":
  print(json.dumps(describe()))
