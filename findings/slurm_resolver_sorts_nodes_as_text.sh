#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# TensorFlow's SlurmClusterResolver takes task 1 for one on node n10, not n9.
#
# A good engineer would guess: task i of a Slurm step gets the address of the
# node that Slurm started it on, in the order of the step's list of nodes.
# What happens: the resolver sorts the nodes by their names as text. On nodes
# n9 and n10 Slurm starts task 0 on n9; the resolver gives it n10's address, and
# task 1 that of n9. So each server would listen at the address of the other.
# Nodes named with leading zeros, n09 and n10, are right.
# Who is hurt: whoever's job gets nodes whose numbers cross a power of ten, and
# only then: the same job runs on other nodes.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0
#   n[9-10]   task 0 -> n10:8888, task 1 -> n9:8888
#   n[09-10]  task 0 -> n09:8888, task 1 -> n10:8888

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - >"$folder/said" 2>"$folder/notices" <<'PYTHON' || {
import os

import tensorflow as tf

print("LINE tensorflow", tf.__version__)
found = {}
for nodes in ("n[9-10]", "n[09-10]"):
    addresses = []
    for task in range(2):
        os.environ.update(
            SLURM_PROCID=str(task),
            SLURM_STEP_NUM_TASKS="2",
            SLURM_STEP_NODELIST=nodes,
            SLURM_STEP_TASKS_PER_NODE="1(x2)",
        )
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=1, gpus_per_task=1, auto_set_gpu=False
        )
        cluster = resolver.cluster_spec()
        addresses.append(cluster.task_address(resolver.task_type, resolver.task_id))
    found[nodes] = addresses
    print("LINE %-9s task 0 -> %s, task 1 -> %s" % (nodes, *addresses))
assert found["n[9-10]"] == ["n10:8888", "n9:8888"]
assert found["n[09-10]"] == ["n09:8888", "n10:8888"]
PYTHON
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
