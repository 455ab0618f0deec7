#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Keras 3 saves a layer with activation=tf.nn.swish, and cannot load it.
#
# A good engineer would guess: a model that save() wrote without a word,
# load_model() reads. tf.nn.relu, tf.nn.gelu and tf.nn.elu as activations show
# that it does, and Keras 2 also read tf.nn.swish and tf.nn.softmax.
# What happens: Keras 3 knows a function of TensorFlow by its __name__ alone.
# That of tf.nn.softmax is softmax_v2, of tf.nn.log_softmax log_softmax_v2, of
# tf.nn.silu and tf.nn.swish swish. save() writes these names, and load_model()
# raises TypeError. from_config() of a layer does not read its own get_config()
# either, so whatever makes layers again fails too.
# Who is hurt: whoever trains for days, saves, and opens the file in another
# process. The weights can still be had, by load_weights() of a model built
# anew; the file alone is of no use. Say activation="silu", "softmax" instead.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0, keras 3.15.1
#   tf.nn.relu: saved, loaded, gives the same
#   tf.nn.gelu: saved, loaded, gives the same
#   tf.nn.softmax: saved, TypeError when loaded; its weights fit
#   tf.nn.log_softmax: saved, TypeError when loaded; its weights fit
#   tf.nn.swish: saved, TypeError when loaded; its weights fit

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 2>"$folder/pip"

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
cat >tried.py <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

print("LINE tensorflow %s, keras %s" % (tf.__version__, keras.__version__))


def network(function):
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(3, activation=function)(x))


def fate(name):
    function = getattr(tf.nn, name)
    model = network(function)
    inputs = np.ones((2, 4), "float32")
    file = name + ".keras"
    model.save(file)
    try:
        loaded = keras.models.load_model(file)
        words = "saved, loaded, gives the same"
    except TypeError:
        loaded = network(function)
        loaded.load_weights(file)
        words = "saved, TypeError when loaded; its weights fit"
    assert np.array_equal(model(inputs), loaded(inputs))
    return words


found = {
    name: fate(name)
    for name in ("relu", "gelu", "softmax", "log_softmax", "swish")
}
for name, words in found.items():
    print("LINE tf.nn.%s: %s" % (name, words))
assert [name for name in found if "TypeError" in found[name]] == [
    "softmax",
    "log_softmax",
    "swish",
]
PYTHON
"$folder/venv/bin/python" tried.py >"$folder/said" 2>"$folder/notices" || {
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
