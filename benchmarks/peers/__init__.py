# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""train_loop and its peers: each is a program that measures itself.

    python -m benchmarks.peers.ours --task=step --case=resnet20

A peer sets up and prints `{"ready": true}`. Then, for each line on its standard
input, it measures once and prints the result, one JSON object per line.
"""
