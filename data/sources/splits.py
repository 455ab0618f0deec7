# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which split of a data set is evaluated."""

from __future__ import annotations

from collections.abc import Collection

from absl import logging

from data.errors import DataError
from data.names import EVAL_SPLITS, SPLITS

TRAIN, VALIDATION, TEST = SPLITS
AUTO = EVAL_SPLITS[0]


def to_evaluate(
  found: Collection[str],
  where: str,
  *,
  eval_split: str = AUTO,
  validation_fraction: float = 0.0,
) -> str | None:
  """Returns the split that is evaluated, and says which one is left out.

  Args:
    found: of "validation" and "test" those that the data have.
    where: the data's name, for messages.
    eval_split: one of `names.EVAL_SPLITS`.
    validation_fraction: of the training examples, held out for evaluation;
      above 0 only if there is no split "validation".

  Returns:
    "validation" or "test"; None is the part that is held out.

  Raises:
    DataError: there is no such split, or one and a fraction besides.
  """
  fraction = validation_fraction
  if fraction and VALIDATION in found:
    raise DataError(
      f"validation_fraction must be 0 if {where} has a split for evaluation,"
      f" got {fraction}"
    )
  if eval_split not in (AUTO, *found) and not (
    fraction and eval_split == VALIDATION
  ):
    raise DataError(
      f"eval_split must be a split that {where} has"
      f" ({', '.join((AUTO, *found))}), got {eval_split}"
    )
  chosen: str | None = eval_split
  if eval_split == AUTO:
    chosen = VALIDATION if fraction or VALIDATION in found else TEST
  if fraction and chosen == VALIDATION:
    chosen = None
  elif chosen not in found:
    raise DataError(
      f"validation_fraction must be above 0, as in 0.1, if {where} has no split"
      f" for evaluation, got {fraction}"
    )
  for other in sorted({*found} - {chosen}):
    logging.info(
      "%s: evaluates %s and leaves %s out; --eval_split=%s evaluates that",
      *(where, chosen or "what is held out", other, other),
    )
  return chosen
