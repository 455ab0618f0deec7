# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every figure that README quotes, as a program.

    python -m benchmarks.step_throughput --help

- `step_throughput`: images a second of a training step, and its share of the
  machine's peak
- `end_to_end`: an epoch with everything switched on, against its ceiling
- `input_pipeline`: images a second of the input alone
- `start_up`: from process start to the first finished step
- `time_to_accuracy`: seconds to a test accuracy
- `cost_of_work`: what a larger batch, a deeper network and an empty step cost

The peers (`peers`) run beside us, each in a process of its own, in turns: A B C
A B C. A ratio above 1 always says that train_loop is faster.
"""
