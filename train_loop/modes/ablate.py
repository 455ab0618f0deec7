# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a ladder: runs that differ by one trick each, with several seeds.

Each run is the command in a process of its own, in workdir/RUNG/seed_S. The
same command again goes on where it stopped; finished runs are not run again.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator
from typing import Any

import data
from train_loop import machine
from train_loop.command import (
  child,
  compose,
  flags,
  ladder_report,
  ladders,
  network_facts,
  signals,
  terminal,
)
from train_loop.command.settings import LadderSettings
from train_loop.failures import DIVERGED
from train_loop.fields import ConfigError, refused
from train_loop.models import names as model_names
from train_loop.preflight.choose import AUTO, Asked
from train_loop.workdir import lock, run_card
from train_loop.workdir.writing import writing

Card = dict[str, Any]


def run(values: flags.Values) -> int:
  """Trains each rung with each seed, and reports what each trick is worth.

  Args:
    values: the flags' values; those that a rung does not set are those of every
      run.

  Returns:
    The exit status: 0 finished, 128 + the signal that stopped it, or that of a
    run that failed.

  Raises:
    ConfigError: a bad flag, a rung that would change nothing, or a workdir with
      another ladder; nothing was trained.
    DataError: bad data.
  """
  flags.require_workdir(values)
  if values["seed"].present:
    raise refused("seed", values.seed, "left out in mode ablate: give seeds")
  flags.require_numbers(values, "ablate")
  if values.init_from:
    raise refused("init_from", values.init_from, "left out in mode ablate")
  workdir = pathlib.Path(values.workdir)
  if run_card.read(workdir):
    raise refused("workdir", values.workdir, "new in mode ablate, and no run")
  seeds = flags.group(LadderSettings, values).numbers
  ladder = ladders.make(values)
  judged_by = _require_possible(values, ladder)
  with lock.held(workdir):
    runs = Runs(values, ladder, seeds, workdir, judged_by)
    runs.require_same()
    return runs.finish()


class Runs:
  """The runs of a ladder, and how far they are.

  Attributes:
    ladder: what is compared.
    seeds: with which each rung is trained.
    workdir: holds a folder for each rung.
    judged_by: the name of the result by which rungs are compared.
    cards: of the finished runs, by number of the rung and seed.
    diverged: the runs whose numbers went wrong, by number and seed.
  """

  def __init__(
    self,
    values: flags.Values,
    ladder: ladders.Ladder,
    seeds: tuple[int, ...],
    workdir: pathlib.Path,
    judged_by: str,
  ) -> None:
    """Finds the finished runs."""
    self.ladder, self.seeds, self.workdir = ladder, seeds, workdir
    self.judged_by = judged_by
    self._given = ladders.given(values)
    self._asked = flags.group(Asked, values)
    self.cards: dict[tuple[int, int], Card] = {}
    self.diverged: set[tuple[int, int]] = set()
    for number, seed in self.order():
      card = run_card.read(self.folder(number, seed)) or {}
      if card.get("finished"):
        self.cards[number, seed] = card

  def order(self) -> Iterator[tuple[int, int]]:
    """Yields number of the rung and seed: a whole ladder, then the next."""
    for seed in self.seeds:
      for number in range(len(self.ladder.rungs)):
        yield number, seed

  def folder(self, number: int, seed: int) -> pathlib.Path:
    """Returns the workdir of a run."""
    return self.workdir / self.ladder.folder(number) / f"seed_{seed}"

  def flags_of(self, number: int, seed: int) -> dict[str, str]:
    """Returns the flags of a run, but for mode and workdir.

    What auto takes is measured by the first run alone: all others take it over.
    """
    first = run_card.read(self.folder(0, self.seeds[0])) or {}
    measured = {
      name: flags.spelled(name, value)
      for name, value in first.get("choice", {}).items()
      if getattr(self._asked, name) == AUTO
    }
    if (number, seed) == (0, self.seeds[0]):
      measured = {}
    return {
      **measured,
      **self._given,
      **self.ladder.rungs[number].flags,
      "seed": str(seed),
    }

  def require_same(self) -> None:
    """Raises if a run that was begun has other flags than it would get."""
    for number, seed in self.order():
      folder = self.folder(number, seed)
      card = run_card.read(folder)
      if card:
        now = flags.as_dict(ladders.parsed(self.flags_of(number, seed)))
        run_card.require_same(
          folder, flags.comparable(card["flags"]), flags.comparable(now)
        )

  def finish(self) -> int:
    """Runs what is left; reports; returns the exit status."""
    for line in (*ladder_report.described(self.ladder), *self.ladder.notes):
      print(line, flush=True)
    live = ladder_report.Live()
    left = [place for place in self.order() if place not in self.cards]
    if self.cards:
      runs = len(self.ladder.rungs) * len(self.seeds)
      print(f"finished before: {len(self.cards)} of {runs} runs", flush=True)
    start = time.monotonic()
    for done, (number, seed) in enumerate(left, start=1):
      status = self._train(number, seed)
      if status:
        return status
      minutes = (time.monotonic() - start) / done * (len(left) - done) / 60
      live.show(
        f"{self._said(number, seed)}; {done} of {len(left)}, about "
        f"{minutes:.0f} min left",
        ladder_report.table(self.rows(), self.judged_by),
      )
    self._report()
    return 0

  def rows(self) -> list[ladder_report.Row]:
    """Returns what is known of each rung."""
    return ladder_report.rows(self.ladder, self.scores(), self.diverged)

  def scores(self) -> list[dict[int, float]]:
    """Returns the result of each finished run in percent, by rung and seed."""
    found: list[dict[int, float]] = [{} for _ in self.ladder.rungs]
    for (number, seed), card in sorted(self.cards.items()):
      score = card["final"].get(self.judged_by)
      if score is not None:  # Null stands for one that is not finite.
        found[number][seed] = 100.0 * score
    return found

  def _said(self, number: int, seed: int) -> str:
    """Returns what a run's line says of it."""
    name = self.ladder.rungs[number].name
    score = self.scores()[number].get(seed)
    said = "diverged" if score is None else f"{score:.2f} %"
    return f"{name}, seed {seed}: {said}"

  def _train(self, number: int, seed: int) -> int:
    """Trains one run; returns 0, or the status that ends the ladder."""
    folder = self.folder(number, seed)
    log = folder.with_name(f"{folder.name}.log")
    with writing(folder):
      folder.parent.mkdir(parents=True, exist_ok=True)
    words = ladders.as_words(self.flags_of(number, seed))
    try:
      status = child.run([*words, f"--workdir={folder}"], log)
    except signals.Interrupted as stop:
      terminal.say(
        f"{stop}, with {len(self.cards)} runs of {self.workdir} finished: the "
        "same command goes on"
      )
      return 128 + stop.signum
    if status == DIVERGED:  # Without one trick a rate may be too large.
      self.diverged.add((number, seed))
    elif status:
      terminal.say(f"{child.last_line(log)}; see {log}")
    else:
      self.cards[number, seed] = run_card.read(folder) or {}
      self._require_same_images(number, seed)
    return 0 if status == DIVERGED else status

  def _values_of(self, number: int, seed: int) -> dict[str, Any]:
    """Returns the values of the flags that the rungs set, of a run."""
    names = {name for rung in self.ladder.rungs for name in rung.flags}
    values = self.cards[number, seed]["flags"]
    return {
      name: flags.spelled(name, value) if isinstance(value, list) else value
      for name, value in values.items()
      if name in names
    }

  def _require_same_images(self, number: int, seed: int) -> None:
    """Raises unless a run was evaluated on the images of the first one."""
    (_, first), *_ = self.cards.items()
    own = self.cards[number, seed]
    if own["data"]["test_sha256"] != first["data"]["test_sha256"]:
      raise ConfigError(
        f"ladder must evaluate all rungs on the same images, but rung "
        f"{self.ladder.rungs[number].name} has others: {self.workdir}"
      )

  def _report(self) -> None:
    """Writes what was found, and prints it."""
    machine.import_tensorflow(onednn=True)  # TensorBoard's writer has it.
    from train_loop.workdir import hparams

    rows = self.rows()
    ladder_report.write(
      self.workdir,
      ladder_report.Found(
        ladder=self.ladder,
        rows=rows,
        seeds=self.seeds,
        judged_by=self.judged_by,
        given=self._given,
        commands=[
          [
            "train_loop",
            *ladders.as_words(self.flags_of(number, self.seeds[0])),
            f"--workdir={self.folder(number, self.seeds[0])}",
          ]
          for number in range(len(self.ladder.rungs))
        ],
      ),
    )
    hparams.write_ladder(
      self.workdir,
      {
        self.folder(number, seed): {
          "rung": self.ladder.rungs[number].name,
          "seed": seed,
          **self._values_of(number, seed),
        }
        for number, seed in self.cards
      },
      metric=self.judged_by,
    )
    print(ladder_report.table(rows, self.judged_by))
    print(f"{self.workdir} has {', '.join(ladder_report.FILES)}")


def _require_possible(values: flags.Values, ladder: ladders.Ladder) -> str:
  """Raises unless each rung can be trained, and is another than those before.

  Args:
    values: the flags' values.
    ladder: the rungs.

  Returns:
    The name of the result by which rungs are compared.
  """
  given, sources = ladders.given(values), None
  of_data = {field.name for field in flags.fields_of(data.SourceOptions)}
  asked: list[dict[str, Any]] = []
  for rung in ladder.rungs:
    own = {} if asked else {"seed": "0"}
    try:
      rung_values = ladders.parsed({**given, **rung.flags, **own})
      if sources is None or of_data & set(rung.flags):
        planned = compose.plan(rung_values)
      else:
        planned = compose.plan(rung_values, sources=sources)
    except (ConfigError, data.DataError) as error:
      raise type(error)(f"{error} (rung {rung.name})") from error
    if planned.devices.hosts > 1:
      raise ConfigError("mode ablate must run on one host; a run may use many")
    if sources is None:
      sources = planned.inputs.train, planned.inputs.validation
      _require_tricks(planned, ladder)
    asked.append(ladders.result_flags(flags.as_dict(rung_values)))
    if rung.adds_to is not None and asked[-1] == asked[rung.adds_to]:
      raise ConfigError(
        f"ladder must change something with each rung: {rung.name} does not, "
        f"got {' '.join(ladders.as_words(rung.flags))}"
      )
  return planned.config.loss.judged_by


def _require_tricks(planned: compose.Plan, ladder: ladders.Ladder) -> None:
  """Raises if a network from elsewhere has nothing for a trick to act on."""
  named = {name for rung in ladder.rungs for name in rung.flags}
  tricks = named & set(network_facts.MISSING)
  place, _ = model_names.parts(planned.network["model"])
  if not place or not tricks or "model" in named:
    return  # Ours have residual branches, and vectors.
  facts = network_facts.of(planned.network)
  for name in sorted(tricks):
    if not facts[name]:
      raise ConfigError(
        f"ladder must change something with each rung: {name} does not, for "
        f"{planned.network['model']} {network_facts.MISSING[name]}"
      )
