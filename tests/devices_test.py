# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of which devices and hosts the flags and the environment name."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess

import pytest
import tensorflow as tf

from tests.project import ROOT
from train_loop import machine
from train_loop.command import compose, devices, flags, signals
from train_loop.command.settings import DeviceSettings
from train_loop.fields import ConfigError

EXAMPLES = ROOT / "examples" / "distribution"


def tf_config(kind="worker", index=1, **cluster):
  """Returns TF_CONFIG's text."""
  cluster = cluster or {"worker": ["a:1", "b:1", "c:1"]}
  return json.dumps(
    {"cluster": cluster, "task": {"type": kind, "index": index}}
  )


def slurm(**changes):
  """Returns the variables of a task of srun, on nodes 9 to 11."""
  return {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "node[9-11]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2),2",
    "SLURM_JOB_ID": "7",
    **changes,
  }


@pytest.mark.parametrize(
  ("environment", "shard"),
  [
    ({}, (0, 1)),
    ({"TF_CONFIG": tf_config()}, (1, 3)),
    ({"TF_CONFIG": tf_config(index=0, chief=["z:1"], worker=["a:1"])}, (1, 2)),
    ({"TF_CONFIG": tf_config("chief", 0, chief=["z:1"], worker=["a"])}, (0, 2)),
    (slurm(), (2, 4)),
    ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, (0, 1)),  # A batch script.
  ],
)
def test_the_environment_names_the_hosts(environment, shard):
  assert devices.find(DeviceSettings(), environment).shard == shard
  for distribution in ("none", "mirrored"):
    settings = DeviceSettings(distribution=distribution)
    assert devices.find(settings, environment).shard == (0, 1)


@pytest.mark.parametrize(
  ("settings", "environment", "words"),
  [
    ({"distribution": "multi_worker"}, {}, "neither TF_CONFIG nor"),
    ({}, {"TF_CONFIG": "{"}, "TF_CONFIG must be like"),
    ({}, {"TF_CONFIG": "[]"}, "TF_CONFIG must be like"),
    ({}, {"TF_CONFIG": tf_config(index=3)}, "has no worker 3"),
    ({}, {"TF_CONFIG": tf_config("ps", 0, ps=["a"], worker=["b"])}, "must be"),
    ({}, slurm(SLURM_PROCID="x"), "SLURM_PROCID"),
  ],
)
def test_bad_variables_are_one_line(settings, environment, words):
  with pytest.raises(ConfigError, match=words) as caught:
    devices.find(DeviceSettings(**settings), environment)
  assert "\n" not in str(caught.value)


def test_slurms_tasks_keep_their_order():
  resolver = devices._slurm_resolver(slurm(), 0)
  addresses = resolver.cluster_spec().as_dict()["worker"]
  assert addresses == [
    "node9:20007",
    "node10:20007",
    "node11:20007",
    "node11:20008",
  ]
  assert (resolver.task_type, resolver.task_id) == ("worker", 2)
  with pytest.raises(ConfigError, match="SLURM_STEP_NODELIST"):
    devices._slurm_resolver({"SLURM_PROCID": "0"}, 0)


def with_gpus(monkeypatch, shown=None):
  """Lets the driver list two GPUs that TensorFlow does not see."""
  rows = ["NVIDIA A, 550.1, 81559 MiB", "NVIDIA A, 550.1, 40000 MiB"]
  monkeypatch.setattr(machine, "nvidia_gpus", lambda: rows)
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  if shown is not None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])


@pytest.mark.parametrize(
  ("shown", "count"), [(None, 2), ("0", 1), ("", 0), ("1,-1,0", 1), ("-1", 0)]
)
def test_hidden_gpus_do_not_count(monkeypatch, shown, count):
  with_gpus(monkeypatch, shown)
  assert devices.visible_gpus() == count
  found = devices.find(DeviceSettings(logical_devices=3), {})
  assert found.local_replicas == 3 * max(1, count)
  one = devices.find(DeviceSettings(distribution="none"), {})
  assert one.local_replicas == 1


def test_a_gpu_that_tensorflow_cannot_use_is_told(monkeypatch):
  with_gpus(monkeypatch)
  with pytest.raises(ConfigError, match=r"that TensorFlow .* cannot use: pip"):
    devices.find(DeviceSettings(device="gpu"), {}).strategy()
  with_gpus(monkeypatch, "-1")
  with pytest.raises(ConfigError, match="no NVIDIA GPU"):
    devices.find(DeviceSettings(device="gpu"), {}).strategy()


def test_one_device_is_no_strategy_though_the_program_split_its_cpu():
  assert len(tf.config.list_logical_devices("CPU")) == 2
  found = devices.find(DeviceSettings(), {}).strategy()
  with found.scope():
    assert not tf.distribute.has_strategy()


def test_other_modes_ask_for_the_device_too(monkeypatch):
  with_gpus(monkeypatch, "-1")
  monkeypatch.setattr(compose, "import_tensorflow", lambda chosen: None)
  values = flags.parse("--device=gpu")
  with pytest.raises(ConfigError, match="no NVIDIA GPU"):
    compose.import_for_one_device(None, values)


def test_device_cpu_hides_gpus_from_the_trials_too(monkeypatch):
  with_gpus(monkeypatch, "0,1")
  found = devices.find(DeviceSettings(device="cpu"), {})
  found.hide_gpus()
  assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
  assert found.local_replicas == 1


def test_a_schedulers_signal_is_answered_as_sigterm():
  before = signal.getsignal(signal.SIGUSR1)
  try:
    with signals.StopRequest() as stop:
      signals.answer_as_sigterm("USR1")
      signal.raise_signal(signal.SIGUSR1)
      assert stop()
      assert stop.signum == signal.SIGTERM
  finally:
    signal.signal(signal.SIGUSR1, before)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def shell(script, *arguments, path, **environment):
  """Runs a script with programs of a folder first on PATH; returns stdout."""
  return subprocess.run(
    ["bash", *map(str, (script, *arguments))],
    env={"PATH": f"{path}:{os.environ['PATH']}", **environment},
    capture_output=True,
    text=True,
    check=False,
  )


def program(path: pathlib.Path, text: str) -> None:
  """Writes a program that bash runs."""
  path.write_text(f"#!/usr/bin/env bash\n{text}\n")
  path.chmod(0o755)


def test_the_scripts_start_the_hosts(tmp_path):
  program(tmp_path / "train_loop", 'echo "$TF_CONFIG"; echo "$@"')
  told = shell(
    EXAMPLES / "two_hosts.sh", 1, "a:1,b:2", "--workdir=x y", path=tmp_path
  ).stdout.splitlines()
  assert devices.find(DeviceSettings(), {"TF_CONFIG": told[0]}).shard == (1, 2)
  assert told[1] == "--workdir=x y"

  # The pod's command, of which YAML folds the lines.
  text = (EXAMPLES / "kubernetes.yaml").read_text()
  _, _, rest = text.partition(">-\n")
  command, _, _ = rest.partition("          ports:")
  command = " ".join(command.split()).replace(
    "/examples", str(ROOT / "examples")
  )
  program(tmp_path / "pod", command)
  told = shell(
    tmp_path / "pod", path=tmp_path, JOB_COMPLETION_INDEX="1"
  ).stdout.splitlines()
  assert devices.find(DeviceSettings(), {"TF_CONFIG": told[0]}).shard == (1, 2)
  assert "--recipe=imagenet_resnet50" in told[1]


@pytest.mark.parametrize(("status", "requeued"), [(0, ""), (143, "7\n")])
def test_slurms_job_is_requeued_if_it_was_stopped(tmp_path, status, requeued):
  program(tmp_path / "srun", f"exit {status}")
  program(tmp_path / "scontrol", 'echo "$2"')
  done = shell(EXAMPLES / "slurm.sbatch", path=tmp_path, SLURM_JOB_ID="7")
  assert (done.returncode, done.stdout) == (status, requeued)
