# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A machine's peak: from the table for a GPU, else measured."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from benchmarks import machine_peak

A100 = {
  "device_name": "NVIDIA A100-SXM4-40GB",
  "compute_capability": (8, 0),
}


@pytest.mark.parametrize(
  "name, capability, precision, tflops",
  [
    ("NVIDIA A100-SXM4-40GB", (8, 0), "float32", 156.0),
    ("NVIDIA A100-SXM4-40GB", (8, 0), "mixed_bfloat16", 312.0),
    ("NVIDIA A10", (8, 6), "mixed_float16", 125.0),
    ("NVIDIA H100 80GB HBM3", (9, 0), "float32", 494.7),
    ("NVIDIA H100 PCIe", (9, 0), "float32", 378.0),
    ("Tesla V100-SXM2-16GB", (7, 0), "mixed_float16", 125.0),
    ("Tesla V100-SXM2-16GB", (7, 0), "mixed_bfloat16", 15.7),
    ("Tesla T4", (7, 5), "float32", 8.1),
    ("NVIDIA L40S", (8, 9), "float32", 183.0),
  ],
)
def test_peak_of_a_known_gpu(name, capability, precision, tflops):
  details = {"device_name": name, "compute_capability": capability}
  peak = machine_peak.gpu_peak_flops(details, precision)
  assert peak == pytest.approx(1e12 * tflops)


@pytest.mark.parametrize("details", [{}, {"device_name": "NVIDIA A1000"}])
def test_an_unknown_gpu_has_no_peak(details):
  assert machine_peak.gpu_peak_flops(details, "float32") is None


def fake_gpu(monkeypatch, details):
  """Makes TensorFlow tell of one GPU."""
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
  monkeypatch.setattr(
    tf.config.experimental, "get_device_details", lambda gpu: details
  )


def test_a_known_gpu_is_not_measured(monkeypatch):
  fake_gpu(monkeypatch, A100)
  monkeypatch.setattr(machine_peak, "best_rate", None)
  assert machine_peak.tensorflow_peak() == 156e12
  assert machine_peak.tensorflow_peak("mixed_float16") == 312e12


def test_an_unknown_gpu_is_measured_as_a_cpu_is(monkeypatch):
  fake_gpu(monkeypatch, {"device_name": "Prototype"})
  monkeypatch.setattr(machine_peak, "SIZE", 8)
  monkeypatch.setattr(
    machine_peak, "best_rate", lambda product: 7 * len(product())
  )
  assert machine_peak.tensorflow_peak() == 7
  assert machine_peak.tensorflow_peak(parts=2) == 14  # Both are computed.


def test_description_of_a_machine_with_a_gpu(monkeypatch):
  fake_gpu(monkeypatch, A100)
  described = json.loads(json.dumps(machine_peak.describe()))
  assert described["gpus"] == [
    {
      "compute_capability": "(8, 0)",
      "device_name": "NVIDIA A100-SXM4-40GB",
    }
  ]
  assert described["peak_flops"] == 156e12
  assert described["versions"]["tensorflow"] == tf.__version__
  assert described["summary"].endswith(
    f"NVIDIA A100-SXM4-40GB; TensorFlow {tf.__version__}; peak 156000 GFLOP/s"
    " in float32"
  )


def test_best_rate_is_that_of_the_fastest_call(monkeypatch):
  times = iter([0.0, 3.0, 10.0, 12.0, 20.0, 24.0])
  monkeypatch.setattr(machine_peak.time, "perf_counter", lambda: next(times))
  calls = []
  rate = machine_peak.best_rate(lambda: calls.append(1), repeats=3)
  assert rate == 2 * 2048**3 / 2.0
  assert len(calls) == 4


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
  def version(name):
    if name == "torch":
      raise machine_peak.metadata.PackageNotFoundError
    return "1.2"

  monkeypatch.setattr(machine_peak.metadata, "version", version)
  versions = machine_peak.versions()
  assert versions["torch"] is None
  assert versions["numpy"] == "1.2"
