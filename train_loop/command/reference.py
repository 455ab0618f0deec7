# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/flags.md from the flags' own fields.

python -m train_loop.command.reference > docs/flags.md
"""

from __future__ import annotations

import dataclasses
from typing import Any

from train_loop.command import flags


def reference() -> str:
  """Returns the reference page of all flags, in Markdown."""
  lines = [
    "# Flags",
    "",
    "`train_loop --helpfull` prints them too.",
    "`python -m train_loop.command.reference` writes this page: default, range",
    "and help of a flag stand in the field that it sets. What `--model` takes",
    "is told in [models](models.md), what `--on_nonfinite` does in",
    "[numbers going wrong](numbers_going_wrong.md).",
  ]
  for title, settings in flags.GROUPS.items():
    lines += ["", f"## {title}", "", "| flag | default | what it does |"]
    lines.append("|---|---|---|")
    lines += map(_row, flags.fields_of(settings))
  return "\n".join(lines) + "\n"


def _row(field: dataclasses.Field) -> str:
  text = " ".join([field.metadata["help"], *_limits(field)])
  default = _default(field)
  shown = f"`{default}`" if default else ""
  return f"| `--{field.name}` | {shown} | {text} |"


def _default(field: dataclasses.Field) -> str:
  value: Any = field.default
  if field.metadata.get("auto") and not value:
    return "auto"
  if isinstance(value, tuple):
    return ",".join(value)
  return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(field: dataclasses.Field) -> list[str]:
  """Returns what a value may be, as a sentence, if that is limited."""
  limits = field.metadata
  if limits.get("choices"):
    return [f"One of {', '.join(limits['choices'])}."]
  words = []
  if "low" in limits and not limits.get("auto"):
    sign = ">" if limits.get("open_low") else ">="
    words.append(f"{sign} {limits['low']}")
  if "high" in limits:
    sign = "<" if limits.get("open_high") else "<="
    words.append(f"{sign} {limits['high']}")
  return [f"{' and '.join(words)}."] if words else []


if __name__ == "__main__":
  print(reference(), end="")
