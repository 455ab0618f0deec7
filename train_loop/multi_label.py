# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures of an evaluation of images that have any number of labels."""

from __future__ import annotations

from typing import Any

import numpy as np

# A label is said to be there from this probability on, if none was fitted.
HALF = 0.5


def figures(
  labels: np.ndarray,
  probabilities: np.ndarray,
  thresholds: np.ndarray | None = None,
) -> dict[str, Any]:
  """Returns what an evaluation reports, but for its loss.

  Classes without a positive example have no precision, and count in none of
  the means.

  Args:
    labels: [examples, K] of 0 and 1.
    probabilities: [examples, K] in [0, 1].
    thresholds: [K], from which probability on a label is said to be there; None
      is one half.

  Returns:
    `eval_mean_average_precision`: the mean over the classes of scikit-learn's
    average_precision_score; `eval_f1_macro` and `eval_f1_micro`, its f1_score
    at the thresholds. All are 0 if no class has a positive example.
  """
  from sklearn import metrics

  thresholds = at_half(labels.shape[1]) if thresholds is None else thresholds
  known = labels.any(axis=0)
  if not known.any():
    means = dict.fromkeys(("mean_average_precision", "f1_macro", "f1_micro"), 0)
    return {f"eval_{name}": float(value) for name, value in means.items()}
  labels, probabilities = labels[:, known], probabilities[:, known]
  said = probabilities >= thresholds[known]
  precision = metrics.average_precision_score(
    labels, probabilities, average="macro"
  )
  # One column would be taken for a class number.
  macro = np.mean([_f1(*columns) for columns in zip(labels.T, said.T)])
  return {
    "eval_mean_average_precision": float(precision),
    "eval_f1_macro": float(macro),
    "eval_f1_micro": _f1(labels.ravel(), said.ravel()),
  }


def sigmoid(logits: np.ndarray) -> np.ndarray:
  """Returns 1/(1 + e^(−z)), without overflow."""
  return np.exp(-np.logaddexp(0.0, -logits))


def at_half(num_classes: int) -> np.ndarray:
  """Returns the thresholds that nothing was fitted for, [K] float64."""
  return np.full(num_classes, HALF)


def fitted_thresholds(
  labels: np.ndarray, probabilities: np.ndarray
) -> list[float]:
  """Returns the threshold of each class that gives the largest F1.

  Each one lies in the middle between two probabilities that were seen, so that
  rounding does not move an example across it. It is fitted to these examples,
  so that their F1 at it is too good: judge it on others.

  Args:
    labels: [examples, K] of 0 and 1.
    probabilities: [examples, K] in [0, 1].

  Returns:
    K numbers in (0, 1); 0.5 of a class without a positive example.
  """
  return [
    round(_fitted(*columns), 6)
    for columns in zip(labels.T.astype(np.int64), probabilities.T)
  ]


def _fitted(labels: np.ndarray, probabilities: np.ndarray) -> float:
  positives = labels.sum()
  if not positives:
    return HALF
  order = np.argsort(-probabilities, kind="stable")
  scores = probabilities[order].astype(np.float64)
  hits = np.cumsum(labels[order])
  f1 = 2.0 * hits / (np.arange(1, len(labels) + 1) + positives)
  # Equal probabilities fall on one side: only the last of them is a cut.
  is_cut = np.append(scores[1:] < scores[:-1], True)
  best = int(np.argmax(np.where(is_cut, f1, -1.0)))
  below = scores[best + 1] if best + 1 < len(scores) else 0.0
  return float((scores[best] + below) / 2.0)


def _f1(labels: np.ndarray, said: np.ndarray) -> float:
  """Returns 2·TP/(2·TP + FP + FN); 0 if there is none of them."""
  hits = np.sum((labels > 0) & said)
  count = np.sum(labels > 0) + np.sum(said)
  return float(2.0 * hits / count) if count else 0.0
