# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From bytes on disk to a batch.

Sources (NumPy alone), of arrays or of encoded images:

- `fashion_mnist`: Fashion-MNIST's four files, found, downloaded and checked
- `digits`: the 1,797 digits that ship with scikit-learn
- `synthetic`: a learnable problem made from a seed
- `arrays`, `npz`: images and labels in memory, or in a NumPy archive
- `image_folder`, `csv_table`: image files, in a folder a class or in a table
- `tfrecord`, `record_index`: TFRecord files, read in any order
- `tfds`: TensorFlow Datasets
- `encoded`: encoded images as a source, and the parts that any is split into

The way to a batch (TensorFlow):

- `order`: which example stands at which place of the endless training stream
- `reading`, `decode`: an encoded image, and its pixels at the size asked for
- `augment`: random crop, flip and erasing, a function of the example alone
- `color`: colour jitter and PCA noise, likewise
- `auto_augment`: RandAugment and TrivialAugment, likewise
- `image_ops`: the operations that these two choose from
- `pipeline`: all of them as a `tf.data.Dataset` that starts at any step
- `cache`: encoded images kept near, in memory or on disk
- `inputs`: a run's sources and options, and the batches that they become

Besides: `convert` writes any source as TFRecord files, `check` goes through
one and tells what it holds, `scan` is how both do it, and `bad_images` lists
what cannot be decoded.

Nothing here is stateful: an example's place and its augmentation are functions
of `(seed, epoch, index)`, so a run continues from one integer, its step.
"""

from __future__ import annotations

from data.augmentation import Augmentation
from data.errors import DataError
from data.inputs import Inputs
from data.names import DATASETS
from data.sources.encoded import AnySource, EncodedSource
from data.sources.loading import SourceOptions, load
from data.sources.source import Source

__all__ = [
  "DATASETS",
  "AnySource",
  "Augmentation",
  "DataError",
  "EncodedSource",
  "Inputs",
  "Source",
  "SourceOptions",
  "load",
]
