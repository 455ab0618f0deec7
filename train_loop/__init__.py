# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""An explicit TensorFlow 2 training loop for image classification.

    import train_loop

    config = train_loop.TrainConfig.of(
      total_steps=..., examples_per_epoch=..., global_batch_size=...
    )
    train_loop.train_and_evaluate(
      model, train_dataset, eval_dataset, config, workdir
    )

Importing the package imports no TensorFlow: the names that need it are loaded
when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from train_loop.config import (
  ConfigError,
  EvaluationConfig,
  LoopConfig,
  OptimizerConfig,
  PrecisionConfig,
  RegularizationConfig,
  ScheduleConfig,
  TrainConfig,
)

__version__ = "0.1.0"

_LAZY = {
  "Diverged": "train_loop.failures",
  "InputFailed": "train_loop.failures",
  "Stopped": "train_loop.failures",
  "TrainState": "train_loop.state",
  "build_model": "train_loop.models",
  "eval_step": "train_loop.step",
  "evaluate": "train_loop.evaluation",
  "freeze": "train_loop.models.fine_tuning",
  "load_weights": "train_loop.models.weights",
  "make_run_steps": "train_loop.run_steps",
  "make_schedule": "train_loop.schedule",
  "train_and_evaluate": "train_loop.loop",
  "train_step": "train_loop.step",
}

__all__ = [
  "ConfigError",
  "EvaluationConfig",
  "LoopConfig",
  "OptimizerConfig",
  "PrecisionConfig",
  "RegularizationConfig",
  "ScheduleConfig",
  "TrainConfig",
  *sorted(_LAZY),
]


def __getattr__(name: str) -> Any:
  if name in _LAZY:
    return getattr(importlib.import_module(_LAZY[name]), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
