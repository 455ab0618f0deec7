#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# TensorFlow takes twice the memory of an array that it makes a tensor of, and
# keeps one share when array and tensor are gone.
#
# A good engineer would guess: tf.convert_to_tensor(array), tf.constant(array)
# and Dataset.from_tensor_slices(array) take as much memory again as the array,
# on a CPU perhaps none, and give it back with the last reference.
# What happens: they take twice as much, so that with the array there are three;
# a second copy stays until a later conversion. When all references are gone,
# one array's size is still in use; it does not grow with more conversions.
# tf.experimental.dlpack.from_dlpack(array.__dlpack__()) takes nothing.
# Who is hurt: whoever trains from arrays in memory, or memory-maps one to spare
# memory: 10 GB of images need 30 GB.
#
# Seen (Python 3.11, glibc 2.36), in sizes of an array of 200 MB, beyond it:
#
#   tensorflow 2.15.1 keras 2.15.0
#   tf.convert_to_tensor          2.0, all deleted  1.0, after five more  1.0
#   tf.constant                   2.0, all deleted  1.0, after five more  1.0
#   Dataset.from_tensor_slices    2.0, all deleted  1.0, after five more  1.0
#   dlpack.from_dlpack            0.0, all deleted  0.0, after five more  0.0
#   tensorflow 2.21.0 keras 3.15.1
#   tf.convert_to_tensor          2.0, all deleted  1.0, after five more  1.0
#   tf.constant                   2.0, all deleted  1.0, after five more  1.0
#   Dataset.from_tensor_slices    2.0, all deleted  1.0, after five more  1.0
#   dlpack.from_dlpack            0.0, all deleted  0.0, after five more  0.0

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=

cat >look.py <<'PYTHON'
import gc
import sys

import numpy as np
import tensorflow as tf

SIZE = 200_000_000
WAYS = {
    "tf.convert_to_tensor": tf.convert_to_tensor,
    "tf.constant": tf.constant,
    "Dataset.from_tensor_slices": tf.data.Dataset.from_tensor_slices,
    "dlpack.from_dlpack": lambda array: tf.experimental.dlpack.from_dlpack(
        array.__dlpack__()),
}


def arrays_in_use():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / SIZE


make = WAYS[sys.argv[1]]
made = make(np.ones(1000))  # What is loaded once.
for _ in range(100):
    (tf.ones(3) + 1).numpy()
del made
start = arrays_in_use()
array = np.ones(SIZE // 8)
made = make(array)
held = arrays_in_use() - start - 1
del array, made
left = arrays_in_use() - start
for _ in range(5):
    made = make(np.ones(SIZE // 8))
    del made
later = arrays_in_use() - start
print("LINE %-28s %4.1f, all deleted %4.1f, after five more %4.1f" % (
    sys.argv[1], held, left, later))
expected = (0, 0, 0) if "dlpack" in sys.argv[1] else (2, 1, 1)
assert np.allclose((held, left, later), expected, atol=0.2)
PYTHON

look() { # The packages, and what arrays take with them.
  python3.11 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  echo "$*"
  for way in tf.convert_to_tensor tf.constant Dataset.from_tensor_slices \
    dlpack.from_dlpack; do
    "$folder/venv/bin/python" look.py "$way" >said 2>notices || {
      tail -n 20 said notices
      echo 'Not as described.'
      exit 1
    }
    sed -n 's/^LINE //p' said
  done
  rm -rf venv
}

look tensorflow==2.15.1 keras==2.15.0 numpy==1.26.4
look tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
echo 'As described.'
