"""Which classes are taken for which, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnn_sweep.training.evaluation.metrics import Labels, Probabilities

    Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told from the others; NaN where there is nothing to divide by.

    Attributes:
        precision: Share of the images predicted as this class that are of it.
        recall: Share of the images of this class that are predicted as it.
        f1: Harmonic mean of both: 2 hits / (images of the class + images predicted as it).
        support: Images of the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> Counts:
    """Count images by true class (rows) and predicted class (columns).

    Args:
        labels: Shape (n,), indices of classes.
        predicted: Shape (n,), as well.
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
    """Return one column per class: a single unit says how likely the second of two classes is."""
    if probabilities.shape[1] == 1:
        return np.concatenate([1.0 - probabilities, probabilities], axis=1)
    return probabilities


def _divide(numerator: Counts, denominator: Counts) -> npt.NDArray[np.float64]:
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
