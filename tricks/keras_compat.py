# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one file that knows how Keras 2 and Keras 3 differ.

TensorFlow 2.15 brings Keras 2, TensorFlow 2.16 and later Keras 3. Both keep a
functional model as a graph of nodes (one call of one layer each), under
slightly different names; Keras 3 wraps each tf.Variable in an object of its
own.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple, TypeVar

import tensorflow as tf

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Keras layers are typed loosely, because their classes differ by generation.
Layer = Any

# Keras 2 calls DepthwiseConv2D's kernel `depthwise_kernel`, Keras 3 `kernel`;
# SeparableConv2D has two kernels, recurrent cells have a second one.
_KERNEL_ATTRIBUTES = (
  "kernel",
  "depthwise_kernel",
  "pointwise_kernel",
  "recurrent_kernel",
)
# For Layer.add_weight: a half-precision policy must not cast the variable.
_ADD_WEIGHT = inspect.signature(tf.keras.layers.Layer.add_weight).parameters
KEEP_FLOAT32 = {
  "autocast" if "autocast" in _ADD_WEIGHT else "experimental_autocast": False
}

_BATCH_NORM_ATTRIBUTES = ("gamma", "moving_mean", "moving_variance")


class GraphNode(NamedTuple):
  """One call of one layer in a model's graph.

  Attributes:
    layer: the layer that is called; a layer that is called twice has two nodes.
    inbound: the positions, in the graph's list, of the nodes that feed it.
  """

  layer: Layer
  inbound: tuple[int, ...]


def unconverted(function: _Function) -> _Function:
  """Keeps AutoGraph off a function, but not off the layers that it calls.

  AutoGraph rewrites every function that a `tf.function` calls, for its Python
  control flow on tensors; ours has none, and that takes two seconds of each
  start. `tf.autograph.experimental.do_not_convert` would also keep it off what
  the function calls, and somebody's layer may need it under Keras 2.

  Args:
    function: one with no Python control flow on tensors.

  Returns:
    The function itself, marked as TensorFlow marks those it has converted.
  """
  function.autograph_info__ = {}  # type: ignore[attr-defined]
  return function


def tf_variable(variable: Any) -> tf.Variable:
  """Returns the tf.Variable that a Keras 3 variable wraps.

  Args:
    variable: a tf.Variable (Keras 2) or a keras.Variable (Keras 3).

  Returns:
    The tf.Variable; `variable` itself if it is one.
  """
  return variable if isinstance(variable, tf.Variable) else variable.value


def tf_variables(variables: Iterable[Any]) -> list[tf.Variable]:
  """Returns the tf.Variables that Keras variables wrap.

  Args:
    variables: as `tf_variable` takes them.

  Returns:
    `tf_variable` of each, in order.
  """
  return [tf_variable(variable) for variable in variables]


def variable_name(variable: Any) -> str:
  """Returns the name of a variable, which begins with that of its layer.

  Args:
    variable: as `tf_variable` takes it; Keras 3 shows the layer only of its
      own variables, not of the tf.Variables in them.
  """
  return getattr(variable, "path", variable.name)


def flat_layers(layer: Layer) -> list[Layer]:
  """Lists a layer or model and all its sublayers, each once.

  Args:
    layer: a Keras layer or model, of any depth of nesting.

  Returns:
    The layer itself, then its sublayers: nested models and their layers too.
  """
  if not isinstance(layer, tf.keras.layers.Layer):
    return [layer]  # Keras 3 puts plain operations, such as `x + y`, in graphs.
  return list({id(found): found for found in layer._flatten_layers()}.values())


def kernels(layer: Layer) -> list[Any]:
  """Lists the convolution and dense kernels that a layer itself owns.

  A kernel is recognised by the layer's attribute that holds it and by its rank
  (> 1), never by its name: an Embedding's table, a bias of rank 2 and a
  BatchNorm's γ are not kernels. A layer of your own names its kernels by an
  attribute or property `kernels`, a list of variables.

  Args:
    layer: a built Keras layer; its sublayers are left out.

  Returns:
    The layer's variables, as Keras holds them.
  """
  found = [getattr(layer, name, None) for name in _KERNEL_ATTRIBUTES]
  own = getattr(layer, "kernels", None)
  found += own if isinstance(own, (list, tuple)) else []
  return [
    kernel
    for kernel in found
    if kernel is not None and len(getattr(kernel, "shape", ())) > 1
  ]


def config_with_objects(layer: Layer) -> dict[str, Any]:
  """Returns a layer's config, with the user's functions and objects in it.

  `get_config` writes them down, and Keras cannot read all that it writes: a
  function of your own, or with Keras 3 tf.nn.swish.

  Args:
    layer: any; what it has no attribute for stays as it is written down.

  Returns:
    What `from_config` of its class, or of one with the same arguments, takes.
  """
  config = layer.get_config()
  for key in config:
    if key.endswith(("activation", "constraint", "initializer", "regularizer")):
      found = getattr(layer, key, config[key])
      # Keras 2 warns of an initializer that initializes a second layer.
      if type(found).__module__.partition(".")[0] not in ("keras", "tf_keras"):
        config[key] = found
  return config


def is_batch_norm(layer: Layer) -> bool:
  """Returns whether a layer is a BatchNorm: Keras' own, or one like it.

  Args:
    layer: a Keras layer.

  Returns:
    True if it has the attributes gamma, moving_mean and moving_variance.
  """
  return all(hasattr(layer, name) for name in _BATCH_NORM_ATTRIBUTES)


def repeats(layer: Layer) -> bool:
  """Returns whether a layer draws the same if its variables are set back.

  Keras 2's random layers, such as Dropout, draw from a state that is none of
  their variables.

  Args:
    layer: a Keras layer.
  """
  generator = getattr(layer, "_random_generator", None)
  return getattr(generator, "_rng_type", "stateless") == "stateless"


def flip(images: Any, *, axis: int) -> Any:
  """Reverses an axis of a symbolic tensor, by an operation that can be saved.

  Args:
    images: a Keras tensor.
    axis: the axis, counted with that of the batch.

  Returns:
    A Keras tensor of the same shape.
  """
  if hasattr(tf.keras, "ops"):
    return tf.keras.ops.flip(images, axis=axis)
  return tf.reverse(images, [axis])


def is_functional(layer: Layer) -> bool:
  """Returns whether a layer is a model whose graph of layers is known.

  Args:
    layer: a Keras layer or model.

  Returns:
    True for a functional model and for a built Sequential one; False for a
    subclassed model.
  """
  return isinstance(layer, tf.keras.Model) and bool(
    getattr(layer, "outputs", None)
  )


def rebuilt(
  model: tf.keras.Model, in_place_of: Callable[[Layer], Layer]
) -> tf.keras.Model:
  """Builds a model of the same graph from other layers.

  Args:
    model: a functional model (`is_functional`).
    in_place_of: from a layer of `model` to the one to call in its place, which
      may be the same.

  Returns:
    A model with inputs, layers and outputs of the same names and order.
  """
  inputs = None
  if not isinstance(model, tf.keras.Sequential):
    # Left to itself, Keras 3 renames the input layers.
    inputs = tf.nest.map_structure(_new_input, model.input)
  return tf.keras.models.clone_model(
    model, input_tensors=inputs, clone_function=in_place_of
  )


def _new_input(tensor: Any) -> Any:
  config = tensor._keras_history[0].get_config()
  return tf.keras.layers.InputLayer.from_config(config).output


def set_own_trainable(model: tf.keras.Model, trainable: bool) -> None:
  """Sets a model's own `trainable`, and leaves that of its layers.

  Keras' setter sets that of every layer in the model, too.

  Args:
    model: a Keras model.
    trainable: whether what is trainable in it counts as such.
  """
  model._trainable = trainable


def layer_graph(model: tf.keras.Model) -> list[GraphNode]:
  """Lists the calls of layers between a model's inputs and its outputs.

  A nested functional model is replaced by its own calls, as often as it is
  called. Calls that do not reach the model's outputs are left out.

  Args:
    model: a functional model (`is_functional`).

  Returns:
    The nodes in topological order: each stands after those that feed it.
  """
  graph: list[GraphNode] = []
  _append(model, [], graph)
  return graph


class Value:
  """A place for a tensor among a call's arguments.

  Attributes:
    number: of the tensor, in the order in which a model computes.
  """

  def __init__(self, number: int) -> None:
    self.number = number


class Call(NamedTuple):
  """A call of a layer, as a model computes it.

  Attributes:
    layer: the layer, which is no functional model.
    name: the layer's name; "model/layer" in a nested model.
    args: the arguments, with a `Value` in the place of each tensor.
    kwargs: likewise.
    outputs: the numbers of the tensors that it gives.
  """

  layer: Layer
  name: str
  args: tuple[Any, ...]
  kwargs: dict[str, Any]
  outputs: tuple[int, ...]

  @property
  def inputs(self) -> list[int]:
    """The numbers of the tensors that it takes."""
    given = tf.nest.flatten((self.args, self.kwargs))
    return [x.number for x in given if isinstance(x, Value)]

  def arguments(
    self, values: Mapping[int, Any], training: bool | None
  ) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns args and kwargs with tensors in the places of the values.

    Args:
      values: the tensors by their numbers.
      training: for a layer that asks for it.
    """
    args, kwargs = tf.nest.map_structure(
      lambda x: values[x.number] if isinstance(x, Value) else x,
      (self.args, self.kwargs),
    )
    # Keras 3's models overrule what the graph says, Keras 2's do not.
    if getattr(self.layer, "_call_has_training_arg", False) or (
      getattr(self.layer, "_expects_training_arg", False)
      and kwargs.get("training") is None
    ):
      kwargs = {**kwargs, "training": training}
    return args, kwargs


def layer_calls(model: tf.keras.Model) -> tuple[list[Call], list[int]]:
  """Returns a model as a list of calls, those of nested models in their place.

  Args:
    model: a functional model (`is_functional`) of one input.

  Returns:
    The calls in the model's own order, each after those that feed it; and the
    numbers of the model's outputs. The model's input has the number 0.
  """
  calls: list[Call] = []
  numbers = itertools.count()

  def follow(
    model: tf.keras.Model, inputs: Sequence[Value], prefix: str
  ) -> list[Value]:
    values = dict(zip(map(id, model.inputs), inputs))
    # Keras 3 keeps the graph of a Sequential apart.
    functional = getattr(model, "_functional", None) or model
    for _, nodes in sorted(functional._nodes_by_depth.items(), reverse=True):
      for node in nodes:
        if node.is_input:
          continue
        layer, args, kwargs = _call_of(node, values)
        name = prefix + layer.name
        symbolic = tf.nest.flatten(node.outputs)
        if is_functional(layer):
          given = tf.nest.flatten((args, kwargs))[: len(layer.inputs)]
          outputs = follow(layer, given, f"{name}/")
        else:
          outputs = [Value(next(numbers)) for _ in symbolic]
          made = tuple(value.number for value in outputs)
          calls.append(Call(layer, name, args, kwargs, made))
        values.update(zip(map(id, symbolic), outputs))
    return [values[id(tensor)] for tensor in model.outputs]

  outputs = follow(model, [Value(next(numbers))], "")
  return calls, [value.number for value in outputs]


class LayerByLayer(tf.keras.layers.Layer):
  """Computes a functional model by a function that calls each of its layers.

  What a nested functional model does is done by its own layers. Call it as the
  model is called, with `training`.
  """

  def __init__(
    self, model: tf.keras.Model, call_layer: Callable[..., Any]
  ) -> None:
    """Prepares the calls.

    Args:
      model: a functional model (`is_functional`) of one input.
      call_layer: called as (layer, name, args, kwargs), in the model's own
        order, for each call of a layer; returns its outputs. The name of a
        layer in a nested model is "model/layer".
    """
    super().__init__(dtype="float32", autocast=False)
    self.model = model
    self._call_layer = call_layer

  def call(self, inputs: Any, training: bool | None = None) -> list[Any]:
    """Returns the model's outputs, in a list."""
    calls, outputs = layer_calls(self.model)
    values = {0: inputs}
    for call in calls:
      args, kwargs = call.arguments(values, training)
      given = self._call_layer(call.layer, call.name, args, kwargs)
      values.update(zip(call.outputs, tf.nest.flatten(given)))
    return [values[number] for number in outputs]


def _call_of(
  node: Any, values: dict[int, Value]
) -> tuple[Layer, tuple[Any, ...], dict[str, Any]]:
  """Returns a node's layer and its arguments, with values for the symbols."""
  if hasattr(node, "arguments"):  # Keras 3.
    layer, given = node.operation, (node.arguments.args, node.arguments.kwargs)
  else:
    layer, given = node.layer, (node.call_args, node.call_kwargs)
  args, kwargs = tf.nest.map_structure(lambda x: values.get(id(x), x), given)
  return layer, tuple(args), kwargs


def producer(tensor: Any) -> tuple[Layer, list[Any]]:
  """Returns the layer that a symbolic tensor comes from, and its inputs.

  Args:
    tensor: symbolic, such as an output of a functional model.

  Returns:
    The layer, and the symbolic tensors that it was called with: none if it is
    an input layer.
  """
  layer, index, _ = tensor._keras_history
  return layer, _inputs(layer._inbound_nodes[index])


def _inputs(node: Any) -> list[Any]:
  if node.is_input:
    return []  # Keras 2 says that an InputLayer is fed by itself.
  # Keras 2 keeps the symbolic inputs of a call apart from its constants.
  return list(getattr(node, "keras_inputs", node.input_tensors))


def _append(
  model: tf.keras.Model, fed_by: list[int], graph: list[GraphNode]
) -> list[int]:
  """Appends a model's calls to `graph`; returns the nodes of its outputs."""
  produced: dict[tuple[int, int], list[int]] = {}  # call -> node an output

  def call_of(tensor: Any) -> tuple[int, int]:
    return id(tensor._keras_history[0]), tensor._keras_history[1]

  def producer(tensor: Any) -> int:
    return produced[call_of(tensor)][tensor._keras_history[2]]

  for tensor, source in zip(model.inputs, fed_by):
    produced[call_of(tensor)] = [source]
  # An explicit stack, because networks are deeper than Python's own.
  pending = list(model.outputs)
  while pending:
    layer, index, _ = pending[-1]._keras_history
    node = layer._inbound_nodes[index]
    inputs = _inputs(node)
    waiting = [tensor for tensor in inputs if call_of(tensor) not in produced]
    if (id(layer), index) in produced:
      pending.pop()
    elif waiting:
      pending.extend(reversed(waiting))  # The first input's layers first.
    elif is_functional(layer):
      inbound = [producer(tensor) for tensor in inputs]
      produced[id(layer), index] = _append(layer, inbound, graph)
    else:
      graph.append(GraphNode(layer, tuple(map(producer, inputs))))
      outputs = tf.nest.flatten(node.outputs)
      produced[id(layer), index] = [len(graph) - 1] * len(outputs)
  return [producer(tensor) for tensor in model.outputs]
