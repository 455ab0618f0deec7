#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# A LiteRT file of a SavedModel that is right holds none of the weights.
#
# A good engineer would guess: what the converter makes of a SavedModel computes
# what the SavedModel computes, or the converter says why it cannot.
# What happens: if a tf.Module holds a Keras 3 model, its SavedModel answers
# right, but the module counts no variables, for those of Keras 3 are no
# tf.Variables. The converter then writes, without an error, a file of a few
# kilobytes that holds no weights, runs, and answers noise.
# tf.lite.TFLiteConverter.from_keras_model writes all of them.
# Who is hurt: whoever wraps a Keras 3 model in a tf.Module to put preprocessing
# or a signature into the file: nothing fails before somebody reads the answers.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0 keras 3.15.1
#   weights in the model: 232292; variables that the tf.Module counts: 0
#   saved model, loaded again:                     same answers True
#   LiteRT from the saved model:     4376 bytes, same answers False
#   LiteRT from the function:        4376 bytes, same answers False
#   LiteRT from the Keras model:   931256 bytes, same answers True

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - >"$folder/said" 2>"$folder/notices" <<'PYTHON' || {
import keras
import numpy as np
import tensorflow as tf

lines = ["tensorflow %s keras %s" % (tf.__version__, keras.__version__)]
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(100),
    ]
)
images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
expected = model(images).numpy()


class Server(tf.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])])
    def serve(self, images):
        return self.model(images)


def same(answers):
    return bool(np.allclose(answers, expected, atol=1e-4))


def answers(content):
    interpreter = tf.lite.Interpreter(model_content=content)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])


server = Server()
lines.append(
    "weights in the model: %d; variables that the tf.Module counts: %d"
    % (model.count_params(), len(server.variables))
)
tf.saved_model.save(server, "saved")
saved = tf.saved_model.load("saved")
loaded = same(saved.serve(images).numpy())
lines.append("saved model, loaded again:                     same answers %s" % loaded)
convert = tf.lite.TFLiteConverter
found = {}
for name, converter in (
    ("saved model", convert.from_saved_model("saved")),
    ("function", convert.from_concrete_functions([server.serve.get_concrete_function()], server)),
    ("Keras model", convert.from_keras_model(model)),
):
    content = converter.convert()
    found[name] = len(content), same(answers(content))
    lines.append("LiteRT from the %-12s %8d bytes, same answers %s" % (name + ":", *found[name]))
print("\n".join("LINE " + line for line in lines))
size = 4 * model.count_params()
assert loaded and not server.variables
assert found["Keras model"][0] > size and found["Keras model"][1]
for name in ("saved model", "function"):
    assert found[name][0] < size / 10 and not found[name][1]
PYTHON
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
