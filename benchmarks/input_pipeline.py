# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images per second of the input pipeline alone, without training.

    python -m benchmarks.input_pipeline --json=input_pipeline.json

- small: Fashion-MNIST in memory, with random erasing and shifts, compared with
  Keras' preprocessing layers.
- jpeg: JPEG files of 500 x 375 pixels, cropped at random, resized to 224 and
  flipped, compared with PIL (one process on one core) and with Keras'
  `image_dataset_from_directory` and preprocessing layers.
- orientation: the same files, with the EXIF orientation applied, and ignored;
  and files that have one, 1 (upright) or 6.
- records: the same files after `--mode=convert --convert_resize=256` wrote them
  as TFRecord files, compared with the JPEG files.

The ratio compares images per second and core.
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
KINDS = ("small", "jpeg", "orientation", "records")


def small_images(rounds: int, seconds: float, pad_crop: int) -> dict[str, Runs]:
  """Measures small images in memory."""
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
  """Measures a folder of JPEG files, made for this measurement."""
  with tempfile.TemporaryDirectory() as folder:
    # In another process, because this one imports no TensorFlow.
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


def orientation(rounds: int, seconds: float) -> dict[str, dict[str, Runs]]:
  """Measures what upright pictures of exact colours cost, by kind of files."""
  found = {}
  for kind, value in (("no EXIF", 0), ("EXIF, upright", 1), ("EXIF, 6", 6)):
    with tempfile.TemporaryDirectory() as folder:
      harness.run_to_end("benchmarks.jpegs", folder, str(value))
      found[kind] = harness.compare(
        [
          contenders.ours("--exif_orientation=apply"),
          contenders.ours(
            "--exif_orientation=ignore", name="train_loop, ignoring EXIF"
          ),
          contenders.ours("--jpeg_dct=fast", name="train_loop, fast transform"),
        ],
        ["--task=jpeg", f"--seconds={seconds}", f"--folder={folder}"],
        rounds=rounds,
      )
  return found


def records(rounds: int, seconds: float) -> dict[str, Runs]:
  """Measures TFRecord files made from a folder of JPEG files."""
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
    help=f"comma-separated, of {', '.join(KINDS)} (default: all)",
  )
  parser.add_argument(
    "--seconds",
    type=float,
    default=3.0,
    help="shortest time of a measurement (default %(default)s)",
  )
  parser.add_argument(
    "--pad_crop",
    type=int,
    default=2,
    help="shift small images by up to this many pixels (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("input_pipeline", options, harness.machine())
  if "small" in options.kinds:
    runs = small_images(options.rounds, options.seconds, options.pad_crop)
    report.section("small images", runs, COLUMNS, ours=contenders.OURS)
  if "jpeg" in options.kinds:
    runs = jpeg_files(options.rounds, options.seconds)
    report.section("JPEG files", runs, COLUMNS, ours=contenders.OURS)
  if "orientation" in options.kinds:
    found = orientation(options.rounds, options.seconds)
    for kind, runs in found.items():
      report.section(f"JPEG files, {kind}", runs, COLUMNS, ours=contenders.OURS)
  if "records" in options.kinds:
    runs = records(options.rounds, options.seconds)
    report.section("records", runs, COLUMNS, ours=contenders.OURS)


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
