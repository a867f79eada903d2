"""Figures of hyperparameters: the objective over one (slices) and two (contours), and their importance."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.axes import FEW, word
from cnn_sweep.report.figures.figure import BLUE, ORANGE, SCALE, VERMILLION, Figure, label, number, numbers, selectable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.axes import Axis
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.search.importance import Findings

_FEWEST_CELLS, _MOST_CELLS = 4, 16  # along a numeric axis with many values
_MOST_PAIRS = 15
_FEWEST_FOR_MEDIAN = 200  # trials from which a slice has a line of medians
_MEDIANS = 20  # along it


def slices(data: ReportData) -> list[Figure]:
    """Draw the objective over each hyperparameter that varies."""
    rows = data.ranked
    return [_slice(data, axis, rows) for axis in data.axes.values() if axis.varies and axis.values and rows]


def _slice(data: ReportData, axis: Axis, rows: Sequence[Row]) -> Figure:
    there = [row for row in rows if axis.is_active(row)]
    values = numbers(row["value"] for row in there)
    trials = [row["trial"] for row in there]
    name, caption = f"slice-{axis.column}", f"{data.metric} of each complete trial over {axis.label}."
    if axis.numeric and len(axis.values) > FEW:
        x: Any = numbers(row[axis.column] for row in there)
        marker = {"color": BLUE, "size": 5, "opacity": 0.75}
        trace = {"type": "scatter", "mode": "markers", "x": x, "y": values, "marker": marker, "customdata": trials}
        trace["hovertemplate"] = "trial %{customdata}<br>%{x}: %{y:.5g}<extra></extra>"
        layout = _layout(axis.label, data.metric, "log" if axis.log else "linear")
        layout["meta"] = {"x": selectable(axis.column), "y": selectable("value")}
        line = _running_median(axis, there)
        caption += " Line: the median of neighbours." if line else ""
        return Figure(name, axis.label, caption, (trace, *line), layout)
    cells = _Cells(axis, FEW)
    box: Row = {"type": "box", "x": cells.of(there), "y": values, "boxpoints": "all", "jitter": 0.5, "pointpos": 0}
    box["name"] = ""
    box |= {"marker": {"color": BLUE, "size": 4, "opacity": 0.75}, "line": {"color": VERMILLION, "width": 1.5}}
    box |= {"fillcolor": "rgba(0,0,0,0)", "customdata": trials}
    box["hovertemplate"] = "trial %{customdata}<br>%{x}: %{y:.5g}<extra></extra>"
    layout = _layout(axis.label, data.metric, "linear")
    layout["meta"] = {"x": selectable(axis.column, axis.values), "y": selectable("value")}
    layout["xaxis"] |= cells.axis() | {"range": [-0.5, cells.count - 0.5], "zeroline": False}
    return Figure(name, axis.label, caption + " Boxes: median and quartiles.", (box,), layout)


def _running_median(axis: Axis, rows: Sequence[Row]) -> list[Row]:
    """Return a line through the medians of neighbours along a numeric axis, where dots are too many to see a trend."""
    if len(rows) < _FEWEST_FOR_MEDIAN:
        return []
    ordered = sorted(rows, key=lambda row: row[axis.column])
    ends = [place * len(ordered) // _MEDIANS for place in range(_MEDIANS + 1)]
    groups = [ordered[low:high] for low, high in itertools.pairwise(ends)]
    x = [statistics.median(row[axis.column] for row in group) for group in groups]
    y = [statistics.median(row["value"] for row in group) for group in groups]
    line: Row = {"type": "scatter", "mode": "lines", "x": numbers(x), "y": numbers(y), "hoverinfo": "skip"}
    return [line | {"line": {"color": VERMILLION, "width": 2}}]


def contours(data: ReportData, order: Sequence[str] = ()) -> list[Figure]:
    """Draw the mean of the objective over pairs of hyperparameters.

    Args:
        data: The study's data.
        order: Columns of hyperparameters, the most important first; only pairs of the first ones are drawn.
    """
    rows = data.ranked
    axes = [axis for axis in data.axes.values() if len(axis.values) > 1]
    if order:
        axes.sort(key=lambda axis: order.index(axis.column) if axis.column in order else len(order))
    pairs = sorted(itertools.combinations(range(len(axes)), 2), key=sum)[:_MOST_PAIRS]
    found = [_contour(data, axes[one], axes[other], rows) for one, other in pairs] if rows else []
    return [figure for figure in found if figure is not None]


def _contour(data: ReportData, across: Axis, up: Axis, rows: Sequence[Row]) -> Figure | None:
    there = [row for row in rows if across.is_active(row) and up.is_active(row)]
    # One hyperparameter may be active only with a single value of the other.
    if any(len({repr(row.get(axis.column)) for row in there}) < 2 for axis in (across, up)):
        return None
    # About as many cells as trials; cells without trials stay empty.
    count = min(max(math.isqrt(len(there)), _FEWEST_CELLS), _MOST_CELLS)
    columns, lines = _Cells(across, count), _Cells(up, count)
    cells: dict[tuple[int, int], list[float]] = {}
    for row, i, j in zip(there, columns.of(there), lines.of(there), strict=True):
        cells.setdefault((j, i), []).append(row["value"])
    z = [[_mean(cells.get((j, i))) for i in range(columns.count)] for j in range(lines.count)]
    counts = [[len(cells.get((j, i), ())) for i in range(columns.count)] for j in range(lines.count)]
    bar = {"title": {"text": label(data.metric)}, "exponentformat": "power", "minexponent": 6}
    trace: Row = {"type": "heatmap", "x": columns.places, "y": lines.places, "z": z, "hoverongaps": False}
    trace |= {
        "colorscale": SCALE,
        "colorbar": bar,
        "reversescale": data.direction.sign > 0,
        "text": counts,
    }
    trace["hovertemplate"] = "%{x}, %{y}<br>mean %{z:.5g} of %{text} trials<extra></extra>"
    layout = {"xaxis": columns.axis(), "yaxis": lines.axis()}
    title = f"{across.label} and {up.label}"
    caption = f"Mean {data.metric} of the complete trials with these values; empty cells have no trials."
    return Figure(f"contour-{across.column}-{up.column}", title, caption, (trace,), layout)


def _mean(values: list[float] | None) -> float | None:
    return number(statistics.fmean(values)) if values else None


class _Cells:
    """The cells along one axis: one per value, or equal intervals if there are many numbers."""

    def __init__(self, axis: Axis, most: int) -> None:
        self._axis = axis
        self._even = axis.numeric and len(axis.values) > max(most, FEW)
        self.count = most if self._even else len(axis.values)
        ends = axis.position(axis.values[0]), axis.position(axis.values[-1])
        self._low, self._width = ends[0], (ends[1] - ends[0]) / most

    @property
    def places(self) -> list[Any]:
        """Positions of the cells: the middles of intervals, or 0, 1, … for values."""
        if not self._even:
            return list(range(self.count))
        middles = (self._low + (i + 0.5) * self._width for i in range(self.count))
        return numbers(10**middle if self._axis.log else middle for middle in middles)

    def of(self, rows: Sequence[Row]) -> list[int]:
        """Return the index of each row's cell."""
        if not self._even:
            place = {repr(value): i for i, value in enumerate(self._axis.values)}
            return [place[repr(row.get(self._axis.column))] for row in rows]
        places = self._axis.positions(rows)
        return [min(int(((place or 0.0) - self._low) / self._width), self.count - 1) for place in places]

    def axis(self) -> dict[str, Any]:
        """Return the axis for Plotly."""
        title = {"text": label(self._axis.label)}
        if self._even:
            return {"title": title, "type": "log" if self._axis.log else "linear"}
        words = [label(word(value)) for value in self._axis.values]
        return {"title": title, "tickvals": list(range(self.count)), "ticktext": words, "type": "linear"}


def _layout(x: str, y: str, kind: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": label(x)}, "type": kind},
        "yaxis": {"title": {"text": label(y)}},
        "showlegend": False,
    }


def importance(data: ReportData, metric: str, findings: Findings) -> Figure:
    """Draw both estimates of importance for an objective side by side, the most important hyperparameter on top."""
    found = findings.importances
    names = [label(one.parameter) + (" (where active)" if one.conditional else "") for one in found]
    kinds = (
        ("share of the variance (fANOVA)", BLUE, [one.fanova for one in found]),
        ("share among the best (PED-ANOVA)", ORANGE, [one.ped_anova for one in found]),
    )
    traces: list[dict[str, Any]] = []
    for name, color, shares in kinds:
        bar = {"type": "bar", "orientation": "h", "y": names, "x": [number(share) for share in shares], "name": name}
        traces.append(bar | {"marker": {"color": color}, "hovertemplate": "%{y}: %{x:.3f}<extra></extra>"})
    layout = {
        "xaxis": {"title": {"text": "importance"}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "type": "category"},
        "barmode": "group",
    }
    if findings.noise is not None:
        line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": findings.noise, "x1": findings.noise}
        layout["shapes"] = [line | {"line": {"color": "gray", "dash": "dot", "width": 1}}]
    count = len(data.objectives)
    among = f", one of {count} objectives" if count > 1 else ""
    some = f" Estimated from {findings.results:,} of them." if findings.results < len(data.ranked) else ""
    caption = (
        f"How much each hyperparameter explains of {metric}{among}, among all complete trials and for being among "
        f"the best. The shares of each kind add up to 1, however little they explain together.{some} "
    )
    caption += findings.certainty
    if findings.noise is not None:
        caption += " The dotted line marks it; shorter blue bars tell nothing."
    name = "importance" if metric == data.metric else f"importance-{metric}"
    return Figure(name, metric if count > 1 else "Importance", caption.rstrip(), tuple(traces), layout)


def order_of(data: ReportData, findings: Findings | None) -> list[str]:
    """Return the columns of hyperparameters, the most important first."""
    columns = {axis.label: column for column, axis in data.axes.items()}
    return [columns[one.parameter] for one in findings.importances if one.parameter in columns] if findings else []
