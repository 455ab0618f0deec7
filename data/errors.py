# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The error that all of data raises for wrong input."""

from __future__ import annotations


class DataError(ValueError):
  """Data or a setting of data are refused; the message is one line."""
