# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gives a network the weights of another, and tells what it took."""

from __future__ import annotations

import dataclasses
import os
import re
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from train_loop.config import CHECKPOINTS
from train_loop.failures import first_line
from train_loop.fields import ConfigError
from train_loop.models import (
  auxiliary,
  fine_tuning,
  keras_files,
  pretrained,
  torch_resnet,
)
from train_loop.models import names as model_names
from train_loop.workdir import run_card
from tricks import keras_compat

_CHANNELS = 2  # The axis of a convolution's kernel that counts its inputs.


@dataclasses.dataclass(frozen=True)
class Loaded:
  """What a model took over, each variable by "layer/variable".

  Attributes:
    source: the file or folder.
    taken: the variables that have the source's values.
    new: the variables that keep their own, and why.
    changed: of those taken the ones that had another shape, and what was done.
  """

  source: str
  taken: tuple[str, ...]
  new: Mapping[str, str]
  changed: Mapping[str, str]

  def lines(self) -> list[str]:
    """Returns the same in words, a line each."""
    total = len(self.taken) + len(self.new)
    return [
      f"weights: took {len(self.taken)} of {total} variables from "
      f"{self.source}: {self.taken[0]} to {self.taken[-1]}",
      *(f"weights: {name} is {what}" for name, what in self.changed.items()),
      *(f"weights: {name} is new: {why}" for name, why in self.new.items()),
    ]


@dataclasses.dataclass(frozen=True)
class _Weights:
  """What a source holds.

  Attributes:
    body: arrays by "layer/variable".
    head: of the last layer, by the variable alone: its name may differ.
    spare: names in `body` that another network may have no place for.
  """

  body: Mapping[str, np.ndarray]
  head: Mapping[str, np.ndarray]
  spare: frozenset[str] = frozenset()


def load_weights(
  model: tf.keras.Model,
  weights: str | os.PathLike[str],
  *,
  checkpoint: str = CHECKPOINTS[0],
  class_names: Sequence[str] | None = None,
  allow_python: bool = False,
) -> Loaded:
  """Gives a model the weights of another, by the names of their layers.

  Every layer must be there, in its shape, but for the head: the last layer with
  weights keeps its own values if its shape differs, or if its classes have
  other names. The first convolution may be of gray images and the other of RGB.
  If anything else differs, nothing is changed.

  Args:
    model: functional and built, such as `build_model` gives.
    weights: "imagenet", for a model of keras:NAME; the workdir of a run of the
      command; or a .safetensors, .keras or .weights.h5 file.
    checkpoint: "latest" or "best", of a run's folder.
    class_names: of the model's logits.
    allow_python: whether a function that a run's card names as its network,
      python:package.module.function, may be called.

  Returns:
    What was taken and what was not; it is logged too.

  Raises:
    ConfigError: there are no such weights, or they are of another network.
  """
  source = pretrained.look(weights)
  _require_padding(model, source)
  named = source.network.get("model")
  model_names.require_allowed(named, source.path, allow_python)
  found = _read(source, model, checkpoint)
  known = source.class_names is not None and class_names is not None
  if known and list(source.class_names or ()) != list(class_names or ()):
    found = dataclasses.replace(found, head={})
    why = "the classes have other names there"
  else:
    why = "it is missing there"
  match = _Match(source.path, why)
  variables = named_variables(model)
  head = {id(v) for v in fine_tuning.head(model).weights}
  main = {id(v) for v in auxiliary.main_output(model).weights}
  for name, variable in variables.items():
    if id(variable) in head:
      match.head(name, variable, found.head.get(name.rpartition("/")[2]))
    else:
      needed = id(variable) in main
      match.body(name, variable, found.body.get(name), needed=needed)
  match.wrong += [
    f"{name} has no place here"
    for name in sorted({*found.body} - {*variables} - found.spare)
  ]
  loaded = match.assign()
  for line in loaded.lines():
    logging.info("%s", line)
  return loaded


class _Match:
  """Which variables get which arrays; nothing is assigned before the end."""

  def __init__(self, path: str, why_no_head: str) -> None:
    self._path = path
    self._why_no_head = why_no_head
    self._values: dict[str, tuple[Any, np.ndarray]] = {}
    self._new: dict[str, str] = {}
    self._changed: dict[str, str] = {}
    self.wrong: list[str] = []

  def head(self, name: str, variable: Any, array: np.ndarray | None) -> None:
    """Adds a variable of the head."""
    shape = tuple(variable.shape)
    if array is None:
      self._new[name] = self._why_no_head
    # A dense layer may have been a 1x1 convolution.
    elif array.squeeze().shape != tuple(size for size in shape if size != 1):
      self._new[name] = f"it is {list(array.shape)} there, {list(shape)} here"
    else:
      self._values[name] = variable, array.reshape(shape)

  def body(
    self, name: str, variable: Any, array: np.ndarray | None, *, needed: bool
  ) -> None:
    """Adds a variable of another layer."""
    shape = tuple(variable.shape)
    if array is not None and array.shape != shape:
      array, self._changed[name] = _with_channels(array, shape)
      if not self._changed[name]:
        del self._changed[name]
        self.wrong.append(f"{name} is {list(array.shape)}, not {list(shape)}")
        return
    if array is not None:
      self._values[name] = variable, array
    elif needed:
      self.wrong.append(f"{name} is missing")
    else:  # Of an auxiliary head.
      self._new[name] = "it is missing there"

  def assign(self) -> Loaded:
    """Assigns all, if nothing is wrong."""
    if self.wrong:
      count = len(self.wrong)
      more = f"; and {count - 3} more" if count > 3 else ""
      raise ConfigError(
        f"weights must be of the network that is trained, got {self._path!r}: "
        f"{'; '.join(self.wrong[:3])}{more}"
      )
    for variable, value in self._values.values():
      variable.assign(value)
    return Loaded(self._path, tuple(self._values), self._new, self._changed)


def _with_channels(
  array: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, str]:
  """Makes a kernel for gray images of one for RGB, or the reverse.

  The sum over red, green and blue sees a gray image as the kernel for RGB did;
  a third of a gray kernel for each sees gray RGB images likewise.

  Args:
    array: the kernel.
    shape: that it should have.

  Returns:
    The new kernel, and what was done; "" if nothing could be.
  """
  if array.ndim == 4 and array.shape[_CHANNELS] == 3:
    summed = array.sum(_CHANNELS, keepdims=True)
    if summed.shape == shape:
      return summed, "the sum over 3 channels, for gray images"
  if array.ndim == 4 and array.shape[_CHANNELS] == 1:
    repeated = np.repeat(array / 3, 3, _CHANNELS)
    if repeated.shape == shape:
      return repeated, "a third for each of 3 channels, for RGB images"
  return array, ""


def _require_padding(model: tf.keras.Model, source: pretrained.Source) -> None:
  """Raises if strided convolutions pad otherwise than in training."""
  layers = {layer.name for layer in model.layers}
  padding = "symmetric" if "stem_conv1_pad" in layers else "same"
  trained_with = source.network.get("padding", padding)
  if "stem_conv1" in layers and padding != trained_with:
    raise ConfigError(
      f"the model must be built with padding={trained_with!r} for weights "
      f"{source.path!r}, got {padding!r}"
    )


def named_variables(model: tf.keras.Model) -> dict[str, Any]:
  """Returns a model's floating-point variables by "layer/variable".

  The layer is the innermost that has the variable. Layers that Keras named are
  numbered anew, because it counts on from model to model; if a name occurs
  again, a number is appended.

  Args:
    model: a built model.
  """
  owners: dict[int, Any] = {}
  for layer in keras_compat.flat_layers(model):
    for variable in layer.weights:
      owner: Any = owners.get(id(variable), layer)
      if len(layer.weights) <= len(owner.weights):
        owners[id(variable)] = layer
  numbered: dict[str, dict[str, int]] = {}
  named: dict[str, Any] = {}
  for variable in model.weights:
    layer = owners[id(variable)].name
    kind = re.sub(r"_\d+$", "", layer)
    if kind in _KERAS_NAMES:
      numbers = numbered.setdefault(kind, {})
      layer = f"{kind}_{numbers.setdefault(layer, len(numbers))}"
    if not keras_compat.tf_variable(variable).dtype.is_floating:
      continue  # Such as the seed of a random layer.
    name = base = f"{layer}/{variable.name.split('/')[-1].split(':')[0]}"
    while name in named:
      name = f"{base}_{len(named)}"
    named[name] = variable
  return named


def _snake_case(name: str) -> str:
  """Returns the name that Keras gives a layer of a class."""
  name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
  return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_KERAS_NAMES = frozenset(map(_snake_case, dir(tf.keras.layers)))


def _read(
  source: pretrained.Source, model: tf.keras.Model, checkpoint: str
) -> _Weights:
  """Returns what a source holds."""
  path = source.path
  if path.endswith(".safetensors"):
    arrays = torch_resnet.read(path, torch_resnet.network_of(path))
    head = {n: arrays.pop(f"logits/{n}", None) for n in ("kernel", "bias")}
    return _Weights(arrays, {n: a for n, a in head.items() if a is not None})
  if path == pretrained.IMAGENET:
    found = _of_model(_read_imagenet(model))
    # Constants of the preprocessing, which is not loaded.
    return dataclasses.replace(found, spare=frozenset(found.body))
  if path.endswith(".weights.h5"):
    return _of_model(_read_h5(path, model))
  if os.path.isdir(path):
    return _of_model(_read_run(path, checkpoint))
  return _of_model(load_keras_file(path, "weights"))


def _of_model(model: tf.keras.Model) -> _Weights:
  """Returns a model's variables, but for those that are not a number."""
  head = {id(v) for v in fine_tuning.head(model).weights}
  main = {id(v) for v in auxiliary.main_output(model).weights}
  body: dict[str, np.ndarray] = {}
  last: dict[str, np.ndarray] = {}
  spare = set()
  for name, variable in named_variables(model).items():
    array = np.array(tf.convert_to_tensor(variable))
    if np.isnan(array).any():
      continue  # What a .weights.h5 file does not hold.
    if id(variable) in head:
      last[name.rpartition("/")[2]] = array
    else:
      body[name] = array
      spare |= {name} if id(variable) not in main else set()
  return _Weights(body, last, frozenset(spare))


def _read_run(path: str, checkpoint: str) -> tf.keras.Model:
  from train_loop import models
  from train_loop.workdir import checkpoints

  card = run_card.read(path) or {}
  model = models.build_model(**card["network"], dtype="float32")
  checkpoints.restore_model(model, path, checkpoint=checkpoint)
  return model


def load_keras_file(path: str, setting: str) -> tf.keras.Model:
  """Loads the model of a .keras file, in Keras' safe mode.

  Args:
    path: of the file.
    setting: that names it, for the error.

  Raises:
    ConfigError: the file is damaged, or holds layers that are not known.
  """
  keras_files.require_sound_archive(path, setting)
  # So that the layers of ours in it are known.
  from train_loop.models import compact_resnet, small_resnet  # noqa: F401

  try:
    return tf.keras.models.load_model(path, compile=False)
  # Keras raises what its file formats do, from BadZipFile to TypeError.
  except Exception as error:
    raise ConfigError(
      f"{setting} must be a .keras file of a model of Keras' own layers, got "
      f"{path!r}: {first_line(error)[:200]}"
    ) from error


def _read_h5(path: str, model: tf.keras.Model) -> tf.keras.Model:
  """Returns a copy of a model with a file's weights, NaN if it has none."""
  keras_files.require_sound_weights(path, "weights")
  copy = tf.keras.models.clone_model(model)
  for variable in named_variables(copy).values():
    variable.assign(np.full(variable.shape, np.nan, np.float32))
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # One for each layer of another shape.
      copy.load_weights(path, skip_mismatch=True)
  # Keras raises what h5py does, and errors of its own.
  except Exception as error:
    raise ConfigError(
      "weights must be a .weights.h5 file that this Keras saved of the same "
      f"network, got {path!r}: {first_line(error)[:200]}"
    ) from error
  return copy


def _read_imagenet(model: tf.keras.Model) -> tf.keras.Model:
  """Returns Keras' network of a model's name with Keras' own weights."""
  make = getattr(tf.keras.applications, model.name, None)
  if not isinstance(make, types.FunctionType):
    raise ConfigError(
      "weights must be a file or folder for a model that is not of keras:NAME, "
      f"got {pretrained.IMAGENET!r} for {model.name!r}"
    )
  try:
    return make(weights="imagenet")
  # Keras raises a bare Exception if the download fails.
  except Exception as error:
    file = re.search(r"[^/\s]+\.h5", str(error))
    raise ConfigError(
      f"weights 'imagenet' of keras:{model.name} cannot be had "
      f"({first_line(error)[:160]}): without a network put "
      f"{file[0] if file else 'the file'} into ~/.keras/models"
    ) from error
