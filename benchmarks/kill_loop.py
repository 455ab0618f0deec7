# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kills a run over and over, then damages its checkpoints; counts what is lost.

    python -m benchmarks.kill_loop --kills=100 --damages=100

*Kills.* A run of the command trains to its end undisturbed. Another, in a
folder of its own, gets SIGKILL at random moments of its life, and each time the
same command is given again. A quarter of the kills come while it starts. Both
must end with the same weights, optimizer and metrics, bit for bit.

*Damages.* A file of the newest checkpoint (`.index`, `.data`, `.sha256`) gets a
flipped bit, is cut short or goes missing, or all its files become those of the
other run. The damage must be reported, and the checkpoint before be read.

The exit status is 0 if nothing was lost and every damage was found.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import logging
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Protocol

from benchmarks import harness
from train_loop.workdir import metrics_file, run_card

# Every part of the state that a checkpoint must hold is in use.
FLAGS = (
  "--dataset=digits",
  "--pad_crop=1",
  "--model=resnet8",
  "--zero_gamma",
  "--global_batch_size=64",
  "--base_learning_rate=0.4",
  "--mixup_alpha=0.2",
  "--label_smoothing=0.1",
  "--stochastic_depth=0.1",
  "--ema_decay=0.99",
  "--accumulate_steps=2",
  "--precision=float32",
  "--jit_compile=false",
  "--onednn=true",
  "--seed=3",
  "--log_every_steps=25",
  "--checkpoint_every_steps=20",
  "--eval_every_epochs=5",
)
# One kill in so many comes while the run starts.
STARTS = 4

SUFFIXES = (".index", ".data-00000-of-00001", ".sha256")
POLL_SECONDS = 0.02


class Running(Protocol):
  """A process that trains, as `subprocess.Popen` is one."""

  def poll(self) -> int | None:
    """Returns the exit status, None while it runs."""

  def wait(self) -> int:
    """Waits for the end; returns the exit status."""

  def kill(self) -> None:
    """Sends SIGKILL."""


Start = Callable[[pathlib.Path], Running]


@dataclasses.dataclass(frozen=True)
class Life:
  """What an undisturbed run took.

  Attributes:
    steps: of the whole run.
    start_seconds: from the start of the process to its first record.
    record_seconds: from one record to the next.
  """

  steps: int
  start_seconds: float
  record_seconds: float


def live(start: Start, workdir: pathlib.Path) -> Life:
  """Trains a run to its end undisturbed.

  Args:
    start: starts a process that trains in a folder, or goes on.
    workdir: a folder that is new.

  Raises:
    RuntimeError: the run ended with another status than 0.
  """
  began = time.perf_counter()
  process = start(workdir)
  _wait_for_step(process, workdir, _metrics_inode(workdir), 1)
  first = time.perf_counter()
  _require_success(process.wait())
  seconds = time.perf_counter() - first
  records = metrics_file.read_metrics(workdir)
  return Life(records[-1]["step"], first - began, seconds / len(records))


def kill_over_and_over(
  start: Start,
  workdir: pathlib.Path,
  life: Life,
  *,
  kills: int,
  seed: int = 0,
) -> collections.Counter[str]:
  """Kills a run at random moments of its life, then lets it end.

  Args:
    start: as `live` takes it.
    workdir: a folder that is new.
    life: of an undisturbed run.
    kills: how many; fewer if the run ends before.
    seed: of the moments.

  Returns:
    How often it was killed while it was doing what.

  Raises:
    RuntimeError: the run ended with another status than 0.
  """
  moments = random.Random(seed)
  counts: collections.Counter[str] = collections.Counter()
  for number in range(kills):
    before, saved = _metrics_inode(workdir), _saved_step(workdir)
    process = start(workdir)
    if number % STARTS:
      # Evenly over what is left of the life, on the average.
      share = (life.steps - saved) / (kills - number + 1)
      step = saved + 1 + int(moments.uniform(0.0, 1.8 * share))
      _wait_for_step(process, workdir, before, step)
      time.sleep(moments.uniform(0.0, life.record_seconds))
    else:
      time.sleep(moments.uniform(0.0, life.start_seconds))
    process.kill()
    if process.wait() == 0:
      return counts
    stage = _stage(workdir, before)
    counts[stage] += 1
    saved = _saved_step(workdir)
    harness.note(f"kill {number + 1}: {stage}, step {saved} is saved")
  _require_success(start(workdir).wait())
  return counts


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
  """Returns the tensors of the last checkpoint, and records, that differ.

  Args:
    one: the folder of a finished run.
    other: that of another.
  """
  ours, theirs = _tensors(one), _tensors(other)
  names = [
    name
    for name in sorted({*ours, *theirs})
    if ours.get(name) != theirs.get(name)
  ]
  return names + ["metrics.jsonl"] * (_records(one) != _records(other))


@dataclasses.dataclass(frozen=True)
class Damage:
  """What is done to the newest checkpoint of a run.

  Attributes:
    kind: of `KINDS`.
    suffix: of the file; "" is all.
  """

  kind: str
  suffix: str = ""

  def __str__(self) -> str:
    return f"{self.kind} {self.suffix.partition('-')[0]}".strip()

  def apply(
    self, prefix: pathlib.Path, other: pathlib.Path, chance: random.Random
  ) -> None:
    """Damages a checkpoint.

    Args:
      prefix: the path of its files without their suffixes.
      other: that of another run's.
      chance: says which bit, or how much is left.
    """
    if not self.suffix:
      for suffix in SUFFIXES:
        shutil.copy(f"{other}{suffix}", f"{prefix}{suffix}")
      return
    file = pathlib.Path(f"{prefix}{self.suffix}")
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    if self.kind == "missing":
      file.unlink()
    elif self.kind == "cut":
      file.write_bytes(content[:place])
    else:
      content[place] ^= 1 << chance.randrange(8)
      file.write_bytes(content)


KINDS = (
  *(Damage(k, s) for s in SUFFIXES for k in ("flipped bit", "cut", "missing")),
  Damage("another run's"),
)


def damage_over_and_over(
  workdir: pathlib.Path,
  other: pathlib.Path,
  *,
  damages: int,
  seed: int = 0,
) -> dict[str, tuple[int, int]]:
  """Damages the newest checkpoint of a run in many ways, each in a copy.

  Args:
    workdir: a finished run of the command with two checkpoints or more.
    other: another run of the same network, at the same step.
    damages: how many.
    seed: of what is damaged.

  Returns:
    For each kind how often it was made; and how often it was reported, once,
    and the checkpoint before was read.
  """
  from train_loop import models
  from train_loop.workdir import checkpoints

  card = run_card.read(workdir) or {}
  model = models.build_model(**card["network"], dtype="float32")
  newest = _saved_step(workdir)
  chance = random.Random(seed)
  with _copied(workdir) as copy:
    for file in copy.glob(f"checkpoints/ckpt-{newest}.*"):
      file.unlink()
    checkpoints.restore_model(model, copy)
    expected = _bytes_of(model)
  results = {str(damage): (0, 0) for damage in KINDS}
  for number in range(damages):
    damage = KINDS[number % len(KINDS)]
    with _copied(workdir) as copy, _warnings() as reports:
      name = f"checkpoints/ckpt-{newest}"
      damage.apply(copy / name, other / name, chance)
      checkpoints.restore_model(model, copy)
    found = [text for text in reports if f"{name} is damaged" in text]
    made, passed = results[str(damage)]
    right = len(found) == 1 == len(reports) and _bytes_of(model) == expected
    results[str(damage)] = made + 1, passed + right
  return results


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the program; returns its exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--kills", type=harness.positive, default=100)
  parser.add_argument("--damages", type=harness.positive, default=100)
  parser.add_argument(
    "--epochs", type=harness.positive, default=300, help="of the run"
  )
  parser.add_argument("--seed", type=int, default=0, help="of the moments")
  parser.add_argument("--json", help="the file of the result")
  options = parser.parse_args(arguments)
  with tempfile.TemporaryDirectory() as folder:
    result = measure(options, pathlib.Path(folder))
  harness.write_json(options.json, result)
  print(shown(result))
  return 0 if result["nothing_lost"] else 1


def measure(
  options: argparse.Namespace, folder: pathlib.Path
) -> dict[str, Any]:
  """Kills, compares, damages; returns what came out, as JSON can hold it."""
  began = time.perf_counter()
  log = folder / "stderr"

  def start(workdir: pathlib.Path) -> Running:
    with log.open("ab") as errors:
      return subprocess.Popen(
        [
          *(sys.executable, "-m", "train_loop.main", *FLAGS),
          *(f"--epochs={options.epochs}", f"--workdir={workdir}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=errors,
      )

  whole, killed = folder / "whole", folder / "killed"
  life = live(start, whole)
  log.unlink()
  counts = kill_over_and_over(
    start, killed, life, kills=options.kills, seed=options.seed
  )
  text = log.read_text("utf-8", "replace")
  differing = differences(whole, killed)
  damages = damage_over_and_over(
    whole, killed, damages=options.damages, seed=options.seed
  )
  return {
    "flags": [*FLAGS, f"--epochs={options.epochs}"],
    "commit": harness.commit(),
    "machine": harness.machine(),
    "steps": life.steps,
    "kills": dict(counts),
    "locks_taken_over": text.count("it is taken over"),
    "damaged_by_kills": text.count(" is damaged ("),
    "left_in_workdir": sorted(path.name for path in killed.iterdir()),
    "tensors_compared": len(_tensors(whole)),
    "differing": differing,
    "damages": damages,
    "seconds": round(time.perf_counter() - began),
    "nothing_lost": not differing
    and not text.count(" is damaged (")
    and sum(counts.values()) == options.kills
    and all(made == passed for made, passed in damages.values()),
  }


def shown(result: dict[str, Any]) -> str:
  """Returns a result as Markdown."""
  kills = sum(result["kills"].values())
  where = ", ".join(f"{n} {stage}" for stage, n in result["kills"].items())
  made, passed = (
    sum(pair[index] for pair in result["damages"].values()) for index in (0, 1)
  )
  table = harness.markdown_table(
    ("damage", "made", "reported, and the checkpoint before read"),
    [(name, *map(str, p)) for name, p in result["damages"].items()],
  )
  return "\n".join(
    [
      f"{kills} kills over {result['steps']} steps: {where}.",
      f"Locks of a dead process taken over: {result['locks_taken_over']}. "
      f"Checkpoints damaged by a kill: {result['damaged_by_kills']}.",
      f"Of {result['tensors_compared']} tensors and metrics.jsonl differ: "
      f"{len(result['differing'])}.",
      f"{passed} of {made} damages were found. {result['seconds']} seconds.",
      "",
      table,
    ]
  )


def _require_success(status: int) -> None:
  if status:
    raise RuntimeError(f"the run ended with status {status}, not 0")


def _metrics_inode(workdir: pathlib.Path) -> int:
  """Returns what tells a metrics file from that of a later start."""
  with contextlib.suppress(FileNotFoundError):
    return (workdir / metrics_file.METRICS_FILE).stat().st_ino
  return 0


def _wait_for_step(
  process: Running, workdir: pathlib.Path, before: int, step: int
) -> None:
  """Waits until a process that was just started logs a step, or has ended."""
  while process.poll() is None:
    is_new = _metrics_inode(workdir) != before
    if is_new and metrics_file.last_records(workdir).get("step", 0) >= step:
      return
    time.sleep(POLL_SECONDS)


def _stage(workdir: pathlib.Path, before: int) -> str:
  """Returns what a process was doing when it was killed."""
  if list(workdir.glob("checkpoints/**/unfinished")):
    return "while it saved"
  started = _metrics_inode(workdir) != before
  return "while it trained" if started else "while it started"


def _steps(workdir: pathlib.Path) -> list[int]:
  """Returns the steps of a run's checkpoints, the latest first."""
  indices = (workdir / "checkpoints").glob("ckpt-*.index")
  return sorted((int(path.stem[5:]) for path in indices), reverse=True)


def _saved_step(workdir: pathlib.Path) -> int:
  return max(_steps(workdir), default=0)


def _tensors(workdir: pathlib.Path) -> dict[str, bytes]:
  """Returns the bytes of every tensor of a run's last checkpoint."""
  import tensorflow as tf

  path = workdir / f"checkpoints/ckpt-{_saved_step(workdir)}"
  reader = tf.train.load_checkpoint(str(path))
  return {
    name: reader.get_tensor(name).tobytes()
    for name in reader.get_variable_to_shape_map()
    # Counts the saves of a process, not of a run; TensorFlow's own.
    if not name.startswith(("save_counter", "_CHECKPOINTABLE"))
  }


def _records(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Returns what a run logged, without the times."""
  return [
    {k: v for k, v in record.items() if k not in metrics_file.TIME_FIELDS}
    for record in metrics_file.read_metrics(workdir)
  ]


def _bytes_of(model: Any) -> list[bytes]:
  return [weight.tobytes() for weight in model.get_weights()]


@contextlib.contextmanager
def _copied(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
  """A copy of a run's card and checkpoints, for a while."""
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder)
    shutil.copy(workdir / run_card.FILE_NAME, copy)
    shutil.copytree(workdir / "checkpoints", copy / "checkpoints")
    yield copy


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
  """Collects the warnings of train_loop."""
  texts: list[str] = []
  handler = logging.Handler(logging.WARNING)
  handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
  logger = logging.getLogger("absl")
  logger.addHandler(handler)
  try:
    yield texts
  finally:
    logger.removeHandler(handler)


if __name__ == "__main__":
  sys.exit(main())
