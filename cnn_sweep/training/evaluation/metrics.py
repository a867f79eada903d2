"""Metrics from labels and probabilities, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Probabilities = npt.NDArray[np.floating]


def predicted(probabilities: Probabilities) -> Labels:
    """Return the predicted class of each row: the largest unit, or 1 where a single unit exceeds 0.5.

    Args:
        probabilities: Shape (n, units).
    """
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] > 0.5).astype(np.int64)
    best: Labels = probabilities.argmax(axis=1)
    return best


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the share of rows whose predicted class is the label."""
    return float(np.mean(predicted(probabilities) == labels))


def auc(labels: Labels, probabilities: Probabilities) -> float:
    """Return the area under the ROC curve, exactly, as a rank statistic (ties count half).

    Two classes: that of the last unit. More: the mean over classes, each against the rest, of those that have
    images inside and outside. NaN where there is no such class, or a probability is NaN.
    """
    if np.isnan(probabilities).any():
        return float("nan")
    units = probabilities.shape[1]
    classes = [units - 1] if units <= 2 else range(units)
    positive_class = {0: 1} if units == 1 else {}
    values = [_binary_auc(labels == positive_class.get(c, c), probabilities[:, c]) for c in classes]
    finite = [value for value in values if not np.isnan(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _binary_auc(positive: npt.NDArray[np.bool_], score: Probabilities) -> float:
    """Mann-Whitney: the chance that a positive scores above a negative."""
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives:
        return float("nan")
    rank_sum = _ranks(score)[positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(values: Probabilities) -> npt.NDArray[np.float64]:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def macro_f1(labels: Labels, probabilities: Probabilities) -> float:
    """Return the unweighted mean of F1 over the classes that occur among labels or predictions."""
    guess = predicted(probabilities)
    size = int(max(labels.max(initial=0), guess.max(initial=0))) + 1
    hits = np.bincount(labels[labels == guess], minlength=size)
    either = np.bincount(labels, minlength=size) + np.bincount(guess, minlength=size)
    present = either > 0
    return float(np.mean(2.0 * hits[present] / either[present])) if present.any() else float("nan")


def all_metrics(labels: Labels, probabilities: Probabilities, prefix: str) -> dict[str, float]:
    """Return accuracy, AUC and macro F1, their names with ``prefix`` before them."""
    return {
        f"{prefix}accuracy": accuracy(labels, probabilities),
        f"{prefix}auc": auc(labels, probabilities),
        f"{prefix}macro_f1": macro_f1(labels, probabilities),
    }
