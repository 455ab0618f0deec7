# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in its folder."""
