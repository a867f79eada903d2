"""The course of a search: its values and the best so far, over trials, time and computing; and how rare a value is."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.report.figures.figure import BLUE, ORANGE, VERMILLION, Figure, axis_titles, numbers, scatter, selectable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

_UNITS: Final = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
_FENCE: Final = 1.5  # interquartile ranges beyond which Tukey's rule calls a value an outlier
_FEWEST: Final = 8  # values of which quartiles say something
_PAD: Final = 0.05  # of the axis, beyond the values


def history(data: ReportData) -> list[Figure]:
    """Draw the value of each finished trial in order of their ends, over three axes, and the best value so far.

    The axes are the number of finished trials, the time since the first one began, and the time of cores that all
    attempts took until then. The last two are left out where their times are unknown.
    """
    rows = sorted(_finished(data), key=lambda row: (row["ended"] or 0.0, row["trial"]))
    if not data.feasible:
        return []
    found = [_over(data, rows, [*range(1, len(rows) + 1)], ("history", "trials", "finished trials"))]
    began, until = data.cost.get("began"), _core_seconds(data)
    if began is None or any(row["ended"] is None for row in rows):
        return found
    for seconds, name, title, words in (
        ([row["ended"] - began for row in rows], "history-time", "time", "{} since the first trial began"),
        ([until.get(row["trial"], math.nan) for row in rows], "history-cores", "computing time", "core {}"),
    ):
        largest = max(seconds)
        if largest > 0:
            size, unit = next(one for one in _UNITS if largest >= one[0] or one[0] == 1)
            found.append(_over(data, rows, [one / size for one in seconds], (name, title, words.format(unit))))
    return found


def _finished(data: ReportData) -> list[Row]:
    rows = [row for row in data.board.rows if row["state"] in ("pruned", "failed")]
    return data.feasible + rows


def _over(data: ReportData, rows: Sequence[Row], x: Sequence[float], words: tuple[str, str, str]) -> Figure:
    """Draw the trials over one axis; ``words`` are the figure's name, what its title says, and the axis."""
    name, over, axis = words
    places = dict(zip((row["trial"] for row in rows), x, strict=True))
    groups = {state: [row for row in rows if row["state"] == state] for state in ("complete", "pruned", "failed")}
    complete = groups["complete"]
    values = [row["value"] for row in complete]
    best = list(itertools.accumulate(values, data.direction.better_of))
    ends = _ends(values, data)

    def points(state: str, y: Sequence[float], color: str, **marker: Any) -> Row:
        trials = [row["trial"] for row in groups[state]]
        trace = scatter([places[trial] for trial in trials], y, trials, name=state, color=color)
        return trace | {"marker": trace["marker"] | marker}

    line: Row = {"type": "scatter", "mode": "lines", "y": numbers(best), "name": "best so far", "hoverinfo": "skip"}
    line |= {"x": numbers(places[row["trial"]] for row in complete)}
    line |= {"line": {"color": VERMILLION, "width": 2, "shape": "hv"}}
    traces = [points("complete", values, BLUE), line]
    pruned = [row["value"] for row in groups["pruned"]]
    if any(value is not None for value in pruned):
        traces.append(points("pruned", pruned, ORANGE, symbol="circle-open"))
    if failed := groups["failed"]:
        low = min(values) if ends is None else ends[0]
        edge = {"width": 1.5, "color": VERMILLION}
        trace = points("failed", [low] * len(failed), VERMILLION, symbol="x-thin", line=edge)
        traces.append(trace | {"hovertemplate": "trial %{customdata} failed<extra></extra>"})
    layout = axis_titles(axis, data.metric) | {"meta": {"y": selectable("value")}, "showlegend": True}
    outside = 0
    if ends is not None:
        layout["yaxis"] |= {"range": list(ends)}
        shown = [*values, *(value for value in pruned if value is not None)]
        outside = sum(not ends[0] <= value <= ends[1] for value in shown)
    return Figure(name, f"Optimization history by {over}", _caption(data, outside, len(failed)), tuple(traces), layout)


def _caption(data: ReportData, outside: int, failed: int) -> str:
    others = f" (the first of {len(data.objectives)} objectives)" if len(data.objectives) > 1 else ""
    which = "" if len(data.feasible) == len(data.ranked) else " that satisfies the constraints,"
    words = f"{data.metric}{others} of each trial{which} in order of their ends, and the best value so far."
    words += " Crosses at the bottom: failed trials." if failed else ""
    return words + (f" {outside:,} far from the others lie outside; a double-click shows all." if outside else "")


def _ends(values: Sequence[float], data: ReportData) -> tuple[float, float] | None:
    """Return the ends of an axis that leaves out bad outliers (Tukey's fences); None if there are none."""
    if len(values) < _FEWEST:
        return None
    sign = data.direction.sign
    losses = [sign * value for value in values if math.isfinite(value)]
    first, _, third = statistics.quantiles(losses, n=4)
    fence = third + _FENCE * (third - first)
    within = [loss for loss in losses if loss <= fence]
    if third == first or len(within) == len(losses):
        return None
    pad = _PAD * (max(within) - min(within))
    low, high = sorted((sign * (min(within) - pad), sign * (max(within) + pad)))
    return low, high


def _core_seconds(data: ReportData) -> dict[int, float]:
    """Return for each trial the time of cores of all attempts that had ended when its last one did."""
    threads = {one["writer"]: one["threads"] or 1 for one in data.workers}
    spent: dict[int, float] = {}
    total = 0.0
    for one in sorted(data.attempts, key=lambda one: one["until"]):
        total += (one["until"] - one["started"]) * threads.get(one["writer"], 1)
        spent[one["trial"]] = total
    return spent


def distribution(data: ReportData) -> Figure | None:
    """Draw the share of complete trials that are at least as good as a value: how rare that value is by chance."""
    rows = [row for row in data.feasible if math.isfinite(row["value"])]
    if len(rows) < 2:
        return None
    values, trials = [row["value"] for row in rows], [row["trial"] for row in rows]
    shares = list(_shares(values))
    line: Row = {"type": "scatter", "mode": "lines", "x": numbers(values), "y": numbers(shares), "hoverinfo": "skip"}
    line |= {"line": {"color": BLUE, "width": 1.5, "shape": "vh"}, "showlegend": False}
    points = scatter(values, shares, trials, color=BLUE)
    points["hovertemplate"] = "trial %{customdata}: %{x:.5g}<br>%{y:.3p} are at least as good<extra></extra>"
    layout = axis_titles(data.metric, "share of trials as good or better")
    layout["yaxis"] |= {"range": [-0.02, 1.02], "tickformat": ".0%"}
    layout |= {"meta": {"x": selectable("value")}, "showlegend": False}
    caption = (
        f"Share of the {len(rows):,} complete trials whose {data.metric} is at least as good. Where the curve is "
        "steep, many settings do equally well."
    )
    return Figure("distribution", "Distribution of values", caption, (line, points), layout)


def _shares(values: Sequence[float]) -> Iterator[float]:
    """Yield for each value, best first, the share of values that are at least as good; equal ones have one share."""
    done = 0
    for _, equal in itertools.groupby(values):
        count = len(list(equal))
        done += count
        yield from [done / len(values)] * count
