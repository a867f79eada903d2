"""Figures with a point or a line a trial: history, learning curves, parallel coordinates, trade-offs."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from cnn_sweep.report.axes import word
from cnn_sweep.report.figures.figure import BLUE, COLOURS, DASHES, SCALE, VERMILLION, Figure, numbers, text
from cnn_sweep.sweep.direction import Direction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.axes import Axis
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.report.models.best_model import BestModel
    from cnn_sweep.report.report_data import Material
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec

_HOVER = "trial %{customdata}<br>%{x}<br>%{y:.5g}<extra></extra>"
# Lines of one plot of parallel coordinates beyond which nobody sees anything: the best are drawn.
_MOST_LINES = 2_000
_MOST_TICKS = 12
_SPREAD = 0.06  # of an axis
_MOST_NUMBERS = 30  # classes up to which each cell of a confusion matrix shows its count
_COSTS = {"parameters": "weights", "seconds": "seconds of training"}


def history(material: Material) -> Figure | None:
    """Draw every complete trial's value in the order in which they ended, and the best so far."""
    rows = sorted(material.ranked, key=lambda row: (row["ended"] or 0.0, row["trial"]))
    if not rows:
        return None
    values = [row["value"] for row in rows]
    best = list(itertools.accumulate(values, material.direction.better_of))
    order = list(range(1, len(rows) + 1))
    trials = [row["trial"] for row in rows]
    points = _points(order, values, trials, name="trial", color=BLUE)
    line: Row = {"type": "scatter", "mode": "lines", "x": order, "y": numbers(best), "name": "best so far"}
    line |= {"line": {"color": VERMILLION, "width": 2, "shape": "hv"}, "hoverinfo": "skip"}
    others = f" (of {len(material.objectives)} objectives the first)" if len(material.objectives) > 1 else ""
    caption = f"{material.metric}{others} of each complete trial in the order in which they ended, and the best so far."
    layout = _axes("complete trials", material.metric)
    return Figure("history", "Optimization history", caption, (points, line), layout)


def curves(material: Material, metrics: Sequence[str] | None = None) -> list[Figure]:
    """Draw the learning curves of the chosen trials, a figure a metric, training beside validation."""
    names = metrics if metrics is not None else _curve_metrics(material)
    return [figure for name in names if (figure := _curve(material, name)) is not None]


def _curve_metrics(material: Material) -> list[str]:
    """Name the validation metrics, the objective first, and those that have no validation beside them."""
    known = list(material.summary["metrics"])
    own = [name for name in known if name.startswith("val_") or f"val_{name}" not in known]
    return sorted(own, key=lambda name: (name != material.metric, name != "val_loss", not name.startswith("val_")))


def _curve(material: Material, metric: str) -> Figure | None:
    beside = metric.removeprefix("val_") if metric.startswith("val_") else None
    traces = []
    for place, trial in enumerate(material.chosen):
        epochs = material.curves.get(trial, [])
        color, dash = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
        for name, opacity in ((metric, 1.0), (beside, 0.4)):
            found = [(row["epoch"], row[name]) for row in epochs if name is not None and row.get(name) is not None]
            if not found:
                continue
            x, y = [epoch for epoch, _ in found], numbers(value for _, value in found)
            trace = {"type": "scatter", "mode": "lines+markers", "x": x, "y": y, "opacity": opacity}
            trace |= {"name": f"trial {trial}" + ("" if name == metric else ", training"), "meta": trial}
            trace |= {"legendgroup": str(trial), "line": {"color": color, "dash": dash}, "marker": {"size": 4}}
            traces.append(trace | {"hovertemplate": f"trial {trial}<br>epoch %{{x}}: %{{y:.5g}}<extra></extra>"})
    if not traces:
        return None
    caption = f"{metric} by epoch" + (", and the same on training data in pale." if beside else ".")
    return Figure(f"curves-{metric}", f"{metric} by epoch", caption, tuple(traces), _axes("epoch", metric))


def parallel(material: Material) -> Figure | None:
    """Draw the hyperparameters of each complete trial as a line across one axis each."""
    rows = material.ranked[:_MOST_LINES]
    axes = [axis for axis in material.axes.values() if axis.varies]
    if not rows or not axes:
        return None
    values = numbers(row["value"] for row in rows)
    dimensions = [_dimension(axis, rows) for axis in axes]
    dimensions.append({"label": text(material.metric), "values": values, "range": _with_room(min(values), max(values))})
    line = {
        "color": values,
        "colorscale": SCALE,
        "showscale": True,
        "reversescale": material.direction.sign > 0,
    }
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line}
    some = f"the best {_MOST_LINES:,}" if len(material.ranked) > len(rows) else "each"
    caption = (
        f"A line for {some} complete trial{'s' if some != 'each' else ''}; drag along an axis to keep a part of it."
    )
    layout = {"margin": {"l": 70, "r": 70, "t": 50, "b": 30}}
    return Figure("parallel", "Parallel coordinates", caption, (trace,), layout)


def _dimension(axis: Axis, rows: Sequence[Row]) -> Row:
    """Describe one axis; its ticks are plain text to Plotly, unlike its label."""
    places = axis.positions(rows)
    there = [place for place in places if place is not None]
    low, high = (min(there), max(there)) if there else (0.0, 0.0)
    length = (high - low) or 1.0
    # Inactive hyperparameters meet in a place of their own below the axis.
    below = low - 0.15 * length
    # Where many lines meet in few values they lie side by side, the best on top.
    spread = _SPREAD * length if len(axis.values) <= _MOST_TICKS else 0.0
    shares = [0.5 - rank / max(len(rows) - 1, 1) for rank in range(len(rows))]
    filled = [(below if p is None else p) + spread * share for p, share in zip(places, shares, strict=True)]
    ticks = {axis.position(value): word(value) for value in _ticks(axis)}
    if len(axis.values) <= _MOST_TICKS:  # only values that a line goes through
        ticks = {place: one for place, one in ticks.items() if place in there}
    ticks |= {below: "inactive"} if None in places else {}
    lowest = below if None in places else low
    ends = [lowest - spread / 2, high + spread / 2] if high > lowest else _with_room(low, high)
    place_and_words = {"tickvals": numbers(ticks), "ticktext": [*ticks.values()]}
    return {"label": text(axis.label), "values": numbers(filled), "range": numbers(ends), **place_and_words}


def _with_room(low: float, high: float) -> list[float]:
    """Return the ends of an axis; one on which all lines meet has them in its middle."""
    room = 0.5 * (abs(low) or 1.0) if low == high else 0.0
    return numbers([low - room, high + room])


def _ticks(axis: Axis) -> Sequence[Any]:
    """Take the values of an axis, or round numbers between them if there are too many to label."""
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


def trade_offs(material: Material) -> list[Figure]:
    """Draw each pair of objectives, and the value against what it costs: weights, and seconds of training."""
    found = [_pair(material, *pair) for pair in itertools.combinations(material.objectives, 2)]
    drawn = {figure.name for figure in found}
    return found + [figure for figure in _costs(material) if figure.name not in drawn] if material.ranked else []


def _pair(material: Material, up: ObjectiveSpec, across: ObjectiveSpec) -> Figure:
    """Draw two of several objectives, with the front that all of them make."""
    rows = [r for r in material.ranked if r.get(up.metric) is not None and r.get(across.metric) is not None]
    front = sorted(material.front, key=lambda row: (row[across.metric], row[up.metric]))
    points, best = (
        _points([r[across.metric] for r in some], [r[up.metric] for r in some], [r["trial"] for r in some], color=color)
        for some, color in ((rows, BLUE), (front, VERMILLION))
    )
    best |= {"name": "Pareto front", "marker": {"color": VERMILLION, "size": 9, "symbol": "diamond"}}
    count = len(material.objectives)
    if count == 2:
        shape = "hv" if across.direction == Direction.MINIMIZE else "vh"
        best |= {"mode": "lines+markers", "line": {"color": VERMILLION, "shape": shape}}
    rest = (
        "no trial is better than those of the front in both."
        if count == 2
        else f"the front is that of all {count} objectives: in these two alone, another trial may beat some of it."
    )
    caption = f"{up.metric} ({up.direction}) against {across.metric} ({across.direction}); {rest}"
    cost = up.metric == material.metric and across.metric in _COSTS
    name = f"pareto-{across.metric}" if cost else f"objectives-{up.metric}-{across.metric}"
    layout = _axes(_COSTS[across.metric] if cost else across.metric, up.metric)
    return Figure(name, f"{up.metric} and {across.metric}", caption, (points, best), layout)


def _costs(material: Material) -> list[Figure]:
    found = []
    for column, words in _COSTS.items():
        rows = [row for row in material.ranked if row.get(column)]
        if not rows:
            continue
        front = pareto(rows, column, material.direction)
        points = _points([r[column] for r in rows], [r["value"] for r in rows], [r["trial"] for r in rows], color=BLUE)
        x, y = [row[column] for row in front], [row["value"] for row in front]
        best = _points(x, y, [row["trial"] for row in front], name="Pareto front", color=VERMILLION)
        best |= {"mode": "lines+markers", "line": {"color": VERMILLION, "shape": "hv"}}
        best["marker"] = {"color": VERMILLION, "size": 9, "symbol": "diamond"}
        layout = _axes(words, material.metric)
        layout["xaxis"] |= {"type": "log"} if max(r[column] for r in rows) > 20 * min(r[column] for r in rows) else {}
        caption = f"{material.metric} against {words}; no trial is better than those of the front in both."
        found.append(Figure(f"pareto-{column}", f"{material.metric} and {words}", caption, (points, best), layout))
    return found


def pareto(rows: Sequence[Row], column: str, direction: Direction) -> list[Row]:
    """Return the rows that no other one beats in value and in cost (the smaller, the better) at once, by cost."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[column], direction.key(row["value"]), row["trial"])):
        if not front or direction.better(row["value"], front[-1]["value"]):
            front.append(row)
    return front


def _points(x: Sequence[Any], y: Sequence[Any], trials: Sequence[int], *, color: str, name: str = "trial") -> Row:
    marker = {"color": color, "size": 6, "opacity": 0.85}
    kind = {"type": "scatter", "mode": "markers", "name": name, "marker": marker, "hovertemplate": _HOVER}
    return kind | {"x": numbers(x), "y": numbers(y), "customdata": list(trials)}


def _axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": text(x)}}, "yaxis": {"title": {"text": text(y)}}}


def confusion(best: BestModel) -> Figure:
    """Draw the confusion matrix of the best model on the validation images."""
    counts, names = best.counts, [text(name) for name in best.class_names]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    trace: Row = {"type": "heatmap", "x": names, "y": names, "z": shares.round(4).tolist()}
    trace |= {"colorscale": SCALE, "zmin": 0, "zmax": 1, "colorbar": {"title": {"text": "share of the true class"}}}
    trace |= {"customdata": counts.tolist()}
    trace["hovertemplate"] = "%{y} taken for %{x}: %{customdata} images (%{z:.1%} of the true class)<extra></extra>"
    if len(names) <= _MOST_NUMBERS:
        trace |= {"text": [[str(count) for count in line] for line in counts.tolist()], "texttemplate": "%{text}"}
    layout = {
        "xaxis": {"title": {"text": "predicted class"}, "type": "category"},
        "yaxis": {"title": {"text": "true class"}, "type": "category", "autorange": "reversed"},
    }
    caption = (
        f"Validation images of trial {best.trial} by true and predicted class: counts, coloured by share of a row."
    )
    return Figure("confusion", "Confusion matrix", caption, (trace,), layout)
