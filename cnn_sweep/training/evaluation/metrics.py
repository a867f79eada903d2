"""Metrics from labels and probabilities, and confusion matrices, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    Counts = npt.NDArray[np.int64]

Labels = npt.NDArray[np.integer]
Probabilities = npt.NDArray[np.floating]


def predicted(probabilities: Probabilities) -> Labels:
    """Return the predicted class of each row: the largest unit, or, with a single unit, 1 if it exceeds 0.5.

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

    For two classes, the AUC of the last unit. For more, the mean over all classes with images inside and outside, each
    against the rest. NaN if there is no such class, or if a probability is NaN.
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
    """Return the chance that a positive scores above a negative (the Mann-Whitney statistic)."""
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives:
        return float("nan")
    rank_sum = _ranks(score)[positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def _ranks(values: Probabilities) -> npt.NDArray[np.float64]:
    """Return ranks from 1; ties share their mean rank."""
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


# Keys are the names in `cnn_sweep.sweep.spec.metrics`. The loss is missing because it depends on the trial's settings.
_FUNCTIONS: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": accuracy,
    "auc": auc,
    "macro_f1": macro_f1,
}


def all_metrics(labels: Labels, probabilities: Probabilities, prefix: str) -> dict[str, float]:
    """Return all metrics except the loss, with ``prefix`` before their names.

    Args:
        labels: Shape (n,), indices of classes.
        probabilities: Shape (n, units).
        prefix: Such as ``val_``.
    """
    return {f"{prefix}{name}": function(labels, probabilities) for name, function in _FUNCTIONS.items()}


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class against all others; NaN if the denominator is 0.

    Attributes:
        precision: Share of images predicted as this class that belong to it.
        recall: Share of this class's images that are predicted as it.
        f1: Harmonic mean of both: 2 hits / (images of the class + images predicted as it).
        support: Number of images of the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> Counts:
    """Count images by true class (rows) and predicted class (columns).

    Args:
        labels: Shape (n,), indices of classes.
        predicted: Shape (n,), indices of classes.
        classes: Number of classes.
    """
    pairs = np.asarray(labels, np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def proportions(matrix: Counts, of: str) -> npt.NDArray[np.float64]:
    """Divide a confusion matrix by its row sums (``true``), column sums (``predicted``) or total (``all``).

    A row or column without images is NaN.
    """
    axis = {"true": 1, "predicted": 0, "all": None}[of]
    return _divide(matrix, matrix.sum(axis=axis, keepdims=True))


def class_scores(matrix: Counts) -> list[ClassScore]:
    """Return the scores of each class."""
    hits, support, guesses = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    columns = (_divide(hits, guesses), _divide(hits, support), _divide(2 * hits, support + guesses), support)
    return [ClassScore(float(p), float(r), float(f), int(n)) for p, r, f, n in zip(*columns, strict=True)]


def per_class(probabilities: Probabilities) -> Probabilities:
    """Return one column per class; a single unit gives the probability of the second of two classes."""
    if probabilities.shape[1] == 1:
        return np.concatenate([1.0 - probabilities, probabilities], axis=1)
    return probabilities


def _divide(numerator: Counts, denominator: Counts) -> npt.NDArray[np.float64]:
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
