# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of what a run says of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from train_loop import machine

CPU_INFO = """\
processor\t: 0
model name\t: Zilog Z80 @ 4 MHz
flags\t\t: fpu avx512_bf16 amx
processor\t: 1
model name\t: another
"""


@pytest.fixture
def cpu_info(tmp_path, monkeypatch):
  path = tmp_path / "cpuinfo"
  monkeypatch.setattr(machine, "CPU_INFO", path)
  return path


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
  """Puts a program of that name, and no other, on the path."""
  monkeypatch.setenv("PATH", str(tmp_path))

  def write(script):
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)

  return write


def test_the_cpu_is_told_by_name_and_feature(cpu_info):
  cpu_info.write_text(CPU_INFO)
  assert machine.cpu_name() == "Zilog Z80 @ 4 MHz"
  assert machine.cpu_has("amx_bf16", "avx512_bf16")
  assert not machine.cpu_has("avx512")


def test_without_proc_the_name_is_what_python_knows(cpu_info):
  assert machine.cpu_name()
  assert not machine.cpu_has("fpu")


def test_processors_of_one_name_are_told_apart_by_their_features(cpu_info):
  cpu_info.write_text(CPU_INFO)
  with_bfloat16 = machine.fingerprint()
  cpu_info.write_text(CPU_INFO.replace("avx512_bf16", "avx2"))
  without = machine.fingerprint()
  assert machine.cpu_name() == "Zilog Z80 @ 4 MHz"
  assert with_bfloat16 != without


def test_an_arm_processor_has_features_too(cpu_info):
  cpu_info.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
  assert machine.cpu_has("bf16")


def test_gpus_are_told_by_their_driver(nvidia_smi):
  assert machine.nvidia_gpus() == []
  nvidia_smi("echo 'NVIDIA H100, 550.1, 81559 MiB'")
  assert machine.nvidia_gpus() == ["NVIDIA H100, 550.1, 81559 MiB"]
  nvidia_smi("echo 'No devices were found'; exit 6")
  assert machine.nvidia_gpus() == []


def test_the_fingerprint_tells_what_slows_tensorflow_down(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_slow")
  monkeypatch.setenv("PWD", "/somewhere")
  fingerprint = json.loads(json.dumps(machine.fingerprint()))
  assert fingerprint["environment"]["XLA_FLAGS"] == "--xla_cpu_slow"
  assert "PWD" not in fingerprint["environment"]
  assert {"tensorflow", "keras", "python"} <= set(fingerprint["versions"])


@pytest.mark.parametrize(
  ("parts", "threads"), [(1, None), (2, "3"), (4, "1"), (12, "1")]
)
def test_parts_share_the_cores(monkeypatch, parts, threads):
  monkeypatch.setattr(machine, "usable_cpus", lambda: 6)
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "to be restored")
  monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
  machine.share_cores(parts)
  assert os.environ.get("TF_NUM_INTRAOP_THREADS") == threads


def test_threads_that_the_user_has_set_stay(monkeypatch):
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
  machine.share_cores(2)
  assert os.environ["TF_NUM_INTRAOP_THREADS"] == "5"


def test_a_run_starts_without_what_keras_draws_with():
  code = (
    "import sys; from train_loop import machine;"
    "machine.import_tensorflow(onednn=False);"
    "assert 'keras' in sys.modules and 'matplotlib' not in sys.modules;"
    "from matplotlib import figure"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_what_tensorflow_prints_while_it_starts_is_shown_if_it_fails(capfd):
  with machine.stderr_of_success(hidden=True):
    os.write(2, b"a notice\n")
  assert capfd.readouterr().err == ""
  with pytest.raises(ImportError), machine.stderr_of_success(hidden=True):
    os.write(2, b"no such library\n")
    raise ImportError
  assert capfd.readouterr().err == "no such library\n"
  with machine.stderr_of_success(hidden=False):
    os.write(2, b"a notice\n")
  assert capfd.readouterr().err == "a notice\n"


def test_an_imported_tensorflow_keeps_its_onednn(monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow", tf)
  monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
  machine.import_tensorflow(onednn=False)
  assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"


def test_a_keras_of_a_pre_release_has_a_version(monkeypatch):
  installed = {"keras-nightly": "3.16.0.dev1", "tensorflow": "2.22.0rc0"}

  def version(name):
    if name not in installed:
      raise machine.metadata.PackageNotFoundError(name)
    return installed[name]

  monkeypatch.setattr(machine.metadata, "version", version)
  found = machine.versions()
  assert found["keras"] == "3.16.0.dev1"
  assert found["tensorflow"] == "2.22.0rc0"
  assert found["numpy"] == "unknown"
