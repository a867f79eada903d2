"""The course of a search: its values and the best so far, over trials, time and computing; and how rare a value is."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import time_unit
from cnn_sweep.report.figures.figure import BLUE, ORANGE, VERMILLION, Figure, axis_titles, numbers, scatter, selectable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData

_STATES: Final = ("complete", "pruned", "failed")
_FENCE: Final = 1.5  # interquartile ranges beyond which Tukey's rule calls a value an outlier
_FEWEST: Final = 8  # values of which quartiles say something
_PAD: Final = 0.05  # of the axis, beyond the values


@dataclass(frozen=True)
class _Axis:
    """What a history runs over.

    Attributes:
        figure: The figure's name.
        over: It, in a title.
        title: It, on the axis.
        places: Where each finished trial lies.
    """

    figure: str
    over: str
    title: str
    places: dict[int, float]


def history(data: ReportData) -> list[Figure]:
    """Draw the value of each finished trial in order of their ends, over three axes, and the best value so far.

    The axes are the number of finished trials, the time since the first one began, and the time of cores that all
    attempts took until then. The last two are left out where their times are unknown.
    """
    if not data.feasible:
        return []
    rows = [row for row in data.board.rows if row["state"] in _STATES[1:]]
    rows = sorted(data.feasible + rows, key=lambda row: (row["ended"] or 0.0, row["trial"]))
    return [_drawn(data, rows, axis) for axis in _axes(data, rows)]


def _axes(data: ReportData, rows: Sequence[Row]) -> Iterator[_Axis]:
    yield _Axis("history", "trials", "finished trials", {row["trial"]: place for place, row in enumerate(rows, 1)})
    began, cores = data.cost.get("began"), _core_seconds(data)
    if began is None or any(row["ended"] is None or row["trial"] not in cores for row in rows):
        return
    times = {row["trial"]: row["ended"] - began for row in rows}
    for name, over, title, seconds in (
        ("history-time", "time", "{} since the first trial began", times),
        ("history-cores", "computing time", "core {}", cores),
    ):
        size, unit = time_unit(max(seconds.values()))
        yield _Axis(name, over, title.format(f"{unit}s"), {trial: one / size for trial, one in seconds.items()})


def _core_seconds(data: ReportData) -> dict[int, float]:
    """Return for each trial the time of cores of all attempts that had ended when its last one did, as in the cost."""
    threads = {one["writer"]: one["threads"] or 1 for one in data.workers}
    spent: dict[int, float] = {}
    total = 0.0
    for one in sorted(data.attempts, key=lambda one: one["until"]):
        total += one["seconds"] * threads.get(one["writer"], 1)
        spent[one["trial"]] = total
    return spent


def _drawn(data: ReportData, rows: Sequence[Row], axis: _Axis) -> Figure:
    complete, pruned, failed = ([row for row in rows if row["state"] == state] for state in _STATES)
    pruned = [row for row in pruned if row["value"] is not None]
    values = [row["value"] for row in complete]
    ends = _ends(values, data)
    traces = [_points(complete, axis, values, BLUE), _best_line(data, complete, axis)]
    if pruned:
        traces.append(_points(pruned, axis, [row["value"] for row in pruned], ORANGE, symbol="circle-open"))
    if failed:
        low = min(values) if ends is None else ends[0]
        line = {"width": 1.5, "color": VERMILLION}
        crosses = _points(failed, axis, [low] * len(failed), VERMILLION, symbol="x-thin", line=line)
        traces.append(crosses | {"hovertemplate": "trial %{customdata} failed<extra></extra>"})
    layout = axis_titles(axis.title, data.metric) | {"meta": {"y": selectable("value")}, "showlegend": True}
    outside = 0
    if ends is not None:
        layout["yaxis"] |= {"range": list(ends)}
        outside = sum(not ends[0] <= row["value"] <= ends[1] for row in complete + pruned)
    caption = _caption(data, outside, has_failed=bool(failed))
    return Figure(axis.figure, f"Optimization history over {axis.over}", caption, tuple(traces), layout)


def _points(rows: Sequence[Row], axis: _Axis, values: Sequence[float], color: str, **marker: Any) -> Row:
    trials = [row["trial"] for row in rows]
    trace = scatter([axis.places[trial] for trial in trials], values, trials, name=rows[0]["state"], color=color)
    return trace | {"marker": trace["marker"] | marker}


def _best_line(data: ReportData, complete: Sequence[Row], axis: _Axis) -> Row:
    """Return the steps of the best value: where it changes, and the last trial."""
    best = list(itertools.accumulate((row["value"] for row in complete), data.direction.better_of))
    last = len(best) - 1
    steps = [place for place in range(len(best)) if place in (0, last) or best[place] != best[place - 1]]
    line: Row = {"type": "scatter", "mode": "lines", "name": "best so far", "hoverinfo": "skip"}
    line |= {"x": numbers(axis.places[complete[place]["trial"]] for place in steps)}
    line |= {"y": numbers(best[place] for place in steps)}
    return line | {"line": {"color": VERMILLION, "width": 2, "shape": "hv"}}


def _caption(data: ReportData, outside: int, *, has_failed: bool) -> str:
    others = f" (the first of {len(data.objectives)} objectives)" if len(data.objectives) > 1 else ""
    which = "" if len(data.feasible) == len(data.ranked) else " that satisfies the constraints,"
    words = f"{data.metric}{others} of each trial{which} in order of their ends, and the best value so far."
    words += " Crosses at the bottom: failed trials." if has_failed else ""
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
