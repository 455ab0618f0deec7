# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""From bytes on disk to a batch.

`load` makes two sources of a data set's name, `Augmentation` says what is done
to training images, and `Inputs` makes batches of both:

- `sources`: arrays, image files, tables and TFRecord files, read without
  TensorFlow
- `order`: the example at each place of the endless training stream
- `reading`: encoded images, read and decoded as graph operations
- `images`: decoding, cropping and augmentation, each a function of an example's
  own key
- `pipeline`: the training stream from any step on, and the evaluation
- `cache`: encoded images kept in memory or on disk
- `preparation`: checking, drawing and converting a data set before training

Nothing here has a state: an example's place and its augmentation are functions
of `(seed, epoch, index)`, so that a run continues from one integer, its step.
"""

from __future__ import annotations

from data.augmentation import Augmentation
from data.errors import DataError
from data.images.formats import Decoding
from data.inputs import Inputs
from data.names import DATASETS
from data.sources.encoded import AnySource, EncodedSource
from data.sources.loading import SourceOptions, load, of_older_builds
from data.sources.source import Source

__all__ = [
  "DATASETS",
  "AnySource",
  "Augmentation",
  "DataError",
  "Decoding",
  "EncodedSource",
  "Inputs",
  "Source",
  "SourceOptions",
  "load",
  "of_older_builds",
]
