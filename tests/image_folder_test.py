# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of folders as people have them: stray files, levels, links, names."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import unicodedata

import pytest

from data import DataError
from data.sources import image_files, image_folder
from tests import pictures
from train_loop.command import compose, flags
from train_loop.config import ModelConfig
from train_loop.modes import train

# No image is decoded here.
CONTENT = b"an image"


def make(root, *paths: str) -> str:
  """Writes files below root; returns it."""
  for path in paths:
    file = pathlib.Path(root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(CONTENT)
  return str(root)


def classes(*folders: str, names=("cat", "dog")) -> list[str]:
  """Returns the paths of two images of each class in each folder."""
  return [
    os.path.join(folder, name, f"{number}.jpg")
    for folder in folders
    for name in names
    for number in range(2)
  ]


def relative(source, root) -> list[str]:
  return [os.path.relpath(path, root) for path in source.examples.paths]


@pytest.mark.parametrize(
  ("train", "held_out"),
  [
    *[("Train", name) for name in ("valid", "Validation", "VAL", "dev")],
    *[("training", name) for name in ("test", "Testing")],
  ],
)
def test_splits_are_told_by_the_usual_names(tmp_path, train, held_out):
  root = make(tmp_path, *classes(train, held_out))
  sources = image_folder.load(root)
  assert [relative(source, root)[0] for source in sources] == [
    f"{train}/cat/0.jpg",
    f"{held_out}/cat/0.jpg",
  ]
  assert sources[0].class_names == ("cat", "dog")


def test_validation_is_evaluated_and_test_on_demand(tmp_path, caplog):
  root = make(tmp_path, *classes("train", "val", "test"))

  def evaluated(**options) -> str:
    return relative(image_folder.load(root, **options)[1], root)[0]

  with caplog.at_level("INFO", "absl"):
    assert evaluated() == "val/cat/0.jpg"
  assert "leaves test out; --eval_split=test evaluates that" in caplog.text
  assert evaluated(eval_split="test") == "test/cat/0.jpg"
  assert evaluated(eval_split="validation") == "val/cat/0.jpg"
  with pytest.raises(DataError, match="validation_fraction must be 0 if"):
    image_folder.load(root, validation_fraction=0.5)
  shutil.rmtree(tmp_path / "val")
  assert evaluated(validation_fraction=0.5).startswith("train/")
  train, test = image_folder.load(
    root, validation_fraction=0.5, eval_split="test"
  )
  assert train.num_examples == 2 and test.num_examples == 4
  with pytest.raises(DataError, match="eval_split must be a split that"):
    evaluated(eval_split="validation")


def test_what_systems_leave_behind_is_left_out_and_counted(tmp_path):
  root = make(
    tmp_path,
    *classes("."),
    ".ipynb_checkpoints/0.jpg",
    "__MACOSX/cat/0.jpg",
    "cat/.ipynb_checkpoints/0-checkpoint.jpg",
    "cat/._0.jpg",
    "cat/Thumbs.db",
    "dog/desktop.ini",
    "dog/notes.txt",
    "stray.jpg",
  )
  source = image_folder.load_whole(root)
  assert relative(source, root) == [
    path.removeprefix("./") for path in classes(".")
  ]
  assert source.notes == (
    f"{root}: left out 6 hidden (.ipynb_checkpoints), 1 without an image's"
    " ending (dog/notes.txt), 1 images beside the folders of classes"
    " (stray.jpg)",
  )


def test_each_real_folder_is_read_once(tmp_path):
  root = make(tmp_path / "data", *classes("."), "cat/sub/3.jpg")
  elsewhere = make(tmp_path / "elsewhere", "4.jpg")
  os.symlink("../cat", tmp_path / "data/cat/again")
  os.symlink("../cat/sub", tmp_path / "data/dog/a_cat")
  os.symlink("..", tmp_path / "data/dog/up")
  os.symlink("/", tmp_path / "data/dog/top")
  os.symlink(elsewhere, tmp_path / "data/dog/linked")
  source = image_folder.load_whole(root)
  assert relative(source, root) == [
    *("cat/0.jpg", "cat/1.jpg", "cat/sub/3.jpg"),
    *("dog/0.jpg", "dog/1.jpg", "dog/linked/4.jpg"),
  ]
  (note,) = source.notes
  assert "4 links to folders that are read already (cat/again)" in note
  os.symlink("cat", tmp_path / "data/lion")
  with pytest.raises(
    DataError, match=r"lion holds no image .* it is a link to"
  ):
    image_folder.load_whole(root)


def test_a_link_to_a_folder_of_images_is_a_class(tmp_path):
  store = make(tmp_path / "store", *classes("."))
  root = tmp_path / "data"
  root.mkdir()
  for name in ("cat", "dog"):
    os.symlink(f"{store}/{name}", root / name)
  assert image_folder.load_whole(str(root)).num_examples == 4
  assert len(image_files.find_images(str(root))) == 4


@pytest.mark.parametrize(
  ("paths", "folder", "message"),
  [
    # Too high.
    (classes("pets"), "", "is too high: {}/pets has the folders cat, dog;"),
    (classes("a/b"), "", "did you mean --data_dir={}/a/b?"),
    (classes("x/train", "x/val"), "", "did you mean --data_dir={}/x?"),
    (
      [*classes("x/Training", "x/Testing"), "notes/a.jpg", "more/b.jpg"],
      "",
      "did you mean --data_dir={}/x?",
    ),
    (classes("train/all", "val/all"), "", "{}/train is too high: {}/train/all"),
    (
      [
        "cat/train/1.jpg",
        "cat/test/2.jpg",
        "dog/train/3.jpg",
        "dog/test/4.jpg",
      ],
      "",
      "{}/cat has splits of its own, as have 1 folders beside it",
    ),
    # Too low.
    (classes("."), "cat", "--data_dir={}?"),
    (classes("train", "val"), "train/cat", "did you mean --data_dir={}?"),
    (classes("train", "val"), "train", "the whole is --data_dir={})"),
    # Splits that are not clear.
    (["train/1.jpg", "test/2.jpg"], "", "but no folder for each class in them"),
    (classes("val", "test"), "", "of a split, but no folder train beside it"),
    ([*classes("."), *classes("test")], "", "but no folder train beside it"),
  ],
)
def test_the_folder_that_was_meant_is_told(tmp_path, paths, folder, message):
  root = make(tmp_path, *paths)
  for fraction in (0.0, 0.5):
    if folder == "train" and fraction:
      continue  # Which is a choice, and is said.
    with pytest.raises(DataError) as error:
      image_folder.load(
        os.path.join(root, folder) if folder else root,
        validation_fraction=fraction,
      )
    assert message.replace("{}", root) in str(error.value)


def test_a_class_may_have_the_name_of_a_split(tmp_path):
  root = make(tmp_path, "test/1.jpg", "test/2.jpg", "control/1.jpg")
  source, _ = image_folder.load(root, validation_fraction=0.5)
  assert source.class_names == ("control", "test")


def test_classes_are_compared_composed(tmp_path):
  composed, decomposed = (
    unicodedata.normalize(form, "café") for form in ("NFC", "NFD")
  )
  root = make(
    tmp_path,
    *classes("train", names=(composed, "dog")),
    *classes("val", names=(decomposed, "dog")),
  )
  train, validation = image_folder.load(root)
  assert train.class_names == validation.class_names == (composed, "dog")
  assert validation.labels.tolist() == [0, 0, 1, 1]
  make(tmp_path, f"train/{decomposed}/1.jpg")
  with pytest.raises(DataError, match="two folders called café"):
    image_folder.load(root)


def test_numbers_are_in_order_unless_a_run_has_another(tmp_path):
  names = [str(number) for number in range(12)]
  root = make(tmp_path, *classes("train", "val", names=names))
  train, validation = image_folder.load(root)
  assert train.class_names == validation.class_names == tuple(names)
  assert relative(train, root)[4:6] == ["train/2/0.jpg", "train/2/1.jpg"]
  # A run of an older build has them in the order of text, and goes on.
  older, validation = image_folder.load(root, class_names=sorted(names))
  assert older.class_names == validation.class_names == tuple(sorted(names))
  assert relative(older, root)[4:6] == ["train/10/0.jpg", "train/10/1.jpg"]
  others, _ = image_folder.load(root, class_names=["a", "b"])
  assert others.class_names == tuple(names)


def test_a_name_need_not_be_utf_8(tmp_path):
  root = make(tmp_path, *classes("."))
  strange = os.fsdecode(b"\xff\xfe.jpg")
  shutil.copy(tmp_path / "cat/0.jpg", tmp_path / "cat" / strange)
  source = image_folder.load_whole(root)
  assert source.examples.read(2) == CONTENT
  assert source.place(2).isprintable()
  os.mkdir(tmp_path / os.fsdecode(b"caf\xe9"))
  with pytest.raises(DataError, match=r"caf\\udce9': the name of a class must"):
    image_folder.load_whole(root)


def test_paths_take_half_the_memory_of_strings(tmp_path):
  root = pictures.write_folder(tmp_path)
  train, _ = image_folder.load(str(root))
  examples = train.examples
  relative_names = sum(
    len(os.path.relpath(path, root / "train")) for path in examples.paths
  )
  assert len(examples.names) + examples.ends.nbytes == relative_names + 8 * 24
  taken = examples.take([20, 3])
  assert taken.paths == (examples.paths[20], examples.paths[3])


def test_a_run_that_goes_on_keeps_the_order_of_its_classes(
  tmp_path, monkeypatch
):
  names = [str(number) for number in range(11)]
  root = make(tmp_path / "data", *classes("train", "val", names=names))
  flags_of_run = {"dataset": "image_folder", "data_dir": root, "image_size": 16}
  # As an older build wrote it: 0, 1, 10, 2, ...
  card = {
    "settings": {},
    "finished": False,
    "final": {},
    "flags": flags_of_run,
    "data": {"class_names": sorted(names)},
  }
  workdir = tmp_path / "run"
  workdir.mkdir()
  (workdir / "run_card.json").write_text(json.dumps(card))
  found = []

  def stop(planned, *_):
    found.append(planned.inputs.train.class_names)
    raise InterruptedError

  monkeypatch.setattr(compose, "choose", stop)
  with pytest.raises(InterruptedError):
    train.run(flags.parse(f"--workdir={workdir}", "--device=cpu"))
  # Weights and a teacher of that run have its order, too.
  arguments = [f"--{name}={value}" for name, value in flags_of_run.items()]
  model = ModelConfig(teacher=str(workdir))
  assert list(compose._known_classes(model, None)) == sorted(names)
  found.append(compose.plan(flags.parse(*arguments)).inputs.train.class_names)
  assert found == [tuple(sorted(names)), tuple(names)]
