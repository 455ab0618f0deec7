# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images a second of the input alone, with nothing trained behind it.

    python -m benchmarks.input_pipeline --json=input_pipeline.json

Small images: Fashion-MNIST in memory, erased and shifted, against Keras'
preprocessing layers. JPEG files of 500 x 375: decoded, cropped at random,
resized to 224 and flipped, against PIL (one process, held on one core) and
Keras' `image_dataset_from_directory` with preprocessing layers. Records:
the same files, once `--mode=convert --convert_resize=256` has written them as
TFRecord files. The ratio is of images a second and core.
"""

from __future__ import annotations

import tempfile

from benchmarks import contenders, harness
from benchmarks.harness import Column, Contender, Runs

COLUMNS = (
  Column("images_per_second_and_core", "images/s, core", "{:.0f}"),
  Column("images_per_second", "images/s", "{:.0f}"),
  Column("peak_rss_bytes", "RSS MiB", "{:.0f}", 2.0**-20),
)
KINDS = ("small", "jpeg", "records")


def small_images(rounds: int, seconds: float, pad_crop: int) -> dict[str, Runs]:
  """Measures images in memory."""
  arguments = ["--task=input", f"--seconds={seconds}", f"--pad_crop={pad_crop}"]
  return harness.compare(
    [
      contenders.ours(),
      Contender(
        "Keras' preprocessing layers",
        "benchmarks.peers.keras_fit",
        environment=contenders.AS_INSTALLED,
      ),
    ],
    arguments,
    rounds=rounds,
  )


def jpeg_files(rounds: int, seconds: float) -> dict[str, Runs]:
  """Measures a folder of files, which is made for it."""
  with tempfile.TemporaryDirectory() as folder:
    # In a process of its own: this one holds no TensorFlow.
    harness.run_to_end("benchmarks.jpegs", folder)
    return harness.compare(
      [
        contenders.ours(),
        Contender(
          "PIL, one core",
          "benchmarks.peers.pil_way",
          requires=("PIL",),
        ),
        Contender(
          "Keras' image_dataset_from_directory",
          "benchmarks.peers.keras_fit",
          environment=contenders.AS_INSTALLED,
        ),
      ],
      ["--task=jpeg", f"--seconds={seconds}", f"--folder={folder}"],
      rounds=rounds,
    )


def records(rounds: int, seconds: float) -> dict[str, Runs]:
  """Measures TFRecord files that are converted from a folder of JPEG files."""
  with tempfile.TemporaryDirectory() as folder:
    files, converted = f"{folder}/files", f"{folder}/records"
    harness.run_to_end("benchmarks.jpegs", files)
    harness.run_to_end(
      "train_loop.main",
      "--mode=convert",
      "--dataset=image_folder",
      f"--data_dir={files}",
      "--validation_fraction=0.1",
      "--convert_resize=256",
      f"--output_dir={converted}",
    )
    return harness.compare(
      [
        contenders.ours("--task=records", f"--folder={converted}"),
        contenders.ours(
          "--task=jpeg", f"--folder={files}", name="train_loop, JPEG files"
        ),
      ],
      [f"--seconds={seconds}"],
      rounds=rounds,
    )


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__)
  parser.add_argument(
    "--kinds",
    type=harness.names(KINDS),
    default=list(KINDS),
    help="of small, jpeg, records, with commas between them (default: all)",
  )
  parser.add_argument(
    "--seconds",
    type=float,
    default=3.0,
    help="the least time of a measurement (default %(default)s)",
  )
  parser.add_argument(
    "--pad_crop",
    type=int,
    default=2,
    help="pixels that small images are shifted by (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("input_pipeline", options, harness.machine())
  if "small" in options.kinds:
    runs = small_images(options.rounds, options.seconds, options.pad_crop)
    report.section("small images", runs, COLUMNS, ours=contenders.OURS)
  if "jpeg" in options.kinds:
    runs = jpeg_files(options.rounds, options.seconds)
    report.section("JPEG files", runs, COLUMNS, ours=contenders.OURS)
  if "records" in options.kinds:
    runs = records(options.rounds, options.seconds)
    report.section("records", runs, COLUMNS, ours=contenders.OURS)


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
