#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# In bfloat16 on a CPU the gradient of a strided convolution's kernel is what
# was in memory before, if one pixel is left to it.
#
# A good engineer would guess: a 3x3 convolution of stride 2 with padding SAME,
# on an image of one pixel, has a gradient for the middle of its kernel, and 0
# for the eight places that see padding alone; so it is in float32.
# What happens: with oneDNN, which TensorFlow uses by itself on CPUs of this
# kind, the eight places of a bfloat16 kernel's gradient are not written. They
# hold numbers of earlier tensors, infinities and NaN among them, others at each
# call. Without oneDNN, in float32, or with stride 1, they are 0.
# Who is hurt: whoever trains a ResNet on small images in mixed_bfloat16 on a
# CPU. At 8 or 16 pixels the last stages of ResNet-18 stride over one pixel:
# the run ends at the first step with a gradient that is not finite, or goes on
# with a wrong one.
#
# Seen (two cores of an AMD EPYC with AVX512_BF16, Python 3.11; also with
# ONEDNN_MAX_CPU_ISA=AVX512_CORE, and with TensorFlow 2.15.1):
#
#   tensorflow 2.21.0
#   float32,  oneDNN on,  stride 2: wrong in  0 of 40 calls
#   bfloat16, oneDNN on,  stride 2: wrong in 22 of 40 calls
#   bfloat16, oneDNN on,  stride 1: wrong in  0 of 40 calls
#   bfloat16, oneDNN off, stride 2: wrong in  0 of 40 calls

set -euo pipefail

if ! grep -q avx512 /proc/cpuinfo; then
  echo 'Not tried: oneDNN computes bfloat16 on CPUs with AVX-512 alone.'
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
cat >tried.py <<'PYTHON'
import sys

import numpy as np
import tensorflow as tf

onednn, dtype, stride = sys.argv[1], tf.as_dtype(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
images = tf.constant(rng.normal(size=(32, 1, 1, 64)), dtype)
kernel = tf.constant(rng.normal(size=(3, 3, 64, 64)) / 24, dtype)
calls, wrong = 40, 0
for _ in range(calls):
    # Memory that other tensors have used, as in any training.
    tf.random.normal([3, 3, 64, 64]) * 1e30
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        outputs = tf.nn.conv2d(images, kernel, stride, "SAME")
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
    gradient = tf.cast(tape.gradient(loss, kernel), tf.float32).numpy()
    gradient[1, 1] = 0
    wrong += bool(np.any(gradient != 0))
if (onednn, dtype, stride) == ("1", tf.float32, 2):
    print("LINE tensorflow", tf.__version__)
print(
    "LINE %-9s oneDNN %-4s stride %d: wrong in %2d of %d calls"
    % (dtype.name + ",", "on," if onednn == "1" else "off,", stride, wrong, calls)
)
if (onednn, dtype, stride) == ("1", tf.bfloat16, 2):
    assert wrong
else:
    assert not wrong
PYTHON
{
  for way in '1 float32 2' '1 bfloat16 2' '1 bfloat16 1' '0 bfloat16 2'; do
    # shellcheck disable=SC2086
    TF_ENABLE_ONEDNN_OPTS=${way%% *} "$folder/venv/bin/python" tried.py $way
  done
} >"$folder/said" 2>"$folder/notices" || {
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
