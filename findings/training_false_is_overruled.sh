#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# In Keras 3 a functional model trains the layers that were called with
# training=False.
#
# A good engineer would guess: base(x, training=False), as the guides to
# transfer learning write it, keeps base in inference mode for good: its Dropout
# drops nothing and its BatchNormalization keeps its statistics, whatever the
# outer model is called with. In Keras 2 that is so.
# What happens: in Keras 3 the argument of the outer model's call replaces the
# one that was fixed in the graph. With training=True, which fit uses, Dropout
# drops half, and the moving statistics move.
# Who is hurt: whoever fine-tunes by that pattern without base.trainable =
# False, or unfreezes base later and relies on training=False to keep its
# statistics, as the guide says: they drift, and nothing is told (keras#20285, of
# 2024).
#
# Seen (Python 3.11):
#
#   tensorflow 2.15.1 keras 2.15.0
#   Dropout(0.5)(x, training=False), called with training=True: 0% dropped
#   base(x, training=False), called with training=True: moving mean 0.00
#   tensorflow 2.21.0 keras 3.15.1
#   Dropout(0.5)(x, training=False), called with training=True: 50% dropped
#   base(x, training=False), called with training=True: moving mean 0.10

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=

cat >look.py <<'PYTHON'
import sys

import keras
import numpy as np
import tensorflow as tf

layers = keras.layers
ones = np.ones((100, 100), np.float32)
images = keras.Input((100,))
dropout = keras.Model(images, layers.Dropout(0.5)(images, training=False))
dropped = np.mean(np.array(dropout(ones, training=True)) == 0)
inner = keras.Input((100,))
norm = layers.BatchNormalization(momentum=0.9)
base = keras.Model(inner, norm(inner))
outer = keras.Model(images, base(images, training=False))
outer(ones, training=True)
mean = float(np.mean(np.array(norm.moving_mean)))
print("LINE tensorflow", tf.__version__, "keras", keras.__version__)
called = "called with training=True"
print("LINE Dropout(0.5)(x, training=False), %s: %.0f%% dropped" % (called, 100 * dropped))
print("LINE base(x, training=False), %s: moving mean %.2f" % (called, mean))
if sys.argv[1] == "kept":
    assert dropped == 0 and mean == 0
else:
    assert 0.45 < dropped < 0.55 and abs(mean - 0.1) < 1e-6
PYTHON

look() { # The packages, and what becomes of training=False.
  python3.11 -m venv "$folder/$1"
  "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
  "$folder/$1/bin/python" look.py "$1" >said 2>notices || {
    tail -n 20 said notices
    echo 'Not as described.'
    exit 1
  }
  sed -n 's/^LINE //p' said
}

look kept tensorflow==2.15.1 keras==2.15.0 numpy==1.26.4
look overruled tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
echo 'As described.'
