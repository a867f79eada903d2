"""Calibration of probabilities: reliability by confidence, and temperature scaling.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.models.validated import parts_of
from cnn_sweep.training.evaluation.metrics import calibration_error, confidence_bins, log_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cnn_sweep.report.models.validated import Validated

    Array = npt.NDArray[np.floating]

LOWEST, HIGHEST = 0.02, 50.0  # temperatures
_HALVINGS: Final = 60
_COLUMNS: Final = ("confidence", "images", "mean", "accuracy", "low", "high")


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed, as they are and after temperature scaling.

    Attributes:
        temperature: By which logarithms of probabilities are divided; above 1 if the network is too sure.
        log_loss: Mean of -ln p of the true class, before and after scaling.
        error: Expected calibration error, before and after scaling.
        bins: A row for each bin of confidence that has images: number of images, mean confidence, and accuracy with its
            Wilson interval, before scaling.
        scaled_bins: The same after scaling.
    """

    temperature: float
    log_loss: tuple[float, float]
    error: tuple[float, float]
    bins: Table
    scaled_bins: Table

    @property
    def is_at_bound(self) -> bool:
        """Whether no temperature was the best: all images are right, or the probabilities say nothing."""
        return is_at_bound(self.temperature)


def is_at_bound(temperature: float) -> bool:
    """Return whether a temperature is only the end of the range in which :func:`temperature_of` looks for the best."""
    return not LOWEST * 1.01 < temperature < HIGHEST / 1.01


def calibration_of(found: Validated, groups: Sequence[str] | None = None) -> Calibration:
    """Measure the calibration of predictions.

    The numbers after scaling are cross-fitted: each fifth of the images is scaled by the temperature of the others.

    Args:
        found: The predictions.
        groups: Group of each image, of which none is in two fifths; None if images are independent.
    """
    labels, logs = found.labels, logs_of(found.probabilities)
    parts = parts_of(len(labels), groups)
    scaled = np.empty_like(logs)
    for part in np.unique(parts):
        held = parts == part
        rest = ~held if not held.all() else held
        scaled[held] = _scaled(logs[held], temperature_of(labels[rest], logs[rest]))
    before = found.probabilities
    return Calibration(
        temperature=temperature_of(labels, logs),
        log_loss=(log_loss(labels, before), log_loss(labels, scaled)),
        error=(calibration_error(labels, before), calibration_error(labels, scaled)),
        bins=_bins(labels, before),
        scaled_bins=_bins(labels, scaled),
    )


def temperature_of(labels: npt.NDArray[np.intp], logs: Array) -> float:
    """Return the temperature with the least log loss, from 0.02 to 50.

    The log loss is convex in b = 1 / temperature, so its derivative, the mean over images of the expected minus the own
    logarithm, has one zero.

    Args:
        labels: Indices of the true classes, shape (n,).
        logs: Logarithms of the probabilities, shape (n, classes).
    """
    own = logs[np.arange(len(labels)), labels].mean()
    low, high = np.log(1 / HIGHEST), np.log(1 / LOWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = (_scaled(logs, float(np.exp(-middle))) * logs).sum(axis=1).mean()
        low, high = (low, middle) if expected > own else (middle, high)
    return float(np.exp(-(low + high) / 2))


def _scaled(logs: Array, temperature: float) -> Array:
    """Return the probabilities at a temperature."""
    scores = logs / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Array = powers / powers.sum(axis=1, keepdims=True)
    return found


def logs_of(probabilities: Array) -> Array:
    """Return the logarithms of probabilities; those of zero are that of the smallest number in 32 bits."""
    exact = probabilities.astype(np.float64)
    return np.log(np.maximum(exact, np.finfo(np.float32).tiny))


def _bins(labels: npt.NDArray[np.intp], probabilities: Array) -> Table:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place, edges = confidence_bins(confidence)
    rows = []
    for one in np.unique(place):
        own = place == one
        n, hits = int(own.sum()), int(right[own].sum())
        low, high = wilson(hits, n)
        numbers = (n, float(confidence[own].mean()), hits / n, low, high)
        rows.append(dict(zip(_COLUMNS, (f"{edges[one]:.2f} to {edges[one + 1]:.2f}", *numbers), strict=True)))
    return Table(_COLUMNS, tuple(rows))
