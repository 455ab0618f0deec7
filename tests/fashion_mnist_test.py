# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where Fashion-MNIST is looked for, and what is refused.

Most tests run on a data set of the same form with a few examples, whose MD5s
take the place of the real ones.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from data import DataError
from data.sources import fashion_mnist
from tests import project

# As Fashion-MNIST's README lists them.
README_MD5S = {
  "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
  "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
  "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
  "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
NAMES = tuple(README_MD5S)


def idx(array: np.ndarray) -> bytes:
  sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def tiny_arrays() -> dict[str, np.ndarray]:
  random = np.random.default_rng(0)
  return {
    name: random.integers(0, 10, shape).astype(np.uint8)
    for name, shape in zip(NAMES, [(6, 4, 4), (6,), (3, 4, 4), (3,)])
  }


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> pathlib.Path:
  """A folder with the tiny data, on a machine that has them nowhere else."""
  folder = tmp_path / "tiny"
  folder.mkdir()
  files = []
  for name, array in tiny_arrays().items():
    content = idx(array)
    packed = gzip.compress(content, mtime=1)
    (folder / name).write_bytes(packed)
    md5s = [hashlib.md5(data).hexdigest() for data in (packed, content)]
    files.append(fashion_mnist.File(name, *md5s))
  nowhere = tmp_path / "nowhere"
  monkeypatch.setattr(fashion_mnist, "FILES", tuple(files))
  monkeypatch.setattr(fashion_mnist, "SYSTEM_SHARES", ())
  monkeypatch.setattr(fashion_mnist, "URL", f"{nowhere.as_uri()}/")
  monkeypatch.setenv("XDG_DATA_DIRS", str(nowhere))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.setenv("PATH", str(nowhere))
  return folder


def assert_tiny(sources) -> None:
  arrays = list(tiny_arrays().values())
  for source, images, labels in zip(sources, arrays[::2], arrays[1::2]):
    np.testing.assert_array_equal(source.images[..., 0], images)
    np.testing.assert_array_equal(source.labels, labels)
    assert source.num_classes == 10


def refusal(*arguments: str) -> str:
  with pytest.raises(DataError) as error:
    fashion_mnist.load(*arguments)
  assert "\n" not in str(error.value)
  return str(error.value)


def cache(tmp_path) -> pathlib.Path:
  return tmp_path / "cache" / "train_loop" / "fashion_mnist"


def cached_names(tmp_path) -> list[str]:
  return sorted(os.listdir(cache(tmp_path)))


def share(tmp_path, monkeypatch) -> pathlib.Path:
  """The data's place in a shared folder that XDG_DATA_DIRS names second."""
  folders = f"{tmp_path / 'none'}{os.pathsep}{tmp_path / 'share'}"
  monkeypatch.setenv("XDG_DATA_DIRS", folders)
  return tmp_path / "share" / "datasets" / "fashion-mnist"


def test_reads_data_dir(tiny):
  assert_tiny(fashion_mnist.load(str(tiny)))


def test_reads_unpacked_files(tiny):
  for name in NAMES:
    packed = tiny / name
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
  assert_tiny(fashion_mnist.load(str(tiny)))


def test_reads_the_same_data_in_another_gzip(tiny):
  for name in NAMES:
    content = gzip.decompress((tiny / name).read_bytes())
    (tiny / name).write_bytes(gzip.compress(content, 1, mtime=0))
  assert_tiny(fashion_mnist.load(str(tiny)))


def test_reads_a_shared_folder(tiny, tmp_path, monkeypatch):
  shutil.copytree(tiny, share(tmp_path, monkeypatch))
  assert_tiny(fashion_mnist.load())


def test_reads_a_shared_folder_that_the_environment_does_not_name(
  tiny, tmp_path, monkeypatch
):
  shutil.copytree(tiny, tmp_path / "usr" / "datasets" / "fashion-mnist")
  monkeypatch.setattr(fashion_mnist, "SYSTEM_SHARES", (str(tmp_path / "usr"),))
  assert_tiny(fashion_mnist.load())


def test_reads_the_cache(tiny, tmp_path):
  shutil.copytree(tiny, cache(tmp_path))
  assert_tiny(fashion_mnist.load())


def test_the_cache_is_in_the_home_where_the_environment_names_none(
  monkeypatch, tmp_path
):
  monkeypatch.setenv("HOME", str(tmp_path))
  for ignored in ("", "relative"):
    monkeypatch.setenv("XDG_CACHE_HOME", ignored)
    expected = tmp_path / ".cache" / "train_loop" / "fashion_mnist"
    assert fashion_mnist.cache_folder() == str(expected)


def test_passes_over_incomplete_and_damaged_places(tiny, tmp_path, monkeypatch):
  incomplete = share(tmp_path, monkeypatch)
  shutil.copytree(tiny, incomplete)
  (incomplete / NAMES[2]).unlink()
  shutil.copytree(tiny, cache(tmp_path))
  assert_tiny(fashion_mnist.load())
  shutil.copy(tiny / NAMES[0], incomplete / NAMES[2])
  assert_tiny(fashion_mnist.load())


def test_a_folder_that_the_user_named_is_the_only_one(
  tiny, tmp_path, monkeypatch
):
  shutil.copytree(tiny, share(tmp_path, monkeypatch))
  absent = str(tmp_path / "absent")
  assert f"{absent} is not a folder" in refusal(absent)
  named = tmp_path / "named"
  shutil.copytree(tiny, named)
  for name in NAMES:
    (named / name).unlink()
    message = refusal(str(named))
    assert f"{named} lacks {name}" in message
    assert fashion_mnist.HOME_PAGE in message
    shutil.copy(tiny / name, named)


DAMAGES = {
  "truncated": lambda content: content[:-9],
  "empty": lambda content: b"",
  "a web page": lambda content: b"<html>404</html>",
  "one pixel": lambda content: gzip.compress(
    gzip.decompress(content)[:-1] + b"\x7f"
  ),
  "other data": lambda content: gzip.compress(idx(np.ones([2], np.uint8))),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_told_by_file_and_md5(
  tiny, tmp_path, monkeypatch, name, damage
):
  shutil.copytree(tiny, share(tmp_path, monkeypatch))
  content = DAMAGES[damage]((tiny / name).read_bytes())
  (tiny / name).write_bytes(content)
  message = refusal(str(tiny))
  assert str(tiny / name) in message
  assert hashlib.md5(content).hexdigest() in message
  assert fashion_mnist.FILES[NAMES.index(name)].gzip_md5 in message
  assert fashion_mnist.HOME_PAGE in message


def test_swapped_files_are_told(tiny):
  (tiny / NAMES[0]).rename(tiny / "kept")
  (tiny / NAMES[2]).rename(tiny / NAMES[0])
  (tiny / "kept").rename(tiny / NAMES[2])
  assert str(tiny / NAMES[0]) in refusal(str(tiny))


def test_downloads_into_the_cache_and_prints_nothing(
  tiny, tmp_path, monkeypatch, capfd
):
  monkeypatch.setattr(fashion_mnist, "URL", f"{tiny.as_uri()}/")
  assert_tiny(fashion_mnist.load())
  assert capfd.readouterr().out == ""
  assert cached_names(tmp_path) == sorted(NAMES)
  monkeypatch.setattr(fashion_mnist, "URL", "file:///nowhere/")
  assert_tiny(fashion_mnist.load())


def test_a_download_replaces_a_damaged_cache(tiny, tmp_path, monkeypatch):
  shutil.copytree(tiny, cache(tmp_path))
  (cache(tmp_path) / NAMES[1]).write_bytes(b"")
  monkeypatch.setattr(fashion_mnist, "URL", f"{tiny.as_uri()}/")
  for _ in range(2):
    assert_tiny(fashion_mnist.load())
  for name in NAMES:
    expected = (tiny / name).read_bytes()
    assert (cache(tmp_path) / name).read_bytes() == expected


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_bad_download_leaves_nothing(tiny, tmp_path, monkeypatch, damage):
  (tiny / NAMES[3]).write_bytes(b"<html>")
  if damage == "missing":
    (tiny / NAMES[3]).unlink()
  monkeypatch.setattr(fashion_mnist, "URL", f"{tiny.as_uri()}/")
  refusal()
  assert cached_names(tmp_path) == []


def test_where_nothing_helps_one_line_names_each_remedy(tiny):
  message = refusal()
  for part in (
    "--data_dir=",
    fashion_mnist.HOME_PAGE,
    "apt-get install dataset-fashion-mnist",
    "No such file or directory: 'apt-get'",
    "urlopen error",
  ):
    assert part in message


def test_a_cache_that_cannot_be_made_is_told(tiny, tmp_path):
  (tmp_path / "cache").write_text("a file where the folder should be")
  message = refusal()
  assert str(cache(tmp_path)) in message
  assert "XDG_CACHE_HOME" in message


APT_GET = """
import json, os, shutil, sys
with open({log!r}, "a") as log:
  log.write(json.dumps(["apt-get", os.getcwd(), *sys.argv[1:]]) + chr(10))
lists = sys.argv[2].split("=")[1]
assert os.path.isdir(os.path.join(lists, "partial")), lists
if sys.argv[-1] == "update":
  print("W: a warning")
  sys.exit({update_status})
if {update_status} == 0:
  shutil.copytree({tiny!r}, "dataset-fashion-mnist_1_all.deb")
else:
  print("E: Unable to locate package" + chr(10))
  sys.exit(100)
"""
DPKG = """
import json, os, shutil, sys
with open({log!r}, "a") as log:
  log.write(json.dumps(["dpkg", os.getcwd(), *sys.argv[1:]]) + chr(10))
shutil.copytree(
  sys.argv[2], os.path.join(sys.argv[3], "usr/share/datasets/fashion-mnist")
)
"""


def install_fakes(tiny, tmp_path, monkeypatch, update_status: int):
  """Puts an apt-get and a dpkg on PATH that log how they were called."""
  programs = tmp_path / "bin"
  programs.mkdir()
  log = tmp_path / "commands.jsonl"
  for name, code in (("apt-get", APT_GET), ("dpkg", DPKG)):
    code = code.format(
      log=str(log), tiny=str(tiny), update_status=update_status
    )
    program = programs / name
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
  monkeypatch.setenv("PATH", str(programs))
  return log


def test_fetches_the_package_with_lists_of_its_own(tiny, tmp_path, monkeypatch):
  log = install_fakes(tiny, tmp_path, monkeypatch, update_status=0)
  assert_tiny(fashion_mnist.load())
  assert cached_names(tmp_path) == sorted(NAMES)
  update, download, unpack = map(json.loads, log.read_text().splitlines())
  scratch = update[1]
  assert pathlib.Path(scratch).parent == cache(tmp_path)
  for command in (update, download):
    options = command[3:-1:2] if command[-1] == "update" else command[3:-2:2]
    assert f"Dir::State::Lists={scratch}/lists" in options
    assert f"Dir::Cache={scratch}/cache" in options
    assert "Acquire::http::Timeout=20" in options
  assert update[-1] == "update"
  assert download[-2:] == ["download", "dataset-fashion-mnist"]
  package = "dataset-fashion-mnist_1_all.deb"
  assert unpack == ["dpkg", scratch, "-x", package, f"{scratch}/root"]


def test_a_failing_apt_get_is_quoted(tiny, tmp_path, monkeypatch):
  install_fakes(tiny, tmp_path, monkeypatch, update_status=100)
  message = refusal()
  assert "status 100: E: Unable to locate package" in message
  assert cached_names(tmp_path) == []


def test_lists_the_md5s_of_the_readme():
  listed = {file.name: file.gzip_md5 for file in fashion_mnist.FILES}
  assert listed == README_MD5S


def installed() -> pathlib.Path | None:
  """The folder of Debian's package, on a machine that has it."""
  for base in fashion_mnist.SYSTEM_SHARES:
    folder = pathlib.Path(base, "datasets", "fashion-mnist")
    if all((folder / name).is_file() for name in NAMES):
      return folder
  return None


needs_package = pytest.mark.skipif(
  installed() is None, reason="dataset-fashion-mnist is not installed"
)

# When Zalando packed the files. Debian's packer sets that time to its own, and
# leaves out the file's name; so the original's header can be put back.
PACKED_AT = {"train": 1504176606, "t10k": 1504176627}


@needs_package
@pytest.mark.parametrize("file", fashion_mnist.FILES, ids=lambda file: file[0])
def test_debians_files_hold_what_the_readme_lists(file):
  packed = (installed() / file.name).read_bytes()
  if hashlib.md5(packed).hexdigest() != file.gzip_md5:
    assert packed[3] == 0  # No name in the header.
    packed_at = PACKED_AT[file.name.split("-")[0]].to_bytes(4, "little")
    name = file.name[: -len(".gz")].encode()
    header = packed[:3] + b"\x08" + packed_at + packed[8:10] + name + b"\0"
    packed = header + packed[10:]
  assert hashlib.md5(packed).hexdigest() == file.gzip_md5
  content = gzip.decompress(packed)
  assert hashlib.md5(content).hexdigest() == file.content_md5


@needs_package
def test_loads_the_real_data():
  train, test = fashion_mnist.load(str(installed()))
  assert train.images.shape == (60_000, 28, 28, 1)
  assert test.images.shape == (10_000, 28, 28, 1)
  assert np.bincount(train.labels).tolist() == [6_000] * 10
  assert np.bincount(test.labels).tolist() == [1_000] * 10
  assert train.class_names[train.labels[0]] == "Ankle boot"
  (mean,), (std,) = train.mean_std()
  # The mean and deviation that are commonly quoted, in 0..1.
  assert round(mean / 255, 4) == 0.286
  assert round(std / 255, 4) == 0.353


def test_to_look_and_to_download_needs_no_tensorflow(tiny, tmp_path):
  code = (
    "import sys, data; from data.sources import fashion_mnist\n"
    "def load(*options): return data.load(data.SourceOptions(*options))\n"
    f"fashion_mnist.URL = '{tiny.as_uri()}/'\n"
    "for folder in ('nowhere', ''):\n"
    "  try: load('fashion_mnist', folder)\n"
    "  except data.DataError: pass\n"  # The tiny files have other hashes.
    "load('synthetic')\n"
    "sys.exit('tensorflow' in sys.modules)\n"
  )
  subprocess.run([sys.executable, "-c", code], cwd=project.ROOT, check=True)
