# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of runs on several logical devices, and on two real hosts."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import signal
import socket
import types

import numpy as np
import pytest
import tensorflow as tf

from tests import forked
from train_loop import ConfigError, loop
from train_loop.workdir import lock, metrics_file

pytestmark = pytest.mark.any_keras

TIMES = metrics_file.TIME_FIELDS


def free_ports(count):
  """Returns ports that nobody listens at."""
  found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
  ports = [server.getsockname()[1] for server in found]
  for server in found:
    server.close()
  return ports


def train(workdir, *options):
  """Trains on this host; returns the finished process."""
  return forked.run("tests.hosts_run", workdir, *options)


def train_on_hosts(workdir, *options):
  """Trains on two hosts, each with its options; returns the processes."""
  workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
  with concurrent.futures.ThreadPoolExecutor() as pool:
    started = [
      pool.submit(
        train,
        workdir,
        "--tf_config="
        + json.dumps(
          {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": index},
          }
        ),
        *(options[index] if options else ()),
      )
      for index in range(2)
    ]
  return [process.result() for process in started]


def outcome(process):
  """Returns the last line that a run printed, or what went wrong."""
  lines = process.stdout.splitlines()
  return lines[-1] if lines else process.stderr


def records(workdir):
  """Returns the metrics of a run, without times."""
  return [
    {k: v for k, v in record.items() if k not in TIMES}
    for record in metrics_file.read_metrics(workdir)
  ]


def variables(workdir):
  """Returns the variables of a run's last checkpoint, by name."""
  reader = tf.train.load_checkpoint(
    tf.train.latest_checkpoint(workdir / "checkpoints")
  )
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if not name.startswith(("_CHECKPOINTABLE", "save_counter"))
  }


def require_equal(workdir, reference):
  """Asserts that two runs have the same metrics and the same state."""
  assert len(records(workdir)) == len(records(reference)) == 7
  for mine, other in zip(records(workdir), records(reference)):
    assert mine == pytest.approx(other, rel=1e-5, abs=1e-6)
  mine, other = variables(workdir), variables(reference)
  assert mine.keys() == other.keys()
  for name, value in mine.items():
    np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-5)


def test_hosts_and_devices_equal_one_device(tmp_path):
  workdir = tmp_path / "spread"
  # Only the second one is asked to stop.
  stopped = train_on_hosts(workdir, (), ("--stop_after=5",))
  assert [outcome(process) for process in stopped] == [
    "Stopped: stopped at step 19 of 50, and saved"
  ] * 2
  # It goes on as another number of devices, with the same data.
  assert outcome(train(workdir, "--logical_devices=4", "--stop_after=2")) == (
    "Stopped: stopped at step 25 of 50, and saved"
  )
  assert outcome(train(workdir, "--logical_devices=2")) == "finished"
  assert outcome(train(tmp_path / "one")) == "finished"
  require_equal(workdir, tmp_path / "one")


def test_a_killed_host_is_named_and_nothing_hangs_under_xla(tmp_path):
  tricks = ("--precision=mixed_float16", "--jit_compile", "--own_statistics")
  left, killed = train_on_hosts(tmp_path, tricks, (*tricks, "--kill_after=2"))
  assert killed.returncode == -signal.SIGKILL
  assert outcome(left).startswith("HostLost: 127.0.0.1:")
  assert "(host 2 of 2) stopped answering" in outcome(left)


def test_hosts_go_back_together(tmp_path):
  both = train_on_hosts(
    tmp_path, ("--rollback",), ("--rollback", "--stop_after=5")
  )
  assert [outcome(process) for process in both] == [
    "Stopped: stopped at step 19 of 50, and saved"
  ] * 2
  assert all("back to step 10" in process.stderr for process in both)


@pytest.mark.parametrize("chiefs", [30, 40])
def test_hosts_that_restored_other_steps_are_told(chiefs, tmp_path):
  hosts = types.SimpleNamespace(of_chief=lambda step: chiefs, any=bool)
  told = contextlib.nullcontext()
  if chiefs != 40:
    told = pytest.raises(ConfigError, match="step 40 and the first one 30")
  with told:
    loop._require_same_step(hosts, 40, tmp_path)


@pytest.mark.parametrize("is_chief", [True, False])
def test_if_the_first_host_gets_no_lock_all_are_refused(is_chief, tmp_path):
  hosts = types.SimpleNamespace(is_chief=is_chief, any=lambda found: True)
  text = "in use by process" if is_chief else "was refused to the first host"
  with (
    lock.held(tmp_path),
    pytest.raises(ConfigError, match=text),
    loop._locked(tmp_path, hosts),
  ):
    raise AssertionError("not refused")
  hosts.any = bool
  with loop._locked(tmp_path, hosts):
    assert (tmp_path / lock.FILE_NAME).exists() == is_chief
