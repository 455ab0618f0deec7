#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Of Keras 2's Applications, RegNet and ConvNeXt drop what precedes their
# input_tensor.
#
# A good engineer would guess: input_tensor of a network of Keras Applications
# puts the network on top of any Keras tensor, such as scaled or augmented
# images, as it does with ResNet50, EfficientNet and most others.
# What happens: RegNet and ConvNeXt go back to the inputs of that tensor and
# build their model from there. The layers in between are in no graph: without
# an error, the model computes on the raw pixels. Keras 3 keeps them.
# Who is hurt: whoever puts normalisation, augmentation or a repeated gray
# channel in front so. It trains, on images that nobody normalised. Call the
# network as a layer instead: network(tensor).
#
# Seen (Python 3.11):
#
#   tensorflow 2.15.1, keras 2.15.0
#   images that the layer in front makes zero give other answers than zeros:
#   ResNet50 no, EfficientNetB0 no, RegNetX002 yes, ConvNeXtTiny yes

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3 python3.11 python3.10 python3.9; do
  if "$python" -c 'import sys, ensurepip
sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null; then
    "$python" -m venv "$folder/venv"
    break
  fi
done
if [[ ! -d $folder/venv ]]; then
  echo 'Not tried: TensorFlow 2.15.1 needs a Python from 3.9 to 3.11.'
  exit 0
fi
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.15.1 keras==2.15.0 numpy==1.26.4 2>"$folder/pip"

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
cat >tried.py <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

print("LINE tensorflow %s, keras %s" % (tf.__version__, keras.__version__))
applications = tf.keras.applications


def drops(name):
    tf.keras.utils.set_random_seed(0)
    pixels = tf.keras.Input((64, 64, 3))
    zeros = tf.keras.layers.Rescaling(0.0, name="in_front")(pixels)
    model = getattr(applications, name)(
        input_tensor=zeros, weights=None, include_top=False, pooling="avg"
    )
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3))
    differ = not np.allclose(model(images), model(images * 0), atol=1e-6)
    assert differ == ("in_front" not in {layer.name for layer in model.layers})
    return differ


found = {
    name: drops(name)
    for name in ("ResNet50", "EfficientNetB0", "RegNetX002", "ConvNeXtTiny")
}
print(
    "LINE images that the layer in front makes zero give other answers than "
    "zeros:"
)
answers = ["%s %s" % (name, ("no", "yes")[found[name]]) for name in found]
print("LINE", ", ".join(answers))
assert [name for name in found if found[name]] == ["RegNetX002", "ConvNeXtTiny"]
PYTHON
"$folder/venv/bin/python" tried.py >"$folder/said" 2>"$folder/notices" || {
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
