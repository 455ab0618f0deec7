# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a page of docs/benchmarks/ from the JSON that benchmarks wrote.

    python -m benchmarks.page docs/benchmarks/NAME/*.json \
      > docs/benchmarks/NAME.md

A page is for one machine and one date. It gives the command, the commit and the
peak of each benchmark, and each figure as the median of its measurements.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

from benchmarks import harness
from benchmarks.harness import Column, Record, Runs


def page(contents: Sequence[Record]) -> str:
  """Returns a page, in Markdown.

  Args:
    contents: what `harness.Report` wrote, one object per benchmark, at least
      one; all of one machine, with the same versions, on one date.

  Raises:
    ValueError: the machine, the versions or the date differ.
  """
  first, *others = contents
  for other in others:
    for what, mine, theirs in zip(
      ("machine", "versions", "date"), _origin(first), _origin(other)
    ):
      if mine != theirs:
        raise ValueError(
          f"{what} must be the same for all files of a page, got {mine!r} for"
          f" {first['benchmark']} and {theirs!r} for {other['benchmark']}:"
          " make two pages"
        )
  machine, versions, date = _origin(first)
  return "\n\n".join(
    [
      f"# {machine}, {date}",
      f"{first['machine']['memory_gib']} GiB of memory; {versions}.",
      *(part for content in contents for part in _benchmark(content)),
    ]
  )


def _origin(content: Record) -> tuple[str, str, str]:
  """Returns machine, versions and date, in words."""
  machine = content["machine"]
  versions = {"Python": machine["python"], **machine["versions"]}
  installed = [f"{name} {of}" for name, of in versions.items() if of]
  date, _, _ = content["date"].partition(" ")
  return machine["name"], ", ".join(installed), date


def _benchmark(content: Record) -> Iterator[str]:
  """Yields the paragraphs of one benchmark."""
  machine = content["machine"]
  yield f"## {content['benchmark']}"
  yield f"```sh\n{content['command']}\n```"
  yield (
    f"Commit {content['commit']}, {content['date']}. A float32 matrix product"
    f" reaches {machine['peak_flops'] / 1e9:.0f} GFLOP/s. Figures are"
    f" medians; rounds: {content['options']['rounds']}."
  )
  sections = content["sections"]
  if len(sections) > 1 and len(set(map(_names, sections.values()))) == 1:
    yield _overview(sections)
  for name, section in sections.items():
    columns = [Column(**column) for column in section["columns"]]
    runs = {
      row["name"]: Runs(row["records"], row["error"]) for row in section["rows"]
    }
    ratios = [row["ratio"] for row in section["rows"]]
    shown = ratios if section["ratios"] else None
    yield f"### {name}"
    yield harness.table(runs, columns, shown)


def _names(section: Record) -> tuple[str, ...]:
  return tuple(row["name"] for row in section["rows"])


def _overview(sections: Record) -> str:
  """Returns one table of each section's first figure, and of the ratios."""
  heads = [""]
  rows = [[name] for name in _names(next(iter(sections.values())))]
  for name, section in sections.items():
    column = Column(**section["columns"][0])
    heads += [f"{name}, {column.head}", "ours / this"]
    for cells, row in zip(rows, section["rows"]):
      ratio = row["ratio"]
      cells.append(column.cell(Runs(row["records"])))
      cells.append("–" if ratio is None else f"{ratio:.2f}")
  return harness.markdown_table(heads, rows)


def main() -> int:
  """Runs the program and returns its exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "files", nargs="+", metavar="FILE.json", help="written with --json"
  )
  files = parser.parse_args().files
  contents = [
    json.loads(pathlib.Path(file).read_text(encoding="utf-8")) for file in files
  ]
  try:
    print(page(contents))
  except ValueError as error:
    print(error, file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main())
