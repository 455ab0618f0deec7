#!/usr/bin/env bash
# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The better a JPEG is stored, the further TensorFlow's default is from its
# colours.
#
# A good engineer would guess: tf.io.decode_jpeg gives the colours that Pillow
# gives, but for rounding, and the least errors for a file of quality 100; both
# are built on libjpeg-turbo.
# What happens: decode_jpeg, decode_and_crop_jpeg and decode_image, and with them
# Keras' image_dataset_from_directory, use libjpeg's fast integer cosine
# transform unless told otherwise, whose error grows with the quality: 4 levels
# of 255 at 75, 31 at 100. With dct_method="INTEGER_ACCURATE" every
# pixel equals Pillow's, at the same speed but for a per cent or two.
# decode_image, and so Keras' data set, has no such argument.
# Who is hurt: whoever trains with tf.data on files of high quality, such as
# medical ones or a camera's, and serves behind Pillow, OpenCV or a browser.
#
# Seen (Python 3.11, two photographs that scikit-learn ships):
#
#   tensorflow 2.21.0 pillow 13.0.0
#   quality  75: largest difference to Pillow default  4, accurate 0; decode_image  4
#   quality  90: largest difference to Pillow default  6, accurate 0; decode_image  6
#   quality 100: largest difference to Pillow default 31, accurate 0; decode_image 31

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 numpy==2.4.6 pillow==13.0.0 \
  scikit-learn==1.9.1

cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" - >"$folder/said" 2>"$folder/notices" <<'PYTHON' || {
import io

import numpy as np
import PIL
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

lines = ["tensorflow %s pillow %s" % (tf.__version__, PIL.__version__)]
ways = {
    "default": tf.io.decode_jpeg,
    "accurate": lambda file: tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE"),
    "decode_image": tf.io.decode_image,
}
found = {}
for quality in (75, 90, 100):
    largest = dict.fromkeys(ways, 0)
    for photograph in load_sample_images().images:
        file = io.BytesIO()
        Image.fromarray(photograph).save(file, "JPEG", quality=quality)
        pillows = np.asarray(Image.open(file)).astype(int)
        for name, decode in ways.items():
            ours = decode(file.getvalue()).numpy().astype(int)
            largest[name] = max(largest[name], abs(ours - pillows).max())
    found[quality] = largest
    lines.append(
        "quality %3d: largest difference to Pillow default %2d, accurate %d; decode_image %2d"
        % (quality, largest["default"], largest["accurate"], largest["decode_image"])
    )
print("\n".join("LINE " + line for line in lines))
assert all(largest["accurate"] == 0 for largest in found.values())
assert found[75]["default"] > 2
assert found[100]["default"] > 2 * found[75]["default"]
assert all(largest["decode_image"] == largest["default"] for largest in found.values())
PYTHON
  tail -n 20 "$folder/said" "$folder/notices"
  echo 'Not as described.'
  exit 1
}
sed -n 's/^LINE //p' "$folder/said"
echo 'As described.'
