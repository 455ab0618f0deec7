# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs a module in a process of its own that has TensorFlow already.

To import TensorFlow takes longer than most of what tests let a process do. So
one process imports it, and is forked for each run before it does anything else.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from typing import TextIO

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
  ["tensorflow", "keras", "train_loop.loop", "data.pipeline"]
)


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
  """Does what `python -m module arguments` does, a start-up later.

  TensorFlow has oneDNN on, as conftest.py sets it, whatever the module asks.

  Args:
    module: its full name.
    *arguments: of its command line.

  Returns:
    The finished process: returncode, stdout and stderr.
  """
  command = [module, *map(str, arguments)]
  with tempfile.TemporaryDirectory() as folder:
    paths = [os.path.join(folder, name) for name in ("stdout", "stderr")]
    process = _CONTEXT.Process(target=_run, args=(command, paths))
    process.start()
    process.join()
    texts = [pathlib.Path(p).read_text(encoding="utf-8") for p in paths]
  return subprocess.CompletedProcess(command, process.exitcode or 0, *texts)


class Running:
  """A process that was started, as `subprocess.Popen` is one.

  Attributes:
    stderr: its error output, to be read, if that was asked for.
  """

  stderr: TextIO

  def __init__(
    self, module: str, *arguments: object, read_stderr: bool = False
  ) -> None:
    """Starts what `run` runs; output that nobody reads is lost."""
    command = [module, *map(str, arguments)]
    errors = None
    if read_stderr:
      reader, errors = _CONTEXT.Pipe(duplex=False)
      self.stderr = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
      reader.close()
    self._process = _CONTEXT.Process(
      target=_run, args=(command, [os.devnull] * 2, errors)
    )
    self._process.start()
    if errors:
      errors.close()

  def send_signal(self, signum: int) -> None:
    """Sends a signal."""
    assert self._process.pid
    os.kill(self._process.pid, signum)

  def poll(self) -> int | None:
    """Returns the exit status, None while it runs."""
    return self._process.exitcode

  def wait(self) -> int:
    """Waits for the end; returns the exit status."""
    self._process.join()
    return self._process.exitcode or 0

  def kill(self) -> None:
    """Sends SIGKILL."""
    self._process.kill()


def _run(
  command: list[str], paths: list[str], errors: Connection | None = None
) -> None:
  """The forked process."""
  for descriptor, path in zip((1, 2), paths):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
  if errors:
    os.dup2(errors.fileno(), 2)
    errors.close()
  # A shell's background job, as this may be one, ignores Ctrl-C.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  sys.argv[:] = command
  runpy.run_module(command[0], run_name="__main__", alter_sys=True)
