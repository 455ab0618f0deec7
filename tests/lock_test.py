# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the lock of a workdir."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.project import ROOT
from train_loop.fields import ConfigError
from train_loop.workdir import lock

# Holds a lock, and has a forked child that outlives it.
HOLDER = """
import os, signal, sys
from train_loop.workdir import lock
with lock.held(sys.argv[1]):
  read, write = os.pipe()
  child = os.fork()
  if not child:
    os.close(1)
    os.write(write, b"x")
    signal.pause()
  os.read(read, 1)
  print(child, flush=True)
  signal.pause()
"""


def refuse(workdir, message):
  """Requires that a workdir is refused, with an error that holds a message."""
  with pytest.raises(ConfigError, match=message), lock.held(workdir):
    pass


def refused(workdir, *, pid, host=None):
  """Returns how the error begins that names another's process."""
  host = host or lock.Owner.of_this_process().host
  return f"^workdir {workdir} is in use by process {pid} on {host}: stop that"


def leave(workdir, **changes):
  """Leaves the lock of this process, but for some changes, as a kill does."""
  owner = dataclasses.replace(lock.Owner.of_this_process(), **changes)
  (workdir / "run.lock").write_text(json.dumps(dataclasses.asdict(owner)))


def test_a_lock_leaves_nothing_and_keeps_what_is_written(tmp_path):
  workdir = tmp_path / "runs" / "x"
  with lock.held(workdir):
    assert os.listdir(workdir) == ["run.lock"]
  assert not os.listdir(tmp_path)
  with lock.held(workdir):
    (workdir / "card").write_text("")
  assert os.listdir(workdir) == ["card"]


def test_a_second_run_of_a_process_is_refused(tmp_path):
  with lock.held(tmp_path):
    text = (tmp_path / "run.lock").read_text()
    refuse(tmp_path, refused(tmp_path, pid=os.getpid()))
    assert (tmp_path / "run.lock").read_text() == text
    refuse(tmp_path, "is in use")  # Still.


def test_a_run_of_another_process_is_refused_until_that_is_killed(tmp_path):
  holder = subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(tmp_path)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  child = int(holder.stdout.readline())
  try:
    refuse(tmp_path, refused(tmp_path, pid=holder.pid))
    holder.kill()
    holder.wait()
    with lock.held(tmp_path):
      os.kill(child, 0)  # It lives.
      assert json.loads((tmp_path / "run.lock").read_text())["pid"] == (
        os.getpid()
      )
  finally:
    os.kill(child, signal.SIGKILL)
    holder.kill()
    holder.stdout.close()


@pytest.mark.parametrize("text", ["", "x", "[1]", "{}", '{"host": 1}', "\0"])
def test_a_damaged_file_is_no_lock(text, tmp_path):
  (tmp_path / "run.lock").write_text(text)
  with lock.held(tmp_path):
    pass
  assert not os.listdir(tmp_path)


@pytest.fixture
def without_locks(monkeypatch):
  """A file system that has none."""

  def no_lock(descriptor, how):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

  monkeypatch.setattr(fcntl, "flock", no_lock)


def test_without_locks_a_living_process_is_refused(without_locks, tmp_path):
  with lock.held(tmp_path):
    refuse(tmp_path, refused(tmp_path, pid=os.getpid()))


def test_without_locks_a_dead_process_is_known(without_locks, tmp_path, caplog):
  # This number is used again; that is of a process which its parent left dead.
  process = subprocess.Popen([sys.executable, "-c", ""])
  os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
  zombie = lock.psutil.Process(process.pid).create_time()
  for changes in (
    {"started": 1.0},
    {"pid": process.pid, "started": zombie},
    {"pid": 2**30},
  ):
    leave(tmp_path, **changes)
    caplog.set_level("INFO", "absl")
    with lock.held(tmp_path):
      assert "which is gone: it is taken over" in caplog.text
    caplog.clear()
  process.wait()


def test_a_process_of_another_host_lives_as_long_as_it_beats(
  tmp_path, monkeypatch
):
  leave(tmp_path, host="other", pid=7)

  def sleep(seconds):
    os.utime(tmp_path / "run.lock", (1, 1))

  monkeypatch.setattr(lock.time, "sleep", sleep)
  message = refused(tmp_path, pid=7, host="other")
  refuse(tmp_path, message)
  monkeypatch.setattr(lock, "SILENT_SECONDS", 0.0)
  with lock.held(tmp_path):
    pass


def test_a_lock_beats(tmp_path, monkeypatch):
  beats = threading.Event()
  utime = os.utime

  def note(descriptor):
    utime(descriptor)
    beats.set()

  monkeypatch.setattr(lock, "BEAT_SECONDS", 0.001)
  monkeypatch.setattr(os, "utime", note)
  with lock.held(tmp_path):
    utime(tmp_path / "run.lock", (1, 1))
    beats.clear()
    assert beats.wait(60)
    assert (tmp_path / "run.lock").stat().st_mtime > 1


def test_a_lock_that_is_removed_before_it_is_taken_is_taken_anew(
  tmp_path, monkeypatch
):
  take, calls = lock._lock, []

  def late(descriptor):
    if not calls:
      (tmp_path / "run.lock").unlink()
    calls.append(descriptor)
    return take(descriptor)

  monkeypatch.setattr(lock, "_lock", late)
  with lock.held(tmp_path):
    assert len(calls) == 2
    refuse(tmp_path, "is in use by process")


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
  target = tmp_path / "target"
  target.write_text("kept")
  (tmp_path / "run.lock").symlink_to(target)
  refuse(tmp_path, r"run\.lock cannot be written \(")
  assert target.read_text() == "kept"
