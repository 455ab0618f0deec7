# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether this installation computes what the documents say, on this machine.

`references` has the formulas in NumPy, `formulas` compares the tricks with
them, `runs` trains a small network in several ways that have to agree.
"""
