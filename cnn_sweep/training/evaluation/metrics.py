"""Metrics from labels and probabilities, and confusion matrices, in NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cnn_sweep.sweep.spec.metrics import CLASS_METRICS, class_of, top_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Counts = npt.NDArray[np.int64]
    OfClasses = Callable[[Counts], npt.NDArray[np.float64]]

Labels = npt.NDArray[np.integer]
Probabilities = npt.NDArray[np.floating]

_BINS: Final = 15  # of the expected calibration error


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
    return _macro(_matrix(labels, probabilities), _f1)


def balanced_accuracy(matrix: Counts) -> float:
    """Return the mean recall over the classes that have images."""
    has_images = matrix.sum(axis=1) > 0
    return _mean(_recall(matrix)[has_images])


def average_precision(labels: Labels, probabilities: Probabilities) -> float:
    """Return the area under the steps of the precision-recall curve: the sum of precision times the gain in recall.

    For two classes, that of the last unit. For more, the mean over all classes with images, each against the rest. NaN
    if there is no such class.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    values = [_binary_average_precision(labels == c, probabilities[:, c]) for c in classes]
    return _mean(np.array([value for value in values if not np.isnan(value)]))


def _binary_average_precision(positive: npt.NDArray[np.bool_], score: Probabilities) -> float:
    if not positive.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]), 1))  # the last of equal scores, which enter together
    hits = np.cumsum(positive[order])[ends]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (ends + 1)) / positive.sum())


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean of -ln p, with p the probability of the true class, at least the type's smallest step from 1.

    Unlike the loss it has neither smoothing nor penalties, so it compares all trials alike.
    """
    return float(np.mean(_log_losses(labels, probabilities)))


def _log_losses(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    own = probabilities[np.arange(len(labels)), labels]
    least = np.finfo(probabilities.dtype).eps
    found: npt.NDArray[np.float64] = -np.log(np.clip(own, least, 1 - least).astype(np.float64))
    return found


def brier(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean squared distance of the probabilities from 1 for the true class and 0 for the others.

    The distances are summed over the classes (Brier 1950), and halved if there are two, as the score of one of them.
    """
    return float(np.mean(_squared_distances(labels, probabilities)))


def _squared_distances(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    target = np.eye(probabilities.shape[1])[labels]
    found: npt.NDArray[np.float64] = np.sum((probabilities - target) ** 2, axis=1)
    return found / 2 if probabilities.shape[1] == 2 else found


def calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Return the expected calibration error: how far the confidence is from the accuracy, weighted by images.

    Images are binned by the probability of the predicted class, in 15 bins of equal width, as in Guo et al. 2017, "On
    Calibration of Modern Neural Networks".
    """
    confidence = probabilities.max(axis=1)
    place, _ = confidence_bins(confidence)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    excess = np.bincount(place, weights=confidence.astype(np.float64) - right, minlength=_BINS)
    return float(np.abs(excess).sum() / len(labels))


def confidence_bins(
    confidence: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the bin of each confidence, from 0 to 14, and the 16 edges of the bins."""
    place = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    return place, np.linspace(0.0, 1.0, _BINS + 1)


def kappa(matrix: Counts) -> float:
    """Return Cohen's kappa: agreement beyond chance, 1 at most; NaN if chance alone agrees always (Cohen 1960)."""
    total = float(matrix.sum())
    observed = float(np.trace(matrix)) / total
    chance = float(matrix.sum(axis=0) @ matrix.sum(axis=1)) / total**2
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def mcc(matrix: Counts) -> float:
    """Return Matthews's correlation coefficient for any number of classes (Gorodkin 2004); 0 without any variation."""
    guesses, support, total = matrix.sum(axis=0), matrix.sum(axis=1), int(matrix.sum())
    covariance = int(np.trace(matrix)) * total - int(guesses @ support)
    spread = (total**2 - int(guesses @ guesses)) * (total**2 - int(support @ support))
    return covariance / math.sqrt(spread) if spread else 0.0


def top_accuracy(labels: Labels, probabilities: Probabilities, k: int) -> float:
    """Return the share of images whose class is among the ``k`` most likely; of equal ones the first come first."""
    return float(np.mean(_ranks_of_own(labels, probabilities) < k))


def _ranks_of_own(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """Return the rank of each image's class among all classes, from 0."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < np.asarray(labels)[:, None]
    found: npt.NDArray[np.int64] = np.sum((probabilities > own) | ((probabilities == own) & before), axis=1)
    return found


def of_each_image(labels: Labels, probabilities: Probabilities, name: str) -> npt.NDArray[np.float64] | None:
    """Return a metric of each image, shape (n,), of which the metric is the mean; None if it is no such mean.

    Args:
        labels: Shape (n,), indices of classes.
        probabilities: Shape (n, classes).
        name: Name of the metric without ``val_``.
    """
    if name == "accuracy":
        return np.asarray(predicted(probabilities) == labels, np.float64)
    if name == "log_loss":
        return _log_losses(labels, probabilities)
    if name == "brier":
        return _squared_distances(labels, probabilities)
    top = top_of(name)
    return None if top is None else (_ranks_of_own(labels, probabilities) < top).astype(np.float64)


def _matrix(labels: Labels, probabilities: Probabilities) -> Counts:
    return confusion_matrix(labels, predicted(probabilities), max(2, probabilities.shape[1]))


def _precision(matrix: Counts) -> npt.NDArray[np.float64]:
    return _share_of(np.diag(matrix), matrix.sum(axis=0))


def _recall(matrix: Counts) -> npt.NDArray[np.float64]:
    return _share_of(np.diag(matrix), matrix.sum(axis=1))


def _f1(matrix: Counts) -> npt.NDArray[np.float64]:
    return _share_of(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def _share_of(numerator: Counts, denominator: Counts) -> npt.NDArray[np.float64]:
    """Divide; 0 where there is nothing to divide by, as in scikit-learn."""
    return np.nan_to_num(_divide(numerator, denominator))


def _macro(matrix: Counts, of_classes: OfClasses) -> float:
    """Return the mean over the classes that occur among labels or predictions."""
    present = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    return _mean(of_classes(matrix)[present])


def _weighted(matrix: Counts, of_classes: OfClasses) -> float:
    """Return the mean over classes, weighted by their images."""
    return float(of_classes(matrix) @ matrix.sum(axis=1) / matrix.sum())


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.mean(values)) if values.size else float("nan")


# Keys are the names in `cnn_sweep.sweep.spec.metrics`. The loss is missing because it depends on the trial's settings.
_FUNCTIONS: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": accuracy,
    "auc": auc,
    "macro_f1": macro_f1,
}
# Of probabilities with a column for each class.
_OF_PROBABILITIES: dict[str, Callable[[Labels, Probabilities], float]] = {
    "average_precision": average_precision,
    "log_loss": log_loss,
    "brier": brier,
    "calibration_error": calibration_error,
}
# Of a confusion matrix.
_OF_CLASSES: dict[str, OfClasses] = {"precision": _precision, "recall": _recall, "f1": _f1}
_OF_MATRIX: dict[str, Callable[[Counts], float]] = {
    "balanced_accuracy": balanced_accuracy,
    "macro_precision": partial(_macro, of_classes=_precision),
    "macro_recall": partial(_macro, of_classes=_recall),
    "weighted_precision": partial(_weighted, of_classes=_precision),
    "weighted_recall": partial(_weighted, of_classes=_recall),
    "weighted_f1": partial(_weighted, of_classes=_f1),
    "kappa": kappa,
    "mcc": mcc,
}


def all_metrics(
    labels: Labels,
    probabilities: Probabilities,
    prefix: str,
    more: Sequence[str] = (),
    class_names: Sequence[str] = (),
) -> dict[str, float]:
    """Return the metrics that every trial reports, except the loss, and more, with ``prefix`` before their names.

    Args:
        labels: Shape (n,), indices of classes.
        probabilities: Shape (n, units).
        prefix: Such as ``val_``.
        more: Names of further metrics; those of every class have a value for each class.
        class_names: Names of the classes, for metrics of one class.
    """
    found = {name: function(labels, probabilities) for name, function in _FUNCTIONS.items()}
    if more:
        found |= _more_metrics(np.asarray(labels, np.int64), probabilities, more, class_names)
    return {f"{prefix}{name}": value for name, value in found.items()}


def _more_metrics(
    labels: Labels, probabilities: Probabilities, names: Sequence[str], class_names: Sequence[str]
) -> dict[str, float]:
    names = of_each_class(names, class_names)
    if np.isnan(probabilities).any():
        return dict.fromkeys(names, float("nan"))
    matrix = _matrix(labels, probabilities)
    probabilities = per_class(probabilities)
    found = {}
    for name in names:
        top, of_class = top_of(name), class_of(name)
        if name in _OF_MATRIX:
            found[name] = _OF_MATRIX[name](matrix)
        elif name in _OF_PROBABILITIES:
            found[name] = _OF_PROBABILITIES[name](labels, probabilities)
        elif top is not None:
            found[name] = top_accuracy(labels, probabilities, top)
        elif of_class is not None:
            kind, which = of_class
            found[name] = float(_OF_CLASSES[kind](matrix)[list(class_names).index(which)])
    return found


def metric_of(labels: Labels, probabilities: Probabilities, name: str, class_names: Sequence[str]) -> float:
    """Return one metric, by its name without ``val_``; arguments as for :func:`all_metrics`."""
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](labels, probabilities)
    return _more_metrics(np.asarray(labels, np.int64), probabilities, (name,), class_names)[name]


def of_each_class(names: Iterable[str], class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names with ``recall`` replaced by ``recall_fox``, ``recall_hare`` and so on."""
    several = ([f"{name}_{one}" for one in class_names] if name in CLASS_METRICS else [name] for name in names)
    return tuple(dict.fromkeys(one for own in several for one in own))


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
