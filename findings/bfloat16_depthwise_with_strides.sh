#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# On a CPU a depthwise convolution with strides takes ten times as long and more
# in bfloat16 as in float32, if it is trained.
#
# A good engineer would guess: on a CPU that multiplies bfloat16, a depthwise
# convolution, which is bound by memory, takes half of float32's time, or all of
# it at worst.
# What happens: with oneDNN, which TensorFlow uses by itself on CPUs of this
# kind, that is so of the convolution and of most gradients. But the gradient of
# the input takes 10 to 35 times as long as in float32 if there are strides, and
# the gradient of the kernel 1.6 to 2 times as long if that is 5 x 5. Inference
# shows nothing of it, and nothing is said.
# Who is hurt: whoever trains a network of this family in mixed_bfloat16 on a
# CPU: four of MobileNet's 13 depthwise convolutions have strides, and their
# gradients take more time than all its convolutions of 1 x 1. MobileNetV2 and
# V3, EfficientNet, NASNet and MnasNet have both. Casts to float32 before the
# operation, and back, take a tenth.
#
# Seen (two cores of an AMD EPYC with AVX512_BF16, Python 3.11), the times in
# bfloat16 over those in float32:
#
#   tensorflow 2.21.0
#   3 x 3, strides 1: forward 0.8, gradient of the input 0.7, of the kernel 0.9
#   3 x 3, strides 2: forward 0.9, gradient of the input 22.5, of the kernel 0.9
#   5 x 5, strides 1: forward 0.8, gradient of the input 1.1, of the kernel 1.6

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
NAMES = ("forward", "gradient of the input", "of the kernel")


def seconds(call):
    call(), call()
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(5):
            call()
        best = min(best, time.perf_counter() - start)
    return best


def times(size, stride, dtype):
    images = tf.cast(tf.random.normal((16, 32, 32, 128)), dtype)
    kernel = tf.cast(tf.random.normal((size, size, 128, 1)), dtype)

    @tf.function
    def forward(images, kernel):
        strides = (1, stride, stride, 1)
        return tf.nn.depthwise_conv2d(images, kernel, strides, "SAME")

    @tf.function
    def gradient(of):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(of)
            outputs = forward(
                *((of, kernel) if of.shape == images.shape else (images, of))
            )
        # TensorFlow leaves out what is not asked for: outputs, other gradient.
        return tape.gradient(outputs, of)

    return (
        seconds(lambda: forward(images, kernel)),
        seconds(lambda: gradient(images)),
        seconds(lambda: gradient(kernel)),
    )


for size, stride in ((3, 1), (3, 2), (5, 1)):
    pairs = zip(times(size, stride, tf.bfloat16), times(size, stride, tf.float32))
    ratios = [half / full for half, full in pairs]
    print(
        "LINE %d x %d, strides %d: " % (size, size, stride)
        + ", ".join("%s %.1f" % pair for pair in zip(NAMES, ratios))
    )
    assert ratios[0] < 2, ratios
    assert ratios[1] > 5 if stride == 2 else ratios[1] < 2, ratios
    assert ratios[2] > 1.3 if size == 5 else ratios[2] < 2, ratios
PYTHON
"$folder/venv/bin/python" tried.py >"$folder/said" 2>"$folder/notices" || {
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
