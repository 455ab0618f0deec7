# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs to start from: each is short, real, and run by the tests."""
