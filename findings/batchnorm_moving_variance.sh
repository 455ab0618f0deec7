#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# BatchNormalization of Keras 3 keeps another moving variance than Keras 2's.
#
# A good engineer would guess: a layer of the same name, on the same TensorFlow,
# keeps the same statistics.
# What happens: Keras 2's layer computes images by TensorFlow's fused operation,
# which puts the variance divided by n - 1 into the moving average. Keras 3's
# puts the one divided by n there. What the layer returns in training is the
# same. Here n is 4, as for two images of 2 x 1 pixels; the ratio is n / (n - 1).
# Who is hurt: whoever moves a training from one Keras to the other and compares
# it in evaluation, with small batches or small images above all.
#
# Seen (Python 3.11):
#
#   tensorflow 2.21.0 keras 3.15.1 tf_keras 2.21.0
#   keras    moving variance [0.82760036 0.3900621  0.25225243]
#   tf_keras moving variance [1.1034672  0.52008283 0.3363366 ]
#   variance by n        [0.82760036 0.3900621  0.25225243]
#   variance by n - 1    [1.1034671  0.5200828  0.33633658]

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 tf_keras==2.21.0

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - 2>"$folder/notices" <<'PYTHON' || {
import keras
import numpy as np
import tensorflow as tf
import tf_keras

print("tensorflow", tf.__version__, "keras", keras.__version__, "tf_keras", tf_keras.__version__)
images = np.random.default_rng(0).normal(size=(2, 2, 1, 3)).astype(np.float32)
moving, outputs = {}, {}
for library in (keras, tf_keras):
    layer = library.layers.BatchNormalization(momentum=0.0)
    outputs[library] = np.asarray(layer(images, training=True))
    moving[library] = layer.get_weights()[3]
    print(f"{library.__name__:8} moving variance", moving[library])
axes = (0, 1, 2)
print("variance by n       ", images.var(axes))
print("variance by n - 1   ", images.var(axes, ddof=1))
np.testing.assert_allclose(outputs[keras], outputs[tf_keras], atol=1e-5)
np.testing.assert_allclose(moving[keras], images.var(axes), rtol=1e-4)
np.testing.assert_allclose(moving[tf_keras], images.var(axes, ddof=1), rtol=1e-4)
PYTHON
  tail -n 20 "$folder/notices"
  echo 'Not as described.'
  exit 1
}
echo 'As described.'
