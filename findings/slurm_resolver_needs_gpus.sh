#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# TensorFlow's SlurmClusterResolver names no cluster on nodes without GPUs.
#
# A good engineer would guess: the resolver reads the hosts of a Slurm step, and
# the number of GPUs only decides which of them a task may see.
# What happens: without a GPU the ValueError of a range with step 0, for tasks
# and GPUs are counted out together; the same if gpus_per_node=0 is said
# outright. With gpus_per_node=1 and gpus_per_task=1 for one task a node, which
# is not so, the cluster is named.
# Who is hurt: whoever trains on CPU nodes with Slurm, or tries a job there
# before it gets GPUs.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0
#   GPUs as found (none)    ValueError: range() arg 3 must not be zero
#   gpus_per_node=0         ValueError: range() arg 3 must not be zero
#   gpus_per_node=1 (untrue) ['a:8888', 'b:8888']

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
from unittest import mock

import tensorflow as tf
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver

os.environ.update(
    SLURM_PROCID="0",
    SLURM_STEP_NUM_TASKS="2",
    SLURM_STEP_NODELIST="a,b",
    SLURM_STEP_TASKS_PER_NODE="1(x2)",
)


def named(**options):
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            auto_set_gpu=False, **options
        )
        return str(resolver.cluster_spec().as_dict()["worker"])
    except ValueError as error:
        return "ValueError: %s" % error


print("LINE tensorflow", tf.__version__)
# What it finds on a node without GPUs, also if this machine has one.
with mock.patch.object(slurm_cluster_resolver, "get_num_gpus", lambda: 0):
    found = named()
said = named(gpus_per_node=0)
untrue = named(gpus_per_node=1, gpus_per_task=1)
print("LINE GPUs as found (none)   ", found)
print("LINE gpus_per_node=0        ", said)
print("LINE gpus_per_node=1 (untrue)", untrue)
assert found == said == "ValueError: range() arg 3 must not be zero"
assert untrue == "['a:8888', 'b:8888']"
PYTHON
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
