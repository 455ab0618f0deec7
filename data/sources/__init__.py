# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where examples come from: arrays, files, folders, tables, records."""
