#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# TensorFlow keeps every Python number that it ever made an eager tensor of.
#
# A good engineer would guess: optimizer.learning_rate = rate, a variable's
# assign(rate) or tf.constant(step) allocates a few bytes, and frees them.
# What happens: the tensor of each new pair of number and dtype stays in a cache
# for scalars to the end of the process, 580 to 800 bytes, in Keras 2 and 3. So
# it is with NumPy's float64, which is a Python float. NumPy's other scalars,
# and arrays of no dimension, are not kept.
# Who is hurt: whoever sets a learning rate each step, as callbacks for warm-up
# do, or feeds losses, times and steps back into variables: a million steps are
# 0.6 GB that no garbage collector finds (tensorflow#68196, of 2024). The remedy
# is np.array(rate).
#
# Seen (Python 3.11, glibc 2.36), bytes kept of each new number:
#
#   tensorflow 2.15.1 keras 2.15.0
#   tf.constant(int)                            664
#   variable.assign(float)                      664
#   variable.assign(np.float64)                 800
#   optimizer.learning_rate = float             584
#   tf.constant(np.int64)                         0
#   variable.assign(np.array(float))              0
#   optimizer.learning_rate = np.array(float)     0
#   tensorflow 2.21.0 keras 3.15.1
#   tf.constant(int)                            655
#   variable.assign(float)                      656
#   variable.assign(np.float64)                 777
#   optimizer.learning_rate = float             576
#   tf.constant(np.int64)                         0
#   variable.assign(np.array(float))              0
#   optimizer.learning_rate = np.array(float)     0

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=

cat >look.py <<'PYTHON'
import ctypes
import gc

import keras
import numpy as np
import tensorflow as tf


class Allocated(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks "
        "keepcost").split()]


allocated = ctypes.CDLL(None).mallinfo2
allocated.restype = Allocated


def in_use():
    gc.collect()
    found = allocated()
    return found.uordblks + found.hblkhd


def kept(act, first, count=20000):
    for number in range(first, first + 100):
        act(number)
    before = in_use()
    for number in range(first + 100, first + 100 + count):
        act(number)
    return (in_use() - before) / count


variable = tf.Variable(0.0, dtype=tf.float64)
optimizer = keras.optimizers.SGD(0.1)


def set_rate(value):
    optimizer.learning_rate = value


print("LINE tensorflow", tf.__version__, "keras", keras.__version__)
for name, act, is_kept in (
    ("tf.constant(int)", tf.constant, True),
    ("variable.assign(float)", lambda n: variable.assign(n + 0.1), True),
    ("variable.assign(np.float64)", lambda n: variable.assign(np.float64(n + 0.2)), True),
    ("optimizer.learning_rate = float", lambda n: set_rate(1 / (n + 1)), True),
    ("tf.constant(np.int64)", lambda n: tf.constant(np.int64(n)), False),
    ("variable.assign(np.array(float))", lambda n: variable.assign(np.array(n + 0.3)), False),
    ("optimizer.learning_rate = np.array(float)", lambda n: set_rate(np.array(2 / (n + 1))), False),
):
    size = kept(act, 10**6)
    print("LINE %-42s %4.0f" % (name, size))
    assert (size > 300) if is_kept else (size < 20), (name, size)
PYTHON

look() { # The packages, and what is kept with them.
  python3.11 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  "$folder/venv/bin/python" look.py >said 2>notices || {
    tail -n 20 said notices
    echo 'Not as described.'
    exit 1
  }
  sed -n 's/^LINE //p' said
  rm -rf venv
}

look tensorflow==2.15.1 keras==2.15.0 numpy==1.26.4
look tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6
echo 'As described.'
