# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages of docs/benchmarks: made from the JSON that benchmarks write."""

from __future__ import annotations

import json
import pathlib

import pytest

from benchmarks import harness, page
from benchmarks.harness import Column, Runs

MACHINE = {
  "name": "Z80, 2 cores",
  "summary": "Z80, 2 cores",
  "memory_gib": 1.5,
  "python": "3.11.7",
  "versions": {"tensorflow": "2.21.0", "torch": None},
  "peak_flops": 440e9,
}


@pytest.fixture
def written(tmp_path, monkeypatch):
  """Returns the JSON of a tiny benchmark of two tables, as a file."""
  monkeypatch.setattr(harness.sys, "argv", ["speed", "--rounds=2"])
  monkeypatch.setattr(harness, "commit", lambda: "1234567")
  file = tmp_path / "speed.json"
  options = harness.parser(None).parse_args(["--rounds=2", f"--json={file}"])
  report = harness.Report("speed", options, MACHINE)
  for name, scale in (("tiny", 10.0), ("big", 1.0)):
    runs = {
      "ours": Runs([{"rate": 300 * scale}, {"rate": 500 * scale}]),
      "peer": Runs([{"rate": 200 * scale}, {"rate": 200 * scale}]),
      "broken": Runs(error="no luck"),
    }
    report.section(name, runs, [Column("rate", "images/s")], ours="ours")
  return file


def test_a_page_from_a_benchmarks_json(written, monkeypatch, capsys):
  content = json.loads(written.read_text(encoding="utf-8"))
  content["date"] = "2026-11-27 13:20 UTC"
  written.write_text(json.dumps(content), encoding="utf-8")
  capsys.readouterr()
  monkeypatch.setattr(page.sys, "argv", ["page", str(written)])
  assert page.main() == 0
  assert capsys.readouterr().out == PAGE


PAGE = """\
# Z80, 2 cores, 2026-11-27

1.5 GiB of memory; Python 3.11.7, tensorflow 2.21.0.

## speed

```sh
python -m benchmarks.speed --rounds=2
```

Commit 1234567, 2026-11-27 13:20 UTC. A float32 matrix product reaches 440 \
GFLOP/s. Figures are medians; rounds: 2.

|        |   tiny, images/s |   ours / this |   big, images/s |   ours / this |
|:-------|-----------------:|--------------:|----------------:|--------------:|
| ours   |          4,000.0 |          1.00 |           400.0 |          1.00 |
| peer   |          2,000.0 |          2.00 |           200.0 |          2.00 |
| broken |                – |             – |               – |             – |

### tiny

|        |   images/s |   ours / this |
|:-------|-----------:|--------------:|
| ours   |    4,000.0 |          1.00 |
| peer   |    2,000.0 |          2.00 |
| broken |    no luck |               |

### big

|        |   images/s |   ours / this |
|:-------|-----------:|--------------:|
| ours   |      400.0 |          1.00 |
| peer   |      200.0 |          2.00 |
| broken |    no luck |               |
"""


@pytest.mark.parametrize(
  "changes, what",
  [
    ({"date": "1999-12-31 01:00 UTC"}, "date"),
    ({"machine": {**MACHINE, "name": "6502, 2 cores"}}, "machine"),
    ({"machine": {**MACHINE, "python": "3.12.0"}}, "versions"),
  ],
)
def test_a_page_is_of_one_machine_and_date(
  written, tmp_path, monkeypatch, capsys, changes, what
):
  content = json.loads(written.read_text(encoding="utf-8"))
  other = tmp_path / "other.json"
  other.write_text(json.dumps({**content, **changes}), encoding="utf-8")
  monkeypatch.setattr(page.sys, "argv", ["page", str(written), str(other)])
  assert page.main() == 2
  assert f"{what} must be the same for all files" in capsys.readouterr().err


def test_pages_are_those_of_the_json_beside_them():
  pages = harness.ROOT / "docs" / "benchmarks"
  for folder in filter(pathlib.Path.is_dir, pages.glob("*")):
    files = sorted(folder.glob("*.json"))
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    text = folder.with_suffix(".md").read_text(encoding="utf-8")
    # People may add notes below.
    assert text.startswith(page.page(contents)), folder.name
