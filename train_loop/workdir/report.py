# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation: report.json, and what report.html shows.

All come from the logits of every evaluated image; scikit-learn and SciPy
compute what they can. This module imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Bins of equal width in which confidence is compared with accuracy.
BINS = 15
# Pairs of classes and mistakes that are listed.
PAIRS = 20
MISTAKES = 60


def of_one_label(
  labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
  """Returns the report on images that have one label each.

  Args:
    labels: [examples] integers in [0, K).
    logits: [examples, K].
    class_names: one name a class.

  Returns:
    What JSON can hold: `examples`; `top1`, with `top1_interval`, Wilson's of
    95 %; `top5`, if there are more than five classes; `loss`;
    `balanced_accuracy`; `largest_class_share`, the top-1 of who always answers
    with the largest class; `classes`, for each its examples, precision, recall
    and F1; their means `macro`; `confusion`, [labels, answers]; `pairs`, the
    most frequent mistakes; `mistakes`, the places of the most confident ones;
    `calibration`; and `auc`, if there are two classes.
  """
  from sklearn import metrics

  labels, logits = labels.astype(np.int64), logits.astype(np.float64)
  numbers = np.arange(logits.shape[1])
  probabilities = softmax(logits)
  answers = logits.argmax(axis=1)
  right = answers == labels
  hits, count = int(right.sum()), len(labels)
  counts = np.bincount(labels, minlength=len(numbers))
  confusion = metrics.confusion_matrix(labels, answers, labels=numbers)
  report: dict[str, Any] = {
    "examples": count,
    "top1": hits / count,
    "top1_interval": list(wilson(hits, count)),
    "loss": -float(_log_softmax(logits)[np.arange(count), labels].mean()),
    "balanced_accuracy": float(
      np.mean(np.diag(confusion)[counts > 0] / counts[counts > 0])
    ),
    "largest_class_share": float(counts.max() / count),
    **_by_class(labels, answers, class_names),
    "confusion": confusion.tolist(),
    "pairs": pairs(confusion, class_names),
    "mistakes": _mistakes(labels, answers, probabilities),
    "calibration": calibration(labels, logits),
  }
  if len(numbers) > 5:
    report["top5"] = float(np.mean(_ranks(labels, logits) < 5))
  if len(numbers) == 2 and counts.all():
    report["auc"] = float(metrics.roc_auc_score(labels, probabilities[:, 1]))
  return report


def wilson(hits: int, count: int) -> tuple[float, float]:
  """Returns Wilson's interval of 95 % of a share.

  Args:
    hits: how many of the examples are right.
    count: of the examples, at least 1.
  """
  from scipy import stats

  interval = stats.binomtest(hits, count).proportion_ci(method="wilson")
  return float(interval.low), float(interval.high)


def of_many_labels(
  labels: np.ndarray,
  logits: np.ndarray,
  class_names: Sequence[str],
  thresholds: Sequence[float],
) -> dict[str, Any]:
  """Returns the report on images that have any number of labels.

  Args:
    labels: [examples, K] of 0 and 1.
    logits: [examples, K].
    class_names: one name a class.
    thresholds: [K], the probability from which on a label is there.

  Returns:
    `examples`; `loss`; `mean_average_precision`, `f1_macro` and `f1_micro` over
    the classes that have an example; and `classes`, for each its examples,
    average precision, threshold, precision, recall and F1 at it.
  """
  from sklearn import metrics

  from train_loop import multi_label

  probabilities = multi_label.sigmoid(logits.astype(np.float64))
  said = probabilities >= np.array(thresholds)
  rows = []
  for k, name in enumerate(class_names):
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
      labels[:, k], said[:, k], average="binary", zero_division=0
    )
    average = None
    if labels[:, k].any():
      average = metrics.average_precision_score(labels[:, k], logits[:, k])
    rows.append(
      {
        "name": name,
        "examples": int(labels[:, k].sum()),
        "average_precision": average and float(average),
        "threshold": float(thresholds[k]),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
      }
    )
  figures = multi_label.figures(labels, probabilities, np.array(thresholds))
  losses = np.logaddexp(0.0, logits) - labels * logits
  return {
    "examples": len(labels),
    "loss": float(np.mean(losses)),
    **{name.removeprefix("eval_"): value for name, value in figures.items()},
    "classes": rows,
  }


def calibration(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
  """Returns how far the confidence of answers is from their accuracy.

  ECE = Σ_b n_b/N·|accuracy_b − confidence_b|, over bins of equal width of the
  answer's probability. The temperature T that minimises the loss of
  softmax(z/T) is fitted to these images. Their ECE at it is honest
  nevertheless: each half of them is judged at the temperature of the other.

  Args:
    labels: [examples] integers.
    logits: [examples, K] float64.

  Returns:
    `ece`, `temperature`, `ece_at_temperature`, and `bins`, for each one with
    examples its count, mean confidence and accuracy.

  Reference: Guo et al. 2017, On Calibration of Modern Neural Networks.
  """
  bins = _bins(labels, softmax(logits))
  halves = np.arange(len(labels)) % 2
  scaled = softmax(logits)
  if len(labels) > 1:
    for half in (0, 1):
      other = halves != half
      temperature = _temperature(labels[other], logits[other])
      scaled[halves == half] = softmax(logits[halves == half] / temperature)
  return {
    "ece": _ece(bins),
    "temperature": _temperature(labels, logits),
    "ece_at_temperature": _ece(_bins(labels, scaled)),
    "bins": bins,
  }


def softmax(logits: np.ndarray) -> np.ndarray:
  """Returns softmax over the last axis."""
  return np.exp(_log_softmax(logits))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  from scipy import special

  return special.log_softmax(logits, axis=-1)


def _ranks(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
  """Returns how many classes come before the label; of equals the first."""
  own = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)
  before = np.arange(logits.shape[1]) < labels[:, np.newaxis]
  return np.sum((logits > own) | ((logits == own) & before), axis=1)


def _by_class(
  labels: np.ndarray, answers: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
  """Returns precision, recall and F1 of each class, and their means."""
  from sklearn import metrics

  names = ("precision", "recall", "f1", "examples")
  columns = metrics.precision_recall_fscore_support(
    labels, answers, labels=np.arange(len(class_names)), zero_division=0
  )
  rows = [
    {"name": name, **{key: value.item() for key, value in zip(names, row)}}
    for name, row in zip(class_names, zip(*columns))
  ]
  known = [row for row in rows if row["examples"]]
  macro = {
    name: float(np.mean([row[name] for row in known])) for name in names[:3]
  }
  return {"classes": rows, "macro": macro}


def pairs(
  confusion: np.ndarray, class_names: Sequence[str], *, most: int = PAIRS
) -> list[dict[str, Any]]:
  """Returns the most frequent pairs of a label and another answer.

  Args:
    confusion: [labels, answers], counts.
    class_names: one name a class.
    most: how many pairs.

  Returns:
    Objects of `label`, `answer` and `count`, the most frequent first.
  """
  wrong = confusion - np.diag(np.diag(confusion))
  order = np.argsort(-wrong, axis=None, kind="stable")[:most]
  found = [divmod(int(place), len(wrong)) for place in order]
  return [
    {
      "label": class_names[label],
      "answer": class_names[answer],
      "count": int(wrong[label, answer]),
    }
    for label, answer in found
    if wrong[label, answer]
  ]


def _mistakes(
  labels: np.ndarray, answers: np.ndarray, probabilities: np.ndarray
) -> list[int]:
  """Returns the places of wrong answers, the most confident first."""
  (wrong,) = np.nonzero(answers != labels)
  confidence = probabilities[wrong, answers[wrong]]
  order = np.argsort(-confidence, kind="stable")[:MISTAKES]
  return wrong[order].tolist()


def _bins(
  labels: np.ndarray, probabilities: np.ndarray
) -> list[dict[str, Any]]:
  """Returns count, confidence and accuracy of each bin that has examples."""
  confidence = probabilities.max(axis=1)
  right = probabilities.argmax(axis=1) == labels
  number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
  rows = []
  for each in np.unique(number):
    inside = number == each
    rows.append(
      {
        "count": int(inside.sum()),
        "confidence": float(confidence[inside].mean()),
        "accuracy": float(right[inside].mean()),
      }
    )
  return rows


def _ece(bins: list[dict[str, Any]]) -> float:
  gaps = [
    row["count"] * abs(row["accuracy"] - row["confidence"]) for row in bins
  ]
  return float(sum(gaps) / sum(row["count"] for row in bins))


def _temperature(labels: np.ndarray, logits: np.ndarray) -> float:
  """Returns the T in [1/20, 20] that minimises the loss of softmax(z/T)."""
  from scipy import optimize

  rows = np.arange(len(labels))

  def loss(log_temperature: float) -> float:
    scaled = logits / np.exp(log_temperature)
    return -float(_log_softmax(scaled)[rows, labels].mean())

  found = optimize.minimize_scalar(
    loss, bounds=(-np.log(20.0), np.log(20.0)), method="bounded"
  )
  return float(np.exp(found.x))
