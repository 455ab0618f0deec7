# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: flags, recipes, and what they are composed into."""
