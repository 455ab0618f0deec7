#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Keras looks behind a softmax for the logits, but not if a Reshape follows it.
#
# A good engineer would guess: a cross-entropy of probabilities depends on the
# probabilities, so a Reshape to the shape that they have changes nothing.
# What happens: if the tensor that the loss gets comes straight from the softmax,
# Keras takes the logits behind it, and the loss of a confident mistake is right,
# with a gradient. After a Reshape it gets bare probabilities and clips them at
# 1e-7: the loss stops at 16.1 and the gradient is exactly zero.
# Who is hurt: whoever puts a Reshape or the like behind a softmax: the
# examples that the network gets most wrong no longer teach it anything.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0 keras 3.15.1
#   softmax           loss 100.00, gradient [ 1. -1.  0.]
#   softmax, reshape  loss 16.12, gradient [0. 0. 0.]

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - 2>"$folder/notices" <<'PYTHON' || {
import keras
import numpy as np
import tensorflow as tf

print("tensorflow", tf.__version__, "keras", keras.__version__)
softmax = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
reshaped = keras.Sequential([keras.Input((3,)), keras.layers.Softmax(), keras.layers.Reshape((3,))])
labels = np.array([1])
logits = tf.constant([[100.0, 0.0, 0.0]])
assert np.array_equal(softmax(logits), reshaped(logits))
found = {}
for name, model in (("softmax", softmax), ("softmax, reshape", reshaped)):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = keras.losses.SparseCategoricalCrossentropy()(labels, model(logits))
    gradient = tape.gradient(loss, logits).numpy()[0]
    found[name] = float(loss), gradient
    print(f"{name:17} loss {float(loss):.2f}, gradient", gradient)
loss, gradient = found["softmax"]
assert loss == 100 and np.allclose(gradient, [1, -1, 0])
loss, gradient = found["softmax, reshape"]
assert 16 < loss < 16.2 and not gradient.any()
PYTHON
  tail -n 20 "$folder/notices"
  echo 'Not as described.'
  exit 1
}
echo 'As described.'
