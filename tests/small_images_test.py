# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe for a few images, on the photographs of the tests.

How accurate it is stands in the recipe's header; here it only has to run.
"""

from __future__ import annotations

import json

import pytest

from tests import forked, pictures
from train_loop import main

pytestmark = pytest.mark.any_keras

RECIPE = "--recipe=small_images"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  pytest.importorskip("sklearn")
  return pictures.write_photographs(tmp_path_factory.mktemp("folder"))


def test_it_needs_no_flag_but_the_folder_and_the_workdir(folder, tmp_path):
  done = forked.run(
    main.__name__,
    RECIPE,
    f"--data_dir={folder}",
    f"--workdir={tmp_path}",
    "--image_size=32",
    "--epochs=3",
  )
  assert done.returncode == 0, done.stderr
  card = json.loads((tmp_path / "run_card.json").read_text())
  assert card["finished"]
  assert card["final"]["step"] == 3
  assert card["final"]["eval_examples"] == 16
  assert RECIPE not in done.stderr


def test_a_command_without_a_recipe_names_it(folder, tmp_path):
  done = forked.run(
    main.__name__,
    "--dataset=image_folder",
    f"--data_dir={folder}",
    f"--workdir={tmp_path}",
    "--image_size=16",
    "--model=resnet8",
    "--epochs=1",
    "--warmup_epochs=0",
    "--precision=float32",
    "--jit_compile=false",
    "--onednn=true",
  )
  assert done.returncode == 0, done.stderr
  assert RECIPE in done.stderr
  assert "32 training images" in done.stderr
