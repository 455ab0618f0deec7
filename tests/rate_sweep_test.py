# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the learning-rate sweep: the rule, the mode, and what it leaves."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tests import tiny
from train_loop import rate_sweep
from train_loop.command import flags
from train_loop.fields import ConfigError
from train_loop.modes import find_learning_rate

RATES = 10.0 ** np.linspace(-6, 1, 141)


def falling(*, at, noise=0.0, seed=0):
  """Returns losses that fall up to a rate, and then rise as fast."""
  x = np.log10(RATES)
  losses = 2.3 - 2.0 / (1.0 + np.exp(6.0 * (np.abs(x - np.log10(at)) - 1.0)))
  return losses + noise * np.random.default_rng(seed).normal(size=len(x))


@pytest.mark.parametrize("at", [1e-4, 3e-3, 0.1])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_rate_at_which_the_loss_is_lowest_is_found(at, noise):
  for seed in range(10):
    losses = falling(at=at, noise=noise, seed=seed)
    found = rate_sweep.Sweep(RATES, losses).suggested
    assert 1 / 1.7 < found / at < 1.7


def test_a_loss_that_never_falls_is_refused():
  with pytest.raises(ValueError, match="does not fall at any rate"):
    _ = rate_sweep.Sweep(RATES, np.linspace(1.0, 2.0, len(RATES))).suggested


def test_a_sweep_takes_its_rates_and_stops_when_it_diverges():
  config = tiny.config()
  found = rate_sweep.sweep(
    tiny.model(), tiny.dataset(), config, lowest=1e-4, highest=1e12, steps=33
  )
  steps = len(found.losses)
  assert 10 < steps < 33
  np.testing.assert_allclose(
    found.rates, 1e-4 * 10.0 ** (0.5 * np.arange(steps))
  )
  # The first rates change next to nothing.
  assert found.losses[:3] == pytest.approx(found.losses[0], rel=0.2)


def test_the_mode_suggests_a_rate_and_binds_nothing(tmp_path, capsys):
  values = flags.parse(
    *("--mode=find_learning_rate", "--recipe=digits", "--model=resnet8"),
    *("--sweep_steps=30", "--sweep_from=1e-3"),
    f"--workdir={tmp_path}",
  )
  assert find_learning_rate.run(values) == 0
  assert [path.name for path in tmp_path.iterdir()] == ["learning_rate"]
  folder = tmp_path / "learning_rate"
  with open(folder / "learning_rate.csv", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  rates = [float(row["learning_rate"]) for row in rows]
  assert rates[0] == 1e-3 and rates == sorted(rates)
  assert (folder / "learning_rate.png").read_bytes()[:4] == b"\x89PNG"
  assert list(folder.glob("events.out.tfevents.*"))
  (line,) = capsys.readouterr().out.splitlines()
  words = dict(w.split("=") for w in line.split() if w.startswith("--"))
  suggested = float(words["--base_learning_rate"].rstrip(","))
  peak = suggested * 64 / 256  # Linear scaling.
  assert min(abs(np.log(np.array(rates) / peak))) < 0.2


def test_rates_that_do_not_rise_are_refused():
  values = flags.parse(
    *("--mode=find_learning_rate", "--recipe=digits", "--workdir=x"),
    *("--sweep_from=1", "--sweep_to=0.1"),
  )
  with pytest.raises(ConfigError, match="sweep_from must be below"):
    find_learning_rate.run(values)
