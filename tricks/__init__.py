# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The bag of tricks: one trick a file, each a pure function with its formula.

He et al. 2018, "Bag of Tricks for Image Classification with Convolutional
Neural Networks" (arXiv 1812.01187):

  linear_scaling   3.1  scale_learning_rate
  schedules        3.1  warmup; 5.1 cosine; 2 step and others; make_schedule,
                        learning_rates
  zero_gamma       3.1  zero_gamma
  weight_decay     3.1  decay_mask (no bias decay), kernel_mask, l2_gradient
  precision        3.2  LossScale, next_loss_scale
  label_smoothing  5.2  smooth_labels, paper_smoothing, smooth_multi_labels
  distillation     5.3  distillation_loss, multi_label_distillation_loss
  mixup            5.4  mixup, blend, sample_lam
  momentum         2    the update rule of the paper's baseline

and beyond it:

  class_balance    class_weights, adjust_logits, smoothing_shares
  focal_loss       softmax_loss, sigmoid_loss
  cutmix           cutmix
  adamw, lars, lamb, muon  update rules
  optimizers       make_optimizer: the update rules by name
  ema              ema, ema_decay_at
  swa              swa, swa_decay_at
  sam              sam_perturbations: sharpness-aware minimization
  stochastic_depth stochastic_depth, drop_probabilities
  progressive_resizing  resized: smaller images first
  flip_tta         flip_tta, in evaluation

The rest: keras_compat, how Keras 2 and Keras 3 differ; draws, random numbers
that eager mode, graph mode and XLA agree on; names, the values of flags.
Importing the package imports no TensorFlow. `tricks.mixup` is the function, not
the file of its name: import others from the file, `from tricks.mixup import
blend`.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from tricks.class_balance import (
    adjust_logits,
    class_weights,
    smoothing_shares,
  )
  from tricks.cutmix import cutmix
  from tricks.distillation import (
    distillation_loss,
    multi_label_distillation_loss,
  )
  from tricks.ema import ema, ema_decay_at
  from tricks.flip_tta import flip_tta
  from tricks.focal_loss import sigmoid_loss, softmax_loss
  from tricks.label_smoothing import (
    paper_smoothing,
    smooth_labels,
    smooth_multi_labels,
  )
  from tricks.linear_scaling import scale_learning_rate
  from tricks.mixup import blend, mixup, sample_lam
  from tricks.names import OPTIMIZERS, PRECISIONS, SCHEDULES
  from tricks.optimizers import Optimizer, make_optimizer
  from tricks.precision import LossScale, next_loss_scale
  from tricks.progressive_resizing import resized
  from tricks.sam import sam_perturbations
  from tricks.schedules import (
    Schedule,
    learning_rates,
    make_schedule,
    warmup_hold_cosine,
    warmup_stable_decay,
  )
  from tricks.stochastic_depth import drop_probabilities, stochastic_depth
  from tricks.swa import swa, swa_decay_at
  from tricks.weight_decay import (
    decay_mask,
    kernel_mask,
    l2_gradient,
    undecayed_matrices,
  )
  from tricks.zero_gamma import zero_gamma

__all__ = [
  "OPTIMIZERS",
  "PRECISIONS",
  "SCHEDULES",
  "LossScale",
  "Optimizer",
  "Schedule",
  "adjust_logits",
  "blend",
  "class_weights",
  "cutmix",
  "decay_mask",
  "distillation_loss",
  "drop_probabilities",
  "ema",
  "ema_decay_at",
  "flip_tta",
  "kernel_mask",
  "l2_gradient",
  "learning_rates",
  "make_optimizer",
  "make_schedule",
  "mixup",
  "multi_label_distillation_loss",
  "next_loss_scale",
  "paper_smoothing",
  "resized",
  "sam_perturbations",
  "sample_lam",
  "scale_learning_rate",
  "sigmoid_loss",
  "smooth_labels",
  "smooth_multi_labels",
  "smoothing_shares",
  "softmax_loss",
  "stochastic_depth",
  "swa",
  "swa_decay_at",
  "undecayed_matrices",
  "warmup_hold_cosine",
  "warmup_stable_decay",
  "zero_gamma",
]

# The file of each name.
_FILES = {
  "adjust_logits": "class_balance",
  "class_weights": "class_balance",
  "smoothing_shares": "class_balance",
  "cutmix": "cutmix",
  "distillation_loss": "distillation",
  "multi_label_distillation_loss": "distillation",
  "ema": "ema",
  "ema_decay_at": "ema",
  "flip_tta": "flip_tta",
  "sigmoid_loss": "focal_loss",
  "softmax_loss": "focal_loss",
  "paper_smoothing": "label_smoothing",
  "smooth_labels": "label_smoothing",
  "smooth_multi_labels": "label_smoothing",
  "scale_learning_rate": "linear_scaling",
  "blend": "mixup",
  "mixup": "mixup",
  "sample_lam": "mixup",
  "OPTIMIZERS": "names",
  "Optimizer": "optimizers",
  "make_optimizer": "optimizers",
  "PRECISIONS": "names",
  "LossScale": "precision",
  "next_loss_scale": "precision",
  "resized": "progressive_resizing",
  "sam_perturbations": "sam",
  "SCHEDULES": "names",
  "Schedule": "schedules",
  "learning_rates": "schedules",
  "make_schedule": "schedules",
  "warmup_hold_cosine": "schedules",
  "warmup_stable_decay": "schedules",
  "drop_probabilities": "stochastic_depth",
  "stochastic_depth": "stochastic_depth",
  "swa": "swa",
  "swa_decay_at": "swa",
  "decay_mask": "weight_decay",
  "kernel_mask": "weight_decay",
  "l2_gradient": "weight_decay",
  "undecayed_matrices": "weight_decay",
  "zero_gamma": "zero_gamma",
}


class _Package(types.ModuleType):
  """Loads a file when one of its names is first used.

  A name is a property of the package and not an attribute, because importing
  mixup.py sets the attribute mixup to the file, not to its function.
  """

  def __dir__(self) -> list[str]:
    return sorted({*super().__dir__(), *__all__})


def _loaded(name: str) -> property:
  def load(package: types.ModuleType) -> Any:
    return getattr(importlib.import_module(f"tricks.{_FILES[name]}"), name)

  def keep(package: types.ModuleType, module: types.ModuleType) -> None:
    """Keeps the function: Python would replace it by the file of its name."""

  return property(load, keep)


for _name in _FILES:
  setattr(_Package, _name, _loaded(_name))
sys.modules[__name__].__class__ = _Package
