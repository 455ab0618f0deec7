# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/models.md: its table and its examples."""

import re

import pytest
import tensorflow as tf

from tests import project
from train_loop.models import builders, keras_names
from tricks import keras_compat

PAGE = (project.ROOT / "docs" / "models.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def rows():
  """The table of families, made from what the code has."""
  for family in keras_names.FAMILIES:
    mark = " ²" if family.keras_2_only else ""
    members = ", ".join(family.members)
    yield (
      f"| {members}{mark} | {family.preprocessing.description} | "
      f"{family.smallest} |"
    )


def test_the_table_is_that_of_the_code():
  found = [
    line
    for line in PAGE.splitlines()
    if re.fullmatch(r"\| .* \| .* \| \d+ \|", line)
  ]
  assert found == list(rows())


def test_the_builder_of_the_page_is_accepted(tmp_path, monkeypatch):
  (tmp_path / "networks_of_page.py").write_text(EXAMPLES[0])
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  model = builders.build(
    "networks_of_page.small", input_shape=(8, 8, 3), num_classes=4
  )
  assert model.output_shape == (None, 4)


def test_the_layer_of_the_page_names_its_kernel():
  names = {"tf": tf}
  exec(EXAMPLES[1], names)
  layer = names["Scaled"]()
  layer.build((None, 3))
  assert len(keras_compat.kernels(layer)) == 1


@pytest.mark.parametrize("flag", re.findall(r"`--(\w+)", PAGE))
def test_every_flag_of_the_page_exists(flag):
  reference = (project.ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
  assert f"`--{flag}`" in reference
