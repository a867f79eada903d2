"""The test score of the trial that was picked, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.leaderboards.statistics import bootstrap, wilson
from cnn_sweep.training.evaluation.metrics import all_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnn_sweep.execution.models.client import Predictions


@dataclass(frozen=True)
class SealedScore:
    """A score on the test set.

    Attributes:
        metric: Its name, such as ``test_accuracy``.
        value: On all test images.
        low: Lower end of its 95% interval.
        high: Upper end.
        images: How many test images there are.
        method: How the interval was found.
    """

    metric: str
    value: float
    low: float
    high: float
    images: int
    method: str

    def __str__(self) -> str:
        """Say it in a line."""
        interval = f"95% interval {self.low:.4f} to {self.high:.4f}"
        return f"{self.metric} {self.value:.4f}, {interval} ({self.method}, {self.images} images)"


def sealed_score(found: Predictions, metric: str, measured: Mapping[str, Any]) -> SealedScore | None:
    """Return the test score that belongs to an objective; None if there is none, as for a function's own metric.

    The interval of an accuracy is Wilson's; those of other metrics come from drawing test images anew, with the losses
    that the reported one is the mean of.

    Args:
        found: What the trial's model makes of the test images.
        metric: The objective, such as ``val_accuracy``.
        measured: The test metrics that were journaled.
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
        penalty = value - float(losses.mean())  # the same for every draw
        interval = bootstrap(lambda drawn: float(losses[drawn].mean()) + penalty, n)
    else:
        interval = bootstrap(lambda drawn: all_metrics(labels[drawn], found.probabilities[drawn], "test_")[name], n)
    return SealedScore(name, value, *interval, n, "bootstrap")
