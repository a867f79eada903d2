"""Trade-offs: objectives against each other and against costs, with their Pareto fronts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from cnn_sweep.report.figures.figure import BLUE, ORANGE, VERMILLION, Figure, axis_titles, scatter, selectable
from cnn_sweep.report.leaderboards.pareto import comparable, hypervolumes
from cnn_sweep.sweep.direction import Direction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.report_data import ReportData
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

_COSTS = {"parameters": "weights", "seconds": "seconds of training"}


def trade_offs(data: ReportData) -> list[Figure]:
    """Draw each pair of objectives, and the objective against its costs: weights and seconds of training."""
    found = [_pair(data, *pair) for pair in itertools.combinations(data.objectives, 2)]
    drawn = {figure.name for figure in found}
    volume = _volume(data)
    found += [volume] if volume else []
    return found + [figure for figure in _costs(data) if figure.name not in drawn] if data.ranked else []


def _pair(data: ReportData, up: ObjectiveSpec, across: ObjectiveSpec) -> Figure:
    """Draw two objectives with the Pareto front of all objectives."""
    rows = [r for r in data.ranked if r.get(up.metric) is not None and r.get(across.metric) is not None]
    front = sorted(data.front, key=lambda row: (row[across.metric], row[up.metric]))
    points, best = (
        scatter([r[across.metric] for r in some], [r[up.metric] for r in some], [r["trial"] for r in some], color=color)
        for some, color in ((rows, BLUE), (front, VERMILLION))
    )
    best |= {"name": "Pareto front", "marker": {"color": VERMILLION, "size": 9, "symbol": "diamond"}}
    count = len(data.objectives)
    if count == 2:
        shape = "hv" if across.direction == Direction.MINIMIZE else "vh"
        best |= {"mode": "lines+markers", "line": {"color": VERMILLION, "shape": shape}}
    rest = (
        "no trial is better than those on the front in both."
        if count == 2
        else f"the front is that of all {count} objectives, so other trials may be better in these two alone."
    )
    traces = [points, best]
    if (knee := data.knee) is not None:
        star = scatter([knee[across.metric]], [knee[up.metric]], [knee["trial"]], name="knee", color=ORANGE)
        traces.append(star | {"marker": {"color": ORANGE, "size": 15, "symbol": "star"}})
        rest += " The star is the knee: beyond it, a small gain in one objective costs much in another."
    caption = f"{up.metric} ({up.direction}) against {across.metric} ({across.direction}); {rest}"
    cost = up.metric == data.metric and across.metric in _COSTS
    name = f"pareto-{across.metric}" if cost else f"objectives-{up.metric}-{across.metric}"
    layout = axis_titles(across.metric, up.metric)
    layout["meta"] = {"x": selectable(across.metric), "y": selectable(up.metric)}
    return Figure(name, f"{up.metric} and {across.metric}", caption, tuple(traces), layout)


def _volume(data: ReportData) -> Figure | None:
    """Draw the hypervolume of the front after each complete trial; None where it is not known."""
    rows = comparable(data.feasible, data.objectives)
    volumes = hypervolumes(rows, data.objectives)
    if len(volumes) < 2:
        return None
    order = list(range(1, len(rows) + 1))
    points = scatter(order, volumes, [row["trial"] for row in rows], name="hypervolume", color=VERMILLION)
    points |= {"mode": "lines+markers", "line": {"color": VERMILLION, "width": 2, "shape": "hv"}}
    points["marker"] = {"color": VERMILLION, "size": 4}
    layout = axis_titles("complete trials", "hypervolume") | {"showlegend": False}
    caption = (
        "Share of the space between the best and the worst value of each objective that the front dominates, after "
        "each complete trial. Where it no longer rises, more trials add little."
    )
    return Figure("hypervolume", "Hypervolume of the front", caption, (points,), layout)


def _costs(data: ReportData) -> list[Figure]:
    found = []
    for column, words in _COSTS.items():
        rows = [row for row in data.ranked if row.get(column)]
        if not rows:
            continue
        front = pareto(rows, column, data.direction)
        points = scatter([r[column] for r in rows], [r["value"] for r in rows], [r["trial"] for r in rows], color=BLUE)
        x, y = [row[column] for row in front], [row["value"] for row in front]
        best = scatter(x, y, [row["trial"] for row in front], name="Pareto front", color=VERMILLION)
        best |= {"mode": "lines+markers", "line": {"color": VERMILLION, "shape": "hv"}}
        best["marker"] = {"color": VERMILLION, "size": 9, "symbol": "diamond"}
        layout = axis_titles(words, data.metric) | {"meta": {"x": selectable(column), "y": selectable("value")}}
        layout["xaxis"] |= {"type": "log"} if max(r[column] for r in rows) > 20 * min(r[column] for r in rows) else {}
        caption = f"{data.metric} against {words}; no trial is better than those on the front in both."
        found.append(Figure(f"pareto-{column}", f"{data.metric} and {words}", caption, (points, best), layout))
    return found


def pareto(rows: Sequence[Row], column: str, direction: Direction) -> list[Row]:
    """Return the Pareto front of value and (minimized) cost, by ascending cost."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[column], direction.key(row["value"]), row["trial"])):
        if not front or direction.better(row["value"], front[-1]["value"]):
            front.append(row)
    return front
