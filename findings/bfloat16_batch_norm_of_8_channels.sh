#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# On a CPU a BatchNorm of 8, 24 or 40 channels takes ten times as long in
# bfloat16 as in float32, whose half it reads.
#
# A good engineer would guess: on a CPU that multiplies bfloat16, half the bytes
# are half the time for an operation that is bound by memory, as it is with 16,
# 32 or 64 channels.
# What happens: with oneDNN, which TensorFlow uses by itself on CPUs of this
# kind, a training step's FusedBatchNormV3 and its gradient in bfloat16 take as
# little as that only if the channels are a multiple of 16. If they are not,
# they take 6 to 18 times as long as in float32. Nothing is said of it.
# Who is hurt: whoever trains in mixed_bfloat16 on a CPU a network with such
# channels: MobileNetV2 and V3, EfficientNet, MnasNet, RegNet, a ResNet-D with a
# stem of 8. Their BatchNorm then takes more time than their convolutions, and
# mixed_bfloat16 looks as if it were of no use. A cast to float32 before the
# operation, and back, takes a tenth.
#
# Seen (two cores of an AMD EPYC with AVX512_BF16, Python 3.11):
#
#   tensorflow 2.21.0
#    8 channels: forward and backward in bfloat16 take 13.6 times those in float32
#   16 channels: forward and backward in bfloat16 take  0.8 times those in float32
#   24 channels: forward and backward in bfloat16 take  9.5 times those in float32
#   32 channels: forward and backward in bfloat16 take  0.6 times those in float32

set -euo pipefail

if ! grep -q avx512_bf16 /proc/cpuinfo; then
  echo 'Not tried: this CPU does not multiply bfloat16.'
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= TF_ENABLE_ONEDNN_OPTS=1
cat >tried.py <<'PYTHON'
import time

import tensorflow as tf

print("LINE tensorflow", tf.__version__)


def seconds(channels, dtype):
    shape = (128, 28, 28, channels)
    images = tf.cast(tf.random.normal(shape), dtype)
    upstream = tf.cast(tf.random.normal(shape), dtype)
    ones, zeros = tf.ones(channels), tf.zeros(channels)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs, *_ = tf.compat.v1.nn.fused_batch_norm(
                images, ones, zeros, is_training=True
            )
        return tape.gradient(outputs, images, output_gradients=upstream)

    step(), step()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(5):
            step()
        best = min(best, time.perf_counter() - start)
    return best


for channels in (8, 16, 24, 32):
    ratio = seconds(channels, tf.bfloat16) / seconds(channels, tf.float32)
    print(
        "LINE %2d channels: forward and backward in bfloat16 take %4.1f times "
        "those in float32" % (channels, ratio)
    )
    assert ratio < 2 if channels % 16 == 0 else ratio > 3
PYTHON
"$folder/venv/bin/python" tried.py >"$folder/said" 2>"$folder/notices" || {
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
