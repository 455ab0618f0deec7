# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command's door.

Exit status: 0 finished; 2 a bad flag or input, told in one line; 3 diverged;
4 another host of the run is gone; 128 + the signal's number if one stopped the
run, after saving if the loop runs (SIGTERM 143, Ctrl-C 130).
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys

# All else is imported once a signal can be answered.
from train_loop.command import signals
from train_loop.failures import BAD_INPUT


def run() -> None:
  """Runs the command; exits with its status."""
  signals.raise_interrupted()
  try:
    _require_our_data()
    from train_loop.command import entry

    entry.run()
  except signals.Interrupted as error:
    print(f"train_loop: {error}", file=sys.stderr)
    sys.exit(128 + error.signum)


def _require_our_data() -> None:
  """Exits unless the package `data` is the one beside `train_loop`."""
  ours = pathlib.Path(__file__).resolve().parents[1] / "data" / "__init__.py"
  spec = importlib.util.find_spec("data")
  found = pathlib.Path((spec and spec.origin) or "nowhere").resolve()
  if found != ours:
    print(
      f"train_loop: the name 'data' belongs to {found}, not to {ours}: run "
      "from another folder, or rename it",
      file=sys.stderr,
    )
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
  run()
