# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's recipes: their values, and a step at their image size.

No ImageNet is at hand, so the files are made here, in its layout.
"""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from tests import forked, pictures
from train_loop import main
from train_loop.command import config_from_flags, flags
from train_loop.models import names
from train_loop.modes import train

pytestmark = pytest.mark.any_keras

EXAMPLES = 1_281_167
SIZES = {
  "imagenet_resnet50": 224,
  "imagenet_inception_v3": 299,
  "imagenet_mobilenet": 224,
}


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
  """Returns a folder of TFRecord files whose labels begin with 1."""
  folder = tmp_path_factory.mktemp("imagenet")

  def integers(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

  for part, count in (("train", 2), ("validation", 2)):
    path = str(folder / f"{part}-00000-of-00001")
    with tf.io.TFRecordWriter(path) as writer:
      for index in range(count):
        label = index % 2
        image = tf.io.encode_jpeg(pictures.picture(index, label, (320, 360)))
        contents = tf.train.BytesList(value=[image.numpy()])
        features = {
          "image/encoded": tf.train.Feature(bytes_list=contents),
          "image/class/label": integers(1 + label),
          "image/height": integers(320),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())
  return folder


@pytest.mark.parametrize("recipe", SIZES)
def test_the_values_are_the_papers(recipe):
  values = flags.parse(f"--recipe={recipe}")
  config = config_from_flags.config_from_flags(
    values, examples_per_epoch=EXAMPLES
  )
  # Section 3.1: a rate of 0.4 for a batch of 1024, after five epochs.
  scale = config.loop.global_batch_size / 256
  assert config.schedule.base_learning_rate * scale == pytest.approx(0.4)
  steps_per_epoch = EXAMPLES / 1024
  assert config.schedule.warmup_steps == round(5 * steps_per_epoch)
  assert config.loop.total_steps == round(200 * steps_per_epoch)
  assert values.zero_gamma and config.optimizer.decay_kernels_only
  # Section 3.2, and 5.
  assert values.precision == "mixed_float16"
  assert config.schedule.schedule == "cosine"
  assert config.regularization.label_smoothing == 0.1
  assert config.regularization.mixup_alpha == 0.2
  assert config.regularization.distill_temperature == 20
  # Section 2.1.
  assert values.image_size == SIZES[recipe]
  assert values.color_jitter == 0.4
  assert values.pca_noise == 0.1


@pytest.fixture
def unoptimized():
  """Leaves graphs as they are, whose one step takes less than to improve it."""
  options = tf.config.optimizer
  before = options.get_experimental_options()
  options.set_experimental_options({"disable_meta_optimizer": True})
  yield
  options.set_experimental_options({"disable_meta_optimizer": False, **before})


@pytest.mark.parametrize("recipe", SIZES)
@pytest.mark.usefixtures("unoptimized")
def test_a_step_at_the_papers_size(recipe, imagenet, tmp_path, monkeypatch):
  # A block a stage has every layer that the whole has but for repetitions.
  monkeypatch.setitem(names.STAGE_BLOCKS, 50, (1, 1, 1, 1))
  auxiliary = recipe == "imagenet_inception_v3"
  evaluates = recipe == "imagenet_mobilenet"  # The quickest.
  values = flags.parse(
    f"--recipe={recipe}",
    f"--data_dir={imagenet}",
    f"--workdir={tmp_path}",
    "--global_batch_size=2",
    "--epochs=1",
    "--warmup_epochs=0",
    "--precision=float32",
    "--jit_compile=false",
    "--onednn=true",
    "--fuse_batch_norm=false",
    *(["--auxiliary_weight=0.4"] if auxiliary else []),
    *([] if evaluates else ["--mode=train"]),
  )
  assert train.run(values) == 0
  card = json.loads((tmp_path / "run_card.json").read_text())
  assert card["finished"]
  assert card["final"]["step"] == 1
  assert card["final"].get("eval_examples", 0) == 2 * evaluates
  assert card["network"]["num_classes"] == 2
  assert card["network"].get("auxiliary_head", False) is auxiliary


def test_only_inception_has_an_auxiliary_head(imagenet, tmp_path):
  done = forked.run(
    main.__name__,
    "--recipe=imagenet_mobilenet",
    f"--data_dir={imagenet}",
    f"--workdir={tmp_path}",
    "--auxiliary_weight=0.4",
  )
  assert done.returncode == 2
  assert "auxiliary_weight must be 0 unless" in done.stderr
