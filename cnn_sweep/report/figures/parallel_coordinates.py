"""Parallel coordinates: each complete trial as a line across its hyperparameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.axes import word
from cnn_sweep.report.figures.figure import SCALE, Figure, numbers, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.axes import Axis
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

# More lines would hide each other, so only the best trials are drawn.
_MOST_LINES = 2_000
_MOST_TICKS = 12
_SPREAD = 0.06  # fraction of an axis's length


def parallel(data: ReportData) -> Figure | None:
    """Draw each complete trial as a line across the axes of its hyperparameters."""
    rows = data.ranked[:_MOST_LINES]
    axes = [axis for axis in data.axes.values() if axis.varies]
    if not rows or not axes:
        return None
    values = numbers(row["value"] for row in rows)
    dimensions = [_dimension(axis, rows) for axis in axes]
    dimensions.append({"label": text(data.metric), "values": values, "range": _with_room(min(values), max(values))})
    line = {
        "color": values,
        "colorscale": SCALE,
        "showscale": True,
        "reversescale": data.direction.sign > 0,
    }
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line}
    some = f"the best {_MOST_LINES:,}" if len(data.ranked) > len(rows) else "each"
    caption = f"A line for {some} complete trial{'s' if some != 'each' else ''}; drag along an axis to select a range."
    layout = {"margin": {"l": 70, "r": 70, "t": 50, "b": 30}}
    return Figure("parallel", "Parallel coordinates", caption, (trace,), layout)


def _dimension(axis: Axis, rows: Sequence[Row]) -> Row:
    """Return one axis for Plotly, which treats its label as markup but its ticks as plain text."""
    places = axis.positions(rows)
    there = [place for place in places if place is not None]
    low, high = (min(there), max(there)) if there else (0.0, 0.0)
    length = (high - low) or 1.0
    # Lines of trials in which the hyperparameter is inactive meet below the axis.
    below = low - 0.15 * length
    # On an axis of few values, lines are spread out, the best on top.
    spread = _SPREAD * length if len(axis.values) <= _MOST_TICKS else 0.0
    shares = [0.5 - rank / max(len(rows) - 1, 1) for rank in range(len(rows))]
    filled = [(below if p is None else p) + spread * share for p, share in zip(places, shares, strict=True)]
    ticks = {axis.position(value): word(value) for value in _ticks(axis)}
    if len(axis.values) <= _MOST_TICKS:  # only values of some line
        ticks = {place: one for place, one in ticks.items() if place in there}
    ticks |= {below: "inactive"} if None in places else {}
    lowest = below if None in places else low
    ends = [lowest - spread / 2, high + spread / 2] if high > lowest else _with_room(low, high)
    place_and_words = {"tickvals": numbers(ticks), "ticktext": [*ticks.values()]}
    return {"label": text(axis.label), "values": numbers(filled), "range": numbers(ends), **place_and_words}


def _with_room(low: float, high: float) -> list[float]:
    """Return the ends of an axis; if all trials have the same value, it is in the middle."""
    room = 0.5 * (abs(low) or 1.0) if low == high else 0.0
    return numbers([low - room, high + room])


def _ticks(axis: Axis) -> Sequence[Any]:
    """Return the values of an axis, or round numbers if there are too many values to label."""
    values = axis.values
    if len(values) <= _MOST_TICKS:
        return values
    if not axis.numeric:
        return [values[round(i * (len(values) - 1) / (_MOST_TICKS - 1))] for i in range(_MOST_TICKS)]
    low, high = float(values[0]), float(values[-1])
    if axis.log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 3)]
    else:
        size = 10.0 ** math.floor(math.log10(high - low))
        steps = [i * size / 2 for i in range(math.ceil(2 * low / size), math.floor(2 * high / size) + 1)]
    return [step for step in steps if low <= step <= high]
