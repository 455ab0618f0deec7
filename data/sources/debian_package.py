# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files out of a Debian package, fetched without root."""

from __future__ import annotations

import os
import subprocess
import tempfile

from absl import logging

# Seconds that a whole command may take.
_COMMAND_TIMEOUT = 300


def unpack(package: str, scratch: str, *, network_timeout: int) -> str:
  """Downloads a package with apt-get and unpacks it.

  apt-get keeps its lists and its cache in the scratch folder, so it needs no
  root and leaves the system's own as they are.

  Args:
    package: the package's name.
    scratch: an empty folder.
    network_timeout: seconds to wait for an answer from the network.

  Returns:
    The folder, within scratch, that stands for the file system's root.

  Raises:
    RuntimeError: a command failed.
    OSError: there is no apt-get or dpkg.
    subprocess.TimeoutExpired: a command took longer than five minutes.
  """
  logging.info("Fetching the package %s with apt-get", package)
  options = {
    "Dir::State::Lists": os.path.join(scratch, "lists"),
    "Dir::Cache": os.path.join(scratch, "cache"),
    "Acquire::Retries": "1",
    "Acquire::http::Timeout": str(network_timeout),
    "Acquire::https::Timeout": str(network_timeout),
  }
  apt_get = ["apt-get"]
  for option, value in options.items():
    apt_get += ["-o", f"{option}={value}"]
  # apt-get makes neither of them itself when it is not root.
  for folder in ("lists/partial", "cache/archives/partial"):
    os.makedirs(os.path.join(scratch, folder))
  try:
    _run([*apt_get, "update"], scratch)
  except RuntimeError as error:
    # The repository out of reach may be one that we do not need.
    logging.warning("%s", error)
  _run([*apt_get, "download", package], scratch)
  packages = [name for name in os.listdir(scratch) if name.endswith(".deb")]
  root = os.path.join(scratch, "root")
  _run(["dpkg", "-x", *packages, root], scratch)
  return root


def _run(command: list[str], folder: str) -> None:
  """Runs a command in a folder; an error quotes the last line of its output."""
  # To a file: a process that the command leaves behind would hold a pipe open.
  with tempfile.TemporaryFile() as output:
    status = subprocess.run(
      command,
      cwd=folder,
      env={**os.environ, "LC_ALL": "C"},
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=subprocess.STDOUT,
      timeout=_COMMAND_TIMEOUT,
    ).returncode
    output.seek(0)
    lines = output.read().decode(errors="replace").split("\n")
  if status:
    last = next((line for line in reversed(lines) if line.strip()), "")
    raise RuntimeError(
      f"{command[0]} {command[-1]} ended with status {status}: {last}"
    )
