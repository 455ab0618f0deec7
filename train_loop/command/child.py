# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command as a process that another one starts, and waits for.

    python -m train_loop.command.child FLAGS

If that other process is killed, this one saves and stops, as on SIGTERM. This
module imports no TensorFlow.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from train_loop import main
from train_loop.command import signals

# Of <sys/prctl.h>: the signal that a process gets if its parent ends.
_PR_SET_PDEATHSIG = 1


def run(arguments: Sequence[str], log: str | os.PathLike[str]) -> int:
  """Runs the command as a process of its own; returns its exit status.

  Args:
    arguments: its flags.
    log: the file to which what it says is appended.

  Raises:
    Interrupted: a signal asked this process to stop; the other one has saved
      and stopped.
  """
  with pathlib.Path(log).open("ab") as file:
    child = subprocess.Popen(
      [sys.executable, "-m", "train_loop.command.child", *arguments],
      stdin=subprocess.DEVNULL,
      stdout=file,
      stderr=file,
      start_new_session=True,  # Ctrl-C is answered here, and passed on.
    )
    try:
      return child.wait()
    except signals.Interrupted:
      child.send_signal(signal.SIGTERM)
      child.wait()
      raise


def last_line(log: str | os.PathLike[str]) -> str:
  """Returns what a command said last, without its name."""
  lines = pathlib.Path(log).read_text(errors="replace").strip().splitlines()
  return lines[-1].removeprefix("train_loop: ") if lines else "it said nothing"


def _main() -> None:
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
  sys.argv[0] = "train_loop"  # The run card shows the command.
  main.run()


if __name__ == "__main__":
  _main()
