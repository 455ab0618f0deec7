# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs pytest on the files it is given: the main of every py_test in BUILD."""

import sys

import pytest

if __name__ == "__main__":
  # Bazel's sandbox is thrown away, so a cache in it would be too.
  sys.exit(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]]))
