"""Parallel coordinates: each complete trial as a line across its hyperparameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.axes import word
from cnn_sweep.report.figures.figure import SHADES, Figure, label, number, numbers, readable, selectable
from cnn_sweep.report.figures.learning_curves import nice_ticks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.report.axes import Axis
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

# More lines would hide each other, so only the best trials are drawn.
_MOST_LINES = 2_000
_MOST_TICKS = 12
_MOST_LETTERS = 7  # of a number beside an axis; longer ones are not round
_FEWEST_ROUND = 3  # as few values are labelled, however long they are
_SPREAD = 0.06  # fraction of an axis's length


@dataclass(frozen=True)
class _Upright:
    """One of the upright axes.

    Attributes:
        label: Its name.
        places: Where each line meets it.
        ends: Its lowest and highest place.
        ticks: Texts by place.
        selects: What a part of it selects, for the page.
    """

    label: str
    places: tuple[float, ...]
    ends: tuple[float, float]
    ticks: dict[float, str]
    selects: dict[str, Any]

    def share(self, place: float) -> float:
        """Return the height of a place, from 0 to 1."""
        low, high = self.ends
        return round((place - low) / (high - low), 4)


def parallel(data: ReportData) -> Figure | None:
    """Draw each complete trial as a line across the axes of its hyperparameters.

    They are plain lines, so that files for papers have them as vectors: Plotly's own parallel coordinates are pixels.
    """
    rows = data.ranked[:_MOST_LINES]
    axes = [axis for axis in data.axes.values() if axis.varies]
    if not rows or not axes:
        return None
    uprights = [*(_hyperparameter(axis, rows) for axis in axes), _objective(data, rows)]
    some = f"the best {_MOST_LINES:,}" if len(data.ranked) > len(rows) else "each"
    caption = (
        f"A line for {some} complete trial{'s' if some != 'each' else ''}, the brighter the better its {data.metric}."
    )
    return Figure("parallel", "Parallel coordinates", caption, tuple(_lines(data, rows, uprights)), _layout(uprights))


def _lines(data: ReportData, rows: Sequence[Row], uprights: Sequence[_Upright]) -> Iterator[dict[str, Any]]:
    """Yield a trace of the lines of each colour, the best last and so on top; a gap follows each line."""
    heights = [uprights[-1].share(place) for place in uprights[-1].places]
    shades: list[list[int]] = [[] for _ in SHADES]
    for line, height in enumerate(heights):
        good = 1 - height if data.direction.sign > 0 else height
        shades[min(int(good * len(SHADES)), len(SHADES) - 1)].append(line)
    across = [*range(len(uprights)), None]
    for color, own in zip(SHADES, shades, strict=True):
        own.reverse()
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": across * len(own),
            "y": [height for k in own for height in (*(one.share(one.places[k]) for one in uprights), None)],
            "customdata": [rows[k]["trial"] for k in own for _ in across],
            "line": {"color": color, "width": 1},
            "hovertemplate": "trial %{customdata}<extra></extra>",
            "showlegend": False,
        }


def _layout(uprights: Sequence[_Upright]) -> dict[str, Any]:
    places = list(range(len(uprights)))
    # Names that do not fit beside each other rise to the right, where there is room.
    across = {"tickvals": places, "ticktext": [label(one.label) for one in uprights], "side": "top", "zeroline": False}
    across |= {"autotickangles": [0, -30, -90], "ticklabeloverflow": "allow"}
    ticks = [
        {"x": at, "y": one.share(place), "text": label(words), "showarrow": False, "xanchor": "left", "xshift": 3}
        for at, one in enumerate(uprights)
        for place, words in one.ticks.items()
    ]
    return {
        "xaxis": across | {"range": [-0.3, len(uprights) - 0.3], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-0.04, 1.04], "fixedrange": True},
        "annotations": ticks,
        "dragmode": "select",
        "selectdirection": "d",
        "margin": {"l": 20, "r": 40, "t": 50, "b": 20},
        "meta": {"axes": [one.selects for one in uprights]},
    }


def _objective(data: ReportData, rows: Sequence[Row]) -> _Upright:
    values = numbers(row["value"] for row in rows)
    ends = _with_room(min(values), max(values))
    selects = selectable("value") | {"ends": ends}
    return _Upright(data.metric, tuple(values), ends, {end: f"{end:.3g}" for end in ends}, selects)


def _hyperparameter(axis: Axis, rows: Sequence[Row]) -> _Upright:
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
    values = _ticks(axis)
    ticks = {axis.position(value): word(value) for value in values}
    if values is axis.values:  # only those of some line
        ticks = {place: one for place, one in ticks.items() if place in there}
    ticks = readable(ticks, 0.06 * length) | ({below: "inactive"} if None in places else {})
    lowest = below if None in places else low
    ends = (lowest - spread / 2, high + spread / 2) if high > lowest else _with_room(low, high)
    selects = selectable(axis.column, () if axis.numeric else axis.values) | {"ends": ends, "log": axis.log}
    selects |= {"inactive": below} if None in places else {}
    return _Upright(axis.label, tuple(filled), ends, ticks, selects)


def _with_room(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis; if all trials have the same value, it is in the middle."""
    room = 0.5 * (abs(low) or 1.0) if low == high else 0.0
    return (number(low - room), number(high + room))


def _ticks(axis: Axis) -> Sequence[Any]:
    """Return the values of an axis, or round numbers if there are too many values to label, or if these are long."""
    values = axis.values
    is_short = not axis.numeric or all(len(word(value)) <= _MOST_LETTERS for value in values)
    if len(values) <= _MOST_TICKS and (is_short or len(values) <= _FEWEST_ROUND):
        return values
    if not axis.numeric:
        return [values[round(i * (len(values) - 1) / (_MOST_TICKS - 1))] for i in range(_MOST_TICKS)]
    low, high = float(values[0]), float(values[-1])
    if axis.log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 3)]
    else:
        steps = nice_ticks(low, high)
    return [step for step in steps if low <= step <= high] or [values[0], values[-1]]
