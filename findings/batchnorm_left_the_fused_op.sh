#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# BatchNormalization of Keras 3 no longer uses TensorFlow's fused operation.
#
# A good engineer would guess: on the TensorFlow backend, Keras 3 normalises
# images by the operation that TensorFlow has for it, as Keras 2 does.
# What happens: its graph does not hold that operation, forward or backward, and
# a pass of the layer takes longer on a CPU: 1.3 times below, 3.2 times in a
# trial with the gradients of scale and shift, when the machine was busier. The
# script wants 1.2; a busy machine can hide it, the graph cannot.
# Who is hurt: whoever trains a convolutional network with Keras 3 without XLA:
# it got slower by the upgrade.
#
# Seen (Python 3.11, two cores that others used, too):
#
#   tensorflow 2.21.0 keras 3.15.1 tf_keras 2.21.0
#   keras    10.0 ms
#   tf_keras 7.8 ms FusedBatchNormGradV3 FusedBatchNormV3
#   ratio    1.3

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 tf_keras==2.21.0

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - 2>"$folder/notices" <<'PYTHON' || {
import time

import keras
import tensorflow as tf
import tf_keras

print("tensorflow", tf.__version__, "keras", keras.__version__, "tf_keras", tf_keras.__version__)
images = tf.random.normal((128, 32, 32, 16))
best, fused = {}, {}
for library in (keras, tf_keras):
    layer = library.layers.BatchNormalization()
    layer(images)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(layer(images, training=True) * images)
        return tape.gradient(total, images)

    times = []
    for _ in range(60):
        start = time.perf_counter()
        step().numpy()
        times.append(time.perf_counter() - start)
    best[library] = min(times)
    nodes = step.get_concrete_function().graph.as_graph_def().node
    fused[library] = sorted({node.op for node in nodes if "FusedBatchNorm" in node.op})
    print(f"{library.__name__:8} {best[library] * 1e3:.1f} ms", *fused[library])
print(f"ratio    {best[keras] / best[tf_keras]:.1f}")
assert not fused[keras] and len(fused[tf_keras]) == 2
assert best[keras] > 1.2 * best[tf_keras]
PYTHON
  tail -n 20 "$folder/notices"
  echo 'Not as described.'
  exit 1
}
echo 'As described.'
