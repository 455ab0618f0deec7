# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The sources of examples: arrays, files, folders, tables, records."""
