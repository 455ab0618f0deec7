#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# In bfloat16 on a CPU the gradient of a bias has little to do with the right
# one.
#
# A good engineer would guess: mixed_bfloat16 keeps sums in float32, as a product
# of matrices and reduce_sum do, so a gradient is wrong by 1% at most.
# What happens: TensorFlow's BiasAddGrad on a CPU adds in the dtype of its terms.
# bfloat16 has 8 bits: 256 + 1 is 256, so a sum of ones ends there (or at 512, in
# two parts), of however many. Keras, 2 as 3, adds the bias of Dense, of
# convolutions and of EinsumDense by BiasAdd, and a convolution's sum goes over
# all pixels of a batch. With oneDNN a graph joins Conv2D's with the gradient of
# its kernel, and that is right; not in eager mode or if the kernel is frozen,
# nor for depthwise and transposed convolutions, or Dense on more than a vector.
# Who is hurt: whoever trains ConvNeXt, a transformer, a hidden Dense layer with a
# batch above 256, or convolutions with a bias, in mixed_bfloat16 on a CPU. The
# loss falls nevertheless, for kernels get the right gradient. Adding the bias by
# a plain sum (tf.add, to a layer without bias) is right, and as fast.
#
# Seen (AMD EPYC, Python 3.11):
#
#   tensorflow 2.21.0, keras 3.15.1
#   the sum of 100000 ones in bfloat16: reduce_sum 99840, BiasAddGrad 512
#   gradient of a bias alone, its error in a graph:
#   Conv2D 0.98, DepthwiseConv2D 0.97, Dense 0.98
#   with the bias added by tf.add: Dense 0.00

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 2>"$folder/pip"

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= TF_ENABLE_ONEDNN_OPTS=1
cat >tried.py <<'PYTHON'
import keras
import tensorflow as tf

layers = keras.layers
print("LINE tensorflow %s, keras %s" % (tf.__version__, keras.__version__))

ones = tf.ones((100000, 8), tf.bfloat16)
plain = float(tf.reduce_sum(ones, axis=0)[0])
bias = float(tf.raw_ops.BiasAddGrad(out_backprop=ones)[0])
print(
    "LINE the sum of 100000 ones in bfloat16: reduce_sum %.0f, BiasAddGrad %.0f"
    % (plain, bias)
)
assert abs(plain - 1e5) < 500 and bias < 1000


class Plain(layers.Dense):
    def call(self, inputs):
        kernel, bias = (tf.cast(v, inputs.dtype) for v in self.weights)
        return tf.add(tf.matmul(inputs, kernel), bias)


def gradient(make, policy):
    layer = make(dtype=policy)
    layer.build((32, 32, 32, 8))
    draws = [tf.random.stateless_normal(w.shape, (1, 2)) for w in layer.weights]
    layer.set_weights([draw.numpy() for draw in draws])
    images = tf.random.stateless_normal((32, 32, 32, 8), (3, 4))

    @tf.function
    def of_bias():
        with tf.GradientTape() as tape:
            outputs = tf.cast(layer(images), tf.float32)
            means = tf.reduce_mean(outputs, axis=(1, 2))
            loss = tf.reduce_mean(tf.nn.log_softmax(means)[:, 0])
        return tape.gradient(loss, layer.bias.value)

    return of_bias()


def error(make):
    half, full = gradient(make, "mixed_bfloat16"), gradient(make, "float32")
    return float(tf.norm(half - full) / tf.norm(full))


kinds = {
    "Conv2D": lambda **kw: layers.Conv2D(8, 3, padding="same", **kw),
    "DepthwiseConv2D": lambda **kw: layers.DepthwiseConv2D(3, **kw),
    "Dense": lambda **kw: layers.Dense(8, **kw),
}
found = {name: error(kinds[name]) for name in kinds}
print("LINE gradient of a bias alone, its error in a graph:")
print("LINE", ", ".join("%s %.2f" % pair for pair in found.items()))
added = error(lambda **kw: Plain(8, **kw))
print("LINE with the bias added by tf.add: Dense %.2f" % added)
assert added < 0.02 and found["Dense"] > 0.3 and found["DepthwiseConv2D"] > 0.3
PYTHON
"$folder/venv/bin/python" tried.py >"$folder/said" 2>"$folder/notices" || {
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
