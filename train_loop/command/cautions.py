# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is likely a mistake in a run's settings or data, though it would train.

Each caution is a function that returns a sentence with the value and a remedy,
or "" if all is well. This module imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from train_loop.config import TrainConfig
from tricks import scale_learning_rate

# Statistics of fewer images than this are noisy (Wu and He 2018, figure 1).
LEAST_BATCH = 16
# The peak rates that are in use, by update rule, for whole batches of some
# dozens to some thousands of images.
USUAL_PEAKS = {
  "sgd": (5e-3, 4.0),
  "tfa:SGDW": (5e-3, 4.0),
  "adamw": (1e-4, 1e-2),
  "tfa:AdamW": (1e-4, 1e-2),
  "tfa:LazyAdam": (1e-4, 1e-2),
  "tfa:RectifiedAdam": (1e-4, 1e-2),
  "lamb": (3e-4, 3e-2),
  "tfa:LAMB": (3e-4, 3e-2),
  "lars": (0.3, 40.0),
  "muon": (5e-3, 1.5),
}
# Weights that are loaded are trained with rates as much smaller.
FINE_TUNING = 10.0
# The part of the run that warmup may take, and how much the largest class may
# exceed the smallest.
MOST_WARMUP, MOST_IMBALANCE = 0.5, 10.0
# How far the mean may be off, in deviations, and the deviation, as a factor.
MEAN_OFF, DEVIATION_OFF = 0.5, 1.5


class Leaks(NamedTuple):
  """Images of the validation part that the training part has too.

  Attributes:
    equal: pairs of places with the same pixels.
    alike: pairs of places that are nearly the same.
    compared: in words, what was compared with what.
  """

  equal: Sequence[tuple[str, str]]
  alike: Sequence[tuple[str, str]]
  compared: str


def long_warmup(config: TrainConfig) -> str:
  """Warns of a warmup that is most of the run; a longer one is refused."""
  warmup, total = config.schedule.warmup_steps, config.loop.total_steps
  if warmup <= MOST_WARMUP * total:
    return ""
  return (
    f"warmup takes {warmup:,} of {total:,} steps, so that the peak is hardly "
    "trained with: lower --warmup_epochs, to a tenth of --epochs for example"
  )


def decayed_vectors(audit: Iterable[Any], config: TrainConfig) -> str:
  """Warns of biases, γ and β that decay.

  Args:
    audit: the rows of `train_loop.audit`.
    config: the hyperparameters.
  """
  decay = config.optimizer.weight_decay
  names = [row.name for row in audit if row.decays and len(row.shape) < 2]
  if not decay or not names:
    return ""
  return (
    f"weight_decay={decay:g} pulls {len(names)} vectors to 0, such as "
    f"{names[0]}: --decay_kernels_only leaves biases, γ and β alone"
  )


def small_batch_norm(
  config: TrainConfig, *, replicas: int, batch_norms: int, synchronized: bool
) -> str:
  """Warns of BatchNorm whose statistics are of few images.

  Args:
    config: the hyperparameters.
    replicas: that share a batch.
    batch_norms: how many layers normalise by the batch.
    synchronized: whether their statistics are of all replicas.
  """
  parts = config.optimizer.accumulate_steps * (1 if synchronized else replicas)
  size = config.loop.global_batch_size // parts
  if size >= LEAST_BATCH or not batch_norms:
    return ""
  remedies = [f"--global_batch_size={LEAST_BATCH * parts}"]
  if replicas > 1 and not synchronized:
    remedies.append("--sync_batch_norm")
  if config.optimizer.accumulate_steps > 1:
    remedies.append("fewer --accumulate_steps")
  return (
    f"BatchNorm takes its statistics from {size} images at once, which makes "
    f"them noisy below {LEAST_BATCH}: {' or '.join(remedies)}"
  )


def unusual_peak(config: TrainConfig, *, fine_tuned: bool = False) -> str:
  """Warns of a peak rate that hardly anybody trains with.

  Args:
    config: the hyperparameters.
    fine_tuned: whether training starts from weights.
  """
  optimizer, batch = config.optimizer.optimizer, config.loop.global_batch_size
  if optimizer not in USUAL_PEAKS:
    return ""
  base = config.schedule.base_learning_rate
  peak = float(scale_learning_rate(base, batch))
  low, high = USUAL_PEAKS[optimizer]
  if fine_tuned:
    low /= FINE_TUNING
  if low <= peak <= high:
    return ""
  nearest = low if peak < low else high
  return (
    f"the peak learning rate is {peak:.3g} (base_learning_rate={base:g} * "
    f"{batch} / 256); {optimizer} is usually trained with {low:g} to {high:g}: "
    f"--base_learning_rate={nearest * 256 / batch:.3g} would be the nearest"
  )


def imbalance(
  counts: Sequence[int], class_names: Sequence[str], config: TrainConfig
) -> str:
  """Warns of classes that are much rarer than others, or missing.

  Args:
    counts: training examples of each class.
    class_names: one name a class.
    config: the hyperparameters.
  """
  rarest = min(range(len(counts)), key=lambda k: counts[k])
  commonest = max(range(len(counts)), key=lambda k: counts[k])
  few, many = counts[rarest], counts[commonest]
  if not few:
    return (
      f"class {class_names[rarest]} has no training image, so that it is never "
      "learned: add some, or leave the class out"
    )
  loss = config.loss
  if (
    many <= MOST_IMBALANCE * few
    or loss.class_balance != "none"
    or loss.focal_gamma
  ):
    return ""
  remedy = "--class_balance=logit_adjustment or weights counts rare ones more"
  if loss.multi_label:
    remedy = "--focal_gamma=2 counts rare ones more"
  return (
    f"class {class_names[commonest]} has {many:,} training images and "
    f"{class_names[rarest]} {few:,}, {many / few:.0f} times fewer: {remedy}"
  )


def other_normalisation(
  network: dict[str, Any], mean: Sequence[float], deviation: Sequence[float]
) -> str:
  """Warns if images are normalised by what is not their mean and deviation.

  Args:
    network: its `mean` and `std`, one for each channel.
    mean: of the training images, one for each channel.
    deviation: of the training images, one for each channel.
  """
  off = [
    abs(m - own_m) > MEAN_OFF * own_s
    or not 1 / DEVIATION_OFF <= s / max(own_s, 1e-6) <= DEVIATION_OFF
    for m, s, own_m, own_s in zip(
      network["mean"], network["std"], mean, deviation
    )
  ]
  if not any(off):
    return ""

  def shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)

  return (
    f"images are normalised by mean {shown(network['mean'])} and deviation "
    f"{shown(network['std'])}, and theirs are {shown(mean)} and "
    f"{shown(deviation)}: BatchNorm makes up for much of it; images in an .npz "
    "file are normalised by their own"
  )


def leaks(found: Leaks) -> str:
  """Warns of evaluation images that are trained on."""
  if not found.equal and not found.alike:
    return ""
  kinds = ((found.equal, "equal"), (found.alike, "nearly equal"))
  told = " and ".join(f"{len(p)} {kind}" for p, kind in kinds if p)
  train, validation = [*found.equal, *found.alike][0]
  return (
    f"training and evaluation share images: {told} pairs of {found.compared}, "
    f"such as {train} and {validation}, so that the result is too good: "
    "--mode=check_data lists all"
  )


def labels_outside(labels: Any, num_classes: int) -> str:
  """Warns of labels that are no class; sources refuse them when they load.

  Args:
    labels: [examples] integers, or [examples, K] of 0 and 1.
    num_classes: K.
  """
  most = 1 if labels.ndim == 2 else num_classes - 1
  wrong = labels[(labels < 0) | (labels > most)]
  if not wrong.size:
    return ""
  return (
    f"{wrong.size} labels are outside 0 to {most}, such as {wrong.flat[0]}: "
    "mend the labels"
  )
