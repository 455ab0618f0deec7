# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From bytes on disk to a batch.

Sources (NumPy alone) hold a whole data set as arrays:

- `fashion_mnist`: Fashion-MNIST's four files, found, downloaded and checked
- `digits`: the 1,797 digits that ship with scikit-learn
- `synthetic`: a learnable problem made from a seed
- `arrays`: images and labels that a program already has

The way to a batch (TensorFlow):

- `order`: which example stands at which place of the endless training stream
- `augment`: random crop, flip and erasing, a function of the example alone
- `color`: colour jitter and PCA noise, likewise
- `auto_augment`: RandAugment and TrivialAugment, likewise
- `image_ops`: the operations that these two choose from
- `pipeline`: the two of them as a `tf.data.Dataset` that starts at any step

Nothing here is stateful: an example's place and its augmentation are functions
of `(seed, epoch, index)`, so a run continues from one integer, its step.
"""

from __future__ import annotations

from data.names import DATASETS
from data.sources import DataError, Source

__all__ = ["DATASETS", "DataError", "Source", "load"]


def load(dataset: str, data_dir: str = "") -> tuple[Source, Source]:
  """Loads a data set by its name.

  Args:
    dataset: one of `DATASETS`.
    data_dir: the folder that holds its files; "" looks in the usual places.

  Returns:
    The training source and the test source.

  Raises:
    DataError: where the name is unknown, or the data are missing or damaged.
  """
  if dataset == "fashion_mnist":
    from data import fashion_mnist

    return fashion_mnist.load(data_dir)
  if dataset not in DATASETS:
    raise DataError(
      f"dataset must be one of {', '.join(DATASETS)}, got {dataset!r}"
    )
  if data_dir:
    raise DataError(
      f"data_dir must be empty for dataset={dataset}, which reads no files,"
      f" got {data_dir!r}"
    )
  if dataset == "digits":
    from data import digits

    return digits.load()
  from data import synthetic

  return synthetic.make(2048, (32, 32, 3))
