# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command: composes data, model and loop from flags.

Exit status: 0 finished; 2 a bad flag or input, told in one line; 3 diverged;
128 + the signal's number where one stopped the run, after saving where the loop
runs (SIGTERM 143, Ctrl-C 130).
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import tqdm
from absl import app, flags, logging

from train_loop import failures, machine
from train_loop.command import flags as flags_lib
from train_loop.command.signals import StopRequest
from train_loop.config import ConfigError, TrainConfig, require_addons
from train_loop.preflight import choose as preflight
from train_loop.preflight import trial_cache, trials
from train_loop.workdir import run_card
from train_loop.workdir.writing import writing

if TYPE_CHECKING:
  import tensorflow as tf

  import data

BAD_INPUT = 2
DIVERGED = 3

FLAGS = flags.FLAGS


def _our_data() -> Any:
  """Returns the package `data` that stands beside `train_loop`.

  Raises:
    ImportError: another module of that name comes first on the path.
  """
  import data

  ours = pathlib.Path(__file__).resolve().parent.parent / "data"
  found = pathlib.Path(data.__file__ or "nowhere").resolve()
  if found.parent != ours:
    raise ImportError(
      f"the name 'data' belongs to {found}, not to train_loop's {ours}: run "
      "from another folder, or rename it"
    )
  return data


def run() -> NoReturn:
  """The console script."""
  logging.set_verbosity(logging.INFO)
  # TensorFlow logs through absl too: its notes on saving are not the run's.
  logging.get_absl_logger().addFilter(
    lambda record: "tensorflow" not in pathlib.Path(record.pathname).parts
  )
  flags_lib.define(_our_data().DATASETS, FLAGS)
  for name in flags_lib.names(FLAGS):  # --help lists those of the command.
    FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])
  app.define_help_flags()
  app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses the command line, recipe first."""
  try:
    return FLAGS(flags_lib.expand_recipe(argv))
  except (ConfigError, flags.Error) as error:
    _say(error)
    sys.exit(BAD_INPUT)


def _say(message: object) -> None:
  """Prints an error or another last word as one line."""
  line = " ".join(str(message).split())
  print(f"train_loop: {line}", file=sys.stderr)


def main(argv: Sequence[str]) -> int:
  """Runs the mode that the flags ask for; returns the exit status."""
  try:
    if len(argv) > 1:
      raise ConfigError(f"flags must be given as --name=value, got {argv[1]!r}")
    if FLAGS.mode == "convert":
      return convert()
    if not FLAGS.workdir:
      raise ConfigError("workdir must be given: --workdir=DIR")
    if FLAGS.mode == "check_data":
      return check_data()
    if FLAGS.mode == "eval":
      return evaluate()
    return train()
  except (ConfigError, _our_data().DataError, OSError) as error:
    _say(error)
    return BAD_INPUT
  except KeyboardInterrupt:  # Where no loop runs that would save first.
    _say("stopped by Ctrl-C")
    return 128 + signal.SIGINT


def train() -> int:
  """Trains, or goes on with, the run in workdir; returns the exit status."""
  card = run_card.read(FLAGS.workdir) or {}
  asked = flags_lib.as_dict(FLAGS)
  if card:
    run_card.require_same(
      FLAGS.workdir,
      flags_lib.comparable(card.get("flags", {})),
      flags_lib.comparable(asked),
    )
  if card.get("finished"):
    print(f"{FLAGS.workdir} was finished before: {_summary(card['final'])}")
    return 0
  parts = compose(card.get("choice"))
  if card:
    run_card.require_same(
      FLAGS.workdir, card.get("data", {}), parts.card["data"]
    )

  from train_loop import loop

  train_dataset = parts.inputs.train_dataset()
  eval_dataset = None
  if FLAGS.mode == "train_and_eval":
    eval_dataset = parts.inputs.eval_dataset()
  stop = StopRequest()
  try:
    with stop:
      final = loop.train_and_evaluate(
        parts.model,
        train_dataset,
        eval_dataset,
        parts.config,
        FLAGS.workdir,
        teacher=parts.teacher,
        card={"command": shlex.join(sys.argv), "flags": asked, **parts.card},
        should_stop=stop,
      )
  except failures.Diverged as error:
    _say(error)
    return DIVERGED
  except failures.InputFailed as error:
    raise parts.inputs.bad_image(error.steps) or error from error
  except failures.Stopped as error:
    _say(error)
    return 128 + (stop.signum or 0)
  print(f"{FLAGS.workdir} is finished: {_summary(final)}")
  return 0


def evaluate() -> int:
  """Evaluates the run in workdir and changes nothing in it."""
  card = run_card.read(FLAGS.workdir)
  if card is None or "flags" not in card:  # A library's run has no flags.
    raise ConfigError(
      f"workdir must hold a run of this command, got {FLAGS.workdir!r}"
    )
  flags_lib.adopt(card["flags"], FLAGS)
  asked = flags_lib.comparable(flags_lib.as_dict(FLAGS))
  may_change = {name: asked[name] for name in flags_lib.EVAL_FLAGS}
  saved = flags_lib.comparable(card["flags"])
  run_card.require_same(FLAGS.workdir, {**saved, **may_change}, asked)
  parts = compose(card["choice"])

  from train_loop import evaluation

  try:
    results = evaluation.evaluate(
      parts.model, parts.inputs.eval_dataset(), parts.config, FLAGS.workdir
    )
  except failures.InputFailed as error:
    raise parts.inputs.bad_image(error.steps) or error from error
  print(f"{FLAGS.workdir}: {_summary(results)}")
  return 0


def check_data() -> int:
  """Decodes all images, reports, and draws some as training sees them."""
  inputs = _inputs()
  machine.import_tensorflow(onednn=True)
  from data.preparation import check, picture

  report = check.check(inputs.train, inputs.validation, progress=_progress)
  folder = pathlib.Path(FLAGS.workdir)
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
    check.save(report, folder / "check_data.json")
  print(check.as_text(report))
  if report.bad:
    raise ConfigError(
      f"{len(report.bad)} images cannot be decoded, the first is "
      f"{report.bad[0]}: replace them, or train with --on_bad_image=skip"
    )
  with writing(folder):
    picture.save(folder / "check_data.png", inputs)
  print(f"{folder} has check_data.json and check_data.png")
  return 0


def convert() -> int:
  """Writes the data as TFRecord files."""
  if not FLAGS.output_dir:
    raise ConfigError("output_dir must be given: --output_dir=DIR")
  sources = _load_sources()
  machine.import_tensorflow(onednn=True)
  from data.preparation import convert as convert_lib

  counts = convert_lib.convert(
    *sources,
    FLAGS.output_dir,
    resize=FLAGS.convert_resize,
    skip_bad_images=FLAGS.on_bad_image == "skip",
    progress=_progress,
  )
  written = ", ".join(f"{count} {part}" for part, count in counts.items())
  print(f"{FLAGS.output_dir} is written: {written}")
  return 0


def _progress(items: Iterable[Any], part: str, count: int) -> Iterable[Any]:
  """Shows how far a mode is, where the error stream is a terminal."""
  return tqdm.tqdm(items, desc=part, total=count, unit="img", disable=None)


def _summary(final: dict[str, Any]) -> str:
  """Returns the last line of a finished run."""
  if "eval_top1" not in final:
    return f"training loss {final['loss']:.4f}, top-1 {final['top1']:.2%}"
  return (
    f"top-1 {final['eval_top1']:.2%}, top-5 {final['eval_top5']:.2%}, "
    f"loss {final['eval_loss']:.4f} on {final['eval_examples']} examples"
  )


@dataclasses.dataclass
class Parts:
  """What the loop is given: composed from flags, once.

  Attributes:
    model: the network, freshly initialised.
    teacher: for distillation, or None.
    inputs: the data; each mode asks it for what it needs, for filling a cache
      takes time.
    config: the hyperparameters.
    card: what the run card is to say of data, model and choice.
  """

  model: tf.keras.Model
  teacher: tf.keras.Model | None
  inputs: data.Inputs
  config: TrainConfig
  card: dict[str, Any]


def compose(choice: dict[str, Any] | None) -> Parts:
  """Makes data, model and config; what is slow comes after what can fail.

  Args:
    choice: what `auto` took when the run was started first, or None.
  """
  inputs = _inputs()
  train_source, test_source = inputs.train, inputs.validation
  config = functools.partial(
    flags_lib.config_from_flags,
    FLAGS,
    examples_per_epoch=train_source.num_examples,
  )
  # Raises before TensorFlow.
  plain_config = config(precision="float32", jit_compile=False)
  require_addons(FLAGS.optimizer)
  input_shape: tuple[int | None, ...] = inputs.image_shape
  if FLAGS.progressive_image_sizes:
    input_shape = (None, None, inputs.image_shape[-1])
  mean, std = train_source.mean_std()
  network = {
    "model": FLAGS.model,
    "model_variant": FLAGS.model_variant,
    "input_shape": input_shape,
    "num_classes": train_source.num_classes,
    "mean": mean,
    "std": std,
    "stochastic_depth": FLAGS.stochastic_depth,
  }

  make_model = functools.partial(
    _make_model, network, zero_gamma=FLAGS.zero_gamma, seed=FLAGS.seed
  )
  _teacher_card(FLAGS.teacher)  # Raises before TensorFlow.
  machine.share_cores(plain_config.optimizer.parts_at_once)
  make_teacher = functools.partial(_load_teacher, FLAGS.teacher)
  job = trials.Job(make_model, inputs.first_batches, make_teacher, plain_config)
  chosen, tried = (
    (trials.Choice(**choice), [])
    if choice
    else _choose(job, network, inputs.image_shape)
  )
  _import_tensorflow(chosen)
  return Parts(
    model=make_model(chosen.precision),
    teacher=make_teacher(),
    inputs=inputs,
    config=config(precision=chosen.precision, jit_compile=chosen.jit_compile),
    card={
      "choice": dataclasses.asdict(chosen),
      **({"preflight": list(map(trial_cache.as_row, tried))} if tried else {}),
      "network": network,
      "data": {
        "name": train_source.name,
        "class_names": train_source.class_names,
        "train_examples": train_source.num_examples,
        "train_sha256": train_source.fingerprint(),
        "test_examples": test_source.num_examples,
        "test_sha256": test_source.fingerprint(),
      },
    },
  )


def _load_sources() -> tuple[data.AnySource, data.AnySource]:
  """Loads the data that the flags name."""
  ours = _our_data()
  return ours.load(ours.SourceOptions(**_flags_of(ours.SourceOptions)))


def _inputs() -> data.Inputs:
  """Loads the data; raises if flags and data do not fit each other."""
  from data import bad_images

  ours = _our_data()
  options = _flags_of(ours.Inputs)
  if FLAGS.on_bad_image == "skip":
    options["bad_images"] = bad_images.bad_images_file(FLAGS.workdir or "")
  augmentation = ours.Augmentation(**_flags_of(ours.Augmentation))
  train, validation = _load_sources()
  return ours.Inputs(
    train=train,
    validation=validation,
    global_batch_size=FLAGS.global_batch_size,
    seed=FLAGS.seed,
    augmentation=augmentation,
    **options,
  )


def _flags_of(settings: Any) -> dict[str, Any]:
  """Returns the values of the flags that are fields of a class of data."""
  names = _our_data().flag_names(settings)
  return {name: FLAGS[name].value for name in names}


def _choose(
  job: trials.Job,
  network: dict[str, Any],
  image_shape: tuple[int, int, int],
) -> tuple[trials.Choice, list[trials.Trial]]:
  """Returns what to compute in, as flags say or as measured, and the trials."""
  asked = preflight.Asked(
    onednn=FLAGS.onednn,
    tensor_float_32=FLAGS.tensor_float_32,
    precision=FLAGS.precision,
    jit_compile=FLAGS.jit_compile,
  )
  shapes = {k: v for k, v in network.items() if k not in ("mean", "std")}
  workload = preflight.workload_of(
    shapes, image_shape, job.config, FLAGS.teacher
  )
  return preflight.choose(asked, job, workload)


def _import_tensorflow(chosen: trials.Choice) -> None:
  """Imports TensorFlow, set as chosen, and says so."""
  machine.import_tensorflow(onednn=chosen.onednn)
  import tensorflow as tf

  tf.config.experimental.enable_tensor_float_32_execution(
    chosen.tensor_float_32
  )
  for name, value in dataclasses.asdict(chosen).items():
    logging.info("%s is %s", name, str(value).lower())


def _make_model(
  network: dict[str, Any], precision: str, *, zero_gamma: bool, seed: int
) -> tf.keras.Model:
  """Builds the network; the same seed gives the same weights."""
  import tensorflow as tf

  import tricks
  from train_loop import models

  tf.keras.utils.set_random_seed(seed)
  model = models.build_model(**network, dtype=precision)
  if zero_gamma:
    zeroed = tricks.zero_gamma(model)
    logging.info("zero γ in %d layers", len(zeroed))
  return model


def _teacher_card(teacher: str | None) -> dict[str, Any] | None:
  """Returns the card of a teacher that is a run, None of any other or none.

  Raises:
    ConfigError: it is neither a run nor a file of Keras'.
  """
  if not teacher:
    return None
  path = pathlib.Path(teacher)
  card = run_card.read(path) if path.is_dir() else None
  if card and "network" in card:  # A library's run does not name its own.
    return card
  if path.suffix != ".keras" or not path.is_file():
    raise ConfigError(
      "teacher must be the workdir of a run of this command or a .keras file, "
      f"got {teacher!r}"
    )
  return None


def _load_teacher(teacher: str | None) -> tf.keras.Model | None:
  """Returns the model that --teacher names, or None."""
  card = _teacher_card(teacher)
  if not teacher:
    return None
  import tensorflow as tf

  from train_loop import models
  from train_loop.workdir import checkpoints

  if card:
    model = models.build_model(**card["network"], dtype="float32")
    checkpoints.restore_model(model, teacher)
  else:
    model = tf.keras.models.load_model(teacher, compile=False)
  model.trainable = False
  return model


if __name__ == "__main__":
  run()
