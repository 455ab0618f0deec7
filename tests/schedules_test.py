# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of the schedules against scalar float64 references and Keras' own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import modes
from tricks import schedules

keras_schedules = tf.keras.optimizers.schedules
STABLE = "warmup_stable_decay"


def rates(schedule, steps):
  return np.array([schedule(int(step)) for step in steps])


def reference_decay(name, u, span, peak):
  """The decay `u` steps after its start, of `span` steps, by hand."""
  done = min(u / span, 1.0)
  if name == "cosine":
    return peak * math.cos(math.pi * done / 2) ** 2
  if name == "linear":
    return peak - (peak - 0.01) * done
  if name == "polynomial":
    return 0.01 + (peak - 0.01) * (1 - done) ** 3
  if name == "exponential":
    return peak * 0.2 ** (u / span)
  if name == STABLE:
    return peak * (1 - math.sqrt(max(0.0, min((u - span) / 9 + 1, 1.0))))
  if name == "step":
    return peak * 0.2 ** sum(u >= boundary for boundary in (20, 30))
  return peak


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("peak", [0.4, 1e-3])
@pytest.mark.parametrize(
  ("warmup_steps", "initial", "hold_steps"),
  [(0, 0.0, 0), (1, 0.0, 0), (7, 0.0, 0), (7, 0.05, 4), (0, 0.0, 4)],
)
def test_each_schedule_is_its_formula(
  name, peak, warmup_steps, initial, hold_steps
):
  if name == STABLE:
    hold_steps = 0
  total_steps, start = 50, warmup_steps + hold_steps
  schedule = schedules.make_schedule(
    name,
    peak_learning_rate=peak,
    total_steps=total_steps,
    warmup_steps=warmup_steps,
    warmup_learning_rate=initial,
    hold_steps=hold_steps,
    boundary_steps=[start + 20, start + 30],
    decay_factor=0.2,
    end_learning_rate=0.01,
    polynomial_power=3.0,
    decay_steps=9,
  )
  steps = range(total_steps + 5)
  expected = []
  for s in steps:
    if s < warmup_steps:
      expected.append(initial + (peak - initial) * (s + 1) / warmup_steps)
    elif s < start:
      expected.append(peak)
    else:
      span = total_steps - start
      expected.append(reference_decay(name, s - start, span, peak))
  np.testing.assert_allclose(
    rates(schedule, steps), expected, rtol=2e-7, atol=1e-9
  )


def test_warmup_ends_at_the_peak_and_cosine_at_zero_exactly():
  schedule = schedules.warmup_hold_cosine(
    0.3, total_steps=100, warmup_steps=10, hold_steps=5
  )
  peak = np.float32(0.3)
  found = rates(schedule, [9, 10, 14, 15, 100, 101, 10**9])
  np.testing.assert_array_equal(found, [peak, peak, peak, peak, 0, 0, 0])
  assert 0 < schedule(99) < peak / 1000
  assert schedule(0) == pytest.approx(0.03)


def test_warmup_of_no_steps_is_the_identity():
  decay = schedules.cosine(0.3, 20)
  schedule = schedules.warmup(decay, warmup_steps=0, hold_steps=0)
  np.testing.assert_array_equal(
    rates(schedule, range(25)), rates(decay, range(25))
  )


def test_cosine_equals_keras_without_warmup():
  ours = schedules.cosine(0.4, 90)
  keras = keras_schedules.CosineDecay(0.4, 90)
  np.testing.assert_allclose(
    rates(ours, range(100)), rates(keras, range(100)), rtol=1e-5, atol=1e-7
  )


@pytest.mark.parametrize(("initial", "warmup_steps"), [(0.0, 5), (0.1, 12)])
def test_warmup_is_keras_one_step_ahead_and_cosine_equals_it(
  initial, warmup_steps
):
  # Keras' step 0 trains at the initial rate, which is 0: a step for nothing.
  ours = schedules.warmup_hold_cosine(
    0.4,
    total_steps=60,
    warmup_steps=warmup_steps,
    warmup_learning_rate=initial,
  )
  keras = keras_schedules.CosineDecay(
    initial,
    60 - warmup_steps,
    warmup_target=0.4,
    warmup_steps=warmup_steps,
  )
  rising, falling = np.arange(warmup_steps), np.arange(warmup_steps, 65)
  np.testing.assert_allclose(
    rates(ours, rising), rates(keras, rising + 1), rtol=1e-6
  )
  np.testing.assert_allclose(
    rates(ours, falling), rates(keras, falling), rtol=1e-5, atol=1e-7
  )


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial_equals_keras(power):
  ours = schedules.polynomial(0.4, 50, end_learning_rate=0.02, power=power)
  keras = keras_schedules.PolynomialDecay(0.4, 50, 0.02, power=power)
  np.testing.assert_allclose(
    rates(ours, range(60)), rates(keras, range(60)), rtol=1e-5
  )


def test_exponential_equals_keras():
  ours = schedules.exponential(0.4, 30, decay_factor=0.1)
  keras = keras_schedules.ExponentialDecay(0.4, 30, 0.1)
  np.testing.assert_allclose(
    rates(ours, range(90)), rates(keras, range(90)), rtol=1e-5
  )


def test_piecewise_equals_keras_whose_boundaries_are_the_steps_before():
  ours = schedules.piecewise([0.4, 0.04, 0.004], [30, 60])
  keras = keras_schedules.PiecewiseConstantDecay([29, 59], [0.4, 0.04, 0.004])
  np.testing.assert_array_equal(rates(ours, range(90)), rates(keras, range(90)))


def test_step_schedule_is_the_papers_baseline():
  schedule = schedules.make_schedule(
    "step",
    peak_learning_rate=0.1,
    total_steps=120,
    warmup_steps=5,
    boundary_steps=[30, 60, 90],
  )
  found = rates(schedule, [5, 29, 30, 59, 60, 89, 90, 119])
  expected = [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_until_its_decay_a_stable_schedule_knows_no_end():
  short, long = (
    schedules.warmup_stable_decay(
      0.3, total_steps=total, decay_steps=20, warmup_steps=5
    )
    for total in (60, 100)
  )
  np.testing.assert_array_equal(rates(short, range(41)), rates(long, range(41)))
  assert short(41) < short(40) == long(80) == np.float32(0.3)
  assert short(59) > 0 == short(60) == long(100)


@pytest.mark.parametrize(
  ("shape", "expected"),
  [("sqrt", 0.15), ("linear", 0.225), ("cosine", 0.15 + 0.3 * 0.125**0.5)],
)
def test_each_shape_decays_by_its_formula(shape, expected):
  schedule = schedules.warmup_stable_decay(
    0.3, total_steps=40, decay_steps=16, decay_shape=shape
  )
  assert schedule(28) == pytest.approx(expected, rel=1e-6)


def test_a_cosine_that_decays_from_the_warmup_on_is_the_papers():
  ours = schedules.warmup_stable_decay(
    0.3, total_steps=50, decay_steps=40, warmup_steps=10, decay_shape="cosine"
  )
  papers = schedules.warmup_hold_cosine(0.3, total_steps=50, warmup_steps=10)
  np.testing.assert_array_equal(
    rates(ours, range(55)), rates(papers, range(55))
  )


def test_join_starts_each_schedule_at_its_own_step_zero():
  parts = [lambda s, i=i: tf.cast(s, tf.float32) + 100.0 * i for i in range(3)]
  schedule = schedules.join(parts, [3, 5])
  np.testing.assert_array_equal(
    rates(schedule, range(8)), [0, 1, 2, 100, 101, 200, 201, 202]
  )


def test_late_steps_are_told_apart():
  # float32 has no 2^24 + 1: it would make two steps one.
  schedule = schedules.linear(1.0, 2**25)
  last = rates(schedule, [2**25 - 3, 2**25 - 2, 2**25 - 1, 2**25])
  np.testing.assert_array_equal(last, np.array([3, 2, 1, 0]) * 2.0**-25)


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("mode", modes.MODES)
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_modes_and_integer_types_agree(name, mode, dtype):
  schedule = schedules.make_schedule(
    name,
    peak_learning_rate=0.4,
    total_steps=40,
    warmup_steps=6,
    hold_steps=0 if name == STABLE else 3,
    boundary_steps=[20],
    decay_steps=15,
  )
  steps = range(0, 45, 2)
  found = modes.run(
    lambda at: tf.map_fn(schedule, at, fn_output_signature=tf.float32),
    mode,
    tf.constant(steps, dtype),
  )
  np.testing.assert_allclose(found, rates(schedule, steps), rtol=2e-7)
  assert schedule(tf.constant(3, dtype)).dtype == tf.float32
  assert schedule(tf.constant(3, dtype)).shape == ()


def make(**changes):
  arguments = {
    "name": "cosine",
    "peak_learning_rate": 0.1,
    "total_steps": 100,
    "boundary_steps": [50],
  }
  return schedules.make_schedule(**{**arguments, **changes})


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: make(name=STABLE), "decay_steps must be >= 1, got 0"),
    (
      lambda: make(name=STABLE, decay_steps=9, hold_steps=3),
      "hold_steps must be 0 with warmup_stable_decay, got 3",
    ),
    (
      lambda: make(name=STABLE, decay_steps=60, warmup_steps=41),
      r"total_steps must be >= .* = 41 \+ 60, got 100",
    ),
    (
      lambda: make(name=STABLE, decay_steps=9, decay_shape="sqrt2"),
      "decay_shape must be one of sqrt, .* got 'sqrt2'",
    ),
    (lambda: make(name="cosin"), "one of cosine, step, .*, got 'cosin'"),
    (lambda: make(peak_learning_rate=-1.0), "peak_learning_rate .* got -1.0"),
    (lambda: make(peak_learning_rate=math.nan), "peak_learning_rate .* nan"),
    (lambda: make(warmup_learning_rate=-1.0), "warmup_learning_rate .* -1.0"),
    (lambda: make(warmup_steps=-1), "warmup_steps must be >= 0, got -1"),
    (lambda: make(hold_steps=-2), "hold_steps must be >= 0, got -2"),
    (lambda: make(total_steps=0), "total_steps must be > .*, got 0"),
    (
      lambda: make(warmup_steps=60, hold_steps=40),
      r"total_steps must be > .* = 60 \+ 40, got 100",
    ),
    (
      lambda: make(name="step", boundary_steps=[]),
      r"boundary_steps after .* got \(\)",
    ),
    (
      lambda: make(name="step", boundary_steps=[5], warmup_steps=5),
      r"needs boundary_steps after .* 5, got \(5,\)",
    ),
    (
      lambda: make(name="step", boundary_steps=[20, 20]),
      r"boundaries must rise and be >= 1, got \(20, 20\)",
    ),
    (lambda: make(name="step", decay_factor=0.0), "decay_factor .* got 0.0"),
    (lambda: make(name="exponential", decay_factor=1.5), "decay_factor .* 1.5"),
    (
      lambda: make(name="polynomial", polynomial_power=0.0),
      "power .* > 0, got 0.0",
    ),
    (lambda: make(name="linear", end_learning_rate=-1.0), "end_learning_rate"),
    (lambda: make(name="constant", peak_learning_rate=-1.0), "got -1.0"),
    (lambda: schedules.cosine(0.1, 0), "decay_steps must be >= 1, got 0"),
    (lambda: schedules.cosine(0.1, math.nan), "decay_steps must .* got nan"),
    (lambda: make(total_steps=math.nan), "total_steps must .* got nan"),
    (lambda: make(warmup_steps=math.nan), "warmup_steps must .* got nan"),
    (
      lambda: schedules.piecewise([0.1, 0.2], [math.nan]),
      r"boundaries must rise .* got \(nan,\)",
    ),
    (
      lambda: make(name="step", boundary_steps=[math.nan]),
      r"boundary_steps after .* got \(nan,\)",
    ),
    (lambda: schedules.linear(0.1, 0), "decay_steps must be >= 1, got 0"),
    (
      lambda: schedules.exponential(0.1, 0, decay_factor=0.5),
      "decay_steps must be >= 1, got 0",
    ),
    (
      lambda: schedules.piecewise([0.1], [5]),
      "1 boundaries part 2 schedules, got 1",
    ),
    (
      lambda: schedules.piecewise([0.1, 0.2], [0]),
      r"boundaries must rise and be >= 1, got \(0,\)",
    ),
  ],
)
def test_argument_out_of_range_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("mode", modes.MODES)
def test_numpy_in_gives_what_tensorflow_computes(name, mode):
  schedule = schedules.make_schedule(
    name,
    peak_learning_rate=0.4,
    total_steps=60,
    warmup_steps=7,
    warmup_learning_rate=0.01,
    hold_steps=0 if name == STABLE else 5,
    boundary_steps=[30, 40],
    decay_steps=15,
  )
  steps = np.arange(65)
  rates = schedules.learning_rates(schedule, 65)
  assert (rates.dtype, rates.shape) == (np.float32, (65,))
  # A cosine of NumPy's may differ from TensorFlow's in its last bit.
  np.testing.assert_allclose(
    rates, modes.run(schedule, mode, steps), rtol=2e-7, atol=1e-12
  )
  assert [schedule(step) for step in range(65)] == rates.tolist()
  assert schedule(3).dtype == np.float32


@pytest.mark.parametrize("total_steps", [0, math.nan])
def test_learning_rates_of_no_step_are_refused(total_steps):
  message = f"total_steps must be >= 1, got {total_steps}"
  with pytest.raises(ValueError, match=message):
    schedules.learning_rates(schedules.constant(0.1), total_steps)
