"""Five numbers that describe a learning curve, as pure functions of the accuracies of its epochs.

They answer the usual questions about a curve: how much does the accuracy vary, how fast does it rise, how far apart are
training and validation, has the curve levelled off, and how high does it end?
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBERS = ("spread", "epochs_to_90", "gap", "slope", "final")
_FEWEST = 3  # epochs needed to judge a line, since any two points lie on one
_QUICK = 0.9  # a fixed accuracy, as in DAWNBench's "time to accuracy" (Coleman et al. 2017)


def curve_numbers(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the numbers of a learning curve.

    The *tail* is the second half of the epochs, at least three of them.

    Args:
        history: Metrics of each epoch; only ``accuracy`` and ``val_accuracy``, from 0 to 1, are used.

    Returns:
        The following numbers, without those that cannot be computed:

        - ``spread``: root mean square distance of the tail's validation accuracies from their least-squares line;
        - ``epochs_to_90``: the first epoch with a validation accuracy of at least 0.9;
        - ``gap``: mean over the tail of the distance between training and validation accuracy;
        - ``slope``: rise of the tail's line per epoch, 0 at an asymptote;
        - ``final``: validation accuracy of the last epoch.
    """
    validation = [_number(epoch, "val_accuracy") for epoch in history]
    training = [_number(epoch, "accuracy") for epoch in history]
    numbers: dict[str, float] = {}
    quick = [number for number, value in enumerate(validation, start=1) if value >= _QUICK]
    if quick:
        numbers["epochs_to_90"] = quick[0]
    if validation and math.isfinite(validation[-1]):
        numbers["final"] = validation[-1]
    first = len(history) - max(_FEWEST, math.ceil(len(history) / 2))
    if first >= 0:
        numbers |= _line(validation[first:])
        gap = _mean([abs(a - b) for a, b in zip(training[first:], validation[first:], strict=True)])
        numbers |= {"gap": gap} if math.isfinite(gap) else {}
    return {name: numbers[name] for name in NUMBERS if name in numbers}


def _number(epoch: Mapping[str, float], name: str) -> float:
    value = epoch.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def _line(values: Sequence[float]) -> dict[str, float]:
    """Fit a line by least squares; empty if a value is not finite."""
    if not all(map(math.isfinite, values)):
        return {}
    middle, mean = (len(values) - 1) / 2, _mean(values)
    places = [place - middle for place in range(len(values))]
    slope = math.fsum(p * v for p, v in zip(places, values, strict=True)) / math.fsum(p * p for p in places)
    rests = [v - mean - slope * p for p, v in zip(places, values, strict=True)]
    return {"spread": math.sqrt(_mean([rest * rest for rest in rests])), "slope": slope}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
