# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loop: trains, logs, evaluates, saves, and goes on after a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NoReturn

import numpy as np
import tensorflow as tf
from absl import logging

import tricks
from train_loop import (
  audit,
  averaged_statistics,
  bottleneck,
  budget,
  ceiling,
  compatibility,
  distribution,
  evaluation,
  first_batch,
  machine,
  nonfinite,
  profiling,
  watching,
)
from train_loop import batches as batches_lib
from train_loop import config as config_lib
from train_loop import run_steps as run_steps_lib
from train_loop.config import ConfigError
from train_loop.failures import OutOfMemory, Stopped, input_failures
from train_loop.scalars import scalar
from train_loop.schedule import make_schedule
from train_loop.state import TrainState
from train_loop.workdir import (
  branches,
  changes,
  checkpoint_files,
  checkpoints,
  hparams,
  lock,
  metrics_file,
  run_card,
  tensorboard,
)
from train_loop.workdir import reporter as reporter_lib

# The seconds that a call of run_steps takes, about, if steps_per_loop is 0.
CALL_SECONDS = 1.0


@distribution.noticing_lost_hosts()
def train_and_evaluate(
  model: tf.keras.Model,
  train_dataset: batches_lib.TrainData,
  eval_dataset: batches_lib.EvalData | None,
  config: config_lib.TrainConfig,
  workdir: str | os.PathLike[str],
  *,
  teacher: tf.keras.Model | None = None,
  card: dict[str, Any] | None = None,
  should_stop: Callable[[], bool] = lambda: False,
  locked: bool = False,
  facts: bottleneck.Facts = bottleneck.NO_FACTS,
  allow_changes: bool = False,
  init_from: str = "",
) -> dict[str, Any]:
  """Trains `model` to the end of the run, or goes on from its checkpoint.

  When this returns, the model holds the weights of the last step, also if the
  run in `workdir` was finished before. If the run averages its weights, the
  averages are in the checkpoint; `evaluate` gives them to a model.

  To train on several replicas, build the model and call this under the
  strategy's scope. On several hosts each makes the same call, and workdir is
  one folder that all of them see; the first one writes it.

  Args:
    model: any functional Keras model from images, float32 as the dataset holds
      them, to logits [batch, num_classes].
    train_dataset: batches `{"image": [B, H, W, C], "label": [B]}` of one epoch,
      or pairs of these as Keras takes them, which is repeated, and skipped to
      its place when the run goes on; or a function from a step to the endless
      dataset from that step on, which skips nothing: if there are several
      hosts, to this one's shares of the batches. Labels are integers in
      [0, num_classes), [B] or [B, 1], or one-hot rows.
    eval_dataset: batches of one epoch, of which each example is evaluated; or a
      function that returns those that this host evaluates; None trains without
      evaluation.
    config: the hyperparameters.
    workdir: the run's folder; made if it is missing.
    teacher: a model from images to logits, for distillation.
    card: fields of `run_card.json` besides those of the loop; the names of the
      classes under `data.class_names` are shown in TensorBoard. What the caller
      changed besides settings may be under `changed`, by name what was and is.
    should_stop: asked between calls of run_steps; if it returns True, the state
      is saved and Stopped is raised.
    locked: whether the caller has the lock of workdir, `workdir.lock.held`.
    facts: what may be changed if the input holds the run up.
    allow_changes: go on with other settings than the run in workdir has, as far
      as `workdir.changes` knows that it can; the card says which at what step.
    init_from: a new run goes on from a checkpoint of the run in this folder, or
      in folder@step, with its step and its order of the data; the card names
      it under `parent`. With a checkpoint of its own a run has no use of it.

  Returns:
    The last record of training and of evaluation, merged. If the run in
    `workdir` is finished already, its result; nothing is written.

  Raises:
    ConfigError: workdir holds a run with other settings, is in use by another
      run, or cannot be written; or model, data and config do not fit each
      other.
    Diverged: a gradient is not finite, and on_nonfinite leaves no other way.
    InputFailed: the dataset raised an error.
    OutOfMemory: a step or an evaluation needs more memory than there is.
    HostLost: another host stopped answering.
    Stopped: should_stop returned True, on this host or another one.
  """
  compatibility.require(
    model,
    config,
    train_dataset=train_dataset,
    eval_dataset=eval_dataset,
    teacher=teacher,
  )
  budget.require_evaluations(config, eval_dataset is not None)
  settings = run_card.comparable_settings(config)
  saved, changed = _saved_card(workdir, settings, allow_changes)
  if changes.is_over(saved, changed):
    logging.info("the run in %s is finished: nothing to do", workdir)
    checkpoints.restore_model(model, workdir, averaged=False)
    return saved["final"]

  hosts = distribution.Hosts()
  with contextlib.nullcontext() if locked else _locked(workdir, hosts):
    return _restore_and_run(
      model,
      train_dataset,
      eval_dataset,
      config,
      workdir,
      hosts=hosts,
      settings=settings,
      teacher=teacher,
      card=card,
      should_stop=should_stop,
      facts=facts,
      allow_changes=allow_changes,
      init_from=init_from,
    )


@contextlib.contextmanager
def _locked(
  workdir: str | os.PathLike[str], hosts: distribution.Hosts
) -> Iterator[None]:
  """Keeps other runs out of workdir; if that is refused, all hosts end."""
  with contextlib.ExitStack() as stack:
    refusal = None
    if hosts.is_chief:
      try:
        stack.enter_context(lock.held(workdir))
      except ConfigError as error:
        refusal = error
    if hosts.any(refusal is not None):
      raise refusal or ConfigError(
        f"workdir {os.fspath(workdir)} was refused to the first host, whose "
        "log says why: mend that, and give the same command again on all hosts"
      )
    yield


def _saved_card(
  workdir: str | os.PathLike[str],
  settings: dict[str, Any],
  allow_changes: bool,
) -> tuple[dict[str, Any], list[changes.Change]]:
  """Returns the card in workdir, empty if there is none; or refuses it.

  Also returns the settings that are others now, which are allowed.
  """
  saved = run_card.read(workdir) or {}
  if not saved:
    return {}, []
  then = {**run_card.default_settings(), **saved["settings"]}
  changed = changes.find(then, settings)
  changes.require(workdir, changed, allow=allow_changes)
  return saved, changed


def _restore_and_run(
  model: tf.keras.Model,
  train_dataset: batches_lib.TrainData,
  eval_dataset: batches_lib.EvalData | None,
  config: config_lib.TrainConfig,
  workdir: str | os.PathLike[str],
  *,
  hosts: distribution.Hosts,
  settings: dict[str, Any],
  teacher: tf.keras.Model | None,
  card: dict[str, Any] | None,
  should_stop: Callable[[], bool],
  facts: bottleneck.Facts,
  allow_changes: bool,
  init_from: str,
) -> dict[str, Any]:
  """Does what `train_and_evaluate` does, once workdir is this process'."""
  # Before the lock it may have changed.
  saved, changed = _saved_card(workdir, settings, allow_changes)
  state = TrainState(model, config)
  saver = checkpoints.Checkpoints(
    state,
    workdir,
    keep=config.loop.keep_checkpoints,
    writes=hosts.is_chief,
    run_key=saved.get("run_key", "") if saved else None,
  )
  if saver.restore_latest():
    logging.info("%s goes on from step %d", workdir, int(state.step.numpy()))
    init_from = ""
  elif init_from:
    origin = _branch_off(state, saver, config, init_from)
    saved = {**saved, "parent": origin.for_card()}
  start_step = int(state.step.numpy())
  _require_same_step(hosts, start_step, workdir)
  _log_undecayed(model, config.optimizer)

  @functools.lru_cache(maxsize=1)  # The picture and the first step share one.
  def batches_at(place: int) -> tf.data.Dataset:
    return batches_lib.train_batches(
      train_dataset, config, place, state.num_classes, hosts.part
    )

  def batches_from(step: int) -> tf.data.Dataset:
    return batches_at(step + int(state.lost.order_offset.numpy()))

  card = {**saved, **(card or {}), "settings": settings, **machine.describe()}
  changes.note(card, changed, step=start_step)
  card["run_key"] = saver.run_key
  card["parameter_count"] = int(model.count_params())
  picture = None
  if (start_step == 0 or init_from) and hosts.is_chief:
    names = run_card.class_names(card)
    picture = _picture(state, batches_from(start_step), config, names)
  evaluate, eval_batches = None, 0
  if eval_dataset is not None:
    evaluate = evaluation.with_averages(
      state, evaluation.make_evaluate(model, eval_dataset, config)
    )
    if config.loop.max_minutes:
      eval_batches = evaluation.count_batches(
        eval_dataset, config, state.num_classes
      )
  begun_at = card.get("parent", {}).get("step", 0)
  evaluation_is_left = bool(evaluate and start_step > begun_at) and not any(
    record["step"] == start_step and "eval_top1" in record
    for record in metrics_file.read_metrics(workdir)
  )
  # The others may see an older file.
  evaluation_is_left = bool(hosts.of_chief(evaluation_is_left))
  # Nothing was written so far: whatever failed, workdir takes another try.
  if hosts.is_chief:
    run_card.write(workdir, {**card, "final": {}, "finished": False})
  if init_from:
    saver.save()  # From here on the parent may go.
  with contextlib.closing(
    reporter_lib.Reporter(
      workdir, start_step=start_step, total_steps=config.loop.total_steps
    )
    if hosts.is_chief
    else reporter_lib.Bystander()
  ) as reporter:
    watcher = watching.Watcher(state) if hosts.is_chief else None
    if watcher and picture is not None:
      reporter.image("augmented", picture, step=start_step)
      reporter.audit(audit.rows(state))
      reporter.layers(watcher.first(), step=start_step)
    reporter.text("run", run_card.as_markdown(card), step=start_step)
    run = Run(
      state=state,
      config=config,
      hosts=hosts,
      teacher=teacher,
      evaluate=evaluate,
      eval_batches=eval_batches,
      batches_from=batches_from,
      saver=saver,
      guard=nonfinite.Guard(state, config, saver, workdir),
      reporter=reporter,
      renew_statistics=averaged_statistics.Renewal(
        state, config, lambda: batches_from(0)
      ),
      should_stop=should_stop,
      watch=bottleneck.Stopwatch(
        global_batch_size=config.loop.global_batch_size,
        facts=bottleneck.with_settings(facts, config),
      ),
      watcher=watcher,
      profile=profiling.Profile(
        config.loop.profile_steps,
        os.path.join(workdir, tensorboard.TRAIN_FOLDER),
        writes=hosts.is_chief,
      ),
    )
    with (
      contextlib.closing(run.profile),
      _leaving_workdir_free(workdir, saver),
    ):
      length = run.finish(evaluation_is_left=evaluation_is_left)
    card |= length.for_card()  # With a budget all hosts read the first's clock.
    if hosts.is_chief:
      card["time"] = run.watch.for_card()
      reporter.text("run", run_card.as_markdown(card), step=length.total_steps)
      logging.info("%s", card["time"]["sentence"])
  if hosts.is_chief:
    hparams.write_run(workdir, run_card.hyperparameters(card))
    final = {**metrics_file.last_records(workdir), **length.ending()}
    run_card.write(workdir, {**card, "final": final, "finished": True})
  hosts.wait()
  return {**metrics_file.last_records(workdir), **length.ending()}


def _branch_off(
  state: TrainState,
  saver: checkpoints.Checkpoints,
  config: config_lib.TrainConfig,
  init_from: str,
) -> branches.Origin:
  """Gives a new run the state of another's checkpoint; returns which.

  Raises:
    ConfigError: there is no such checkpoint, or the settings do not fit it.
  """
  origin = branches.find(init_from)
  then = {**run_card.default_settings(), **origin.card["settings"]}
  now = run_card.comparable_settings(config)
  branches.require(origin, changes.find(then, now, effects=branches.EFFECTS))
  branches.require_steps_left(origin, config.loop.total_steps)
  new = saver.restore_parent(origin.path)
  state.branch_off(new_averages="averages" in new)
  before, after = (
    float(make_schedule(each)(origin.step))
    for each in (config_lib.TrainConfig.of(**{k: then[k] for k in now}), config)
  )
  (logging.warning if after > 1.01 * before else logging.info)(
    "branches off %s, at a learning rate of %.4g; its parent's was %.4g",
    origin.name,
    after,
    before,
  )
  return origin


@contextlib.contextmanager
def _leaving_workdir_free(
  workdir: str | os.PathLike[str], saver: checkpoints.Checkpoints
) -> Iterator[None]:
  """Lets the run start with other settings if memory is too small for it."""
  try:
    yield
  except OutOfMemory as error:
    if saver.saved_step > 0:
      raise OutOfMemory(
        f"{error}, in another workdir; with more memory the same command goes "
        f"on from step {saver.saved_step}"
      ) from error
    if saver.writes:
      shutil.rmtree(
        os.path.join(workdir, checkpoint_files.DIRECTORY), ignore_errors=True
      )
      run_card.remove(workdir)
    raise


def _require_same_step(
  hosts: distribution.Hosts, step: int, workdir: str | os.PathLike[str]
) -> None:
  """Raises, on all hosts, unless all have restored the same step."""
  chiefs = int(hosts.of_chief(step))
  if hosts.any(step != chiefs):
    raise ConfigError(
      "workdir must be one folder that all hosts see, got "
      f"{os.fspath(workdir)!r}, in which this host found step {step} and the "
      f"first one {chiefs}"
    )


@dataclasses.dataclass
class Run:
  """A run between its start and its end.

  Attributes:
    state: what training changes.
    config: the hyperparameters.
    hosts: those that train together.
    teacher: for distillation, or None.
    evaluate: as `evaluation.make_evaluate` returns it, or None.
    eval_batches: the number of batches of an evaluation; below 0 if it is not
      known.
    batches_from: from a step to the batches of this host after it.
    saver: the checkpoints.
    guard: what is done about numbers that are not finite.
    reporter: where the records go.
    should_stop: asked between calls of run_steps, and batches of an evaluation.
    watch: adds up what the time goes into.
    watcher: measures the layers at logged steps; None on hosts that write
      nothing.
    profile: traces some steps.
    renew_statistics: gives averaged weights statistics of their own at a step.
  """

  state: TrainState
  config: config_lib.TrainConfig
  hosts: distribution.Hosts
  teacher: tf.keras.Model | None
  evaluate: Callable[..., dict[str, float]] | None
  eval_batches: int
  batches_from: Callable[[int], tf.data.Dataset]
  saver: checkpoints.Checkpoints
  guard: nonfinite.Guard
  reporter: reporter_lib.Reporter
  should_stop: Callable[[], bool]
  watch: bottleneck.Stopwatch
  watcher: watching.Watcher | None
  profile: profiling.Profile
  renew_statistics: Callable[[int], None] = lambda step: None

  def __post_init__(self) -> None:
    self.loop = self.config.loop
    self.pace = Pace(self.loop, self.hosts)
    self.length = budget.make_length(
      self.config,
      self.state,
      lambda: self.hosts.of_chief(time.perf_counter()),
    )
    # A trace for each size of the images.
    self.run_steps: dict[int | None, run_steps_lib.RunSteps] = {}

  def finish(self, *, evaluation_is_left: bool) -> budget.PlannedLength:
    """Trains from the state's step to the last; logs, evaluates, saves.

    The checkpoint of a step is saved last, so that a run that goes on repeats
    no report made up to its checkpoint, and makes each report after it. An
    evaluation that was asked to stop is left to the run that goes on.

    Args:
      evaluation_is_left: whether that of the state's step was asked to stop.

    Returns:
      How long the run was.

    Raises:
      Stopped: should_stop returned True; the state is saved.
      Diverged: a gradient is not finite, and no remedy is left.
    """
    step = self._step()
    if evaluation_is_left and self._is_due(step, self.loop.eval_every_steps):
      self._evaluate(step)
      self.length.is_out_of_patience(step)
    self.profile.start(step)
    self._take_batches(step)
    while step < self.length.total_steps:
      before = step
      first_call = not self.run_steps
      traced = self._call(step)
      step = self._step()
      if self.guard.went_back(self.length):
        step = self._step()
        _require_same_step(self.hosts, step, self.saver.workdir)
        self._take_batches(step)
        self.length.go_back(step)
        self.reporter.go_back(step)
        continue
      self.profile.after(step)
      self.length.called(step, step - before, traced=traced)
      if first_call:
        self.length.look(self.evaluate, self.eval_batches, self.saver.save)
      self._report(step)
      if step < self.length.total_steps and self.hosts.any(self.should_stop()):
        self._stop(step)
    return self.length

  def _step(self) -> int:
    return int(self.state.step.numpy())

  def _take_batches(self, step: int) -> None:
    # Kept to the end of the run's life: on several devices closing it waits for
    # TensorFlow's autotune thread, up to a minute, and results come first.
    self._batches = self.batches_from(step)
    self._iterator = iter(distribution.distributed(self._batches))

  def _call(self, step: int) -> bool:
    """Takes some steps; returns whether the step was traced for them."""
    count = self.pace.steps(self._next_stop(step) - step)
    size = self.length.image_size_at(step)
    traced = size not in self.run_steps
    if traced:
      self.run_steps[size] = run_steps_lib.make_run_steps(
        self.state,
        self.config,
        schedule=self.length.schedule,
        teacher=self.teacher,
        image_size=size,
      )
    first = step + self.guard.order_offset
    steps = range(first, first + count)
    with (
      self._watched(step, count),
      self.profile.traced(step),
      self.pace.timed(count),
      input_failures(steps, self.config),
    ):
      waited = self.run_steps[size](self._iterator, tf.constant(scalar(count)))
      self._step()  # Waits for the device.
    self.watch.called(
      count,
      self.pace.last_seconds,
      waited=float(waited.numpy()),
      traced=traced,
      image_size=size,
    )
    return traced

  @contextlib.contextmanager
  def _watched(self, step: int, count: int) -> Iterator[None]:
    """Measures the layers in a call of one step that is to be logged."""
    self._figures = None
    logged = count == 1 and self._is_due(step + 1, self.loop.log_every_steps)
    if not (self.watcher and logged and self.watcher.is_cheap()):
      yield
      return
    with self.watch.spent_on("summaries"):
      self.watcher.begin()
    yield
    with self.watch.spent_on("summaries"):
      self._figures = self.watcher.end()

  def _report(self, step: int) -> None:
    """Logs, evaluates and saves, if that is due after a step."""
    self.reporter.progress(step, self.length.total_steps)
    logged = self._is_due(step, self.loop.log_every_steps)
    if logged:
      self._log(step)
    evaluates = self.evaluate and self._is_due(step, self.loop.eval_every_steps)
    if evaluates or self._is_due(step, self.loop.save_every_steps):
      with self.watch.spent_on("evaluation"):
        self.renew_statistics(step)
    if evaluates:
      self._evaluate(step)
      if self.length.is_out_of_patience(step) and not logged:
        self._log(step)
    if self._is_due(step, self.loop.save_every_steps):
      self._save()

  def _log(self, step: int) -> None:
    """Reports the means over the steps since the last report."""
    with self.watch.spent_on("summaries"):
      self.reporter.train(
        {
          **self._place(step),
          **_read_window(self.state),
          **self.pace.read(),
          **self.watch.input_share(),
        }
      )
      if self._figures:
        self.reporter.layers(self._figures, step=step)
    self._measure_ceiling(step)
    news = self.watch.news()
    if news:
      logging.info("%s", news)

  def _measure_ceiling(self, step: int) -> None:
    """Times some steps on a constant batch, once it costs next to nothing."""
    size = self.length.image_size_at(step - 1)
    run_steps = self.run_steps.get(size)
    alone = self.hosts.part.count == 1 and not self.loop.max_minutes
    steps = ceiling.steps_worth_it(self.watch, self.state, size) if alone else 0
    if run_steps and steps:
      self.watch.ceilings[size] = ceiling.step_seconds(
        self.state, run_steps, self._batches.element_spec, steps
      )

  def _evaluate(self, step: int) -> None:
    """Evaluates, reports, and saves the state if it is the best so far."""
    assert self.evaluate is not None
    start = time.perf_counter()
    try:
      with (
        self.watch.spent_on("evaluation"),
        self.length.evaluating(),
        input_failures(range(0), self.config),
      ):
        results = self.evaluate(-1, self.should_stop)
    except evaluation.EvaluationStopped:
      self._stop(step)
    seconds = round(time.perf_counter() - start, 3)
    with self.watch.spent_on("summaries"):
      self.reporter.evaluation(
        {**self._place(step), **results, "eval_seconds": seconds}
      )
    best, result = self.state.best, results[self.config.loss.judged_by]
    # In float32, as it is kept: an equal result is no better.
    better = bool(np.float32(result) > best.numpy())
    budget.note_evaluation(self.state, better=better)
    if better:
      best.assign(scalar(result))
      with self.watch.spent_on("checkpoints"), self.length.saving():
        self.saver.save_best()

  def _save(self) -> None:
    with self.watch.spent_on("checkpoints"), self.length.saving():
      self.saver.save()

  def _stop(self, step: int) -> NoReturn:
    self._save()
    raise Stopped(
      f"stopped at step {step} of {self.length.total_steps}, and saved"
    )

  def _place(self, step: int) -> dict[str, Any]:
    """Returns the fields of each record that say which step it is of."""
    epoch = step * self.loop.global_batch_size / self.loop.examples_per_epoch
    return {"step": step, "epoch": round(epoch, 4)}

  def _is_due(self, step: int, every: int) -> bool:
    """Returns whether what is done each `every` steps is done after `step`."""
    last = step == self.length.total_steps
    return last or bool(every and step % every == 0)

  def _next_stop(self, step: int) -> int:
    """Returns the first step after `step` at which the loop has to act."""
    log, *others = (
      step + every - step % every
      for every in (
        self.loop.log_every_steps,
        self.loop.eval_every_steps,
        self.loop.save_every_steps,
      )
      if every
    )
    logged = min(log, self.length.total_steps)
    # On each host a logged step is a call of its own: the first one measures
    # the layers in it.
    alone = max(logged - 1, step + 1)
    due = self.length.growths(step) + self.profile.stops(step)
    return min(logged, alone, *others, *due)


class Pace:
  """Measures images per second, and how many steps a call should take.

  Signals, logging and the bar act between calls of run_steps. How many steps a
  call takes changes no result.
  """

  def __init__(
    self, loop: config_lib.LoopConfig, hosts: distribution.Hosts
  ) -> None:
    self._hosts = hosts
    self._batch = loop.global_batch_size
    self._fixed = loop.steps_per_loop
    self._next = 1
    self._steps = 0
    self._seconds = 0.0
    self.last_seconds = 0.0  # Of the last call.

  def steps(self, most: int) -> int:
    """Returns the number of steps of the next call, at most `most`."""
    return min(most, self._fixed or self._next)

  @contextlib.contextmanager
  def timed(self, count: int) -> Iterator[None]:
    """Times a call of `count` steps."""
    start = time.perf_counter()
    yield
    # All hosts must take as many steps.
    seconds = self._hosts.of_chief(time.perf_counter() - start)
    self._steps += count
    self._seconds += seconds
    self.last_seconds = seconds
    fit = int(count / seconds * CALL_SECONDS)
    if count >= self._next or fit < count:  # Others were cut short.
      self._next = max(1, min(2 * count, fit))

  def read(self) -> dict[str, float]:
    """Returns the images per second since the last read."""
    rate = self._batch * self._steps / max(self._seconds, 1e-9)
    self._steps, self._seconds = 0, 0.0
    return {"images_per_second": round(rate, 1)}


def _read_window(state: TrainState) -> dict[str, Any]:
  """Returns and resets the metrics."""
  record = state.window.read()
  state.window.reset()
  if state.loss_scale is not None:
    record["loss_scale"] = float(state.loss_scale.value.numpy())
  return record


def _log_undecayed(
  model: tf.keras.Model, config: config_lib.OptimizerConfig
) -> None:
  """Lists the matrices that a user may expect to decay, and do not."""
  if config.weight_decay and config.decay_kernels_only:
    names = tricks.undecayed_matrices(model)
    if names:
      logging.info(
        "not decayed: %s; only kernels are, and a layer of your own names its "
        "kernels by an attribute `kernels`, a list of variables",
        ", ".join(names[:10]) + (", ..." if len(names) > 10 else ""),
      )


def _picture(
  state: TrainState,
  dataset: tf.data.Dataset,
  config: config_lib.TrainConfig,
  class_names: Sequence[str] | None,
) -> np.ndarray:
  """Returns a picture of a replica's first batch as training sees it."""
  first = first_batch.of_one_replica(state, dataset, config)
  return tensorboard.image_grid(
    first.mixed_images, tensorboard.captions(first.mixed_targets, class_names)
  )
