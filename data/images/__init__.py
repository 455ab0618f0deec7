# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""One image, or a batch of images: decoded, changed, encoded."""
