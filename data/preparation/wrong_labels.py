# Copyright 2026 The train_loop Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels that look wrong, by confident learning.

A network that never saw an example's label in training is asked for its
probabilities. Whoever gives another class a probability as high as that class's
own examples get on average contradicts the label.

Reference: Northcutt et al. 2021, Confident Learning: Estimating Uncertainty in
Dataset Labels, section 3.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Suspicions:
  """What is suspected of each label.

  Attributes:
    suggested: [examples], the class that the network would say instead, or the
      label.
    margin: [examples] in [-1, 1], the probability of the label less that of
      the likeliest other class: the lower, the more suspicious.
    suspected: [examples] bool, whether the label is contradicted.
    share_wrong: the estimated part of the labels that is wrong.
    joint: [classes, classes], the examples of each label that are confidently
      of each class.
  """

  suggested: np.ndarray
  margin: np.ndarray
  suspected: np.ndarray
  share_wrong: float
  joint: np.ndarray

  def ranked(self) -> np.ndarray:
    """Returns all examples, the suspected and of them the worst first."""
    return np.lexsort((self.margin, ~self.suspected))


def find(labels: np.ndarray, probabilities: np.ndarray) -> Suspicions:
  """Compares labels with held-out predictions.

  t_k = mean p_k over the examples labelled k; an example is confidently of the
  likeliest class of those with p_k >= t_k, and suspected if that is not its
  label.

  Args:
    labels: [examples] integers in [0, classes).
    probabilities: [examples, classes], of a network that was not trained on
      the examples.

  Returns:
    What is suspected.
  """
  count, classes = probabilities.shape
  rows = np.arange(count)
  own = probabilities[rows, labels]
  label_counts = np.bincount(labels, minlength=classes)
  sums = np.bincount(labels, weights=own, minlength=classes)
  # Of a class that nothing is labelled with nothing is confidently.
  thresholds = np.full(classes, np.inf)
  np.divide(sums, label_counts, out=thresholds, where=label_counts > 0)
  candidates = np.where(probabilities >= thresholds, probabilities, -1.0)
  confident = candidates.argmax(axis=1)
  counted = candidates[rows, confident] >= 0.0
  joint = np.zeros((classes, classes), np.int64)
  np.add.at(joint, (labels[counted], confident[counted]), 1)
  suspected = counted & (confident != labels)
  others = probabilities.copy()
  others[rows, labels] = -1.0
  likeliest = others.argmax(axis=1)
  return Suspicions(
    suggested=np.where(suspected, confident, likeliest),
    margin=own - others[rows, likeliest],
    suspected=suspected,
    share_wrong=_share_wrong(joint, label_counts),
    joint=joint,
  )


def _share_wrong(joint: np.ndarray, label_counts: np.ndarray) -> float:
  """Returns the part off the diagonal, each row scaled to its class's count."""
  totals = joint.sum(axis=1)
  shares = np.ones(len(joint))
  np.divide(np.diag(joint), totals, out=shares, where=totals > 0)
  return float(((1.0 - shares) * label_counts).sum() / label_counts.sum())


def folds(labels: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
  """Deals the examples out to folds, each class in proportion.

  Args:
    labels: [examples] integers.
    count: of the folds, at least 2.
    seed: of who gets which.

  Returns:
    [examples] int64, the fold of each.
  """
  shuffled = np.random.default_rng(seed).permutation(len(labels))
  ordered = shuffled[np.argsort(labels[shuffled], kind="stable")]
  fold = np.empty(len(labels), np.int64)
  fold[ordered] = np.arange(len(labels)) % count
  return fold
