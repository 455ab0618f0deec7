# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Before training: check the data, convert them, draw them."""
