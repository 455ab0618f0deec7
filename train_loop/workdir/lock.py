# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`run.lock`: keeps a second run out of a workdir in which one trains.

The lock is the file system's (flock). It ends with its process, however that
ends, on the hosts that share the file system as far as that knows locks of
other hosts: NFS does, others keep each host's locks to itself, or have none.
So the file also says whose it is, and its time is renewed every ten seconds: a
process of another host lives if it goes on doing so. Without flock a process
of this host is looked up by its number and the time of its start, since numbers
are used again. This module imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import psutil
from absl import logging

from train_loop.fields import ConfigError
from train_loop.workdir.writing import writing

FILE_NAME = "run.lock"
BEAT_SECONDS = 10.0
# A process of another host that has not renewed the file for so long is gone.
SILENT_SECONDS = 3 * BEAT_SECONDS

# A child that is forked must not keep its parent's lock alive.
_held: set[int] = set()


def _close_in_child() -> None:
  while _held:
    os.close(_held.pop())


os.register_at_fork(after_in_child=_close_in_child)


@dataclasses.dataclass(frozen=True)
class Owner:
  """The process that a lock says it belongs to.

  Attributes:
    host: the name of its machine.
    pid: its number there.
    started: seconds since 1970, to tell it from a later one of that number.
  """

  host: str
  pid: int
  started: float

  @classmethod
  def of_this_process(cls) -> Owner:
    """Returns this process."""
    started = psutil.Process().create_time()
    return cls(socket.gethostname(), os.getpid(), started)

  def is_running(self) -> bool:
    """Returns whether the process lives, if it is one of this host."""
    try:
      found = psutil.Process(self.pid)
      if abs(found.create_time() - self.started) > 1.0:
        return False
      return found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
      return False


@contextlib.contextmanager
def held(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Keeps other runs out of a folder; takes over what a dead one left.

  Args:
    workdir: the run's folder. It is made if it is missing, and removed at the
      end if it is still empty.

  Raises:
    ConfigError: another run is in it, or it cannot be written.
  """
  path = pathlib.Path(workdir) / FILE_NAME
  with _folder(path.parent):
    owner = Owner.of_this_process()
    descriptor = _take(path, owner)
    _held.add(descriptor)
    released = threading.Event()
    beating = threading.Thread(
      target=_beat, args=(descriptor, released), daemon=True
    )
    beating.start()
    try:
      yield
    finally:
      if os.getpid() == owner.pid:
        released.set()
        beating.join()
        with contextlib.suppress(OSError):
          if _is_at(path, descriptor):
            path.unlink()
        _held.remove(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def _folder(path: pathlib.Path) -> Iterator[None]:
  """Makes a folder; removes at the end what it made, if that is empty."""
  made = [folder for folder in (path, *path.parents) if not folder.exists()]
  with writing(path):
    path.mkdir(parents=True, exist_ok=True)
  try:
    yield
  finally:
    for folder in made:
      with contextlib.suppress(OSError):
        folder.rmdir()


def _take(path: pathlib.Path, owner: Owner) -> int:
  """Returns the locked file, with its owner in it."""
  while True:
    with writing(path):
      flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
      descriptor = os.open(path, flags, 0o666)
    try:
      _require_free(path, descriptor)
      with writing(path):
        if _is_at(path, descriptor):
          text = json.dumps(dataclasses.asdict(owner)) + "\n"
          os.ftruncate(descriptor, 0)
          os.pwrite(descriptor, text.encode(), 0)
          return descriptor
    except BaseException:
      os.close(descriptor)
      raise
    os.close(descriptor)  # Its owner has removed it: there is none, or a new.


def _require_free(path: pathlib.Path, descriptor: int) -> None:
  """Locks the file, or raises if a process that lives has it."""
  is_locked = _lock(descriptor)
  owner = _read(descriptor)
  if is_locked is None:
    raise _refused(path, owner)
  if owner is None:
    return
  if owner.host == socket.gethostname():
    lives = not is_locked and owner.is_running()
  else:
    logging.info(
      "%s is of process %d on %s: waiting %.0f s for a sign of life",
      *(path, owner.pid, owner.host, SILENT_SECONDS),
    )
    lives = _is_beating(path)
  if lives:
    raise _refused(path, owner)
  logging.info(
    "%s was left by process %d on %s, which is gone: it is taken over",
    *(path, owner.pid, owner.host),
  )


def _lock(descriptor: int) -> bool | None:
  """Locks a file; None if another has it, False if there are no locks."""
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    taken = error.errno in (errno.EAGAIN, errno.EACCES)
    return None if taken else False
  return True


def _refused(path: pathlib.Path, owner: Owner | None) -> ConfigError:
  whose = f"process {owner.pid} on {owner.host}" if owner else "another process"
  return ConfigError(
    f"workdir {path.parent} is in use by {whose}: stop that run or wait for "
    "its end, or take another workdir"
  )


def _read(descriptor: int) -> Owner | None:
  """Returns the owner that a lock names; None if it is new, or damaged."""
  try:
    owner = Owner(**json.loads(os.pread(descriptor, 1000, 0)))
  except (OSError, ValueError, TypeError):
    return None
  kinds = (type(owner.host), type(owner.pid), type(owner.started))
  return owner if kinds == (str, int, float) else None


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
  """Returns whether a path is still that of an open file."""
  try:
    return os.path.samestat(os.stat(path), os.fstat(descriptor))
  except FileNotFoundError:
    return False


def _beat(descriptor: int, released: threading.Event) -> None:
  """Renews the time of a file until it is released."""
  while not released.wait(BEAT_SECONDS):
    with contextlib.suppress(OSError):
      os.utime(descriptor)


def _is_beating(path: pathlib.Path) -> bool:
  """Returns whether another host renews the time of a file."""

  def renewed() -> int:
    # To open it asks the server, which to look at it does not.
    with path.open("rb") as file:
      return os.fstat(file.fileno()).st_mtime_ns

  first = renewed()
  end = time.monotonic() + SILENT_SECONDS
  while time.monotonic() < end:
    time.sleep(SILENT_SECONDS / 30)
    if renewed() != first:
      return True
  return False
