# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks from raw pixels to logits: ours, Keras' and a user's.

`build_model` builds a network by its name. `names` knows the names and
imports no TensorFlow, so neither does this file until a model is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from train_loop.models import names
from train_loop.models.names import MODEL_VARIANTS, MODELS

if TYPE_CHECKING:
  import tensorflow as tf

__all__ = ["MODELS", "MODEL_VARIANTS", "build_model"]


def build_model(
  model: str,
  *,
  model_variant: str = "b",
  input_shape: Sequence[int | None],
  num_classes: int,
  mean: Sequence[float],
  std: Sequence[float],
  stochastic_depth: float = 0.0,
  padding: str = "same",
  auxiliary_head: bool = False,
  freeze: Sequence[str] = (),
  dtype: str | None = None,
) -> tf.keras.Model:
  """Builds a network by its name, from raw pixels to logits.

  Args:
    model: One of `MODELS`; or "keras:NAME", a classifier of
      tf.keras.applications; or "python:package.module.function", a builder.
    model_variant: "b", "c" or "d", the tweaks of the paper's figure 2, or
      "a", the network before them; resnet8 and resnet14 have none of them.
      Left out for networks from elsewhere, as is stochastic_depth.
    input_shape: (height, width, channels) of an image; height and width may
      be None.
    num_classes: Number of logits, at least 1.
    mean: Mean pixel of each channel, in the units of the pixels (0 to 255).
    std: Standard deviation of each channel, > 0, in the same units. Networks
      from elsewhere have their own normalisation, and use neither.
    stochastic_depth: Drop probability of the last residual block, in [0, 1);
      it rises linearly from the first block on. 0 drops nothing.
    padding: "same"; or "symmetric", for ImageNet ResNets with weights that
      PyTorch trained.
    auxiliary_head: Whether keras:InceptionV3 gets its auxiliary classifier, as
      a second output; see `auxiliary.with_auxiliary_head`.
    freeze: Beginnings of names of layers that are not trained, or
      "all_but_head".
    dtype: Keras dtype policy of the layers, such as "mixed_bfloat16"; None is
      the global policy. Logits are float32 under every policy.

  Returns:
    A functional `tf.keras.Model`: images [batch, height, width, channels],
    uint8 or float in 0..255, to logits [batch, num_classes] float32.

  Raises:
    ValueError: `model` is not the name of a model, or an argument is out of
      range. Its subclass ConfigError: a network from elsewhere does not fit.

  Reference: He et al. 2018 (arXiv 1812.01187), section 4.
  """
  # Imported here, because whoever only wants the names needs no TensorFlow.
  from train_loop.models import auxiliary, fine_tuning

  place, name = names.parts(model)
  arguments: dict[str, Any] = {
    "input_shape": input_shape,
    "num_classes": num_classes,
    "dtype": dtype,
  }
  ours: dict[str, Any] = {
    "model_variant": model_variant,
    "stochastic_depth": stochastic_depth,
    "padding": padding,
  }
  if place:
    _require_left_out(model, ours)
    built = _from_elsewhere(place, name, **arguments)
  else:
    built = _ours(model, mean=mean, std=std, **ours, **arguments)
  if auxiliary_head:
    built = auxiliary.with_auxiliary_head(built, dtype=dtype)
  if freeze:
    fine_tuning.freeze(built, freeze)
  return built


def _require_left_out(model: str, ours: dict[str, Any]) -> None:
  """Raises unless arguments that a model has no use of are at their default."""
  defaults = inspect.signature(build_model).parameters
  for name, value in ours.items():
    if value != defaults[name].default:
      raise ValueError(
        f"{name} must be left out with model {model}, got {value!r}"
      )


def _from_elsewhere(place: str, name: str, **arguments: Any) -> tf.keras.Model:
  from train_loop.models import applications, builders

  if place == names.PYTHON:
    return builders.build(name, **arguments)
  return applications.application(name, **arguments)


def _ours(
  model: str, *, model_variant: str, padding: str, **arguments: Any
) -> tf.keras.Model:
  from train_loop.models import layers
  from train_loop.models.compact_resnet import compact_resnet
  from train_loop.models.resnet import resnet
  from train_loop.models.small_resnet import small_resnet

  if padding != "same" and model not in names.RESNETS:
    raise ValueError(f"padding must be 'same' for {model}, got {padding!r}")
  if model in names.COMPACT_RESNETS:
    layers.check_variant(model_variant)
    depth, width = names.COMPACT_RESNETS[model]
    return compact_resnet(depth, width, **arguments)
  arguments["model_variant"] = model_variant
  if model in names.RESNETS:
    return resnet(names.RESNETS[model], padding=padding, **arguments)
  return small_resnet(names.SMALL_RESNETS[model], **arguments)
