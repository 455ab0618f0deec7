# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is compared: train_loop and its peers, each the main of a process.

    python -m benchmarks.peers.ours --task=step --case=resnet20

A peer sets up, prints `{"ready": true}`, and then for each line on its standard
input measures once and prints what it found, one JSON object a line.
"""
