# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stochastic depth: residual branches are dropped at random in training.

The network in training is shorter on average than in inference, and no block
can rely on the block before it.
"""

from __future__ import annotations

import tensorflow as tf

from tricks.draws import WHOLE, Part, uniform


def stochastic_depth(
  branch: tf.Tensor,
  *,
  drop_probability: float,
  seed: tf.Tensor,
  part: Part = WHOLE,
) -> tf.Tensor:
  """Drops the residual branch of some examples, and scales up the others.

  branch' = b·branch / (1 − p),   b ~ Bernoulli(1 − p) for each example

  The expectation of branch' is branch, so inference uses the branch unchanged.
  (The paper drops a block for a whole batch at a time, and multiplies by 1 − p
  in inference instead of dividing in training.)

  Args:
    branch: [batch, ...] floating, what a block adds to its shortcut.
    drop_probability: p, in [0, 1); 0 is the identity.
    seed: [2] int32 or int64, new for each block and step.
    part: of the global batch, if several replicas share it.

  Returns:
    Shape and dtype of branch; with drop_probability = 0 the branch itself.

  Raises:
    ValueError: drop_probability is out of its range.

  Reference: Huang et al. 2016 (arXiv 1603.09382), section 3.
  """
  check_drop_probability("drop_probability", drop_probability)
  if not drop_probability:
    return branch
  ones = [1] * (len(branch.shape) - 1)
  drawn = uniform([tf.shape(branch)[0], *ones], seed, part=part)
  kept = tf.cast(drawn >= drop_probability, branch.dtype)
  return branch * (kept * tf.cast(1.0 / (1.0 - drop_probability), branch.dtype))


def drop_probabilities(
  num_blocks: int, *, stochastic_depth: float
) -> list[float]:
  """Returns the drop probability of each block: linear in its depth.

  p_l = p_L · l / L,  l = 1 … L

  Early blocks are dropped less often, because all later blocks use them.

  Args:
    num_blocks: L, >= 1.
    stochastic_depth: p_L, the last block's, in [0, 1); 0.5 in the paper.

  Returns:
    L probabilities, the first block's first.

  Raises:
    ValueError: an argument is out of its range.

  Example:
    >>> drop_probabilities(4, stochastic_depth=0.5)
    [0.125, 0.25, 0.375, 0.5]

  Reference: Huang et al. 2016 (arXiv 1603.09382), equation 4.
  """
  if num_blocks < 1:
    raise ValueError(f"num_blocks must be at least 1, got {num_blocks}")
  check_drop_probability("stochastic_depth", stochastic_depth)
  return [
    stochastic_depth * block / num_blocks for block in range(1, num_blocks + 1)
  ]


def check_drop_probability(name: str, probability: float) -> None:
  """Raises ValueError unless probability is in [0, 1)."""
  if not 0.0 <= probability < 1.0:
    raise ValueError(f"{name} must be in [0, 1), got {probability}")
