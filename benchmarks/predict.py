# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images per second of mode predict, compared with those of mode eval.

    python -m benchmarks.predict --json=predict.json

Both answer the same JPEG files of 500 x 375 pixels with the same network, and
read and decode them anew. A network that is slow hides what reading costs, so
there is a fast one too.
"""

from __future__ import annotations

import itertools
import tempfile

from benchmarks import harness
from benchmarks.harness import Column, Contender, Runs
from train_loop.config import PRECISIONS

COLUMNS = (
  Column("images_per_second", "images/s", "{:.0f}"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
)
NETWORKS = {"resnet8": 64, "keras:MobileNet": 128}
PREDICT = "mode predict"


def compared(
  model: str, image_size: int, precision: str, options: harness.Record
) -> dict[str, Runs]:
  """Trains a network for a few steps, then measures its answers."""
  with tempfile.TemporaryDirectory() as folder:
    for part in ("train", "val"):
      harness.run_to_end("benchmarks.jpegs", f"{folder}/files/{part}")
    harness.run_to_end(
      "train_loop.main",
      "--dataset=image_folder",
      f"--data_dir={folder}/files",
      f"--workdir={folder}/run",
      f"--model={model}",
      f"--image_size={image_size}",
      "--global_batch_size=64",
      "--epochs=0.5",
      "--warmup_epochs=0",
      f"--precision={precision}",
      "--jit_compile=false",
      "--onednn=true",
      "--fuse_batch_norm=true",
    )
    return harness.compare(
      [
        Contender(
          name,
          "benchmarks.peers.answers",
          (f"--task={task}",),
          environment=harness.ONEDNN,
        )
        for name, task in ((PREDICT, "predict"), ("mode eval", "evaluate"))
      ],
      [f"--folder={folder}", f"--seconds={options['seconds']}"],
      rounds=options["rounds"],
    )


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  parser.add_argument(
    "--seconds",
    type=float,
    default=10.0,
    help="shortest time of a measurement (default %(default)s)",
  )
  parser.add_argument(
    "--precisions",
    type=harness.names(PRECISIONS),
    default=["float32"],
    help="comma-separated, that the network computes in (default: float32)",
  )
  options = parser.parse_args()
  report = harness.Report("predict", options, harness.machine())
  cases = itertools.product(NETWORKS.items(), options.precisions)
  for (model, image_size), precision in cases:
    runs = compared(model, image_size, precision, vars(options))
    heading = f"{model}, {image_size} pixels, {precision}"
    report.section(heading, runs, COLUMNS, ours=PREDICT)


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
