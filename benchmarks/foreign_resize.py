# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Points of top-1 that a client loses with another resize than ours.

    python -m benchmarks.foreign_resize --workdir=DIR
    python -m benchmarks.foreign_resize --rounds=3

An ONNX or a LiteRT file takes images of the network's size, and the client
makes them: with Pillow's or OpenCV's decoder and resize. Each here cuts out the
square that evaluation does, but for what its row says, and asks the network of
a run on encoded images.

Without a run, one is trained for each round, on what every machine has: parts
of scikit-learn's two photographs, labelled by their place in them, as JPEGs of
other sizes and shapes than the network's images.
"""

from __future__ import annotations

import argparse
import io
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks import harness
from train_loop import machine
from train_loop.command import compose, flags, trained_model
from train_loop.modes import train

# Places of a photograph, down and across.
GRID = (3, 4)
SIDES = (120, 280)
SIZE = 40  # Of the network's images: pixels are reduced 3 to 7 times.
IMAGES = {"train": 40, "val": 50}

# From the bytes of a file and the part of its shorter side to cut out to the
# image that the network is given, [size, size, channels] uint8.
Client = Callable[[bytes, float], np.ndarray]


def write_places(root: pathlib.Path, *, seed: int) -> None:
  """Writes parts of two photographs, in a folder a place.

  Args:
    root: gets train/PLACE and val/PLACE.
    seed: of where they are cut out.
  """
  from sklearn.datasets import load_sample_images

  random = np.random.default_rng(seed)
  down, across = GRID
  for name, photograph in zip(("china", "flower"), load_sample_images().images):
    height, width = photograph.shape[:2]
    for place in range(down * across):
      row, column = divmod(place, across)
      for part, count in IMAGES.items():
        folder = root / part / f"{name}_{row}_{column}"
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
          sides = random.integers(*SIDES, 2)
          center = (
            (row + random.random()) * height / down,
            (column + random.random()) * width / across,
          )
          top, left = (
            int(np.clip(c - s / 2, 0, whole - s))
            for c, s, whole in zip(center, sides, (height, width))
          )
          cut = photograph[top : top + sides[0], left : left + sides[1]]
          Image.fromarray(cut).save(folder / f"{index}.jpg", quality=95)


def train_on_places(folder: pathlib.Path, *, seed: int) -> pathlib.Path:
  """Trains the recipe small_images on `write_places`; returns its workdir."""
  write_places(folder / "places", seed=seed)
  workdir = folder / "run"
  train.run(
    flags.parse(
      "--recipe=small_images",
      f"--data_dir={folder / 'places'}",
      f"--workdir={workdir}",
      f"--image_size={SIZE}",
      f"--seed={seed}",
    )
  )
  return workdir


def square(height: int, width: int, part: float) -> tuple[int, int, int]:
  """Returns top, left and side of the square that evaluation cuts out."""
  side = max(round(min(height, width) * part), 1)
  return (height - side) // 2, (width - side) // 2, side


def by_pillow(
  size: int, mode: str, method: int, *, whole: bool = False, draft: bool = False
) -> Client:
  """Returns a client that decodes and resizes with Pillow."""

  def client(contents: bytes, part: float) -> np.ndarray:
    opened = Image.open(io.BytesIO(contents))
    if draft:
      opened.draft(mode, (size, size))
    image = opened.convert(mode)
    top, left, side = square(image.height, image.width, part)
    box = (left, top, left + side, top + side)
    if whole:
      box = (0, 0, image.width, image.height)
    resized = image.resize((size, size), Image.Resampling(method), box)
    return np.asarray(resized).reshape(size, size, -1)

  return client


def by_opencv(
  size: int, mode: str, method: int, *, swapped: bool = False
) -> Client:
  """Returns a client that decodes and resizes with OpenCV."""
  import cv2

  def client(contents: bytes, part: float) -> np.ndarray:
    encoded = np.frombuffer(contents, np.uint8)
    kind = cv2.IMREAD_COLOR if mode == "RGB" else cv2.IMREAD_GRAYSCALE
    image = cv2.imdecode(encoded, kind)
    assert image is not None, "OpenCV cannot decode it"
    if mode == "RGB" and not swapped:
      image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    top, left, side = square(image.shape[0], image.shape[1], part)
    cut = image[top : top + side, left : left + side]
    resized = cv2.resize(cut, (size, size), interpolation=method)
    return resized.reshape(size, size, -1)

  return client


def by_tensorflow(size: int, channels: int, *, antialias: bool) -> Client:
  """Returns a client that decodes and resizes with TensorFlow."""
  import tensorflow as tf

  def client(contents: bytes, part: float) -> np.ndarray:
    image = tf.io.decode_image(contents, channels, expand_animations=False)
    top, left, side = square(image.shape[0], image.shape[1], part)
    cut = image[top : top + side, left : left + side]
    resized = tf.image.resize(cut, (size, size), antialias=antialias)
    return tf.cast(tf.round(resized), tf.uint8).numpy()

  return client


def clients(size: int, channels: int, eval_resize: int) -> dict[str, Client]:
  """Returns the clients by name, ours first."""
  import cv2
  import tensorflow as tf

  from data.images import decode

  def ours(contents: bytes, part: float) -> np.ndarray:
    del part
    return decode.central_crop(
      tf.constant(contents),
      image_size=size,
      channels=channels,
      eval_resize=eval_resize,
    ).numpy()

  mode = "RGB" if channels == 3 else "L"
  bilinear = Image.Resampling.BILINEAR
  made = {
    "train_loop": ours,
    "Pillow, bilinear": by_pillow(size, mode, bilinear),
    "Pillow, bicubic": by_pillow(size, mode, Image.Resampling.BICUBIC),
    "Pillow, Lanczos": by_pillow(size, mode, Image.Resampling.LANCZOS),
    "Pillow, nearest": by_pillow(size, mode, Image.Resampling.NEAREST),
    "Pillow, bilinear after draft": by_pillow(size, mode, bilinear, draft=True),
    "Pillow, bilinear, whole picture": by_pillow(
      size, mode, bilinear, whole=True
    ),
    "OpenCV, area": by_opencv(size, mode, cv2.INTER_AREA),
    "OpenCV, linear": by_opencv(size, mode, cv2.INTER_LINEAR),
    "OpenCV, cubic": by_opencv(size, mode, cv2.INTER_CUBIC),
    "OpenCV, nearest": by_opencv(size, mode, cv2.INTER_NEAREST),
    "TensorFlow, bilinear, antialias": by_tensorflow(
      size, channels, antialias=True
    ),
    "TensorFlow, bilinear": by_tensorflow(size, channels, antialias=False),
  }
  if channels == 3:
    made["OpenCV, area, left as BGR"] = by_opencv(
      size, mode, cv2.INTER_AREA, swapped=True
    )
  return made


def measure(workdir: pathlib.Path) -> dict[str, tuple[float, float, int]]:
  """Asks a run's network for what each client makes of its images.

  Args:
    workdir: of a run on encoded images.

  Returns:
    For each client top-1, the part of the images that get another class than
    by ours, and the number of images.
  """
  values = flags.parse(f"--workdir={workdir}")
  card = trained_model.require_card(workdir)
  trained_model.adopt_flags(card, values)
  machine.import_tensorflow(onednn=True)
  import tensorflow as tf

  from data import EncodedSource, reading

  source = compose.make_inputs(values).validation
  assert isinstance(source, EncodedSource), "a run on encoded images"
  trained = trained_model.load(workdir)
  size, channels = trained.image_size, trained.image_shape[-1]
  part = size / (trained.eval_resize or size)
  read = reading.make_read(source.examples)
  contents = [
    read(tf.constant(index, tf.int64)).numpy()
    for index in range(source.num_examples)
  ]
  answers: dict[str, np.ndarray] = {}
  for name, client in clients(size, channels, trained.eval_resize).items():
    images = np.stack([client(image, part) for image in contents])
    logits = trained.model.predict(images, batch_size=64, verbose=0)
    answers[name] = np.argmax(logits, axis=1)
  ours = answers["train_loop"]
  return {
    name: (
      float(np.mean(found == source.labels)),
      float(np.mean(found != ours)),
      len(found),
    )
    for name, found in answers.items()
  }


def table(rounds: list[dict[str, tuple[float, float, int]]]) -> str:
  """Returns a Markdown table of the means over rounds.

  Args:
    rounds: of `measure`.
  """
  lines = ["| client | top-1 | points lost | images of another class |"]
  lines.append("|---|---|---|---|")
  for name in rounds[0]:
    top1 = 100 * np.array([found[name][0] for found in rounds])
    lost = 100 * np.array([found["train_loop"][0] for found in rounds]) - top1
    other = 100 * np.mean([found[name][1] for found in rounds])
    spread = f" ± {np.std(lost, ddof=1):.1f}" if len(rounds) > 1 else ""
    lines.append(
      f"| {name} | {np.mean(top1):.1f}% | {np.mean(lost) + 0.0:.1f}{spread} | "
      f"{other:.1f}% |"
    )
  return "\n".join(lines)


def main() -> None:
  """Runs the program."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", help="a run; without it, runs are trained")
  parser.add_argument(
    "--rounds",
    type=harness.positive,
    default=3,
    help="runs that are trained, without a workdir (default %(default)s)",
  )
  options = parser.parse_args()
  rounds = []
  if options.workdir:
    rounds.append(measure(pathlib.Path(options.workdir)))
  else:
    for seed in range(options.rounds):
      with tempfile.TemporaryDirectory() as folder:
        rounds.append(measure(train_on_places(pathlib.Path(folder), seed=seed)))
  print(f"{rounds[0]['train_loop'][2]} images, {len(rounds)} runs\n")
  print(table(rounds))


if __name__ == "__main__":
  main()
