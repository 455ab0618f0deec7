# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""A training step of Keras' own networks, beside `model.fit` as installed.

    python -m benchmarks.keras_models --json=keras_models.json

The network, the batch and the update are those of `step_throughput`. Our step
is measured with Keras' BatchNormalization, with the fused one in its place, and
with that in bfloat16, which `auto` takes if the CPU has instructions for it; in
two micro-batches at once as `--accumulate_steps=auto` may take it.
"""

from __future__ import annotations

from benchmarks import contenders, harness, step_throughput

CASES = ("mobilenet", "inception_v3")


def entrants() -> list[harness.Contender]:
  """Returns the contenders; the first ratio is that of the fused float32."""
  fused, half = "--fuse_batch_norm=true", "--precision=mixed_bfloat16"
  return [
    contenders.ours(fused),
    contenders.ours(name="train_loop, Keras' BatchNormalization"),
    contenders.ours(fused, half, name="train_loop, bfloat16"),
    contenders.ours(
      *(fused, half, "--at_once=2"),
      name="train_loop, bfloat16, two micro-batches at once",
    ),
    contenders.keras_as_installed(),
  ]


def main() -> None:
  """Runs the program."""
  parser = harness.parser(__doc__, rounds=5)
  parser.add_argument(
    "--cases",
    type=harness.names(CASES),
    default=list(CASES),
    help=f"comma-separated, of {', '.join(CASES)} (default: all)",
  )
  parser.add_argument(
    "--seconds",
    type=float,
    default=10.0,
    help="shortest time of a measurement (default %(default)s)",
  )
  options = parser.parse_args()
  report = harness.Report("keras_models", options, harness.machine())
  for case in options.cases:
    runs = harness.compare(
      entrants(),
      [f"--case={case}", f"--seconds={options.seconds}"],
      rounds=options.rounds,
    )
    report.section(
      step_throughput.heading(case, None),
      runs,
      step_throughput.COLUMNS,
      ours=contenders.OURS,
    )


if __name__ == "__main__":
  with harness.stopped_politely():
    main()
