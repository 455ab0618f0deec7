# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""`data.images.random_bits` in plain Python integers, to compare with."""

MASK = 2**64 - 1


def python_bits(*integers: int) -> int:
  """SplitMix64's finaliser, chained."""
  bits = 0
  for integer in integers:
    bits = ((bits + 0x9E3779B97F4A7C15) & MASK) ^ integer
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    bits ^= bits >> 31
  return bits


def python_below(bound: int, *integers: int) -> int:
  """An integer in [0, bound)."""
  return (python_bits(*integers) >> 32) * bound >> 32


def python_uniform(*integers: int) -> float:
  """A float in [0, 1)."""
  return (python_bits(*integers) >> 11) * 2.0**-53
