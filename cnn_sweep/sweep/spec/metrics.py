"""The table of metrics that every trial reports: sweep files, the trainer, the store and reports read it.

To add a metric, add a row here, its function to ``cnn_sweep/training/evaluation/metrics.py`` and a line to the table in
``docs/reference/training.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cnn_sweep.sweep.direction import Direction


@dataclass(frozen=True)
class Metric:
    """A metric of classification.

    Attributes:
        name: Its name; ``val_`` before it is the metric of the validation images, ``test_`` that of the test images.
        direction: Whether higher or lower values are better.
        is_share: Whether its values lie between 0 and 1.
        on_training: Whether it is reported for the training images, too.
    """

    name: str
    direction: Direction
    is_share: bool = True
    on_training: bool = False


METRICS: Final = (
    Metric("loss", Direction.MINIMIZE, is_share=False, on_training=True),
    Metric("accuracy", Direction.MAXIMIZE, on_training=True),
    Metric("auc", Direction.MAXIMIZE),
    Metric("macro_f1", Direction.MAXIMIZE),
)

VALIDATION_METRICS: Final = tuple(f"val_{one.name}" for one in METRICS)
# The metrics of each epoch, in the order of columns.
EPOCH_METRICS: Final = (*(one.name for one in METRICS if one.on_training), *VALIDATION_METRICS)
SHARES: Final = frozenset(
    name for one in METRICS if one.is_share for name in (one.name, f"val_{one.name}") if name in EPOCH_METRICS
)
DEFAULT_OBJECTIVE: Final = "val_accuracy"


def objectives() -> tuple[str, ...]:
    """Return the names that an objective can have, for messages: the default first, then metrics of validation."""
    return tuple(sorted(EPOCH_METRICS, key=lambda name: (name != DEFAULT_OBJECTIVE, not name.startswith("val_"))))


def default_direction(metric: str) -> Direction:
    """Return the direction of an objective whose sweep file does not state it.

    Metrics of the user's own functions are maximized unless their name ends in ``loss``.
    """
    known = {one.name: one.direction for one in METRICS}
    fallback = Direction.MINIMIZE if metric.endswith("loss") else Direction.MAXIMIZE
    return known.get(metric.removeprefix("val_"), fallback)
