# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Low precision: float16 with a dynamic loss scale, or bfloat16.

Activations and gradients have 16 bits; variables, BatchNorm statistics, logits,
loss and update stay float32. Float16 gradients below 2^-24 become 0, so the
loss is multiplied by a scale before the backward pass, and the gradients are
divided by it after. bfloat16 has float32's range and needs no scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

INITIAL_LOSS_SCALE = 2.0**15
GROWTH_STEPS = 2000


def next_loss_scale(
  value: tf.Tensor, good_steps: tf.Tensor, finite: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the loss scale after a step.

  ×2 after 2000 consecutive steps with finite gradients, unless that overflows;
  ÷2 after a step with others, but never below 1.

  Args:
    value: the loss scale, float32 scalar, >= 1.
    good_steps: finite steps since the last change, int64 scalar.
    finite: whether the step's gradients were finite, bool scalar.

  Returns:
    The next (value, good_steps).

  Reference: Micikevicius et al. 2017, section 3.2.
  """
  good_steps = tf.where(finite, good_steps + 1, 0)
  grows = good_steps >= GROWTH_STEPS
  doubled = tf.where(tf.math.is_finite(value * 2.0), value * 2.0, value)
  halved = tf.maximum(value / 2.0, 1.0)
  value = tf.where(finite, tf.where(grows, doubled, value), halved)
  return value, tf.where(grows, tf.zeros_like(good_steps), good_steps)


class LossScale(tf.Module):
  """A dynamic loss scale: `next_loss_scale` with the state it needs.

  Attributes:
    value: the scale, float32 variable, 2^15 at first.
    good_steps: finite steps since the last change, int64 variable.

  Reference: He et al. 2018, section 3.2; Micikevicius et al. 2017.
  """

  def __init__(self, name: str | None = None) -> None:
    super().__init__(name=name)
    self.value = tf.Variable(
      INITIAL_LOSS_SCALE, trainable=False, dtype=tf.float32, name="value"
    )
    self.good_steps = tf.Variable(
      0, trainable=False, dtype=tf.int64, name="good_steps"
    )

  def scale(self, loss: tf.Tensor) -> tf.Tensor:
    """Multiplies a loss by the scale.

    Args:
      loss: scalar, float32.

    Returns:
      The loss to differentiate, in the loss's dtype.
    """
    return loss * tf.cast(self.value, loss.dtype)

  def unscale(
    self, gradients: Sequence[tf.Tensor | None]
  ) -> list[tf.Tensor | None]:
    """Divides the gradients of a scaled loss by the scale.

    Args:
      gradients: of any floating dtype; None stays None.

    Returns:
      float32 gradients of the loss itself.
    """
    return [
      None if g is None else tf.cast(g, tf.float32) / self.value
      for g in gradients
    ]

  def update(self, finite: tf.Tensor) -> None:
    """Updates the scale for the next step.

    Args:
      finite: whether this step's gradients were finite, bool scalar, the same
        on each replica.
    """
    value, good_steps = next_loss_scale(self.value, self.good_steps, finite)
    self.value.assign(value)
    self.good_steps.assign(good_steps)
