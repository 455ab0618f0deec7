# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the command as a process: outputs, statuses, one-line errors."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tests import forked, pictures, tiny
from tests.project import ROOT
from train_loop import ConfigError
from train_loop.command import compose, flags
from train_loop.models import build_model
from train_loop.modes import convert, train
from train_loop.preflight import trials
from train_loop.workdir import checkpoint_files, lock, metrics_file, run_card

pytestmark = pytest.mark.any_keras

FEW_STEPS = (
  "--model=resnet8",
  "--fuse_batch_norm=false",
  "--epochs=1",
  "--warmup_epochs=0",
  "--global_batch_size=32",
  "--precision=float32",
  "--jit_compile=false",
  "--onednn=true",
  "--log_every_steps=2",
)


# A network that is built and traced in a third of the time.
SHORTEST = "--model=python:tests.tiny.built"


def command(*arguments):
  """Runs the command; returns the finished process."""
  return forked.run("train_loop.main", *arguments)


def fresh_command(*arguments, cwd=ROOT, **environment):
  """As `command`, in a process that imports TensorFlow itself, or does not."""
  return subprocess.run(
    [sys.executable, "-m", "train_loop.main", *map(str, arguments)],
    cwd=cwd,
    env={**environment_of_a_user(), **environment},
    capture_output=True,
    text=True,
  )


def environment_of_a_user():
  """Returns the environment without what conftest.py sets for tests."""
  others = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
  return {**others, "PYTHONPATH": str(ROOT)}


def own_lines(text):
  """Returns the lines that are ours: TensorFlow's start-up notices are not."""
  return [line for line in text.splitlines() if line.startswith("train_loop:")]


def unfinish(workdir):
  """Lets a run's card say that it did not end; returns what it says."""
  path = workdir / "run_card.json"
  card = json.loads(path.read_text())
  path.write_text(json.dumps({**card, "finished": False}))
  return card


def answer_ctrl_c():
  """A shell's background job, as this test may be one, ignores Ctrl-C."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """Flags of a run of a few steps."""
  path = tmp_path_factory.mktemp("small") / "data.npz"
  x_train, y_train = tiny.arrays(256)
  x_test, y_test = tiny.arrays(100, seed=1)
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  return ("--dataset=npz", f"--data_dir={path}", *FEW_STEPS)


@pytest.fixture(scope="module")
def training(small):
  """Flags of a run that evaluates nothing."""
  return (*small, SHORTEST, "--mode=train")


@pytest.fixture(scope="module")
def regularized(small):
  """Flags of the run that is `finished`."""
  return (*small, "--label_smoothing=0.1", "--stochastic_depth=0.5")


@pytest.fixture(scope="module")
def finished(regularized, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("finished")
  done = command(*regularized, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir, done


def test_a_run_says_how_it_ended_and_leaves_its_outputs(finished):
  workdir, done = finished
  (line,) = done.stdout.splitlines()
  card = json.loads((workdir / "run_card.json").read_text())
  top1 = card["final"]["eval_top1"]
  assert line.startswith(f"{workdir} is finished: top-1 {top1:.2%}")
  assert card["finished"] is True
  assert card["flags"]["label_smoothing"] == 0.1
  assert card["network"]["stochastic_depth"] == 0.5
  assert card["choice"] == {
    "onednn": True,
    "tensor_float_32": False,
    "precision": "float32",
    "jit_compile": False,
    "fuse_batch_norm": False,
    "recompute": "none",
  }
  assert "preflight" not in card
  assert card["final"]["eval_examples"] == card["data"]["test_examples"]
  assert "Traceback" not in done.stderr
  assert metrics_file.read_metrics(workdir)
  assert list((workdir / "tensorboard/eval").glob("events.*"))


def test_micro_batches_at_once_share_the_cores(small, tmp_path):
  code = (
    "import sys; from train_loop import machine, main;"
    "machine.share_cores = lambda parts: sys.exit(f'shared by {parts}');"
    "main.run()"
  )
  at_once = ("--accumulate_steps=4", "--parallel_micro_batches")
  for flags_given, parts in (((), 1), (at_once, 4)):
    done = subprocess.run(
      [
        *(sys.executable, "-c", code),
        *(*small, *flags_given, f"--workdir={tmp_path}"),
      ],
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
    assert f"shared by {parts}" in done.stderr.splitlines(), done.stderr


def test_the_same_command_again_says_so_and_changes_nothing(
  finished, regularized
):
  workdir, _ = finished
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
  done = command(*regularized, f"--workdir={workdir}")
  assert done.returncode == 0
  assert "was finished before" in done.stdout
  assert before == {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}


def test_mode_eval_takes_the_runs_own_flags(finished):
  workdir, _ = finished

  def times():
    # The report is written anew.
    files = [p for p in workdir.rglob("*") if p.parent.name != "report"]
    return {p: p.stat().st_mtime_ns for p in files if p.name != "report"}

  before = times()
  done = command("--mode=eval", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  final = json.loads((workdir / "run_card.json").read_text())["final"]
  assert f"top-1 {final['eval_top1']:.2%}" in done.stdout
  assert f"loss {final['eval_loss']:.4f}" in done.stdout
  assert before == times()


def test_mode_eval_may_flip_but_the_run_may_not(finished, regularized):
  workdir, _ = finished
  done = command("--mode=eval", f"--workdir={workdir}", "--flip_tta")
  assert done.returncode == 0, done.stderr
  final = json.loads((workdir / "run_card.json").read_text())["final"]
  assert f"loss {final['eval_loss']:.4f}" not in done.stdout
  assert f"on {final['eval_examples']} examples" in done.stdout
  again = command(*regularized, f"--workdir={workdir}", "--flip_tta")
  assert again.returncode == 2
  assert "flip_tta=False, not True" in again.stderr


@pytest.fixture(scope="module")
def taught(finished, training, tmp_path_factory):
  """The workdir of a run, and of its teacher."""
  root = tmp_path_factory.mktemp("taught")
  teacher = shutil.copytree(finished[0], root / "teacher")
  workdir = root / "run"
  done = command(*training, f"--workdir={workdir}", f"--teacher={teacher}")
  assert done.returncode == 0, done.stderr
  return workdir, teacher


def test_a_run_is_a_teacher(finished, taught):
  alone = metrics_file.read_metrics(finished[0])[0]["loss"]
  assert metrics_file.read_metrics(taught[0])[0]["loss"] > alone


def test_a_keras_file_is_a_teacher(tmp_path, training):
  teacher = build_model(
    "resnet8",
    input_shape=tiny.SHAPE,
    num_classes=tiny.NUM_CLASSES,
    mean=(100.0,),
    std=(50.0,),
  )
  path = tmp_path / "teacher.keras"
  teacher.save(path)
  workdir = tmp_path / "student"
  done = command(*training, f"--workdir={workdir}", f"--teacher={path}")
  assert done.returncode == 0, done.stderr
  assert metrics_file.read_metrics(workdir)


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ([], ["workdir must be given"]),
    (["--recipe=imagenet"], ["recipe", "fashion_mnist", "'imagenet'"]),
    (["--modle=resnet20"], ["modle", "model"]),
    (["--model=resnet19"], ["model", "resnet19", "resnet20"]),
    (["--stochastic_depth=1"], ["stochastic_depth", "[0, 1)", "got 1"]),
    (["--momentum=1.5"], ["momentum", "1.5"]),
    (["--optimizer=tfa:Lookahead"], ["optimizer", "tfa:Lookahead", "tfa:Yogi"]),
    (["--epochs=3"], ["warmup_epochs", "epochs (3)", "got 5"]),
    (["resnet20"], ["--name=value", "'resnet20'"]),
    (["--data_dir=/nowhere"], ["/nowhere"]),
    (["--dataset=fashion_mnist", "--data_dir=/"], ["/", "ubyte"]),
    (["--mode=eval"], ["workdir must hold a run"]),
    (["--mode=convert"], ["output_dir must be given"]),
    (["--dataset=imagenet"], ["dataset", "tfds:NAME", "'imagenet'"]),
    (["--dataset=image_folder"], ["data_dir must be given"]),
    (["--labels=x.csv"], ["labels must be left out for dataset=digits"]),
    (["--image_size=8"], ["image_size", "digits"]),
    (["--cache=disk"], ["cache", "digits"]),
    (["--teacher=/nowhere"], ["teacher", "'/nowhere'", ".keras"]),
    (["--steps_per_loop=0"], ["steps_per_loop", "auto", "'0'"]),
    (
      ["--progressive_image_sizes=4:0,6:0.5"],
      ["progressive_image_sizes must end with", "(8)", "got 6"],
    ),
    (["--stderrthreshold=bogus"], ["stderrthreshold", "bogus"]),
    (["--verbosity=x"], ["verbosity", "'x'"]),
    (["--nonesterov=1"], ["nesterov"]),
    (["--workdir=/dev/null"], ["workdir must be a folder"]),
    ([f"--workdir=/{'x' * 300}"], ["workdir must be the name of a folder"]),
    (["--workdir=/tmp/\udcff"], ["workdir must be a folder's name in UTF-8"]),
    (["--mode=convert", "--output_dir=/dev/null"], ["output_dir must be"]),
  ],
)
def test_a_bad_input_is_one_line_and_status_2(arguments, words, tmp_path):
  if arguments:
    arguments = ["--dataset=digits", f"--workdir={tmp_path / 'w'}", *arguments]
  done = fresh_command(*arguments)
  assert done.returncode == 2, done.stderr
  assert done.stdout == ""
  assert len(done.stderr.splitlines()) == 1, done.stderr
  (line,) = own_lines(done.stderr)
  for word in words:
    assert word in line
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
  "arguments",
  [
    ("--mode=eval", "--workdir={0}"),
    ("--dataset=digits", "--workdir={0}/new", "--teacher={0}"),
  ],
)
def test_the_run_of_a_librarys_user_is_named(arguments, tmp_path):
  run_card.write(tmp_path, {"settings": {}, "final": {}, "finished": False})
  done = command(*(argument.format(tmp_path) for argument in arguments))
  assert done.returncode == 2, done.stderr
  (line,) = own_lines(done.stderr)
  assert "a run of this command" in line
  assert f"'{tmp_path}'" in line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  pytest.importorskip("sklearn")
  return pictures.write_photographs(tmp_path_factory.mktemp("folder"))


FILES = (*FEW_STEPS, "--image_size=16", "--flip")


def test_a_folder_a_table_and_records_of_the_same_files_train_alike(
  folder, tmp_path, capsys
):
  records, table = tmp_path / "records", tmp_path / "labels.csv"
  converted = flags.parse(
    "--mode=convert",
    "--dataset=image_folder",
    f"--data_dir={folder}",
    f"--output_dir={records}",
  )
  assert convert.run(converted) == 0
  told = capsys.readouterr().out
  assert told == f"{records} is written: 32 train, 16 validation\n"
  rows = ["path,label,split"]
  for path in sorted(folder.rglob("*.jpg")):
    part = "train" if "train" in path.parts else "validation"
    rows.append(f"{path.relative_to(folder)},{path.parent.name},{part}")
  table.write_text("\n".join(rows))
  found = []
  for arguments in (
    ("--dataset=image_folder", f"--data_dir={folder}"),
    ("--dataset=csv", f"--data_dir={folder}", f"--labels={table}"),
    ("--dataset=tfrecord", f"--data_dir={records}"),
  ):
    values = flags.parse(
      *FILES, "--epochs=2", *arguments, f"--workdir={tmp_path / 'run'}"
    )
    planned = compose.plan_of_run(values, {}, with_weights=True)
    inputs, steps = planned.inputs, planned.config.loop.total_steps
    trained_on = inputs.train_dataset()(0).take(steps)
    batches = [*trained_on, *inputs.eval_dataset()]
    found.append([tf.nest.map_structure(np.array, each) for each in batches])
  for others in found[1:]:
    tf.nest.map_structure(np.testing.assert_array_equal, found[0], others)
  assert [len(each["label"]) for each in found[0]] == [32, 32, 16]


def test_check_data_reports_and_draws(folder, tmp_path):
  arguments = (
    "--mode=check_data",
    "--dataset=image_folder",
    f"--data_dir={folder}",
    "--image_size=16",
    f"--workdir={tmp_path}",
  )
  done = command(*arguments)
  assert done.returncode == 0, done.stderr
  assert "train: 32 images, 0 bad" in done.stdout
  assert {"check_data.json", "check_data.png"} == set(os.listdir(tmp_path))


def test_a_bad_image_is_status_2_or_skipped(folder, tmp_path):
  root = shutil.copytree(folder, tmp_path / "data")
  bad = sorted(root.glob("train/flower/*"))[4]
  bad.write_bytes(bad.read_bytes()[:200])
  workdir = tmp_path / "run"
  arguments = (
    *FILES,
    SHORTEST,
    "--epochs=2",
    "--dataset=image_folder",
    f"--data_dir={root}",
    f"--workdir={workdir}",
    "--cache=none",
  )
  done = command("--mode=check_data", *arguments)
  assert done.returncode == 2
  assert f"1 images cannot be decoded, the first is {bad}" in done.stderr
  arguments = (*arguments, "--mode=train")
  done = command(*arguments)
  assert done.returncode == 2, done.stderr
  (line,) = own_lines(done.stderr)
  assert f"image {bad} (class flower) cannot be decoded (" in line
  assert "Traceback" not in done.stderr
  done = command(*arguments, "--on_bad_image=skip")
  assert done.returncode == 0, done.stderr
  assert str(bad) in (workdir / "bad_images.txt").read_text()


def test_help_lists_the_flags_and_imports_no_tensorflow():
  done = fresh_command("--help", TF_CPP_MIN_LOG_LEVEL="0")
  assert "--base_learning_rate" in done.stdout
  assert "--progressive_image_sizes" in done.stdout
  assert done.stderr == ""


def test_a_program_calls_a_mode_twice_in_one_process(training, tmp_path):
  losses = []
  for rate in (0.1, 0.3):
    workdir = tmp_path / str(rate)
    values = flags.parse(
      *training, f"--base_learning_rate={rate}", f"--workdir={workdir}"
    )
    assert train.run(values) == 0
    losses.append(metrics_file.last_records(workdir)["loss"])
  assert losses[0] != losses[1]
  # Called from Python a bad value is an error, and no exit.
  with pytest.raises(ConfigError, match="workdir must be given"):
    train.run(flags.parse(*training))


def test_workdir_alone_goes_on_with_the_runs_own_flags(
  finished, regularized, tmp_path
):
  workdir, _ = finished
  done = command(f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert "was finished before" in done.stdout
  # As if it had been stopped before its first checkpoint.
  shutil.copy(workdir / "run_card.json", tmp_path)
  card = unfinish(tmp_path)
  done = command(f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  again = json.loads((tmp_path / "run_card.json").read_text())
  assert again["flags"] == {**card["flags"], "workdir": str(tmp_path)}
  assert again["final"]["loss"] == card["final"]["loss"]
  done = command(f"--workdir={workdir}", "--epochs=3", "--seed=4")
  assert done.returncode == 2
  (line,) = own_lines(done.stderr)
  assert "epochs=1.0, not 3.0" in line and "seed=0, not 4" in line


@pytest.mark.parametrize("kind", ["junk", "zip", "lambda"])
def test_a_teacher_that_cannot_be_loaded_is_one_line(kind, small, tmp_path):
  path = tmp_path / "teacher.keras"
  if kind == "junk":
    path.write_bytes(b"junk")
  elif kind == "zip":
    with zipfile.ZipFile(path, "w") as file:
      file.writestr("readme.txt", "no model")
  else:
    layers = [tf.keras.Input([8, 8, 1]), tf.keras.layers.Lambda(lambda x: x)]
    tf.keras.Sequential(layers).save(path)
  done = command(*small, f"--workdir={tmp_path / 'run'}", f"--teacher={path}")
  assert done.returncode == 2, done.stderr
  (line,) = own_lines(done.stderr)
  assert "teacher must be a .keras file" in line and str(path) in line
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def labelled(folder, tmp_path_factory):
  """The workdir of a run on a table, the table, and flags of the run."""
  root = tmp_path_factory.mktemp("labelled")
  table = root / "labels.csv"
  paths = sorted(folder.rglob("*.jpg"))
  rows = [f"{p.relative_to(folder)},{p.parent.name}" for p in paths]
  table.write_text("\n".join(["path,label", *rows]))
  arguments = (
    *FEW_STEPS,
    SHORTEST,
    "--mode=train",
    "--dataset=csv",
    f"--data_dir={folder}",
    "--validation_fraction=0.25",
    "--image_size=16",
  )
  workdir = root / "run"
  done = command(*arguments, f"--workdir={workdir}", f"--labels={table}")
  assert done.returncode == 0, done.stderr
  return workdir, table, arguments


def cut_a_row(table):
  table.write_text("\n".join(table.read_text().split("\n")[:-1]))


def change_weights(teacher):
  (index,) = (teacher / "checkpoints").glob("ckpt-*.index")
  prefix = str(index.with_suffix(""))
  reader = tf.train.load_checkpoint(prefix)
  held = {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map()}
  name = next(n for n, value in held.items() if np.ndim(value) == 4)
  held[name] = 2 * held[name]
  tf.raw_ops.SaveV2(
    prefix=prefix,
    tensor_names=[*held],
    shape_and_slices=[""] * len(held),
    tensors=[*held.values()],
  )
  checkpoint_files.write_checksums(
    index.with_suffix(""),
    [index, *index.parent.glob("ckpt-*.data-*")],
    run_key=run_card.read(teacher)["run_key"],
  )


@pytest.mark.parametrize(
  ("flag", "change", "said"),
  [
    ("teacher", change_weights, "teacher_sha256"),
    ("labels", cut_a_row, "train_sha256"),
  ],
)
def test_a_teacher_and_a_table_may_move(
  flag, change, said, request, tmp_path, monkeypatch
):
  if flag == "teacher":
    workdir, moved = request.getfixturevalue("taught")
    arguments = request.getfixturevalue("training")
  else:
    workdir, moved, arguments = request.getfixturevalue("labelled")
  unfinish(workdir)
  elsewhere = moved.rename(tmp_path / f"moved_{moved.name}")
  values = flags.parse(
    *arguments, f"--workdir={workdir}", f"--{flag}={elsewhere}"
  )
  # All that may refuse it comes before.
  monkeypatch.setattr(train, "train", lambda *args, **keys: 0)
  assert train.run(values) == 0
  # Another one, though of the same name, is refused.
  change(elsewhere)
  with pytest.raises(ConfigError, match=said):
    train.run(values)


def test_other_flags_in_the_same_workdir_are_status_2(finished, regularized):
  workdir, _ = finished
  done = command(*regularized, f"--workdir={workdir}", "--label_smoothing=0.2")
  assert done.returncode == 2
  (line,) = own_lines(done.stderr)
  assert "label_smoothing=0.1, not 0.2" in line


def test_a_run_does_not_go_on_with_other_data(finished, tmp_path, regularized):
  card = json.loads((finished[0] / "run_card.json").read_text())
  card["finished"] = False
  card["data"]["train_sha256"] = "0" * 64
  (tmp_path / "run_card.json").write_text(json.dumps(card))
  done = command(*regularized, f"--workdir={tmp_path}")
  assert done.returncode == 2, done.stderr
  (line,) = own_lines(done.stderr)
  assert "train_sha256='000" in line
  assert [p.name for p in tmp_path.iterdir()] == ["run_card.json"]


def test_a_second_run_in_a_workdir_is_status_2(tmp_path, small):
  with lock.held(tmp_path):
    (text,) = (path.read_text() for path in tmp_path.iterdir())
    done = command(*small, f"--workdir={tmp_path}")
    assert done.returncode == 2
    (line,) = own_lines(done.stderr)
    assert f"workdir {tmp_path} is in use by process {os.getpid()} on " in line
    assert [path.read_text() for path in tmp_path.iterdir()] == [text]


def test_several_hosts_lock_the_workdir_once_they_have_met(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(train, "_plan_and_train", lambda values: 0)
  values = flags.parse(f"--workdir={tmp_path}")
  cluster = {"worker": ["a:1", "b:1"]}
  with lock.held(tmp_path):
    with pytest.raises(ConfigError, match="is in use by process"):
      train.run(values)
    # The loop refuses all of them: tests/distribution_test.py.
    for index in (0, 1):
      task = {"type": "worker", "index": index}
      text = json.dumps({"cluster": cluster, "task": task})
      monkeypatch.setenv("TF_CONFIG", text)
      assert train.run(values) == 0


def test_a_workdir_that_is_a_file_is_status_2(tmp_path, small):
  file = tmp_path / "file"
  file.write_text("")
  done = command(*small, f"--workdir={file}")
  assert done.returncode == 2
  (line,) = own_lines(done.stderr)
  assert str(file) in line
  assert "Traceback" not in done.stderr


def test_what_auto_took_is_told_and_a_continued_run_keeps_it(
  tmp_path, training
):
  workdir = tmp_path / "run"
  arguments = [
    *training,
    "--precision=auto",
    "--onednn=false",
    f"--workdir={workdir}",
  ]
  cache = {"XDG_CACHE_HOME": str(tmp_path)}
  done = fresh_command(*arguments, **cache)
  assert done.returncode == 0, done.stderr
  path = workdir / "run_card.json"
  card = json.loads(path.read_text())
  rows = card["preflight"]
  assert (rows[0]["precision"], rows[0]["failure"]) == ("float32", "")
  names = [field.name for field in dataclasses.fields(trials.Choice)]
  assert card["choice"] in [{name: row[name] for name in names} for row in rows]
  (line,) = [line for line in done.stderr.splitlines() if "taken" in line]
  assert card["choice"]["precision"] in line

  # As if it had been stopped at its first step, and taken the other value.
  choice = {**card["choice"], "onednn": not card["choice"]["onednn"]}
  shutil.rmtree(workdir / "checkpoints")
  path.write_text(json.dumps({**card, "choice": choice, "finished": False}))
  done = fresh_command(*arguments, **cache)
  assert done.returncode == 0, done.stderr
  assert "auto:" not in done.stderr
  card = json.loads(path.read_text())
  assert card["device"]["onednn"] == str(int(choice["onednn"]))
  assert (card["choice"], card["preflight"]) == (choice, rows)

  # At most two lines come before ours.
  lines = done.stderr.splitlines()
  ours = [i for i, line in enumerate(lines) if line.startswith("computing in")]
  assert ours and ours[0] <= 2, done.stderr
  assert not [line for line in lines if ".py:" in line or "E0000" in line]


def test_a_diverging_run_is_status_3(tmp_path, training):
  done = command(
    *training, f"--workdir={tmp_path}", "--base_learning_rate=1e30"
  )
  assert done.returncode == 3, done.stderr
  (line,) = own_lines(done.stderr)
  assert "diverged" in line
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("signums", "status"),
  [
    ([signal.SIGTERM], 143),
    ([signal.SIGINT], 130),
    ([signal.SIGINT, signal.SIGTERM], 130),
    ([signal.SIGTERM, signal.SIGTERM], 143),
  ],
  ids=str,
)
def test_a_signal_saves_and_the_same_command_goes_on(
  signums, status, tmp_path, training
):
  arguments = [*training, f"--workdir={tmp_path}", "--epochs=20"]
  process = forked.Running("train_loop.main", *arguments, read_stderr=True)
  with process.stderr as lines:
    for line in lines:  # Until the loop runs.
      if "step 2/" in line:
        for signum in signums:
          process.send_signal(signum)
        break
    rest = lines.read()
  assert process.wait() == status, rest
  (line,) = own_lines(rest)
  assert "and saved" in line
  assert "Traceback" not in rest
  step = max(r["step"] for r in metrics_file.read_metrics(tmp_path))
  if signums != [signal.SIGTERM]:  # All save in the same place.
    return
  done = command(*arguments)
  assert done.returncode == 0, done.stderr
  assert "goes on from step" in done.stderr
  steps = [
    r["step"] for r in metrics_file.read_metrics(tmp_path) if "loss" in r
  ]
  assert steps == sorted(set(steps))
  assert steps[-1] > step


SIGNAL_AT_IMPORT = """
import os, sys
class Finder:
  def find_spec(self, name, *_):
    if name == "{module}":
      sys.meta_path.remove(self)
      os.kill(os.getpid(), {signum})
sys.meta_path.insert(0, Finder())
from train_loop import main
main.run()
"""


# One handler answers both, so most places see one of them.
@pytest.mark.parametrize(
  ("module", "signum"),
  [
    ("train_loop.command.entry", signal.SIGTERM),
    ("absl.flags", signal.SIGINT),
    ("numpy", signal.SIGTERM),
    ("data.sources.npz", signal.SIGINT),
    ("tensorflow", signal.SIGTERM),
    ("tensorflow", signal.SIGINT),
    ("keras", signal.SIGINT),
  ],
)
def test_a_signal_before_the_loop_runs_is_one_line(
  module, signum, tmp_path, small
):
  code = SIGNAL_AT_IMPORT.format(module=module, signum=int(signum))
  done = subprocess.run(
    [sys.executable, "-c", code, *small, f"--workdir={tmp_path / 'run'}"],
    cwd=ROOT,
    env=environment_of_a_user(),
    capture_output=True,
    text=True,
    preexec_fn=answer_ctrl_c,
  )
  assert done.returncode == 128 + signum, done.stderr
  name = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
  assert own_lines(done.stderr) == [f"train_loop: stopped by {name}"]
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("seconds", "signum"),
  [
    (0.02, signal.SIGINT),
    (0.5, signal.SIGTERM),
    (4.0, signal.SIGINT),
  ],
)
def test_a_signal_while_auto_measures_is_one_line(
  seconds, signum, tmp_path, small
):
  arguments = [*small, "--precision=auto", f"--workdir={tmp_path / 'run'}"]
  process = subprocess.Popen(
    [sys.executable, "-m", "train_loop.main", *arguments],
    cwd=ROOT,
    env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
    start_new_session=True,
    preexec_fn=answer_ctrl_c,
  )
  for line in process.stderr:
    if "auto: " in line:
      time.sleep(seconds)  # Into the start of the process that measures.
      if signum == signal.SIGINT:
        os.killpg(process.pid, signum)  # As a terminal does.
      else:
        process.send_signal(signum)
      break
  rest = process.stderr.read()
  assert process.wait() == 128 + signum, rest
  name = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
  assert own_lines(rest) == [f"train_loop: stopped by {name}"]
  assert "Traceback" not in rest


def test_another_data_on_the_path_is_named_and_a_library_does_not_care(
  tmp_path,
):
  (tmp_path / "data.py").write_text("raise RuntimeError('the intruder ran')")
  code = "import tricks, train_loop; train_loop.train_and_evaluate"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  (tmp_path / "data.py").write_text("")
  done = fresh_command("--help", cwd=tmp_path)
  assert done.returncode == 2
  (line,) = own_lines(done.stderr)
  assert f"the name 'data' belongs to {tmp_path}" in line
