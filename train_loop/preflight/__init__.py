# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `auto` does: measures each way to compute a step, and chooses."""
