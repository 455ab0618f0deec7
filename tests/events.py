# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads event files as TensorBoard does."""

from __future__ import annotations

from tensorboard.backend.event_processing import event_accumulator


def accumulator(path):
  """Returns what TensorBoard reads from a folder."""
  return event_accumulator.EventAccumulator(str(path)).Reload()


def scalars(path, tag):
  """Returns the (step, value)s of a tag as TensorBoard reads them."""
  events = accumulator(path).Scalars(tag)
  return [(event.step, event.value) for event in events]
