#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The end of a tf.data iterator waits for its tuning thread.
#
# A good engineer would guess: to drop an iterator costs next to nothing, and
# the same whether it was read for a second or for a minute.
# What happens: if autotuning is on, as it is unless one turns it off, dropping
# the iterator can take seconds: the thread that tunes the pipeline sleeps
# longer and longer between its rounds, and the end waits for it. How long, is
# a matter of where in its sleep the end comes: of three lives one may be free.
# Who is hurt: whoever makes an iterator an epoch, and whoever times a loop from
# outside it: the wait looks like the cost of the last step.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0
#   autotune on:  4.94 s 3.73 s 0.00 s
#   autotune off: 0.00 s 0.00 s 0.00 s

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - 2>"$folder/notices" <<'PYTHON' || {
import time

import tensorflow as tf

print("tensorflow", tf.__version__)


def seconds_to_drop(life, autotune):
    dataset = tf.data.Dataset.range(10**9)
    dataset = dataset.map(lambda i: i + 1, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.autotune.enabled = autotune
    iterator = iter(dataset.with_options(options))
    start = time.perf_counter()
    while time.perf_counter() - start < life:
        next(iterator)
    start = time.perf_counter()
    del iterator
    return time.perf_counter() - start


# The wait is what is left of the thread's sleep, so try several lives.
lives = (5.5, 6.5, 7.5)
waits = {on: [seconds_to_drop(life, on) for life in lives] for on in (True, False)}
for on, seconds in waits.items():
    print("autotune", "on: " if on else "off:", *(f"{s:.2f} s" for s in seconds))
assert max(waits[True]) > 1
assert max(waits[False]) < 1
PYTHON
  tail -n 20 "$folder/notices"
  echo 'Not as described.'
  exit 1
}
echo 'As described.'
