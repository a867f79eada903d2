"""The chosen trial's score on the test set, sealed until ``finalize``, with its confidence interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.leaderboards.statistics import bootstrap, wilson
from cnn_sweep.sweep.spec.metrics import requested
from cnn_sweep.training.evaluation.metrics import all_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.execution.models.client import Predictions


@dataclass(frozen=True)
class SealedScore:
    """A score on the test set.

    Attributes:
        metric: Its name, such as ``test_accuracy``.
        value: The score on all test images.
        low: Lower end of its 95% interval.
        high: Upper end of the interval.
        images: Number of test images.
        method: Method of the interval.
    """

    metric: str
    value: float
    low: float
    high: float
    images: int
    method: str

    def __str__(self) -> str:
        """Format the score and its interval in one line."""
        interval = f"95% interval {self.low:.4f} to {self.high:.4f}"
        return f"{self.metric} {self.value:.4f}, {interval} ({self.method}, {self.images} images)"


def sealed_score(found: Predictions, metric: str, measured: Mapping[str, Any]) -> SealedScore | None:
    """Return the test score for an objective; None if there is none, as for metrics of the user's own function.

    Accuracies get Wilson's interval; other metrics get a bootstrap interval over test images.

    Args:
        found: The trial's predictions of the test images.
        metric: The objective, such as ``val_accuracy``.
        measured: The journaled test metrics.
    """
    name = f"test_{metric.removeprefix('val_')}"
    value, labels = measured.get(name), found.labels
    if value is None or labels is None or not len(labels):
        return None
    n = len(labels)
    if name == "test_accuracy":
        return SealedScore(name, value, *wilson(round(value * n), n), n, "Wilson")
    if name == "test_loss":
        if (losses := found.losses) is None:
            return None
        penalty = value - float(losses.mean())  # regularization, which is the same in every bootstrap draw
        interval = bootstrap(lambda drawn: float(losses[drawn].mean()) + penalty, n)
    else:
        more = requested([metric])

        def measured_on(drawn: npt.NDArray[np.intp]) -> float:
            return all_metrics(labels[drawn], found.probabilities[drawn], "test_", more, found.class_names)[name]

        interval = bootstrap(measured_on, n)
    return SealedScore(name, value, *interval, n, "bootstrap")
