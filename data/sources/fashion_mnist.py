# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST: 70,000 pictures of clothes, 28 by 28, in ten classes.

The four files are searched for in the usual places, downloaded if they are in
none, and checked against the MD5s in Fashion-MNIST's README.

Reference: Xiao et al. 2017, Fashion-MNIST: a Novel Image Dataset for
  Benchmarking Machine Learning Algorithms.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import platformdirs
from absl import logging

from data.errors import DataError
from data.sources import debian_package
from data.sources.idx import read_idx
from data.sources.source import Source

CLASS_NAMES = (
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
)
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
HOME_PAGE = "https://github.com/zalandoresearch/fashion-mnist"
PACKAGE = "dataset-fashion-mnist"
SYSTEM_SHARES = ("/usr/local/share", "/usr/share")

# Seconds to wait for an answer from the network.
_NETWORK_TIMEOUT = 20


class File(NamedTuple):
  """One of the four files.

  Attributes:
    name: of the gzipped file.
    gzip_md5: of the gzipped file, as Fashion-MNIST's README lists it.
    content_md5: of the unpacked file. Debian's package holds the same data
      gzipped with another header, and an unpacked file is as good.
  """

  name: str
  gzip_md5: str
  content_md5: str


FILES = (
  File(
    "train-images-idx3-ubyte.gz",
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
  ),
  File(
    "train-labels-idx1-ubyte.gz",
    "25c81989df183df01b3e8a0aad5dffbe",
    "9018921c3c673c538a1fc5bad174d6f9",
  ),
  File(
    "t10k-images-idx3-ubyte.gz",
    "bef4ecab320f06d8554ea6380940ec79",
    "8181f5470baa50b63fa0f6fddb340f0a",
  ),
  File(
    "t10k-labels-idx1-ubyte.gz",
    "bb300cfdad3c16e7a12a480ee83cd310",
    "15d484375f8d13e6eb1aabb0c3f46965",
  ),
)


def load(data_dir: str = "") -> tuple[Source, Source]:
  """Loads Fashion-MNIST from the first place that has it.

  If `data_dir` is given, that is the only place. If not, the places are
  `datasets/fashion-mnist` in the system's shared folders (Debian's package
  dataset-fashion-mnist puts it there), our cache, the network, and the Debian
  package from the machine's own package mirror, which needs no root.

  Args:
    data_dir: the folder that holds the four files, gzipped or not; "" searches
      the usual places.

  Returns:
    The training source (60,000 examples) and the test source (10,000).

  Raises:
    DataError: names the file that is missing or damaged; or the remedies, if no
      place has the data.
  """
  if data_dir:
    return _read_folder(data_dir)
  cache = cache_folder()
  for folder in (*_system_folders(), cache):
    if _missing_file(folder) is not None:
      continue
    try:
      return _read_folder(folder)
    except DataError as error:
      logging.warning("Passed over: %s", error)
  return _fetch(cache)


def cache_folder() -> str:
  """Returns the folder that fetched files are kept in."""
  return platformdirs.user_cache_dir("train_loop/fashion_mnist")


def _system_folders() -> list[str]:
  """Returns each possible share/datasets/fashion-mnist once."""
  shares = os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep)
  shares = [share for share in shares if os.path.isabs(share)]
  return [
    os.path.join(share, "datasets", "fashion-mnist")
    for share in dict.fromkeys((*shares, *SYSTEM_SHARES))
  ]


def _find(folder: str, file: File) -> str | None:
  """Returns the path of a file in a folder, gzipped or not, or None."""
  for name in (file.name, file.name[: -len(".gz")]):
    path = os.path.join(folder, name)
    if os.path.isfile(path):
      return path
  return None


def _missing_file(folder: str) -> str | None:
  """Returns the name of the first file that the folder lacks, or None."""
  for file in FILES:
    if _find(folder, file) is None:
      return file.name
  return None


def _read_folder(folder: str) -> tuple[Source, Source]:
  arrays = [_read_file(folder, file) for file in FILES]

  def source(images: np.ndarray, labels: np.ndarray) -> Source:
    return Source(
      images=images[..., np.newaxis],
      labels=labels.astype(np.int32),
      class_names=CLASS_NAMES,
      name="fashion_mnist",
    )

  return source(*arrays[:2]), source(*arrays[2:])


def _read_file(folder: str, file: File) -> np.ndarray:
  path = _find(folder, file)
  if path is None:
    lack = f"lacks {file.name}" if os.path.isdir(folder) else "is not a folder"
    raise DataError(
      f"data_dir={folder} {lack}; get Fashion-MNIST's four files from"
      f" {HOME_PAGE}, or leave data_dir out to search the usual places"
    )
  try:
    found_md5 = _file_md5(path)
  except OSError as error:
    raise DataError(f"{path} cannot be read: {error.strerror}") from error
  try:
    array = read_idx(path)
    if _content_md5(array) == file.content_md5:
      return array
    cause = None
  except DataError as error:
    cause = error
  gzipped = path.endswith(".gz")
  raise DataError(
    f"{path} is damaged or another file: its MD5 is {found_md5},"
    f" Fashion-MNIST's is {file.gzip_md5 if gzipped else file.content_md5};"
    f" get it again from {HOME_PAGE}, or leave data_dir out"
  ) from cause


def _file_md5(path: str) -> str:
  digest = hashlib.md5(usedforsecurity=False)
  with open(path, "rb") as file:
    while chunk := file.read(1 << 20):
      digest.update(chunk)
  return digest.hexdigest()


def _content_md5(array: np.ndarray) -> str:
  """Returns the MD5 of the unpacked IDX file that holds a uint8 array."""
  header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
  digest = hashlib.md5(header, usedforsecurity=False)
  digest.update(array.data)
  return digest.hexdigest()


def _fetch(cache: str) -> tuple[Source, Source]:
  """Fetches the files by the first way that works, and keeps them."""
  try:
    os.makedirs(cache, exist_ok=True)
  except OSError as error:
    raise DataError(
      f"Fashion-MNIST cannot be kept in {cache}: {error.strerror}; set"
      f" XDG_CACHE_HOME to a folder that can be written, or pass --data_dir="
      f"FOLDER with the four files from {HOME_PAGE}"
    ) from error
  failures = []
  for way, fetch in (("download", _download), ("apt-get", _fetch_package)):
    try:
      return _fetch_into(cache, fetch)
    except Exception as error:  # Whatever it is, the next way may work.
      failures.append(f"{way}: {' '.join(str(error).split())}")
  raise DataError(
    f"Fashion-MNIST is not on this machine and could not be fetched"
    f" ({'; '.join(failures)}); pass --data_dir=FOLDER with the four files"
    f" from {HOME_PAGE}, or run: apt-get install {PACKAGE}"
  )


def _fetch_into(
  cache: str, fetch: Callable[[str], str]
) -> tuple[Source, Source]:
  """Fetches into a scratch folder, checks, then moves each file."""
  with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
    folder = fetch(scratch)
    sources = _read_folder(folder)
    for file in FILES:
      os.replace(
        os.path.join(folder, file.name), os.path.join(cache, file.name)
      )
  return sources


def _download(scratch: str) -> str:
  """Downloads the four files; returns the folder that holds them.

  Without Keras' get_file, which would import TensorFlow before the run has
  chosen how: TensorFlow reads whether to use oneDNN once, when it is imported.
  """
  logging.info("Downloading Fashion-MNIST from %s", URL)
  for file in FILES:
    path, url = os.path.join(scratch, file.name), URL + file.name
    answer = urllib.request.urlopen(url, timeout=_NETWORK_TIMEOUT)
    with answer, open(path, "wb") as copy:
      shutil.copyfileobj(answer, copy)
  return scratch


def _fetch_package(scratch: str) -> str:
  """Unpacks Debian's package; returns the folder that holds the files."""
  root = debian_package.unpack(
    PACKAGE, scratch, network_timeout=_NETWORK_TIMEOUT
  )
  return os.path.join(root, "usr", "share", "datasets", "fashion-mnist")
