# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tries ways to compute a step, in a process with a TensorFlow of its own.

TensorFlow reads whether to use oneDNN once, when it is imported; a GPU's memory
is not given back while it lives; and a trial that dies must not end the run. So
the run's own process, which has not imported TensorFlow yet, starts another,
hands it the functions that make the run's model and data, and asks it to try
one choice after the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import multiprocessing
import pickle
import signal
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Callable

from train_loop import failures, machine
from train_loop.config import ConfigError, PrecisionConfig, TrainConfig

if TYPE_CHECKING:
  import tensorflow as tf

# The losses of so many steps are compared, after a first step that traces and
# compiles. If these take longer than TIMED_SECONDS, they are timed too.
COMPARED_STEPS = 3
TIMED_SECONDS = 1.0
MAX_TIMED_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Choice:
  """One way to compute a step.

  Attributes:
    onednn: let TensorFlow use oneDNN on a CPU.
    tensor_float_32: let a GPU round the factors of float32 products.
    precision: one of `config.PRECISIONS`.
    jit_compile: let XLA compile the step.
    fuse_batch_norm: put our BatchNorm in the place of Keras' own.
    recompute: one of `config.RECOMPUTE`.
  """

  onednn: bool
  tensor_float_32: bool
  precision: str
  jit_compile: bool
  fuse_batch_norm: bool = False
  recompute: str = "none"

  @property
  def precision_config(self) -> PrecisionConfig:
    """The part of it that is a hyperparameter."""
    return PrecisionConfig(self.precision, self.jit_compile, self.recompute)


@dataclasses.dataclass(frozen=True)
class Trial:
  """What a few steps of one choice gave.

  Attributes:
    choice: what was tried.
    images_per_second: of the timed steps; 0 if it failed.
    loss: the mean over the first steps; None if it failed.
    failure: why there is no result, in one line, or "".
    batch_size: that was tried, if not the run's.
    micro_batches: computed at once, if not as the run says.
    memory: the part of the memory, the host's or a GPU's, whichever is more,
      that the process has had at its peak; 0 if that is not known.
  """

  choice: Choice
  images_per_second: float = 0.0
  loss: float | None = None
  failure: str = ""
  batch_size: int = 0
  memory: float = 0.0
  micro_batches: int = 0


@dataclasses.dataclass(frozen=True)
class Device:
  """What the candidates depend on, as TensorFlow sees it.

  Attributes:
    x86: the CPU is of Intel's and AMD's family, for which oneDNN is made.
    native_bfloat16: the CPU multiplies bfloat16.
    gpu: there is a GPU.
    compute_capability: the lowest among NVIDIA's GPUs, (0, 0) if there is none.
  """

  x86: bool = True
  native_bfloat16: bool = False
  gpu: bool = False
  compute_capability: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Job:
  """What a trial trains: the run's own. The functions must pickle.

  Attributes:
    make_model: from a precision to the network, with the same weights each
      time.
    make_dataset: gives the training stream, whose first batch is used again
      and again.
    make_teacher: gives the teacher of distillation, or None.
    config: the hyperparameters; each trial sets the precision.
  """

  make_model: Callable[[str], tf.keras.Model]
  make_dataset: Callable[[], tf.data.Dataset]
  make_teacher: Callable[[], tf.keras.Model | None]
  config: TrainConfig

  def at_batch_size(self, size: int) -> Job:
    """Returns the same job with another batch size; 0 is its own."""
    if not size:
      return self
    loop = dataclasses.replace(self.config.loop, global_batch_size=size)
    return dataclasses.replace(
      self, config=dataclasses.replace(self.config, loop=loop)
    )

  def in_parts(self, count: int) -> Job:
    """Returns the same job, with as many micro-batches at once."""
    optimizer = dataclasses.replace(
      self.config.optimizer,
      accumulate_steps=count,
      parallel_micro_batches=count > 1,
    )
    config = dataclasses.replace(self.config, optimizer=optimizer)
    return dataclasses.replace(self, config=config)


class TrialProcess:
  """A process that tries choices; it is started again if a choice ends it.

  Attributes:
    device: what TensorFlow found in it.
  """

  def __init__(self, job: Job, *, onednn: bool) -> None:
    # Pickled here: unpickling may import TensorFlow, and the new process must
    # have set oneDNN before.
    self._arguments = (pickle.dumps(job), onednn)
    self._start()

  def __enter__(self) -> TrialProcess:
    return self

  def __exit__(self, *exception: object) -> None:
    self._stop()

  def run(
    self, choice: Choice, *, timeout: float, batch_size: int = 0
  ) -> Trial:
    """Tries a choice; the trial says what became of it.

    Args:
      choice: of this process' oneDNN.
      timeout: seconds that it may take.
      batch_size: examples a step; 0 is the run's.
    """
    trial = self._run(choice, batch_size, timeout)
    return dataclasses.replace(trial, batch_size=batch_size)

  def _run(self, choice: Choice, batch_size: int, timeout: float) -> Trial:
    if timeout <= 0:
      return Trial(choice, failure="not tried, for lack of time")
    if not self._process.is_alive():
      self._start()
    try:
      self._connection.send((choice, batch_size))
      if self._connection.poll(timeout):
        answer = self._connection.recv()
        if isinstance(answer, ConfigError):
          raise answer  # The network is refused, whatever computes it.
        return answer
      failure = f"no result within {timeout:.0f} s"
    except (EOFError, OSError):
      self._process.join()
      failure = f"its process ended with exit code {self._process.exitcode}"
    self._stop()
    return Trial(choice, failure=failure)

  def _start(self) -> None:
    context = multiprocessing.get_context("spawn")
    self._connection, theirs = context.Pipe()
    self._process = context.Process(
      target=_serve, args=(theirs, *self._arguments), daemon=True
    )
    # Ctrl-C reaches both: the run's process answers it, and ends the new one,
    # which inherits that it is blocked.
    resource_tracker.ensure_running()  # It would unblock it itself.
    with ctrl_c_answered_after():
      self._process.start()
    theirs.close()  # Then theirs is the only one, and its end is ours to see.
    try:
      self.device: Device = self._connection.recv()
    except EOFError:
      self._process.join()
      raise ConfigError(
        "auto could not measure: its process ended with exit code "
        f"{self._process.exitcode}; set precision, jit_compile and onednn"
      ) from None

  def _stop(self) -> None:
    self._process.kill()
    self._process.join()
    self._connection.close()


@contextlib.contextmanager
def ctrl_c_answered_after() -> Iterator[None]:
  """Delays this process' answer to Ctrl-C; processes started in it ignore it.

  They inherit that the signal is blocked. Blocking alone would not do here: it
  holds for this thread only, and if a library has a thread of its own, that one
  takes the signal and Python answers at once.
  """
  came: list[int] = []
  answer = signal.signal(signal.SIGINT, lambda signum, _: came.append(signum))
  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGINT, answer)
    if came:
      signal.raise_signal(signal.SIGINT)


def _serve(connection: Any, pickled_job: bytes, onednn: bool) -> None:
  """Entry point of the process: sends its Device, then a Trial per Choice."""
  machine.import_tensorflow(onednn=onednn)
  job = pickle.loads(pickled_job)
  machine.share_cores(job.config.optimizer.parts_at_once)
  with contextlib.suppress(EOFError, OSError):  # Until the run's process ends.
    connection.send(find_device())
    available = machine.available_memory()
    while True:
      choice, batch_size = connection.recv()
      try:
        trial = run_trial(job.at_batch_size(batch_size), choice)
        memory = round(memory_used(available), 4)
        connection.send(dataclasses.replace(trial, memory=memory))
      except ConfigError as error:
        connection.send(error)


def find_device() -> Device:
  """Returns what TensorFlow has at hand."""
  import tensorflow as tf

  gpus = tf.config.list_physical_devices("GPU")
  details = map(tf.config.experimental.get_device_details, gpus)
  return Device(
    x86=machine.is_x86(),
    native_bfloat16=machine.cpu_has("avx512_bf16", "amx_bf16"),
    gpu=bool(gpus),
    compute_capability=min(
      (gpu.get("compute_capability", (0, 0)) for gpu in details),
      default=(0, 0),
    ),
  )


def memory_used(available: int) -> float:
  """Returns the part of the memory that this process has had at its peak.

  Args:
    available: the host's bytes that were free when it started.
  """
  import tensorflow as tf

  parts = [machine.peak_memory() / available, machine.address_space_used()]
  totals = machine.nvidia_memory()
  gpus = tf.config.list_physical_devices("GPU")
  if len(totals) == len(gpus):
    for index, total in enumerate(totals):
      info = tf.config.experimental.get_memory_info(f"GPU:{index}")
      parts.append(info["peak"] / total)
  return max(parts)


def run_trial(job: Job, choice: Choice) -> Trial:
  """Trains for some steps in this process; an error becomes a failed trial."""
  try:
    return _timed_steps(job, choice)
  except ConfigError:
    raise
  except Exception as error:  # Whatever it is, the next choice may work.
    reason = f"{type(error).__name__}: {failures.first_line(error)}"
    return Trial(choice, failure=reason[:200])
  finally:
    gc.collect()  # Graphs hold variables in cycles, and these hold memory.


def _timed_steps(job: Job, choice: Choice) -> Trial:
  """Compares some steps' loss, then times some more."""
  import tensorflow as tf

  from train_loop import run_steps as run_steps_lib
  from train_loop.models.fusing import with_our_layers
  from train_loop.schedule import make_schedule
  from train_loop.state import TrainState

  tf.config.experimental.enable_tensor_float_32_execution(
    choice.tensor_float_32
  )
  config = dataclasses.replace(job.config, precision=choice.precision_config)
  batches, teacher = _inputs(
    job.make_dataset, job.make_teacher, config.loop.global_batch_size
  )
  model = with_our_layers(
    job.make_model(choice.precision), fuse_batch_norm=choice.fuse_batch_norm
  )
  state = TrainState(model, config)
  run_steps = run_steps_lib.make_run_steps(
    state, config, schedule=make_schedule(config), teacher=teacher
  )
  iterator = iter(batches)

  def seconds_of(steps: int) -> float:
    start = time.perf_counter()
    run_steps(iterator, tf.constant(steps, tf.int64))
    state.window.read()  # Waits for the device.
    return time.perf_counter() - start

  seconds_of(1)
  state.window.reset()
  steps, seconds = COMPARED_STEPS, seconds_of(COMPARED_STEPS)
  loss = state.window.read()["loss"]
  if loss is None:
    return Trial(choice, failure="no step had a finite gradient")
  if seconds < TIMED_SECONDS:
    steps = min(MAX_TIMED_STEPS, int(steps * TIMED_SECONDS / seconds))
    seconds = seconds_of(steps)
  images = steps * config.loop.global_batch_size
  return Trial(choice, round(images / seconds, 1), loss)


@functools.lru_cache(maxsize=1)
def _inputs(
  make_dataset: Callable[[], tf.data.Dataset],
  make_teacher: Callable[[], tf.keras.Model | None],
  batch_size: int,
) -> tuple[tf.data.Dataset, tf.keras.Model | None]:
  """Returns the first batch, repeated, and the teacher, both for all trials.

  With the whole stream the input pipeline would be timed along with the step.
  """
  import tensorflow as tf

  dataset = make_dataset()
  if dataset.element_spec["label"].shape[0] != batch_size:
    dataset = dataset.repeat().rebatch(batch_size, drop_remainder=True)
  batch = next(iter(dataset))
  return tf.data.Dataset.from_tensors(batch).repeat(), make_teacher()
