# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of `auto`: what it tries, and what it takes."""

from __future__ import annotations

import pytest

from tests import tiny
from train_loop import preflight
from train_loop.config import PrecisionConfig


@pytest.mark.parametrize(
  ("precision", "jit_compile", "gpu", "expected"),
  [
    ("float32", "false", False, [("float32", False)]),
    ("mixed_float16", "true", False, [("mixed_float16", True)]),
    ("float32", "auto", False, [("float32", False), ("float32", True)]),
    (
      "auto",
      "auto",
      False,
      [("float32", False), ("float32", True), ("mixed_bfloat16", True)],
    ),
    ("auto", "false", False, [("float32", False)]),
    (
      "auto",
      "false",
      True,
      [
        ("float32", False),
        ("mixed_float16", False),
        ("mixed_bfloat16", False),
      ],
    ),
  ],
)
def test_the_sensible_candidates_are_tried(
  precision, jit_compile, gpu, expected
):
  choices = preflight.candidates(precision, jit_compile, gpu=gpu)
  assert [(c.precision, c.jit_compile) for c in choices] == expected


def trial(precision, images_per_second, loss):
  return preflight.Trial(
    PrecisionConfig(precision=precision), images_per_second, loss
  )


def test_the_fastest_that_agrees_is_taken():
  trials = [
    trial("float32", 100.0, 2.0),
    trial("mixed_bfloat16", 300.0, 2.01),
    trial("mixed_float16", 900.0, 3.0),
  ]
  assert preflight.fastest(trials).precision == "mixed_bfloat16"
  lost = [trials[0], trial("mixed_float16", 900.0, float("inf"))]
  assert preflight.fastest(lost).precision == "float32"


def test_measuring_takes_one_of_the_choices_and_real_steps(monkeypatch):
  built = []

  def make_model(precision):
    built.append(precision)
    return tiny.model(dtype=precision)

  choices = preflight.candidates("auto", "auto", gpu=False)
  chosen = preflight.measure(make_model, tiny.dataset(), tiny.config(), choices)
  assert chosen in choices
  assert built == [c.precision for c in choices]


def test_a_single_choice_is_not_measured():
  (choice,) = preflight.candidates("float32", "false", gpu=False)
  assert preflight.measure(None, None, tiny.config(), [choice]) is choice
