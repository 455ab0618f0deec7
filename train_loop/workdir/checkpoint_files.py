# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of checkpoints: which there are, whether they are whole, and whose.

Which there are is read from the folder. Beside a checkpoint's data and index
lies `ckpt-STEP.sha256`:

    # run 7c1f...
    9b74...  ckpt-10.data-00000-of-00001
    e3b0...  ckpt-10.index
    # end 51aa...

`sha256sum --check ckpt-10.sha256` reads it, too. `run` is the key in the card
of the run; `end` is the SHA-256 of the lines above it. Checkpoints of older
builds have no such file. This module imports no TensorFlow.

Why SHA-256: 100 MB take 0.07 s on a processor with SHA instructions and 0.27 s
without (BLAKE2b 0.16 s, CRC-32 0.03 s), beside 0.4 s to write and flush them,
and everybody has a tool that checks it.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterable

from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.workdir.writing import flush

DIRECTORY = "checkpoints"
FILE_NAME = re.compile(r"ckpt-(\d+)\.(?:index|data-\d+-of-\d+|sha256)")
# A save writes its files into this folder, then moves them out.
UNFINISHED = "unfinished"

_SUFFIX = ".sha256"
_CHUNK = 1 << 20
_BODY = re.compile(r"# run (\w*)\n((?:[0-9a-f]{64}  [\w.-]+\n)+)")


class Damaged(ConfigError):
  """A checkpoint's files are missing, or not what its run wrote."""

  def __init__(self, checkpoint: pathlib.Path | str, reason: str) -> None:
    super().__init__(f"checkpoint {checkpoint} is damaged ({reason})")


def steps(folder: pathlib.Path) -> list[int]:
  """Returns the steps of the checkpoints in a folder, the latest first.

  Args:
    folder: that of the latest, or of the best; it may be missing.

  Returns:
    The steps of which there is any file, but for those whose save was killed.

  Raises:
    ConfigError: the folder cannot be read.
  """
  present, unfinished = _files(folder)
  found = {step for step in present.values() if step not in unfinished}
  return sorted(found, reverse=True)


def _files(folder: pathlib.Path) -> tuple[dict[str, int], set[int]]:
  """Returns the step of each file, and the steps whose save was killed."""
  present, waiting = map(_named, (folder, folder / UNFINISHED))
  return present, {waiting[name] for name in set(waiting) - set(present)}


def _named(folder: pathlib.Path) -> dict[str, int]:
  """Returns the names of checkpoints' files in a folder, and their steps."""
  try:
    names = os.listdir(folder)
  except FileNotFoundError:
    return {}
  except OSError as error:
    raise ConfigError(
      f"{folder} cannot be read ({first_line(error)}): mend that, or take "
      "another workdir"
    ) from error
  matches = filter(None, map(FILE_NAME.fullmatch, names))
  return {match[0]: int(match[1]) for match in matches}


def remove_unfinished(folder: pathlib.Path) -> None:
  """Removes what a killed save left; what tells that it was killed, last.

  Args:
    folder: as `steps` takes it.

  Raises:
    ConfigError: the folder cannot be read.
    OSError: a file cannot be removed.
  """
  present, unfinished = _files(folder)
  for name, step in present.items():
    if step in unfinished:
      (folder / name).unlink()
  shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


def write_checksums(
  checkpoint: pathlib.Path, files: Iterable[pathlib.Path], *, run_key: str
) -> None:
  """Writes the checksums of a checkpoint; when it returns all is on the disk.

  Args:
    checkpoint: the path of its files without their suffixes.
    files: of the checkpoint; flushed to the disk first.
    run_key: the key in the run's card, or "".

  Raises:
    OSError: a file cannot be read or written.
  """
  lines = [f"# run {run_key}\n"]
  for file in sorted(files):
    flush(file)
    lines.append(f"{_sha256(file)}  {file.name}\n")
  body = "".join(lines)
  path = _path(checkpoint)
  path.write_text(body + _end(body), encoding="utf-8")
  flush(path)


def require_whole(checkpoint: pathlib.Path, *, run_key: str) -> str:
  """Checks the files of a checkpoint.

  Args:
    checkpoint: the path of its files without their suffixes.
    run_key: that of the run which reads it; "" takes every run's checkpoints,
      and also those of older builds, which have no checksums.

  Returns:
    The key of the run which wrote it, or "".

  Raises:
    Damaged: a file is missing, or not what was written; or another run wrote
      the checkpoint.
  """
  path = _path(checkpoint)
  try:
    if path.is_file():
      return _require_sums(checkpoint, path, run_key)
  except OSError as error:
    raise Damaged(checkpoint, first_line(error)) from error
  if run_key:
    raise Damaged(checkpoint, f"{path.name} is missing")
  return ""


def sha256(checkpoint: pathlib.Path) -> str:
  """Returns a hash of the data and index of a checkpoint.

  Args:
    checkpoint: the path of its files without their suffixes.

  Raises:
    Damaged: a file cannot be read.
  """
  digest = hashlib.sha256()
  try:
    for name in sorted(_named(checkpoint.parent)):
      if name.startswith(f"{checkpoint.name}.") and not name.endswith(_SUFFIX):
        digest.update(f"{name} {_sha256(checkpoint.with_name(name))}".encode())
  except OSError as error:
    raise Damaged(checkpoint, first_line(error)) from error
  return digest.hexdigest()


def _require_sums(
  checkpoint: pathlib.Path, path: pathlib.Path, run_key: str
) -> str:
  """Compares a checkpoint with its checksums; returns the key in them."""
  found_key, sums = _read(path)
  if any(not name.startswith(f"{checkpoint.name}.") for name in sums):
    raise Damaged(checkpoint, f"{path.name} is another checkpoint's")
  if run_key and found_key != run_key:
    raise Damaged(checkpoint, "it is another run's")
  for name, expected in sums.items():
    file = path.with_name(name)
    if not file.is_file():
      raise Damaged(checkpoint, f"{name} is missing")
    if _sha256(file) != expected:
      raise Damaged(checkpoint, f"{name} is not what was written")
  return found_key


def _path(checkpoint: pathlib.Path) -> pathlib.Path:
  return checkpoint.with_name(checkpoint.name + _SUFFIX)


def _read(path: pathlib.Path) -> tuple[str, dict[str, str]]:
  """Returns the run's key, and the checksum of each file by its name."""
  text = path.read_bytes().decode("utf-8", "replace")
  matched = _BODY.match(text)
  if not matched or text != matched[0] + _end(matched[0]):
    raise Damaged(path.with_suffix(""), f"{path.name} is not what was written")
  pairs = [line.split("  ") for line in matched[2].splitlines()]
  return matched[1], {name: digest for digest, name in pairs}


def _end(body: str) -> str:
  return f"# end {hashlib.sha256(body.encode()).hexdigest()}\n"


def _sha256(file: pathlib.Path) -> str:
  digest = hashlib.sha256()
  with file.open("rb") as opened:
    while chunk := opened.read(_CHUNK):
      digest.update(chunk)
  return digest.hexdigest()
