# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A training step taken layer by layer, to see where numbers go wrong.

Forward and backward are `step.loss_gradients` itself, run eagerly; only the
network is called one layer at a time, and what each layer gives, and the
gradient that goes back through it, are looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import tricks
from train_loop.config import TrainConfig
from train_loop.state import TrainState
from train_loop.step import Batch, loss_gradients, mixed_batch
from tricks import keras_compat

IMAGES, LOSS = "the images", "the loss"


@dataclasses.dataclass(frozen=True)
class Seen:
  """A tensor that was looked at.

  Attributes:
    layer: the layer's name and class; or `IMAGES`, or `LOSS`.
    what: what of it: "output", "gradient for the kernel" and the like.
    least: the least finite number, None if there is none.
    largest: the largest finite number.
    size: how many numbers there are.
    not_finite: how many of them are not finite.
    examples: the places in the global batch of the examples that these belong
      to; empty if they belong to all examples, or to none.
    damaged: the layer's variables that are not finite.
  """

  layer: str
  what: str
  least: float | None
  largest: float | None
  size: int
  not_finite: int
  examples: tuple[int, ...] = ()
  damaged: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Probed:
  """What a step showed.

  Attributes:
    forward: the images and the output of each call of a layer, in the order of
      computing; of the part of the batch that has the fault, or the last one.
    backward: the gradients for them, from the loss back.
    fault: the first in either that is not finite, or None.
    gradients: of each parameter, summed over the parts so far, and unscaled.
    norm: the global norm of these.
  """

  forward: list[Seen]
  backward: list[Seen]
  fault: Seen | None
  gradients: list[tf.Tensor]
  norm: float


def probe(
  state: TrainState,
  batch: Batch,
  config: TrainConfig,
  *,
  teacher: tf.keras.Model | None = None,
  image_size: int | None = None,
  replicas: int = 1,
  synchronized: bool = False,
) -> Probed:
  """Runs forward and backward of a step, up to the first part with a fault.

  The micro-batches of each replica are computed one after another on this one.
  A layer that draws by an example's place in the batch draws as if there were
  one replica.

  Args:
    state: that before the step; BatchNorm's statistics are changed.
    batch: the global batch, as `train_step` takes it.
    config: the hyperparameters.
    teacher: for distillation.
    image_size: as of `train_step`.
    replicas: how many there were when the step was trained.
    synchronized: whether their BatchNorm had common statistics.

  Returns:
    What was seen.
  """
  step = state.step.read_value()
  images, targets = mixed_batch(batch, step, state.num_classes, config)
  sizes = (image_size,) if teacher is None else (image_size, None)
  views = [tricks.resized(images, size) for size in sizes]
  totals = [tf.zeros(v.shape, v.dtype) for v in state.parameters]
  micro_batches = config.optimizer.accumulate_steps
  places = np.arange(len(images)).reshape(replicas, micro_batches, -1)
  if synchronized:
    parts = places.swapaxes(0, 1).reshape(micro_batches, -1)
  else:
    parts = places.reshape(replicas * micro_batches, -1)
  for part in parts:
    look: Any = _Look(state, part)
    its_views = tuple(tf.gather(view, part) for view in views)
    look.see(its_views[0], IMAGES, "pixels")
    gradients, _ = loss_gradients(
      look, its_views, tf.gather(targets, part), config, teacher
    )
    look.see_gradients_of_parameters(gradients)
    totals = [total + gradient for total, gradient in zip(totals, gradients)]
    if look.fault is not None:
      break
  if state.loss_scale is not None:
    totals = state.loss_scale.unscale(totals)
  norm = float(tf.linalg.global_norm(totals))
  return Probed(look.forward, look.backward, look.fault, totals, norm)


class _Look:
  """A stand-in for the state of a step, whose network is looked into.

  It has the attributes of a `TrainState` that `loss_gradients` reads.
  """

  def __init__(self, state: TrainState, places: np.ndarray) -> None:
    self.model = keras_compat.LayerByLayer(state.model, self._call_layer)
    self.network = self.model
    self.parameters = state.parameters
    self.loss_scale = state.loss_scale
    self.forward: list[Seen] = []
    self.backward: list[Seen] = []
    self._places = places
    # Of each variable the layer, and its own name.
    self._owners: dict[int, tuple[str, str]] = {}

  @property
  def fault(self) -> Seen | None:
    """The first tensor that is not finite."""
    seen = (*self.forward, *self.backward)
    return next((tensor for tensor in seen if tensor.not_finite), None)

  def see(
    self,
    values: tf.Tensor,
    layer: str,
    what: str,
    damaged: Sequence[str] = (),
  ) -> None:
    """Looks at a tensor of the forward pass."""
    seen = self._seen(values, layer, what, of_examples=True)
    self.forward.append(dataclasses.replace(seen, damaged=tuple(damaged)))

  def see_gradients_of_parameters(self, gradients: list[tf.Tensor]) -> None:
    """Puts those that are not finite beside the gradient that they come from.

    Args:
      gradients: of each parameter.
    """
    for parameter, gradient in zip(self.parameters, gradients):
      layer, name = self._owners.get(id(parameter), (LOSS, parameter.name))
      seen = self._seen(gradient, layer, f"gradient for the {name}")
      if seen.not_finite:
        places = [i for i, s in enumerate(self.backward) if s.layer == layer]
        self.backward.insert(places[0] + 1 if places else 0, seen)

  def _call_layer(
    self, layer: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
  ) -> Any:
    label = f"{name} ({type(layer).__name__})"
    damaged = []
    for variable in getattr(layer, "variables", ()):
      own = keras_compat.variable_name(variable)
      own = own.rpartition("/")[2].partition(":")[0]
      tensor = keras_compat.tf_variable(variable)
      self._owners[id(tensor)] = label, own
      if self._seen(tensor, label, own).not_finite:
        damaged.append(own)

    def watched_input(values: Any) -> Any:
      return self._watched(values, label, "gradient for the input")

    def watched_output(values: Any) -> Any:
      if not _is_floating(values):
        return values
      self.see(values, label, "output", damaged)
      return self._watched(values, label, "gradient for the output")

    args, kwargs = tf.nest.map_structure(watched_input, (args, kwargs))
    return tf.nest.map_structure(watched_output, layer(*args, **kwargs))

  def _watched(self, values: Any, layer: str, what: str) -> Any:
    """Returns the values, whose gradient is looked at when it is computed."""
    if not _is_floating(values):
      return values

    @tf.custom_gradient
    def identity(values: tf.Tensor) -> Any:
      def look(gradient: tf.Tensor) -> tf.Tensor:
        # What comes first comes from the loss.
        place = (layer, what) if self.backward else (LOSS, "gradient")
        self.backward.append(self._seen(gradient, *place, of_examples=True))
        return gradient

      return tf.identity(values), look

    return identity(values)

  def _seen(
    self, values: Any, layer: str, what: str, *, of_examples: bool = False
  ) -> Seen:
    values = tf.convert_to_tensor(values)
    if not values.dtype.is_floating:
      return Seen(layer, what, None, None, int(tf.size(values)), 0)
    finite = tf.math.is_finite(values)
    good = tf.cast(tf.boolean_mask(values, finite), tf.float64)
    some = bool(tf.size(good))
    bad = int(tf.size(values)) - int(tf.size(good))
    examples: list[int] = []
    count = len(self._places)
    if bad and of_examples and values.shape.rank and len(values) == count:
      rows = np.any(~finite.numpy().reshape(count, -1), axis=1)
      examples = [] if all(rows) else self._places[rows].tolist()
    return Seen(
      layer,
      what,
      float(tf.reduce_min(good)) if some else None,
      float(tf.reduce_max(good)) if some else None,
      int(tf.size(values)),
      bad,
      tuple(examples),
    )


def _is_floating(values: Any) -> bool:
  return isinstance(values, tf.Tensor) and values.dtype.is_floating
