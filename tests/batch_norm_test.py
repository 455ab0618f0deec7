# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""BatchNorm against formulas in NumPy, Keras' own layer, and itself."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from train_loop.models.batch_norm import BatchNorm
from tricks.keras_compat import tf_variable

MODES = {
  "eager": lambda function: function,
  "graph": tf.function,
  "xla": functools.partial(tf.function, jit_compile=True),
}
SHAPES = [(4, 5, 3, 7), (16, 1, 1, 2), (2, 8, 8, 1), (32, 6)]
# Policy -> tolerance of a result that is rounded to its compute dtype.
POLICIES = {"float32": 2e-5, "mixed_float16": 4e-3, "mixed_bfloat16": 3e-2}
STATISTICS = ("moving_mean", "moving_variance")


class Result(NamedTuple):
  """What a layer gives for inputs, and for the gradient of its outputs."""

  outputs: Any
  d_inputs: Any
  d_gamma: Any
  d_beta: Any


def reference(inputs, upstream, parameters, *, epsilon, training=True):
  """Ioffe and Szegedy 2015, algorithm 1 and section 3, in float64."""
  axes = tuple(range(inputs.ndim - 1))
  x, dy = np.asarray(inputs, "float64"), np.asarray(upstream, "float64")
  gamma, beta, mean, variance = (np.asarray(p, "float64") for p in parameters)
  if training:
    mean, variance = x.mean(axes), x.var(axes)
  deviation = np.sqrt(variance + epsilon)
  normalized = (x - mean) / deviation
  d_beta, d_gamma = dy.sum(axes), (dy * normalized).sum(axes)
  dx = dy
  if training:
    count = x.size // x.shape[-1]
    dx = dy - d_beta / count - normalized * d_gamma / count
  outputs = gamma * normalized + beta
  return Result(outputs, gamma / deviation * dx, d_gamma, d_beta)


def make_data(shape, dtype="float32", *, seed=0, mean=1.5):
  rng = np.random.default_rng(seed)
  inputs = mean + 2.0 * rng.standard_normal(shape)
  upstream = rng.standard_normal(shape)
  return tf.cast(inputs, dtype), tf.cast(upstream, dtype)


def make_layer(shape, *, layer_class=BatchNorm, **kwargs):
  """A built layer whose parameters and statistics are nothing special."""
  layer = layer_class(**kwargs)
  layer.build((None, *shape[1:]))
  rng = np.random.default_rng(7)
  for variable, low in (
    (layer.gamma, 0.5),
    (layer.beta, -1.0),
    (layer.moving_mean, -1.0),
    (layer.moving_variance, 0.5),
  ):
    variable.assign(rng.uniform(low, 2.0, shape[-1:]).astype("float32"))
  return layer


def numpy_of(variable):
  return tf_variable(variable).numpy()


def parameters_of(layer):
  return [
    numpy_of(v)
    for v in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
  ]


def call(layer, inputs, upstream, *, training):
  sources = [inputs, tf_variable(layer.gamma), tf_variable(layer.beta)]
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    outputs = layer(inputs, training=training)
  return Result(
    outputs, *tape.gradient(outputs, sources, output_gradients=upstream)
  )


def assert_close(result, expected, tolerance):
  for name, got, want in zip(Result._fields, result, expected):
    got, want = np.asarray(tf.cast(got, tf.float64)), np.asarray(want)
    scale = max(1.0, np.abs(want).max())
    np.testing.assert_allclose(
      got / scale, want / scale, rtol=0, atol=tolerance, err_msg=name
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_training_equals_reference(shape, policy, mode):
  layer = make_layer(shape, dtype=policy, momentum=0.8, epsilon=1e-3)
  inputs, upstream = make_data(shape, layer.compute_dtype)
  before = parameters_of(layer)
  step = MODES[mode](functools.partial(call, layer, training=True))
  result = step(inputs, upstream)
  expected = reference(
    np.asarray(inputs), np.asarray(upstream), before, epsilon=1e-3
  )
  assert_close(result, expected, POLICIES[policy])
  assert result.outputs.dtype == layer.compute_dtype
  axes = tuple(range(len(shape) - 1))
  x = np.asarray(inputs, "float64")
  for name, old, batch in (
    ("moving_mean", before[2], x.mean(axes)),
    # The unbiased variance: divided by n - 1.
    ("moving_variance", before[3], x.var(axes, ddof=1)),
  ):
    np.testing.assert_allclose(
      numpy_of(getattr(layer, name)),
      0.8 * old + 0.2 * batch,
      rtol=2e-5,
      err_msg=name,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [(4, 5, 3, 7), (32, 6)])
def test_inference_equals_reference(shape, policy, mode):
  layer = make_layer(shape, dtype=policy, epsilon=1e-3)
  inputs, upstream = make_data(shape, layer.compute_dtype)
  before = parameters_of(layer)
  step = MODES[mode](functools.partial(call, layer, training=False))
  expected = reference(
    np.asarray(inputs),
    np.asarray(upstream),
    before,
    epsilon=1e-3,
    training=False,
  )
  assert_close(step(inputs, upstream), expected, POLICIES[policy])
  np.testing.assert_equal(parameters_of(layer), before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_keras(shape, trainable, training):
  arguments = {"momentum": 0.7, "epsilon": 1e-3, "trainable": trainable}
  ours = make_layer(shape, **arguments)
  keras = make_layer(
    shape, layer_class=tf.keras.layers.BatchNormalization, **arguments
  )
  inputs, upstream = make_data(shape)
  before = parameters_of(ours)
  result = call(ours, inputs, upstream, training=training)
  expected = call(keras, inputs, upstream, training=training)
  assert_close(result, [np.asarray(value) for value in expected], 2e-5)
  np.testing.assert_allclose(
    numpy_of(ours.moving_mean), numpy_of(keras.moving_mean), rtol=1e-5
  )
  variance = numpy_of(keras.moving_variance)
  if training and trainable and not getattr(keras, "fused", False):
    # Keras 2's layer on the fused op follows the batch's unbiased variance,
    # as ours does; off the fused op, and in Keras 3, it is the biased one.
    count = np.prod(shape[:-1])
    batch = variance - 0.7 * before[3]
    variance = 0.7 * before[3] + batch * count / (count - 1)
  np.testing.assert_allclose(
    numpy_of(ours.moving_variance), variance, rtol=1e-5
  )


@pytest.mark.parametrize(
  "options",
  [
    {"scale": False},
    {"center": False},
    {"scale": False, "center": False},
    {"momentum": 0.0},
    {"momentum": 1.0},
    {
      "beta_initializer": "ones",
      "gamma_initializer": tf.keras.initializers.Constant(0.5),
      "moving_mean_initializer": "ones",
      "moving_variance_initializer": tf.keras.initializers.Constant(3.0),
      "gamma_regularizer": tf.keras.regularizers.L2(0.1),
      "beta_regularizer": "l1",
      "gamma_constraint": "non_neg",
      "beta_constraint": tf.keras.constraints.MaxNorm(2.0),
    },
  ],
  ids=lambda options: "+".join(options),
)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 3, 7), 3), ((32, 6), 1)])
def test_takes_the_place_of_keras_layer(shape, axis, training, options):
  keras = tf.keras.layers.BatchNormalization(axis, name="bn", **options)
  keras.build((None, *shape[1:]))
  fused = getattr(keras, "fused", False)
  ours = BatchNorm.from_config(
    {**keras.get_config(), "unbiased_variance": fused}
  )
  ours.build((None, *shape[1:]))
  inputs, upstream = make_data(shape)
  results = []
  for layer in (keras, ours):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      outputs = layer(inputs, training=training)
    sources = [inputs, *map(tf_variable, layer.trainable_variables)]
    gradients = tape.gradient(outputs, sources, output_gradients=upstream)
    losses = [float(loss) for loss in layer.losses]
    values = [numpy_of(v) for v in layer.weights]
    results.append([outputs, *gradients, *values, *losses])
  names = [weight.name.split("/")[-1] for weight in keras.weights]
  assert [weight.name.split("/")[-1] for weight in ours.weights] == names
  assert len(results[0]) == len(results[1])
  for got, want in zip(results[1], results[0]):
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
  for name in ("gamma_constraint", "beta_constraint"):
    assert type(getattr(ours, name)) is type(getattr(keras, name))
  config = ours.get_config()
  assert BatchNorm.from_config(config).get_config() == config


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 3, 7), (32, 6)])
def test_masked_values_do_not_count(shape, training, unbiased):
  layer = make_layer(shape, unbiased_variance=unbiased)
  keras = make_layer(
    shape,
    layer_class=tf.keras.layers.BatchNormalization,
    momentum=0.9,
    epsilon=1e-5,
    # Keras 2's fused layer takes no mask.
    **({} if tf.__version__ > "2.16" else {"fused": False}),
  )
  inputs, _ = make_data(shape)
  mask = np.random.default_rng(3).random(shape[:-1]) < 0.6
  mask.flat[0] = True
  before = parameters_of(layer)
  outputs = layer(inputs, training=training, mask=tf.constant(mask))
  expected = keras(inputs, training=training, mask=tf.constant(mask))
  np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-5)
  if not training:
    return
  counted = np.asarray(inputs, "float64")[mask]
  for name, old, batch in (
    ("moving_mean", before[2], counted.mean(0)),
    ("moving_variance", before[3], counted.var(0, ddof=int(unbiased))),
  ):
    np.testing.assert_allclose(
      numpy_of(getattr(layer, name)), 0.9 * old + 0.1 * batch, rtol=2e-5
    )


def test_a_mask_of_another_rank_is_refused():
  layer = make_layer((8, 4, 4, 3))
  with pytest.raises(ValueError, match="mask must have the input's shape with"):
    layer(tf.zeros((8, 4, 4, 3)), mask=tf.ones((8, 4), tf.bool))


def test_clone_model_puts_it_into_a_network_of_keras():
  """The article's Inception-V3 has no γ in any of its 94 layers."""
  model = tf.keras.applications.InceptionV3(
    weights=None, input_shape=(75, 75, 3), include_top=False
  )

  def ours(layer):
    if isinstance(layer, tf.keras.layers.BatchNormalization):
      return BatchNorm.from_config(layer.get_config())
    return layer

  clone = tf.keras.models.clone_model(model, clone_function=ours)
  found = [x for x in clone.layers if isinstance(x, BatchNorm)]
  assert len(found) == 94
  assert all(layer.gamma is None for layer in found)
  assert [v.shape for v in clone.weights] == [v.shape for v in model.weights]


def test_frozen_layer_is_in_inference():
  layer = make_layer((8, 4, 4, 3))
  inputs, upstream = make_data((8, 4, 4, 3))
  before = parameters_of(layer)
  inference = call(layer, inputs, upstream, training=False)
  layer.trainable = False
  frozen = call(layer, inputs, upstream, training=True)
  for got, want in zip(frozen, inference):
    np.testing.assert_array_equal(got, want)
  np.testing.assert_equal(parameters_of(layer), before)
  assert not layer.trainable_variables
  layer.trainable = True
  call(layer, inputs, upstream, training=True)
  assert np.any(parameters_of(layer)[2] != before[2])


def test_layer_is_in_inference_by_default():
  layer = make_layer((8, 4, 4, 3))
  inputs, _ = make_data((8, 4, 4, 3))
  np.testing.assert_array_equal(layer(inputs), layer(inputs, training=False))


@pytest.mark.parametrize("policy", POLICIES)
def test_parameters_stay_float32(policy):
  layer = make_layer((4, 2, 2, 1), dtype=policy)
  assert {numpy_of(v).dtype.name for v in layer.variables} == {"float32"}
  # As float16 these would be infinite, and as bfloat16 be rounded to 0.
  layer.gamma.assign([1e5])
  layer.beta.assign([0.0])
  layer.moving_mean.assign([0.0])
  layer.moving_variance.assign([1e10])
  outputs = layer(tf.fill([4, 2, 2, 1], tf.cast(3.0, layer.compute_dtype)))
  np.testing.assert_allclose(tf.cast(outputs, tf.float32), 3.0, rtol=1e-2)
  layer.moving_mean.assign([1.0 + 2.0**-10])
  layer.gamma.assign([1e5 * 2.0**10])
  ones = tf.ones([4, 2, 2, 1], layer.compute_dtype)
  outputs = tf.cast(layer(ones), tf.float32)
  np.testing.assert_allclose(outputs, -1.0, rtol=1e-2)


@pytest.mark.parametrize("policy", POLICIES)
def test_float32_inputs_come_out_in_the_compute_dtype(policy):
  layer = make_layer((4, 2, 2, 3), dtype=policy)
  inputs, _ = make_data((4, 2, 2, 3))
  assert layer(inputs, training=True).dtype == layer.compute_dtype


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 3, 7), (32, 6)])
def test_runs_on_the_fused_op(shape, training):
  layer = make_layer(shape)
  step = tf.function(functools.partial(layer, training=training))
  graph = step.get_concrete_function(make_data(shape)[0]).graph
  types = [operation.type for operation in graph.get_operations()]
  assert types.count("FusedBatchNormV3") == 1
  # And no moments or arithmetic on the activations beside it.
  assert not {"Mean", "SquaredDifference", "Sub", "Rsqrt"} & set(types)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
  ("gpus", "channels", "dtype"),
  [([], 8, "float32"), ([], 16, "bfloat16"), (["GPU"], 8, "bfloat16")],
)
def test_no_bfloat16_for_which_a_cpu_has_no_kernel(
  training, gpus, channels, dtype, monkeypatch
):
  shape = (4, 5, 3, channels)
  layer = make_layer(shape, dtype="mixed_bfloat16")
  monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
  step = tf.function(functools.partial(layer, training=training))
  concrete = step.get_concrete_function(make_data(shape, "bfloat16")[0])
  (fused,) = [
    operation
    for operation in concrete.graph.get_operations()
    if operation.type == "FusedBatchNormV3"
  ]
  assert fused.get_attr("T") == tf.as_dtype(dtype)
  assert concrete.structured_outputs.dtype == tf.bfloat16


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [(None, None, 3), (5, 4, 3), (6,)])
def test_symbolic_shape(shape, policy):
  inputs = tf.keras.Input(shape)
  layer = BatchNorm(dtype=policy)
  outputs = layer(inputs)
  assert tuple(outputs.shape) == (None, *shape)
  assert tf.as_dtype(outputs.dtype) == layer.compute_dtype
  assert tuple(layer.compute_output_shape((2, *shape))) == (2, *shape)
  model = tf.keras.Model(inputs, outputs)
  data, _ = make_data((2, *(size or 4 for size in shape)))
  assert model(data).shape == data.shape


def test_keras_trains_it():
  inputs = tf.keras.Input((4, 4, 2))
  hidden = tf.keras.layers.Conv2D(3, 3, use_bias=False)(inputs)
  hidden = BatchNorm(momentum=0.5)(hidden)
  outputs = tf.keras.layers.GlobalAveragePooling2D()(hidden)
  model = tf.keras.Model(inputs, outputs)
  layer = model.layers[2]
  model.compile(optimizer="sgd", loss="mse")
  images, _ = make_data((8, 4, 4, 2))
  before = parameters_of(layer)
  model.train_on_batch(images, tf.ones([8, 3]))
  for old, new in zip(before[1:], parameters_of(layer)[1:]):
    assert np.all(old != new)


def test_is_serialisable(tmp_path):
  inputs = tf.keras.Input((4, 4, 3))
  layer = BatchNorm(
    momentum=0.75,
    epsilon=0.25,
    gamma_initializer="zeros",
    synchronized=True,
    name="bn",
  )
  model = tf.keras.Model(inputs, layer(inputs))
  images, _ = make_data((8, 4, 4, 3))
  layer.gamma.assign([1.0, 2.0, 3.0])
  model(images, training=True)  # So that the statistics are not the first ones.
  path = str(tmp_path / "model.keras")
  model.save(path)
  loaded = tf.keras.models.load_model(path)
  np.testing.assert_allclose(loaded(images), model(images), rtol=1e-6)
  clone = tf.keras.models.clone_model(model)
  copy = BatchNorm.from_config(layer.get_config())
  for other in (loaded.get_layer("bn"), clone.get_layer("bn"), copy):
    assert type(other) is BatchNorm
    assert other.get_config() == layer.get_config()
    assert (other.momentum, other.epsilon) == (0.75, 0.25)
    assert other.synchronized
  np.testing.assert_array_equal(numpy_of(clone.get_layer("bn").gamma), 0.0)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
    ({"momentum": -0.1}, r"momentum must be in \[0, 1\], got -0.1"),
    ({"momentum": float("nan")}, r"momentum must be in \[0, 1\], got nan"),
    # The op would add 1.001e-5 in its place.
    ({"epsilon": 9e-6}, "epsilon must be >= 1e-05, got 9e-06"),
    ({"axis": [1, 2]}, r"axis must be one axis, the last, got \[1, 2\]"),
    ({"renorm": True}, "renorm must be left out, .* got True; use tf.keras"),
    ({"fused": False}, "fused must be left out, .* got False; use tf.keras"),
    ({"virtual_batch_size": 2}, "virtual_batch_size must be left out"),
  ],
)
def test_arguments_out_of_range(arguments, message):
  with pytest.raises(ValueError, match=message):
    BatchNorm(**arguments)


@pytest.mark.parametrize(
  ("shape", "axis"),
  [((8, 4, 4, 3), 1), ((8, 4, 4, 3), -3), ((8, 3), 0), ((8, 3), 3)],
)
def test_an_axis_that_is_not_the_last_is_refused(shape, axis):
  message = f"axis must be the last one, -1 or {len(shape) - 1}, got {axis} "
  with pytest.raises(ValueError, match=message):
    BatchNorm(axis).build(shape)


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ((None, 5, 3), r"rank 2 or 4, got .*\(None, 5, 3\); reshape"),
    ((None, 4, 4, None), r"number of channels, got .*\(None, 4, 4, None\)"),
  ],
)
def test_input_shapes_it_cannot_take(shape, message):
  with pytest.raises(ValueError, match=message):
    BatchNorm().build(shape)


def test_float64_it_cannot_take():
  with pytest.raises(ValueError, match=r"dtype must be one of .* got float64"):
    BatchNorm(dtype="float64").build((None, 3))


def run_on_replicas(strategy, function, parts):
  """Calls `function(*parts[i])` on replica i; returns each one's results."""
  values = strategy.experimental_distribute_values_from_function(
    lambda context: parts[context.replica_id_in_sync_group]
  )

  @tf.function
  def step(values):
    return strategy.run(lambda part: function(*part), args=(values,))

  fields = map(strategy.experimental_local_results, step(values))
  return [Result(*replica) for replica in zip(*fields)]


def copies_of(strategy, variable):
  copies = strategy.experimental_local_results(tf_variable(variable))
  return [copy.numpy() for copy in copies]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_each_replica_has_statistics_of_its_own(strategy, policy, jit_compile):
  shape = (4, 5, 3, 7)
  with strategy.scope():
    layer = make_layer(shape, dtype=policy, epsilon=1e-3)
  before = parameters_of(layer)
  parts = [
    make_data(shape, layer.compute_dtype, seed=seed, mean=seed)
    for seed in (1, 2)
  ]
  step = functools.partial(call, layer, training=True)
  if jit_compile:  # As the training step does: only this part is compiled.
    step = tf.function(step, jit_compile=True)
  results = run_on_replicas(strategy, step, parts)
  for result, part in zip(results, parts):
    expected = reference(*map(np.asarray, part), before, epsilon=1e-3)
    assert_close(result, expected, POLICIES[policy])
  batches = [np.asarray(inputs, "float64") for inputs, _ in parts]
  axes = (0, 1, 2)
  for variable, old, of_batch in (
    (layer.moving_mean, before[2], lambda x: x.mean(axes)),
    (layer.moving_variance, before[3], lambda x: x.var(axes, ddof=1)),
  ):
    np.testing.assert_allclose(
      copies_of(strategy, variable),
      [0.9 * old + 0.1 * of_batch(x) for x in batches],
      rtol=2e-5,
    )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
  ("shape", "sizes"), [((8, 5, 3, 7), (4, 4)), ((8, 6), (3, 5))]
)
def test_synchronized_replicas_equal_one(strategy, shape, sizes, policy):
  one = make_layer(shape, dtype=policy)
  with strategy.scope():
    layer = make_layer(shape, dtype=policy, synchronized=True)
  inputs, upstream = make_data(shape, layer.compute_dtype)
  expected = call(one, inputs, upstream, training=True)
  parts = list(zip(tf.split(inputs, sizes), tf.split(upstream, sizes)))
  step = functools.partial(call, layer, training=True)
  results = run_on_replicas(strategy, step, parts)
  together = Result(
    tf.concat([result.outputs for result in results], 0),
    tf.concat([result.d_inputs for result in results], 0),
    sum(result.d_gamma for result in results),
    sum(result.d_beta for result in results),
  )
  expected = [tf.cast(value, tf.float64) for value in expected]
  assert_close(together, expected, min(POLICIES[policy], 4e-3) / 4)
  assert {r.outputs.dtype for r in results} == {inputs.dtype}
  for name in STATISTICS:
    copies = copies_of(strategy, getattr(layer, name))
    np.testing.assert_array_equal(copies[0], copies[1])
    np.testing.assert_allclose(
      copies[0], numpy_of(getattr(one, name)), rtol=1e-5, err_msg=name
    )


def test_synchronized_variance_does_not_cancel(strategy):
  """A mean of 1000 deviations: E[x^2] - E[x]^2 in float32 would be noise."""
  inputs, upstream = make_data((64, 4, 4, 2), mean=2000.0)
  with strategy.scope():
    layer = make_layer(inputs.shape, synchronized=True)
  before = parameters_of(layer)
  parts = list(zip(tf.split(inputs, 2), tf.split(upstream, 2)))
  step = functools.partial(call, layer, training=True)
  results = run_on_replicas(strategy, step, parts)
  expected = reference(
    np.asarray(inputs), np.asarray(upstream), before, epsilon=1e-5
  )
  outputs = tf.concat([result.outputs for result in results], 0)
  np.testing.assert_allclose(outputs, expected.outputs, atol=1e-3)


def test_synchronized_layer_of_one_replica_is_the_fused_one():
  shape = (4, 5, 3, 7)
  inputs, upstream = make_data(shape)
  layers = [make_layer(shape, synchronized=flag) for flag in (False, True)]
  results = [call(layer, inputs, upstream, training=True) for layer in layers]
  for got, want in zip(results[1], results[0]):
    np.testing.assert_array_equal(got, want)


def test_synchronized_layer_in_a_nested_function_is_refused(strategy):
  """TensorFlow refuses it: better than statistics that are not global."""
  shape = (4, 5, 3, 7)
  with strategy.scope():
    layer = make_layer(shape, synchronized=True)
  step = tf.function(functools.partial(call, layer, training=True))
  with pytest.raises(RuntimeError, match="merge_call"):
    run_on_replicas(strategy, step, [make_data(shape)] * 2)
