"""The table of metrics that trials report: sweep files, the trainer, the store and reports read it.

To add a metric, add a row here, its function to ``cnn_sweep/training/evaluation/metrics.py`` and a line to the table in
``docs/reference/training.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import SettingError
from cnn_sweep.messages import unknown
from cnn_sweep.sweep.direction import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.network.shapes import ImageInfo


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
    direction: Direction = Direction.MAXIMIZE
    is_share: bool = True
    on_training: bool = False


# Reported by every trial.
METRICS: Final = (
    Metric("loss", Direction.MINIMIZE, is_share=False, on_training=True),
    Metric("accuracy", on_training=True),
    Metric("auc"),
    Metric("macro_f1"),
)
# Reported if a sweep asks for them.
MORE_METRICS: Final = (
    Metric("balanced_accuracy"),
    Metric("macro_precision"),
    Metric("macro_recall"),
    Metric("weighted_precision"),
    Metric("weighted_recall"),
    Metric("weighted_f1"),
    Metric("average_precision"),
    Metric("log_loss", Direction.MINIMIZE, is_share=False),
    Metric("brier", Direction.MINIMIZE, is_share=False),
    Metric("calibration_error", Direction.MINIMIZE),
    Metric("kappa", is_share=False),
    Metric("mcc", is_share=False),
)
CLASS_METRICS: Final = ("precision", "recall", "f1")  # of each class, or of one: recall_fox
_OF_CLASS: Final = re.compile(rf"({'|'.join(CLASS_METRICS)})_(.+)", re.DOTALL)
_TOP: Final = re.compile(r"top_([2-9]|[1-9]\d{1,3})_accuracy")
_BY_NAME: Final = {one.name: one for one in (*METRICS, *MORE_METRICS)}

TRIAL_METRICS: Final = ("parameters", "seconds")  # of a whole trial, for objectives and constraints; lower is better

VALIDATION_METRICS: Final = tuple(f"val_{one.name}" for one in METRICS)
# The metrics of each epoch, in the order of columns.
EPOCH_METRICS: Final = (*(one.name for one in METRICS if one.on_training), *VALIDATION_METRICS)
DEFAULT_OBJECTIVE: Final = "val_accuracy"


def find_metric(name: str) -> Metric | None:
    """Return a metric by its name without ``val_``; None if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    return Metric(name) if top_of(name) is not None or class_of(name) is not None else None


def top_of(name: str) -> int | None:
    """Return the 5 of ``top_5_accuracy``; None for other metrics."""
    match = _TOP.fullmatch(name)
    return int(match[1]) if match else None


def class_of(name: str) -> tuple[str, str] | None:
    """Return the metric and the class of ``recall_fox``; None for other metrics."""
    match = _OF_CLASS.fullmatch(name)
    return (match[1], match[2]) if match else None


def objectives() -> tuple[str, ...]:
    """Return the names that an objective can have, for messages: the default first, then metrics of validation."""
    always = sorted(EPOCH_METRICS, key=lambda name: (name != DEFAULT_OBJECTIVE, not name.startswith("val_")))
    named = (*(one.name for one in MORE_METRICS), "top_5_accuracy", *(f"{name}_CLASS" for name in CLASS_METRICS))
    return (*always, *(f"val_{name}" for name in named))


def is_objective(name: str) -> bool:
    """Return whether the trainer can report a metric of this name, with ``val_`` unless it is one of training."""
    return name in EPOCH_METRICS or (name.startswith("val_") and find_metric(name.removeprefix("val_")) is not None)


def requested(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of these metrics that trials report only on request, without ``val_``."""
    wanted = (name.removeprefix("val_") for name in names if name not in EPOCH_METRICS and is_objective(name))
    return tuple(dict.fromkeys(wanted))


def check_metrics(names: Iterable[str], info: ImageInfo, path: KeyPath) -> None:
    """Check that metrics can be computed for the classes of some images.

    Args:
        names: Names without ``val_``.
        info: The classes.
        path: Key of the names in the sweep file, for messages.

    Raises:
        SettingError: A class is missing, or there are too few.
    """
    for name in names:
        of_class, top = class_of(name), top_of(name)
        if of_class is not None and of_class[1] not in info.class_names:
            raise SettingError(f"{name}: {unknown('class', of_class[1], info.class_names)}", path)
        if top is not None and top >= info.classes:
            raise SettingError(f"{name} is always 1, since the images have {info.classes} classes", path)


def is_share(metric: str) -> bool:
    """Return whether the values of an objective lie between 0 and 1."""
    found = find_metric(metric.removeprefix("val_"))
    return found is not None and found.is_share and is_objective(metric)


def default_direction(metric: str) -> Direction:
    """Return the direction of an objective whose sweep file does not state it.

    Metrics of the user's own functions are maximized unless their name ends in ``loss``.
    """
    known = _BY_NAME.get(metric.removeprefix("val_"))
    fallback = Direction.MINIMIZE if metric.endswith("loss") else Direction.MAXIMIZE
    return known.direction if known else fallback
