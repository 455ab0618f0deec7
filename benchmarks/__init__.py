# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The programs that measure each speed given in README and docs/.

    python -m benchmarks.step_throughput --help

- `step_throughput`: images per second of a training step, and its share of the
  machine's peak
- `keras_models`: the same of Keras' MobileNet and InceptionV3
- `step_profile`: where the time of a training step goes
- `end_to_end`: an epoch with everything switched on, compared with its ceiling
- `input_pipeline`: images per second of the input alone
- `start_up`: from process start to the first finished step
- `time_to_accuracy`: seconds to a test accuracy
- `cost_of_work`: how speed changes with batch size and depth
- `page`: makes a page of docs/benchmarks/ from what the others wrote

train_loop and its peers (`peers`) run in separate processes and measure in
turns: A B C A B C. A ratio above 1 always means that train_loop is faster.
"""
