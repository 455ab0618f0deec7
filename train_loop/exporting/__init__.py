# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trained network as one file or folder for others, and the check of it.

- `formats`: their names, and what each needs; without TensorFlow
- `classifier`: what is exported: pixels or encoded images to probabilities
- `saved_model`, `keras_file`, `onnx_file`, `litert_file`: a writer each
- `check`: asks the written file, in a process that has no part of this package
- `reader`: that process
"""
